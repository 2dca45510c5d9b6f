//! `moongate explain`: where a request would go, and why, from the very tables and functions that serve.

mod answer;
mod arrival;
mod authorization;
mod balance;
mod clusters;
mod external;
mod outcomes;
mod policies;
mod question;
mod received;
mod redirected;
mod secured;
mod targets;
mod text;
mod tokens;

pub use answer::{
    Answer, Begins, CheckAnswer, Failing, Hello, MirrorAnswer, Original, Outcome, PolicyAnswer, Question,
    SecuredAnswer, TargetAnswer, TokenAnswer,
};
pub use text::text;

use crate::cli::ExplainArgs;
use crate::mesh::Mesh;
use crate::output::{self, Output};
use crate::settings;
use anyhow::{Context, Result, bail};
use arrival::{Arrival, Served};
use compiler::{Memo, Settings};
use ir::{Filter, HttpTable, Listener, Service, Snapshot, TableId};
use outcomes::{answered, local, without_route};
use received::Received;
use resources::set::ResourceSet;
use routing::explain::RuleVerdict;
use routing::{FilterState, Pick, RouteAction, RouteEntry, RouteError, Scratch, Servers, Table, decision};
use sources::FileReader;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use targets::Targets;
use wire::forwarded::Peer;
use wire::view::RequestView;

/// A configuration that questions can be asked of.
pub struct Explainer {
    snapshot: Arc<Snapshot>,
    listeners: Vec<Served>,
    tables: BTreeMap<TableId, Table>,
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
                let arrival = Arrival::new(question, served, place);
                answer.outcome = arrival.closed(&mut answer).unwrap_or_else(|| Targets(&self.snapshot).bytes(route));
            }
            Some(Service::Http(id)) => {
                let table = self.snapshot.tables.get(id).zip(self.tables.get(id));
                let (http, table) = table.context("a listener names a table that is not there")?;
                let arrival = Arrival::new(question, served, place);
                self.ask_table(&arrival, http, table, &mut answer)?;
            }
        }
        Ok(answer)
    }

    /// What becomes of a redirected connection, and the request that it is taken for; an error if several servers could have received it. Of
    /// `question`, `tls` has the server name of a client that begins with TLS, and the rest is the request of one in clear text.
    pub fn ask_redirected(&self, original: &Original, question: &Question) -> Result<(Question, Answer)> {
        let found = redirected::server(&self.listeners, original.redirected_to)?;
        let Some(served) = found else {
            return Ok((question.clone(), Answer::new(None, redirected::no_server())));
        };
        let mut answer = Answer::new(Some(&served.listener), answered(400, "http1.codec_error"));
        let Some(Service::Http(id)) = served.listener.plain.as_ref() else {
            bail!("a listener for redirected connections does not serve HTTP");
        };
        let table = self.snapshot.tables.get(id).zip(self.tables.get(id));
        let (http, table) = table.context("a listener names a table that is not there")?;
        let (address, port) = (original.address.ip().to_canonical(), original.address.port());
        // Where the server may be the first to send, the client's octets have no part.
        let is_raw = table.forward().is_some_and(|list| list.is_raw(address, port));
        let begins = if is_raw { Begins::Other } else { original.begins };
        let asked = match redirected::taken_for(&Original { begins, ..*original }, question) {
            Ok(asked) => asked,
            Err(outcome) => return Ok((question.clone(), Answer { outcome, ..answer })),
        };
        let original_port = (begins == Begins::Http).then_some(port);
        let arrival = Arrival { question: &asked, served, place: None, destination: Some(address), original_port };
        self.ask_table(&arrival, http, table, &mut answer)?;
        answer.outcome = redirected::as_received(answer.outcome, begins);
        Ok((asked, answer))
    }

    fn ask_table(&self, arrival: &Arrival<'_>, http: &HttpTable, table: &Table, answer: &mut Answer) -> Result<()> {
        let listener = &*arrival.served.listener;
        let server = arrival.place.and_then(|place| listener.tls.get(place));
        let peer = Peer {
            address: &arrival.question.from.to_canonical().into(),
            scheme: if arrival.place.is_some() { "https" } else { "http" },
            trusted_proxies: http.settings.forwarded.trusted_proxies,
            certificate: secured::certificate(server, http.settings.forwarded.certificates),
            port: listener.mesh_settings.headers.forwarded_port.then(|| listener.id.address.port()),
        };
        let mut received = Received::new(arrival, http.settings, table, &peer);
        if let Some(refused) = received.parse()? {
            answer.outcome = refused;
            return Ok(());
        }
        if let Some(itself) = received.to_itself() {
            answer.outcome = itself;
            return Ok(());
        }
        answer.outcome = if let Some(denied) = arrival.unchecked(&received.context(), answer) {
            denied
        } else if let Some(refused) = received.authenticate(answer) {
            refused
        } else if let Some(refused) = received.find_user() {
            answer.outcome = refused;
            return Ok(());
        } else {
            self.decided(&received, answer)
        };
        if let Some(dialect) = received.context().dialect() {
            answer.outcome.explain_grpc(dialect);
        }
        Ok(())
    }

    /// What becomes of a request that has passed the gate.
    fn decided(&self, received: &Received<'_>, answer: &mut Answer) -> Outcome {
        let mut scratch = Scratch::default();
        match decision::prepare(&received.context(), &mut scratch) {
            Ok(view) => self.routed(received, &view, answer),
            Err(error) => without_route(&error),
        }
    }

    /// What becomes of a request that can be routed.
    fn routed(&self, received: &Received<'_>, view: &RequestView<'_>, answer: &mut Answer) -> Outcome {
        let Received { arrival, table, claims, .. } = received;
        let context = &received.context();
        if let Some(denied) = arrival.denied(context, view, claims, answer) {
            return denied;
        }
        if let Some(list) = table.forward() {
            return match decision::proxied(list, context, view) {
                Ok(route) => {
                    answer.host = Some(view.host.to_owned());
                    if view.method != b"CONNECT" {
                        let (origin, demands) = (route.config.origin.clone(), "the host and the port".to_owned());
                        answer.rules.push(RuleVerdict { origin, name: String::new(), demands, lost: None });
                    }
                    Targets(&self.snapshot).proxied(context, route, view)
                }
                Err(error) => {
                    // A ServiceEntry has the host, without the port.
                    let is_listed = matches!(&error, RouteError::ProxyReply(answer) if answer.rule.is_some());
                    answer.host = is_listed.then(|| view.host.to_owned());
                    without_route(&error)
                }
            };
        }
        let (explanation, route) = routing::explain::explain(table, view, claims);
        let picked = match route {
            Some(route) => Pick::Route(route),
            None if explanation.to_https => Pick::ToHttps,
            None => Pick::NoHost,
        };
        (answer.host, answer.rules) = (explanation.host, explanation.rules);
        let route = match decision::route(view, picked, |found| arrival.is_misdirected(view.host, found)) {
            Ok(route) => route,
            Err(error) => return without_route(&error),
        };
        if let Some(outcome) = filtered(route, view, answer) {
            return outcome;
        }
        match decision::act(route, view) {
            RouteAction::Respond(response) => local(&response),
            RouteAction::Refuse(refusal) => answered(refusal.status(), refusal.detail()),
            RouteAction::Forward(rewritten) => {
                Targets(&self.snapshot).forwarded(context, route, rewritten.as_ref(), view)
            }
        }
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

/// Answers one question on the command line.
pub(crate) fn command(args: &ExplainArgs) -> Result<ExitCode> {
    let (question, paths) = question::question(args)?;
    let original = question::original(args)?;
    let settings = settings::settings(&args.workload)?;
    let explainer = Explainer::read(paths, args.workload.mesh_config.clone(), settings)?;
    let (asked, answer) = match &original {
        Some(original) => explainer.ask_redirected(original, &question)?,
        None => (question.clone(), explainer.ask(&question)?),
    };
    let connection = original.map_or_else(String::new, |one| format!("{}\n", redirected::text(&one, &question)));
    match args.output {
        Output::Json => output::print(&format!("{}\n", serde_json::to_string_pretty(&answer)?))?,
        Output::Text => output::print(&format!("{connection}{}", text::text(&asked, &answer)))?,
    }
    Ok(ExitCode::SUCCESS)
}
