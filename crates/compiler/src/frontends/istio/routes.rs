//! The routes of one VirtualService for one Gateway and server port, in its own order (S-60, VS-10, VS-11, VS-18 to VS-20).

mod actions;
mod headers;
mod matches;

use crate::code;
use crate::context::CompileContext;
use crate::destinations::Asking;
use crate::frontends::istio::delegates::{self, Rule};
use crate::frontends::istio::references;
use crate::plan::bindings::BoundServer;
use crate::policies;
use crate::report::Notes;
use crate::texts;
use ir::{Action, Filter, MatchPath, ObjectKind, Origin, PathRewrite, Route, RouteMatch, StringMatch};
use matches::Unjudgeable;
use resources::set::Object;
use resources::spec::text_match::selects;
use resources::spec::virtual_service::{HttpMatch, VirtualService};
use std::sync::Arc;

/// Whether a rule has conditions on claims (VS-22).
pub(crate) fn has_claims(spec: &VirtualService) -> bool {
    spec.http.iter().flat_map(|rule| &rule.matches).any(matches::has_claims)
}

/// Compiles every rule that is for `target`, up to the first that takes everything.
pub(crate) fn compile_routes(
    context: CompileContext<'_>,
    object: &Object<VirtualService>,
    target: BoundServer<'_>,
    notes: &mut Notes,
) -> Arc<[Arc<Route>]> {
    let compiler = Compiler { context, object, target };
    let mut routes = Vec::with_capacity(object.spec.http.len());
    for rule in delegates::rules(context, object, notes) {
        // VS-49: what stands behind a rule that takes everything is never reached, which validation warns of.
        if compiler.rule(&rule, &mut routes, notes) {
            break;
        }
    }
    routes.into()
}

struct Compiler<'a> {
    context: CompileContext<'a>,
    object: &'a Object<VirtualService>,
    target: BoundServer<'a>,
}

impl Compiler<'_> {
    /// Adds the routes of a rule, and says whether it takes everything.
    fn rule(&self, rule: &Rule<'_>, routes: &mut Vec<Arc<Route>>, notes: &mut Notes) -> bool {
        if rule.rule.matches.is_empty() {
            routes.extend(self.route(rule, None, RouteMatch::default(), notes));
            return true;
        }
        for (at, entry) in rule.rule.matches.iter().enumerate() {
            if !self.is_for_target(entry) {
                continue;
            }
            let matches = match matches::compile_match(entry, &format!("{}.match[{at}]", rule.field), notes) {
                Ok(matches) => matches,
                Err(Unjudgeable) => continue,
            };
            if !matches.claims.is_empty() && !policies::is_authenticated(self.context, self.target.workload) {
                let message = format!(
                    "no RequestAuthentication is for the workload `{}`: no request has claims here",
                    self.target.workload.name.0
                );
                let help =
                    "add a RequestAuthentication that selects the workload, with a rule for the issuer of the tokens";
                notes.add_with_help(code::CLAIMS_UNVERIFIED, format!("{}.match[{at}]", rule.field), message, help);
            }
            let takes_all = matches.is_catch_all();
            routes.extend(self.route(rule, Some((at, entry)), matches, notes));
            if takes_all {
                return true;
            }
        }
        false
    }

    /// VS-18 to VS-20: whether an entry is for this Gateway, port and workload.
    fn is_for_target(&self, entry: &HttpMatch) -> bool {
        let BoundServer { workload, server, .. } = self.target;
        if entry.port.is_some_and(|port| port != 0 && port != u32::from(server.port)) {
            return false;
        }
        if entry.gateways.is_empty() {
            return selects(&entry.source_labels, &workload.labels)
                && (entry.source_namespace.is_empty() || *entry.source_namespace == *workload.namespace);
        }
        let domain = self.context.domain();
        let mut named = entry.gateways.iter().filter_map(|name| references::gateway(name, self.object, domain));
        named.any(|gateway| gateway == server.place.owner.object)
    }

    fn route(
        &self,
        rule: &Rule<'_>,
        entry: Option<(usize, &HttpMatch)>,
        mut matches: RouteMatch,
        notes: &mut Notes,
    ) -> Option<Arc<Route>> {
        let (namespace, name) = (&self.object.key.namespace, &self.object.key.name);
        let BoundServer { workload, server, .. } = self.target;
        let asking = Asking { workload, namespace: rule.namespace, server_port: server.port };
        let matched = actions::MatchedRule { rule: &rule.rule, path: &matches.path, field: &rule.field };
        let compiled = actions::compile_action(self.context, asking, matched, notes)?;
        if replaces_prefix(&compiled.action) && matches.path == MatchPath::Any {
            // VS-37: a rule without a path is one with the prefix `/`, of which just that is replaced.
            matches.path = MatchPath::Text { text: StringMatch::Prefix(texts::shared("/")), ignore_case: false };
        }
        Some(Arc::new(Route {
            stat_prefix: stat_prefix(entry),
            name: route_name(&rule.rule.name, entry.map_or("", |(_, entry)| &entry.name)),
            origin: Origin {
                kind: ObjectKind::VirtualService,
                namespace: Arc::clone(namespace),
                name: Arc::clone(name),
                rule: rule.path(entry.map(|(at, _)| at)),
            },
            matches,
            filters: filters(rule, &compiled.action, notes),
            action: compiled.action,
            request_headers: compiled.request_headers,
            response_headers: compiled.response_headers,
        }))
    }
}

/// The filters of a route. CORS is for requests that are forwarded (VS-46).
fn filters(rule: &Rule<'_>, action: &Action, notes: &mut Notes) -> Box<[Filter]> {
    let fault = actions::fault::compile(rule.rule.fault.as_deref()).map(Filter::Fault);
    let cors = match action {
        Action::Forward(_) => {
            actions::cors::compile(rule.rule.cors_policy.as_deref(), &format!("{}.corsPolicy", rule.field), notes)
        }
        Action::Redirect(_) | Action::Respond(_) => None,
    };
    Filter::in_order(fault.into_iter().chain(cors.map(Filter::Cors)))
}

fn replaces_prefix(action: &Action) -> bool {
    let rewrite = match action {
        Action::Forward(forward) => forward.rewrite.as_deref(),
        Action::Redirect(redirect) => redirect.path.as_ref(),
        Action::Respond(_) => None,
    };
    matches!(rewrite, Some(PathRewrite::Prefix(_)))
}

/// VS-21. Empty is none.
fn stat_prefix(entry: Option<(usize, &HttpMatch)>) -> Option<Arc<str>> {
    let prefix = entry.map(|(_, entry)| &entry.stat_prefix).filter(|prefix| !prefix.is_empty())?;
    Some(texts::shared(prefix))
}

/// VS-23.
fn route_name(rule: &str, entry: &str) -> Arc<str> {
    if entry.is_empty() { texts::shared(rule) } else { format!("{rule}.{entry}").into() }
}
