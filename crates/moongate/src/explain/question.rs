//! The question of a command line.

use super::answer::{Hello, Question};
use crate::cli::ExplainArgs;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

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
    let (rest, secured) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (rest, false),
        (None, Some(rest)) => (rest, true),
        (None, None) => bail!("`{url}` is not a URL; did you mean `http://{url}`?"),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let port = match authority.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => {
            port.parse().with_context(|| format!("{url}: `{port}` is not a valid port"))?
        }
        _ if secured => 443,
        _ => 80,
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
        headers.insert(0, ("Host".to_owned(), authority.to_owned()));
    }
    let method = args.method.clone().or(method).unwrap_or_else(|| "GET".to_owned());
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    // As clients do: the host of the URL, unless it is an address.
    let named = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let is_address = named.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    let sni = args.sni.clone().or_else(|| (!is_address).then(|| named.to_owned()));
    let tls = secured.then(|| Hello { sni: sni.filter(|sni| !sni.is_empty()), alpn: args.alpn.clone() });
    let from = args.from;
    let identity = args.identity.clone();
    Ok((
        Question { port, method, target, headers, body: false, tls, from, identity },
        paths.iter().map(PathBuf::from).collect(),
    ))
}
