//! Cases: a configuration, requests and what has to come back, one folder each (`cases/README.md` tells the fields).

use crate::outcome::Question;
use crate::secured::Hello;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// One case.
#[derive(Debug)]
pub struct Case {
    /// `hosts/wildcard-depth`.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// The text of `in.yaml`.
    pub config: String,
    /// What is in `requests.yaml`.
    pub story: Story,
}

/// The content of `requests.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Story {
    /// What it shows.
    pub story: String,
    /// Row ids.
    #[serde(default)]
    pub rows: Vec<String>,
    /// Further arguments of the program.
    #[serde(default)]
    pub args: Vec<String>,
    /// What is sent.
    pub requests: Vec<Sent>,
    /// Findings that have to be reported.
    #[serde(default)]
    pub report: Vec<Finding>,
    /// What has to be on the admin pages once all is sent.
    #[serde(default)]
    pub pages: Vec<Page>,
    /// Lines, or parts of lines, that have to be in the access log once all is sent; `mesh.yaml` has the format.
    #[serde(default)]
    pub log: Vec<String>,
}

/// One request and its expectation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    /// `GET http://dev.example.com:8080/path`.
    pub send: String,
    /// Header lines.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default)]
    pub body: String,
    /// How often.
    pub repeat: Option<u32>,
    /// How it comes by TLS, where the URL says `https` and there is more to say: the host is the name that is asked for, `sni: ""` asks for
    /// none.
    pub tls: Option<Hello>,
    /// The port of the forward proxy that it is sent to, with an absolute target, or for CONNECT with the authority.
    pub forward: Option<u16>,
    /// A PROXY line that stands in front of it, without its end.
    pub proxied: Option<String>,
    /// A file of the case that takes the place of the configuration before this is sent, which is then sent until what comes is as
    /// expected.
    pub config: Option<String>,
    /// The address that is connected to, where it is not 127.0.0.1; `explain` is not asked then, which knows no addresses.
    pub to: Option<IpAddr>,
    /// Whether the client ends its half of the connection behind the request.
    #[serde(default)]
    pub ends: bool,
    /// The version that it is sent as, 1.1 unless given; `explain` is not asked about others.
    pub version: Option<String>,
    /// Texts that have to be in the answer of `explain`.
    #[serde(default)]
    pub told: Vec<String>,
    /// What has to be so.
    pub expect: Map<String, Value>,
}

/// A finding of the report.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// `MG7003`.
    pub code: String,
    /// `VirtualService default/x`; none for a finding of no object.
    pub object: Option<String>,
    /// A part of its message.
    #[serde(default)]
    pub says: String,
}

/// An admin page and texts that are on it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// `/metrics`.
    pub path: String,
    /// The texts.
    pub has: Vec<String>,
}

/// How configurations name the folders of certificates, and of lists of revoked ones, from their own.
const FOLDERS: &[&str] = &["oracle/certs", "crates/testkit/data/revocation"];

impl Case {
    /// Every case below `root`, sorted by name.
    pub fn read_all(root: &Path) -> Result<Vec<Self>> {
        let mut cases = Vec::new();
        for topic in folders(root)? {
            for folder in folders(&topic)? {
                cases.push(Self::read(root, &folder)?);
            }
        }
        Ok(cases)
    }

    fn read(root: &Path, folder: &Path) -> Result<Self> {
        let name = folder.strip_prefix(root)?.display().to_string();
        let story = fs::read_to_string(folder.join("requests.yaml"));
        let story = story.with_context(|| format!("cannot read requests.yaml of {name}"))?;
        let story = resources::read::from_yaml(&story).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
        let mut case = Self { config: String::new(), story, name, folder: folder.to_owned() };
        case.config = case.read_config("in.yaml")?;
        Ok(case)
    }

    /// A configuration of the case, with whole paths of certificates: tests put it into a folder of its own.
    pub fn read_config(&self, file: &str) -> Result<String> {
        let text = fs::read_to_string(self.folder.join(file));
        let text = text.with_context(|| format!("cannot read {file} of {}", self.name))?;
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let whole = |text: String, folder: &&str| {
            text.replace(&format!("../../../{folder}"), &project.join(folder).display().to_string())
        };
        Ok(FOLDERS.iter().fold(text, whole))
    }

    /// The mesh settings that go with it, if any.
    pub fn mesh_config(&self) -> Option<PathBuf> {
        Some(self.folder.join("mesh.yaml")).filter(|path| path.exists())
    }
}

impl Sent {
    /// The request as it is sent.
    pub fn question(&self) -> Result<Question> {
        let (method, url) = self.send.split_once(' ').context("`send` is a method and a URL")?;
        let (rest, secured) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => bail!("{url} does not begin with http:// or https://"),
        };
        let (authority, target) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().with_context(|| format!("the port of {url}"))?),
            None => (authority, if secured { 443 } else { 80 }),
        };
        let asked = match (self.forward, method) {
            (None, _) => target.to_owned(),
            (Some(_), "CONNECT") => authority.to_owned(),
            (Some(_), _) => format!("http://{authority}{target}"),
        };
        let (host, port) = self.forward.map_or((host, port), |forward| (authority, forward));
        let mut headers: Vec<_> = self.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            headers.insert(0, ("Host".to_owned(), host.to_owned()));
        }
        let tls = secured.then(|| {
            let mut hello = self.tls.clone().unwrap_or_default();
            hello.sni = Some(hello.sni.unwrap_or_else(|| host.to_owned())).filter(|sni| !sni.is_empty());
            hello
        });
        let (method, target, body) = (method.to_owned(), asked, self.body.clone());
        Ok(Question {
            from: None,
            unanswered: false,
            port,
            method,
            target,
            headers,
            body,
            repeat: self.repeat,
            tls,
            part: false,
            proxied: self.proxied.clone(),
            ends: self.ends,
            version: self.version.clone(),
        })
    }

    /// What is not as it has to be; empty when all is.
    pub fn faults(&self, outcome: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        for (field, wanted) in &self.expect {
            let got = outcome.get(field).unwrap_or(&Value::Null);
            match (wanted, got) {
                // Headers: those that are named, the others may be there.
                (Value::Object(wanted), got) => faults.extend(wanted.iter().filter_map(|(name, value)| {
                    let got = got.get(name).unwrap_or(&Value::Null);
                    (got != value).then(|| format!("{field}.{name} is {got}, not {value}"))
                })),
                _ if got != wanted => faults.push(format!("{field} is {got}, not {wanted}")),
                _ => {}
            }
        }
        if faults.is_empty() {
            faults
        } else {
            vec![format!("{}: {} (all of it: {outcome})", self.send, faults.join("; "))]
        }
    }
}

fn folders(root: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root).with_context(|| format!("cannot read {}", root.display()))?;
    let mut found: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    found.sort();
    Ok(found)
}
