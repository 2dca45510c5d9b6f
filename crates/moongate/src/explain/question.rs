//! The question of a command line.

use super::answer::{Begins, Hello, Original, Question};
use crate::cli::ExplainArgs;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// A URL in its parts.
struct Url<'a> {
    secured: bool,
    authority: &'a str,
    /// The authority without the port.
    host: &'a str,
    port: u16,
    /// The path and the query, as they are written.
    rest: &'a str,
}

impl<'a> Url<'a> {
    fn parse(url: &'a str) -> Result<Self> {
        let (rest, secured) = match url.split_once("://") {
            Some(("http" | "tcp", rest)) => (rest, false),
            Some(("https", rest)) => (rest, true),
            Some(_) | None => bail!("`{url}` is not a URL; did you mean `http://{url}`?"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().with_context(|| format!("{url}: `{port}` is not a valid port"))?)
            }
            _ => (authority, if secured { 443 } else { 80 }),
        };
        Ok(Self { secured, authority, host, port, rest })
    }

    fn target(&self) -> String {
        if self.rest.starts_with('/') { self.rest.to_owned() } else { format!("/{}", self.rest) }
    }
}

/// How a redirected connection comes; `None` if the question is not about one.
pub(super) fn original(args: &ExplainArgs) -> Result<Option<Original>> {
    let scheme = args.words.iter().find_map(|word| word.split_once("://")).map_or("", |(scheme, _)| scheme);
    let begins = match scheme {
        "https" => Begins::Tls,
        "http" => Begins::Http,
        _ => Begins::Other,
    };
    match args.connected_to {
        Some(address) => Ok(Some(Original { address, begins, redirected_to: args.redirected_to })),
        None if scheme == "tcp" => bail!("`tcp:` is for redirected connections: add `--connected-to`"),
        None => Ok(None),
    }
}

/// `[METHOD] URL PATH…`
pub(super) fn question(args: &ExplainArgs) -> Result<(Question, Vec<PathBuf>)> {
    let (first, rest) = args.words.split_first().context("a URL is needed")?;
    // Methods are words in capitals; `-X` gives any other.
    if !first.contains("://") && !first.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
        bail!("`{first}` is not a URL; did you mean `http://{first}`?");
    }
    let (method, url, paths) = if first.contains("://") {
        (None, first, rest)
    } else {
        let (url, paths) = rest.split_first().context("a URL is needed")?;
        (Some(first.clone()), url, paths)
    };
    if paths.is_empty() {
        bail!("a file or folder with the configuration is needed behind the URL");
    }
    let asked = Url::parse(url)?;
    let proxy = args.proxy.as_deref().map(Url::parse).transpose()?;
    let authority = match proxy {
        Some(_) if asked.secured => format!("{}:{}", asked.host, asked.port),
        _ => asked.authority.to_owned(),
    };
    let mut headers = Vec::new();
    for line in &args.headers {
        let (name, value) =
            line.split_once(':').with_context(|| format!("`{line}` is not of the form `name: value`"))?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    if let Some(file) = &args.jwt {
        let token = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        headers.push(("Authorization".to_owned(), format!("Bearer {}", token.trim())));
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        headers.insert(0, ("Host".to_owned(), authority.clone()));
    }
    let method = args.method.clone().or(method).unwrap_or_else(|| "GET".to_owned());
    let (method, target) = match proxy {
        None => (method, asked.target()),
        // As clients do: a tunnel for TLS, and the whole URL for anything else.
        Some(_) if asked.secured => ("CONNECT".to_owned(), authority.clone()),
        Some(_) => (method, format!("http://{}{}", asked.authority, asked.target())),
    };
    let reached = proxy.as_ref().unwrap_or(&asked);
    let port = reached.port;
    // As clients do: the host of the URL, unless it is an address.
    let is_address = reached.host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    let sni = args.sni.clone().or_else(|| (!is_address).then(|| reached.host.to_owned()));
    let tls = reached.secured.then(|| Hello { sni: sni.filter(|sni| !sni.is_empty()), alpn: args.alpn.clone() });
    let from = args.from;
    let identity = args.identity.clone();
    Ok((
        Question { port, method, target, headers, body: false, tls, from, identity },
        paths.iter().map(PathBuf::from).collect(),
    ))
}
