//! `moongate explain`: where a request would go, and why, from the very tables and functions that serve.

mod answer;
mod authorization;
mod balance;
mod clusters;
mod external;
mod policies;
mod question;
mod secured;
mod text;
mod tokens;

pub use answer::{
    Answer, CheckAnswer, Failing, Hello, MirrorAnswer, Outcome, PolicyAnswer, Question, SecuredAnswer, TargetAnswer,
    TokenAnswer,
};
pub use text::text;

use crate::cli::ExplainArgs;
use crate::mesh::Mesh;
use crate::output::{self, Output};
use crate::settings;
use anyhow::{Context, Result, bail};
use compiler::{Memo, Settings};
use ir::{
    ClientAuth, DnsName, EndpointSource, Filter, HttpTable, Listener, Service, Snapshot, TableId, TargetCluster,
    TcpRoute,
};
use resources::set::ResourceSet;
use routing::authorization::AccessFacts;
use routing::{
    AllowList, Claims, FilterState, LocalAnswer, Pick, RequestContext, RouteAction, RouteEntry, RouteTarget, Scratch,
    Servers, Table, Unrouted, decision, head_limits,
};
use sources::FileReader;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use wire::edit::Edits;
use wire::forwarded::{self, Peer};
use wire::h1::{HeadLimits, RequestHead, Style, write_request_in};
use wire::view::RequestView;

/// A configuration that questions can be asked of.
pub struct Explainer {
    snapshot: Arc<Snapshot>,
    listeners: Vec<Served>,
    tables: BTreeMap<TableId, Table>,
}

/// A listener, and its TLS servers by name.
struct Served {
    listener: Arc<Listener>,
    servers: Servers,
}

impl Explainer {
    /// Compiles a set, as the gateway would.
    pub fn new(set: &ResourceSet, settings: &Settings) -> Self {
        let snapshot = compiler::compile(set, settings, &mut Memo::default()).snapshot;
        let mut slots = |_: &ir::ClusterId| 0;
        let tables = snapshot.tables.iter().map(|(id, http)| (id.clone(), Table::build(http, &mut slots))).collect();
        let served =
            |listener: &Arc<Listener>| Served { listener: Arc::clone(listener), servers: Servers::build(listener) };
        let listeners = snapshot.listeners.values().map(served).collect();
        Self { snapshot, listeners, tables }
    }

    /// Reads files and folders, with the mesh's settings of their own unless another file is named, and compiles them.
    pub fn read(paths: Vec<PathBuf>, mesh: Option<PathBuf>, mut settings: Settings) -> Result<Self> {
        let loaded = FileReader::new(paths)?.with_mesh(mesh).refresh().context("there is nothing to read")?;
        let mut mesh = Mesh::default();
        mesh.apply(&loaded, &mut settings);
        if !mesh.is_usable() {
            let errors: Vec<String> = mesh.found.iter().map(resources::render::line).collect();
            bail!("the mesh settings cannot be used:\n{}", errors.join("\n"));
        }
        Ok(Self::new(&loaded.set, &settings))
    }

    /// Where a request goes, and why.
    pub fn ask(&self, question: &Question) -> Result<Answer> {
        let by_number = |served: &&Served| served.listener.server_port == question.port;
        let by_address = |served: &&Served| served.listener.id.address.port() == question.port;
        let found = self.listeners.iter().find(by_address).or_else(|| self.listeners.iter().find(by_number));
        let Some(served) = found else {
            let mut ports: Vec<u16> = self.listeners.iter().map(|served| served.listener.server_port).collect();
            ports.dedup();
            return Ok(Answer::new(None, Outcome::Refused { ports }));
        };
        let mut answer = Answer::new(Some(&served.listener), answered(400, "http1.codec_error"));
        let (service, place) = match &question.tls {
            None => (served.listener.plain.as_ref(), None),
            Some(hello) => {
                let name = hello.sni.as_deref().map(str::to_ascii_lowercase);
                let mesh = hello.alpn.iter().any(|protocol| protocol.starts_with("istio"));
                let lets_in =
                    |place: &usize| mesh || !served.listener.tls.get(*place).is_some_and(|server| server.mesh_only);
                match served.servers.pick(name.as_deref()).filter(lets_in) {
                    None => (None, None),
                    Some(place) => (served.listener.tls.get(place).map(|server| &server.service), Some(place)),
                }
            }
        };
        let server = place.and_then(|place| served.listener.tls.get(place));
        answer.secured = server.map(secured::describe);
        if let Some(reason) = server.and_then(secured::fault) {
            answer.outcome = Outcome::NoHandshake { reason };
            return Ok(answer);
        }
        match service {
            None => answer.outcome = secured::nobody(question, &served.listener),
            Some(Service::Tcp(route)) => {
                let came = Came { question, served, place };
                answer.outcome = came.closed(&mut answer).unwrap_or_else(|| self.bytes(route));
            }
            Some(Service::Http(id)) => {
                let table = self.snapshot.tables.get(id).zip(self.tables.get(id));
                let (http, table) = table.context("a listener names a table that is not there")?;
                let came = Came { question, served, place };
                self.ask_table(&came, http, table, &mut answer)?;
            }
        }
        Ok(answer)
    }

    fn ask_table(&self, came: &Came<'_>, http: &HttpTable, table: &Table, answer: &mut Answer) -> Result<()> {
        let mesh_settings = &*came.served.listener.mesh_settings;
        let mut head = head_of(came.question);
        let mut request = RequestHead::default();
        let limits = head_limits(mesh_settings, HeadLimits::default());
        let limits = if http.settings.forward { limits.of_proxy() } else { limits };
        match request.parse(&head, &limits) {
            Ok(Some(_)) => {}
            Ok(None) => bail!("the request is not complete"),
            Err(error) => {
                answer.outcome = answered(error.status(), error.detail());
                return Ok(());
            }
        }
        let scheme = if came.place.is_some() { "https" } else { "http" };
        let trusted_proxies = http.settings.forwarded.trusted_proxies;
        let server = came.place.and_then(|place| came.served.listener.tls.get(place));
        let certificate = secured::certificate(server, http.settings.forwarded.certificates);
        let port = mesh_settings.headers.forwarded_port.then(|| came.served.listener.id.address.port());
        let address = came.question.from.to_canonical().into();
        let peer = Peer { address: &address, scheme, trusted_proxies, certificate, port };
        let settings = http.settings;
        let context = RequestContext { request: &request, buffer: &head, settings, mesh_settings, peer: &peer };
        if let Some(denied) = came.unchecked(&context, answer) {
            answer.outcome = denied;
            if let Some(dialect) = context.dialect() {
                answer.outcome.explain_grpc(dialect);
            }
            return Ok(());
        }
        let mut claims = Claims::default();
        if let Some(config) = &came.served.listener.policies.authentication {
            let context = RequestContext { request: &request, buffer: &head, settings, mesh_settings, peer: &peer };
            let mut scratch = Scratch::default();
            // What cannot be routed is refused below.
            let found = decision::prepare(&context, &mut scratch).ok().map(|view| {
                let found = tokens::authenticate(config, &view, &mut answer.tokens);
                found.map_err(|failure| local(&routing::authentication::refused(&view, failure)))
            });
            let dialect = context.dialect();
            match found {
                None => {}
                Some(Ok(found)) => {
                    claims = found.claims;
                    tokens::amend(&mut request, &mut head, &found.changes);
                }
                Some(Err(outcome)) => {
                    answer.outcome = outcome;
                    if let Some(dialect) = dialect {
                        answer.outcome.explain_grpc(dialect);
                    }
                    return Ok(());
                }
            }
        }
        if let Some(users) = table.forward().and_then(AllowList::users) {
            let is_known = !came.identity().is_empty() || !claims.is_empty();
            match routing::forward::authenticate(users, request.fields(&head), is_known) {
                Ok(user) => claims = user.unwrap_or(claims),
                Err(refused) => {
                    answer.outcome = local(&refused);
                    return Ok(());
                }
            }
        }
        let buffer = &*head;
        let context = RequestContext { request: &request, buffer, settings, mesh_settings, peer: &peer };
        let mut scratch = Scratch::default();
        answer.outcome = match decision::prepare(&context, &mut scratch) {
            Ok(view) => self.routed(came, &context, (table, &view, &claims), answer),
            Err(unrouted) => without_route(&unrouted),
        };
        if let Some(dialect) = context.dialect() {
            answer.outcome.explain_grpc(dialect);
        }
        Ok(())
    }

    /// What becomes of a request that can be routed.
    fn routed(
        &self,
        came: &Came<'_>,
        context: &RequestContext<'_>,
        (table, view, claims): (&Table, &RequestView<'_>, &Claims),
        answer: &mut Answer,
    ) -> Outcome {
        if let Some(denied) = came.denied(context, (view, claims), answer) {
            return denied;
        }
        if let Some(list) = table.forward() {
            return match decision::proxied(list, context.request.target.of(context.buffer), view) {
                Ok(route) => self.proxied(context, route, view),
                Err(unrouted) => without_route(&unrouted),
            };
        }
        let (explanation, route) = routing::explain::explain(table, view, claims);
        let picked = match route {
            Some(route) => Pick::Route(route),
            None if explanation.to_https => Pick::ToHttps,
            None => Pick::NoHost,
        };
        (answer.host, answer.rules) = (explanation.host, explanation.rules);
        let route = match decision::route(view, picked, |found| came.is_misdirected(view.host, found)) {
            Ok(route) => route,
            Err(unrouted) => return without_route(&unrouted),
        };
        if let Some(outcome) = filtered(route, view, answer) {
            return outcome;
        }
        match decision::act(route, view) {
            RouteAction::Respond(response) => local(&response),
            RouteAction::Refuse(refusal) => answered(refusal.status(), refusal.detail()),
            RouteAction::Forward(rewritten) => self.forwarded(context, route, rewritten.as_ref(), view),
        }
    }

    /// What becomes of a request that a forward proxy allows.
    fn proxied(&self, context: &RequestContext<'_>, route: &RouteEntry, view: &RequestView<'_>) -> Outcome {
        if view.method != b"CONNECT" {
            return self.forwarded(context, route, None, view);
        }
        let targets = route.forward().map_or(&[][..], |forward| &forward.targets);
        let target = |target: &ir::Target| self.target(&target.cluster, target.weight, None);
        Outcome::Bytes { rule: route.config.origin.clone(), targets: targets.iter().map(target).collect() }
    }

    /// What becomes of bytes.
    fn bytes(&self, route: &TcpRoute) -> Outcome {
        let target = |target: &ir::TcpTarget| {
            let mut answer = self.target(&target.cluster, target.weight, None);
            if let (Some(tunnel), TargetCluster::Known(id)) = (&route.tunnel, &target.cluster) {
                answer.tunnel = Some(tunnel.authority.to_string());
                let cluster = self.snapshot.clusters.get(id);
                answer.spoken = cluster.map_or_else(String::new, |cluster| secured::tunnelled(cluster, tunnel));
            }
            answer
        };
        Outcome::Bytes { rule: route.origin.clone(), targets: route.targets.iter().map(target).collect() }
    }

    fn forwarded(
        &self,
        context: &RequestContext<'_>,
        route: &RouteEntry,
        rewritten: Option<&::text::Target<'static>>,
        view: &RequestView<'_>,
    ) -> Outcome {
        let targets = route.forward().map_or(&[][..], |forward| &forward.targets);
        let target = |(index, target): (usize, &ir::Target)| {
            let to = RouteTarget { route, target: index, rewritten: rewritten.cloned(), dialect: context.dialect() };
            self.target(&target.cluster, target.weight, Some(sent_head(context, to, view)))
        };
        let mirror = |mirror: &ir::Mirror| MirrorAnswer {
            share: policies::share(mirror.share),
            target: self.target(&mirror.cluster, 1, Some(String::new())),
        };
        let mirrors = route.forward().map_or(&[][..], |forward| &forward.mirrors).iter().map(mirror).collect();
        let retries = policies::retries(route.forward().and_then(|forward| forward.retries.as_deref()));
        Outcome::Forwarded { targets: targets.iter().enumerate().map(target).collect(), mirrors, retries }
    }

    /// A target of requests, or with `None` for a head of bytes.
    fn target(&self, target: &TargetCluster, weight: u32, head: Option<String>) -> TargetAnswer {
        let (cluster, found) = match target {
            TargetCluster::Known(id) => (id, self.snapshot.clusters.get(id)),
            TargetCluster::Unknown { id, .. } => (id, None),
        };
        let failing = |status: u16, flag: &str, reason: &str| {
            Some(Failing { status, grpc: None, flag: flag.to_owned(), reason: reason.to_owned() })
        };
        let (fails, endpoints) = match (target, found.map(|cluster| &cluster.endpoints)) {
            (TargetCluster::Unknown { reason, .. }, _) => (failing(503, "NC", reason), Vec::new()),
            (TargetCluster::Known(_), None) => (failing(503, "NC", "cluster not found"), Vec::new()),
            (_, Some(EndpointSource::Never(reason))) => (failing(503, "UH", reason), Vec::new()),
            (_, Some(EndpointSource::Dynamic(dynamic))) => {
                let port = dynamic.port.map_or_else(String::new, |port| format!(", port {port}"));
                (None, vec![format!("the addresses of the name that the client asks for{port}")])
            }
            (_, Some(EndpointSource::Withheld(reason))) => (failing(503, "UF", reason), Vec::new()),
            (_, Some(EndpointSource::Static(endpoints))) if endpoints.is_empty() => {
                (failing(503, "UH", "the service has no endpoints that are ready"), Vec::new())
            }
            (_, Some(EndpointSource::Static(endpoints))) => {
                (None, endpoints.iter().map(|one| one.address.to_string()).collect())
            }
            (_, Some(EndpointSource::Dns { names, .. })) => {
                let address = |name: &DnsName| name.name.parse().map(|ip| SocketAddr::new(ip, name.port).to_string());
                let named = |name: &DnsName| address(name).unwrap_or_else(|_| format!("{}:{}", name.name, name.port));
                (None, names.iter().map(named).collect())
            }
        };
        let spoken = found.map_or_else(String::new, |cluster| secured::spoken(cluster, head.is_none()));
        let balance = found.map_or_else(String::new, |cluster| balance::describe(cluster));
        let bounds = found.map_or_else(Vec::new, |cluster| clusters::bounds(cluster));
        TargetAnswer {
            cluster: cluster.to_string(),
            weight,
            fails,
            endpoints,
            balance,
            spoken,
            tunnel: None,
            bounds,
            head: head.unwrap_or_default(),
        }
    }
}

/// How a request came to a table.
struct Came<'a> {
    question: &'a Question,
    served: &'a Served,
    /// Which of the listener's TLS servers took it.
    place: Option<usize>,
}

impl Came<'_> {
    /// Why a connection whose bytes are passed on is closed. `AUTO_PASSTHROUGH` has no policies (AP-12).
    fn closed(&self, answer: &mut Answer) -> Option<Outcome> {
        let listener = &*self.served.listener;
        if self.place.and_then(|place| listener.tls.get(place)).is_some_and(|server| server.mesh_only) {
            return None;
        }
        let identity = self.identity();
        let connection = authorization::connection(self.question, listener, &identity);
        let facts = AccessFacts { connection, remote: connection.source, view: None, edits: &[], claims: None };
        let external = listener.policies.ext_authz.as_deref();
        if let Some(closed) = external.and_then(|external| external::bytes(external, &facts, answer)) {
            return Some(closed);
        }
        authorization::bytes(listener.policies.authorization.as_deref()?, &facts, answer)
    }

    /// The response to a request because no service can be asked about it. Otherwise the answer says how a service is asked.
    fn unchecked(&self, context: &RequestContext<'_>, answer: &mut Answer) -> Option<Outcome> {
        let external = self.served.listener.policies.ext_authz.as_deref()?;
        let mut scratch = Scratch::default();
        // What cannot be routed is refused by what decides next.
        let view = decision::prepare(context, &mut scratch).ok()?;
        let claims = Claims::default();
        self.with_facts(context, (&view, &claims), |facts| {
            let sent = external::Sent { question: self.question, context, facts };
            external::request(external, &sent, answer)
        })
    }

    /// Why the policies of the workload do not allow a request.
    fn denied(
        &self,
        context: &RequestContext<'_>,
        (view, claims): (&RequestView<'_>, &Claims),
        answer: &mut Answer,
    ) -> Option<Outcome> {
        let listener = &*self.served.listener;
        let policies = listener.policies.authorization.as_deref()?;
        self.with_facts(context, (view, claims), |facts| authorization::request(policies, facts, answer))
    }

    /// Calls a function with the facts that policies see.
    fn with_facts<T>(
        &self,
        context: &RequestContext<'_>,
        (view, claims): (&RequestView<'_>, &Claims),
        then: impl FnOnce(&AccessFacts<'_>) -> T,
    ) -> T {
        let mut edits = Edits::default();
        decision::edit_received(context, view, "<a new id>".into(), &mut edits);
        let identity = self.identity();
        let connection = authorization::connection(self.question, &self.served.listener, &identity);
        let behind = forwarded::client_behind(context.peer, view.fields).and_then(|address| address.parse().ok());
        let remote = behind.unwrap_or(connection.source);
        then(&AccessFacts { connection, remote, view: Some(view), edits: &edits.fields, claims: Some(claims) })
    }

    /// The names in the client's certificate, if the server verifies one.
    fn identity(&self) -> Vec<Box<str>> {
        let server = self.place.and_then(|place| self.served.listener.tls.get(place));
        let client = server.and_then(|server| Some(&server.termination.as_ref()?.client));
        if !matches!(client, Some(ClientAuth::Optional(_) | ClientAuth::Required(_))) {
            return Vec::new();
        }
        self.question.identity.iter().map(|name| name.as_str().into()).collect()
    }

    /// S-38: as the data plane has it.
    fn is_misdirected(&self, host: &str, found: bool) -> bool {
        let (Some(place), Some(hello)) = (self.place, &self.question.tls) else { return false };
        self.served.servers.is_misdirected(place, hello.sni.as_deref(), host, found)
    }
}

/// What the filters of a route do; an outcome if one of them responds to every such request.
fn filtered(route: &RouteEntry, view: &RequestView<'_>, answer: &mut Answer) -> Option<Outcome> {
    let mut state = FilterState::default();
    for filter in &*route.config.filters {
        match filter {
            Filter::Fault(fault) => {
                answer.fault = Some(policies::fault(fault));
                if let Some(status) = policies::always_answered(fault) {
                    return Some(answered(status, "fault_filter_abort"));
                }
            }
            Filter::Cors(cors) => {
                if let Some(response) = state.run_cors(cors, view.method, view.fields) {
                    return Some(local(&response));
                }
            }
        }
    }
    None
}

fn without_route(unrouted: &Unrouted) -> Outcome {
    match unrouted {
        Unrouted::Refused(refusal) => answered(refusal.status(), refusal.detail()),
        Unrouted::Redirect(redirect) => local(redirect),
        Unrouted::Misdirected => answered(421, "misdirected_request"),
        Unrouted::NoRoute => answered(404, "route_not_found"),
        Unrouted::NotProxied(answer) => local(answer),
    }
}

/// The head that is sent to a target.
fn sent_head<'a>(context: &RequestContext<'a>, to: RouteTarget<'a>, view: &RequestView<'a>) -> String {
    let mut edits = Edits::default();
    let headers = &context.mesh_settings.headers;
    decision::edit_received(context, view, "<a new id>".into(), &mut edits);
    let parts = decision::request_head(context, to, view, (&policies::Asked(view), 1), &mut edits);
    let mut head = Vec::new();
    write_request_in(&mut head, &parts, &edits, Style { keep_case: headers.keep_case, http10: false });
    String::from_utf8_lossy(&head).replace("\r\n", "\n").trim_end().to_owned()
}

fn local(answer: &LocalAnswer) -> Outcome {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let body = (!answer.body.is_empty()).then(|| lossy(&answer.body));
    let location = answer.location.as_deref().map(lossy);
    let text = |(name, value): &(&str, ::text::FieldValue<'_>)| format!("{name}: {}", lossy(value));
    let headers = answer.fields.iter().map(text).collect();
    Outcome::Answered { status: answer.status, grpc: None, detail: answer.detail.to_owned(), location, headers, body }
}

fn answered(status: u16, detail: &str) -> Outcome {
    let headers = Vec::new();
    Outcome::Answered { status, grpc: None, detail: detail.to_owned(), location: None, headers, body: None }
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
    let (question, paths) = question::question(args)?;
    let settings = settings::settings(&args.workload)?;
    let explainer = Explainer::read(paths, args.workload.mesh_config.clone(), settings)?;
    let answer = explainer.ask(&question)?;
    match args.output {
        Output::Json => output::print(&format!("{}\n", serde_json::to_string_pretty(&answer)?))?,
        Output::Text => output::print(&text::text(&question, &answer))?,
    }
    Ok(ExitCode::SUCCESS)
}
