//! `moongate explain`: where a request would go, and why, from the very tables and functions that serve.

mod text;

use crate::cli::{ExplainArgs, Output};
use crate::settings;
use anyhow::{Context, Result, bail};
use compiler::{Memo, Settings};
use ir::{EndpointSource, Listener, ListenerKind, Origin, Snapshot, TargetCluster};
use resources::set::ResourceSet;
use routing::explain::Verdict;
use routing::{RawRequest, RouteEntry, Scratch, Table, prepare};
use serde::Serialize;
use sources::FileSource;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use wire::edit::Edits;
use wire::forwarded::{self, Peer};
use wire::h1::{HeadLimits, OutFraming, RequestHead, RequestParts, write_request};
use wire::view::RequestView;

/// A request to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The number of the server's port.
    pub port: u16,
    /// The method.
    pub method: String,
    /// The request target.
    pub target: String,
    /// Header lines, `Host` among them.
    pub headers: Vec<(String, String)>,
    /// Whether there is a body.
    pub body: bool,
}

/// Where a request goes, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The listener that takes it; `None`: nobody listens on that port.
    pub listener: Option<String>,
    /// The servers of that listener.
    pub servers: Vec<Origin>,
    /// The host of the table that covers the request's.
    pub host: Option<String>,
    /// Every rule that was looked at.
    pub rules: Vec<Verdict>,
    /// What comes of it.
    pub outcome: Outcome,
}

/// What comes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Outcome {
    /// The connection is refused: nobody listens.
    Refused {
        /// Ports that somebody listens on.
        ports: Vec<u16>,
    },
    /// It is answered here.
    Answered {
        /// The status.
        status: u16,
        /// Why, in a word for logs.
        detail: String,
        /// Where a redirect leads.
        location: Option<String>,
        /// The body of a direct response.
        body: Option<String>,
    },
    /// It is sent on to one of these.
    Forwarded {
        /// Each possible target; several when the route is weighted.
        targets: Vec<TargetAnswer>,
    },
}

/// One target of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetAnswer {
    /// The cluster.
    pub cluster: String,
    /// Its weight among the others.
    pub weight: u32,
    /// The status when it cannot be sent there, and why.
    pub fails: Option<Failing>,
    /// Its endpoints, or names to resolve.
    pub endpoints: Vec<String>,
    /// The head that is sent; ids of chance are shown as placeholders.
    pub head: String,
}

/// Why a target cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failing {
    /// The status of the answer.
    pub status: u16,
    /// Istio's response flag.
    pub flag: String,
    /// Why, in words.
    pub reason: String,
}

/// A configuration that questions can be asked of.
pub struct Explainer {
    snapshot: Arc<Snapshot>,
    tables: Vec<(Arc<Listener>, Table)>,
}

impl Explainer {
    /// Compiles a set, as the gateway would.
    pub fn new(set: &ResourceSet, settings: &Settings) -> Self {
        let snapshot = compiler::compile(set, settings, &mut Memo::default()).snapshot;
        let mut slots = |_: &ir::ClusterId| 0;
        let table = |listener: &Arc<Listener>| {
            let ListenerKind::Http(http) = &listener.kind;
            (Arc::clone(listener), Table::build(http, &mut slots))
        };
        let tables = snapshot.listeners.values().map(table).collect();
        Self { snapshot, tables }
    }

    /// Reads files and folders, and compiles them.
    pub fn read(paths: Vec<PathBuf>, settings: &Settings) -> Result<Self> {
        let loaded = FileSource::new(paths)?.refresh().context("there is nothing to read")?;
        Ok(Self::new(&loaded.set, settings))
    }

    /// Where a request goes, and why.
    pub fn ask(&self, question: &Question) -> Result<Answer> {
        let by_number = |(listener, _): &&(Arc<Listener>, Table)| listener.server_port == question.port;
        let by_address = |(listener, _): &&(Arc<Listener>, Table)| listener.id.address.port() == question.port;
        let found = self.tables.iter().find(by_address).or_else(|| self.tables.iter().find(by_number));
        let Some((listener, table)) = found else {
            let mut ports: Vec<u16> = self.tables.iter().map(|(listener, _)| listener.server_port).collect();
            ports.dedup();
            let outcome = Outcome::Refused { ports };
            return Ok(Answer { listener: None, servers: Vec::new(), host: None, rules: Vec::new(), outcome });
        };
        self.ask_listener(question, listener, table)
    }

    fn ask_listener(&self, question: &Question, listener: &Listener, table: &Table) -> Result<Answer> {
        let ListenerKind::Http(http) = &listener.kind;
        let head = head_of(question);
        let mut request = RequestHead::default();
        let mut answer = Answer {
            listener: Some(listener.id.to_string()),
            servers: listener.servers.clone(),
            host: None,
            rules: Vec::new(),
            outcome: answered(400, "http1.codec_error"),
        };
        match request.parse(&head, &HeadLimits::default()) {
            Ok(Some(_)) => {}
            Ok(None) => bail!("the request is not complete"),
            Err(error) => {
                answer.outcome = answered(error.status(), error.detail());
                return Ok(answer);
            }
        }
        let fields = request.fields(&head);
        let peer = Peer { address: "127.0.0.1", scheme: "http", trusted_proxies: http.forwarded.trusted_proxies };
        let (method, target, host) = (request.method.of(&head), request.target.of(&head), request.host.of(&head));
        let mut scratch = Scratch::default();
        let view = match prepare(RawRequest { method, target, host, fields }, http, &peer, &mut scratch) {
            Ok(prepared) => prepared.view,
            Err(refusal) => {
                answer.outcome = answered(refusal.status(), refusal.detail());
                return Ok(answer);
            }
        };
        let (explanation, route) = routing::explain::explain(table, &view);
        (answer.host, answer.rules) = (explanation.host, explanation.rules);
        answer.outcome = match route {
            None => answered(404, "route_not_found"),
            Some(route) => self.outcome(route, &request, &view, &peer),
        };
        Ok(answer)
    }

    fn outcome(&self, route: &RouteEntry, request: &RequestHead, view: &RequestView<'_>, peer: &Peer<'_>) -> Outcome {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if let Some(local) = route.local_answer(view) {
            let body = (!local.body.is_empty()).then(|| lossy(&local.body));
            let location = local.location.as_deref().map(lossy);
            return Outcome::Answered { status: local.status, detail: "direct_response".to_owned(), location, body };
        }
        let targets = route.forward().map_or(&[][..], |forward| &forward.targets);
        let target = |(at, target): (usize, &ir::Target)| self.target(route, at, target, request, view, peer);
        Outcome::Forwarded { targets: targets.iter().enumerate().map(target).collect() }
    }

    fn target(
        &self,
        route: &RouteEntry,
        at: usize,
        target: &ir::Target,
        request: &RequestHead,
        view: &RequestView<'_>,
        peer: &Peer<'_>,
    ) -> TargetAnswer {
        let (cluster, found) = match &target.cluster {
            TargetCluster::Known(id) => (id, self.snapshot.clusters.get(id)),
            TargetCluster::Unknown { id, .. } => (id, None),
        };
        let failing = |status: u16, flag: &str, reason: &str| {
            Some(Failing { status, flag: flag.to_owned(), reason: reason.to_owned() })
        };
        let (fails, endpoints) = match (&target.cluster, found.map(|cluster| &cluster.endpoints)) {
            (TargetCluster::Unknown { reason, .. }, _) => (failing(503, "NC", reason), Vec::new()),
            (TargetCluster::Known(_), None) => (failing(503, "NC", "there is no such cluster"), Vec::new()),
            (_, Some(EndpointSource::Never(reason))) => (failing(503, "UH", reason), Vec::new()),
            (_, Some(EndpointSource::Static(endpoints))) if endpoints.is_empty() => {
                (failing(503, "UH", "the service has no endpoints that are ready"), Vec::new())
            }
            (_, Some(EndpointSource::Static(endpoints))) => {
                (None, endpoints.iter().map(|one| one.address.to_string()).collect())
            }
            (_, Some(EndpointSource::Dns { names, .. })) => {
                (None, names.iter().map(|name| format!("{}:{}", name.name, name.port)).collect())
            }
        };
        let mut edits = Edits::default();
        forwarded::edit(peer, view.fields, view.scheme, "<a new id>", &mut edits);
        edits.set("x-envoy-attempt-count", &b"1"[..]);
        route.edit_request(at, view, &mut edits);
        let parts = RequestParts {
            method: view.method,
            path: view.path,
            query: view.query,
            authority: view.authority,
            fields: view.fields,
            nominates: request.nominates,
            framing: OutFraming::from(request.body),
            upgrade: None,
            close: false,
        };
        let mut head = Vec::new();
        write_request(&mut head, &parts, &edits);
        let head = String::from_utf8_lossy(&head).replace("\r\n", "\n").trim_end().to_owned();
        TargetAnswer { cluster: cluster.to_string(), weight: target.weight, fails, endpoints, head }
    }
}

fn answered(status: u16, detail: &str) -> Outcome {
    Outcome::Answered { status, detail: detail.to_owned(), location: None, body: None }
}

/// The bytes that a client would send.
fn head_of(question: &Question) -> Vec<u8> {
    let mut out = format!("{} {} HTTP/1.1\r\n", question.method, question.target).into_bytes();
    for (name, value) in &question.headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend(value.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')));
        out.extend_from_slice(b"\r\n");
    }
    if question.body {
        out.extend_from_slice(b"content-length: 1\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Answers one question on the command line.
pub(crate) fn command(args: &ExplainArgs) -> Result<ExitCode> {
    let (question, paths) = question(args)?;
    let (settings, _) = settings::settings(&args.workload)?;
    let explainer = Explainer::read(paths, &settings)?;
    let answer = explainer.ask(&question)?;
    match args.output {
        Output::Json => anstream::println!("{}", serde_json::to_string_pretty(&answer)?),
        Output::Text => anstream::print!("{}", text::text(&question, &answer)),
    }
    Ok(ExitCode::SUCCESS)
}

/// `[METHOD] URL PATH…`
fn question(args: &ExplainArgs) -> Result<(Question, Vec<PathBuf>)> {
    let (first, rest) = args.words.split_first().context("a URL is needed")?;
    let (method, url, paths) = if first.contains("://") {
        (None, first, rest)
    } else {
        let (url, paths) = rest.split_first().context("a URL is needed")?;
        (Some(first.clone()), url, paths)
    };
    if paths.is_empty() {
        bail!("a file or folder with the configuration is needed behind the URL");
    }
    let rest = url.strip_prefix("http://").with_context(|| format!("{url}: only http:// is served"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let port = match authority.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => {
            port.parse().with_context(|| format!("{url}: `{port}` is no port"))?
        }
        _ => 80,
    };
    let mut headers = Vec::new();
    for line in &args.headers {
        let (name, value) =
            line.split_once(':').with_context(|| format!("`{line}` is not of the form `name: value`"))?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        headers.insert(0, ("Host".to_owned(), authority.to_owned()));
    }
    let method = args.method.clone().or(method).unwrap_or_else(|| "GET".to_owned());
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok((Question { port, method, target, headers, body: false }, paths.iter().map(PathBuf::from).collect()))
}
