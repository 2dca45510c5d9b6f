//! What the process's own log says once a configuration serves: what was read, where the pages for operators are, and what is served where.
//! It is the sink after the log of findings, so that these lines are the last of a start.

use crate::admin::{OperatorAddresses, READINESS, SCRAPED_METRICS};
use crate::cli::{Role, WorkloadArgs};
use crate::current::Current;
use crate::served::{self, By, Protocol};
use crate::sink::{ReportSink, Update};
use ir::{HostPattern, Listener, ListenerId, Snapshot};
use resources::diagnostic::Severity;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Hosts that a line names; of further ones it has the number.
const HOSTS: usize = 8;
/// Hosts of several tables up to which each is counted once.
const COUNTED: usize = 1024;
/// Listeners with lines of their own in one change; of further ones the log has the number.
const LISTENERS: usize = 32;

/// What is logged once, and the listeners that have been logged.
#[derive(Debug)]
pub(crate) struct StartUp {
    /// What was read, until it is logged.
    input: Option<Input>,
    operators: OperatorAddresses,
    open: BTreeSet<ListenerId>,
}

/// Where the configuration comes from.
#[derive(Debug)]
pub(crate) struct Input {
    /// As in the command line.
    pub(crate) paths: Vec<PathBuf>,
    /// The command that reports the findings; `None` where the input cannot be read again.
    pub(crate) check: Option<String>,
}

impl StartUp {
    pub(crate) fn new(input: Input, operators: OperatorAddresses) -> Self {
        Self { input: Some(input), operators, open: BTreeSet::new() }
    }

    /// Logs what was read and the pages, the first time, and each listener that has been opened or closed since the last time.
    fn log_serving(&mut self, current: &Current) {
        if let Some(input) = self.input.take() {
            self.log_input(&input, current);
            let OperatorAddresses { admin, ready, istio } = self.operators;
            tracing::info!(url = %url(admin, "/"), address = %admin, "admin pages");
            tracing::info!(url = %url(ready, READINESS), address = %ready, "readiness");
            if let Some((agent, proxy)) = istio {
                tracing::info!(url = %url(agent, SCRAPED_METRICS), address = %agent, "metrics and readiness at the port of Istio's agent");
                tracing::info!(url = %url(proxy, SCRAPED_METRICS), address = %proxy, "metrics at the port of Istio's proxy");
            }
        }
        let listening = &current.listening;
        let open: BTreeSet<&ListenerId> = listening.iter().map(|(id, _)| id).collect();
        for id in self.open.iter().filter(|id| !open.contains(id)) {
            tracing::info!(address = %id.address, "listener closed");
        }
        let new: Vec<_> = listening.iter().filter(|(id, _)| !self.open.contains(id)).collect();
        for (id, address) in new.iter().take(LISTENERS) {
            if let Some(listener) = current.snapshot.listeners.get(id) {
                log_listener(listener, *address, &current.snapshot);
            }
        }
        if let Some(further @ 1..) = new.len().checked_sub(LISTENERS) {
            tracing::info!(listeners = further, "further listeners serve; the admin page lists all of them");
        }
        self.open = open.into_iter().cloned().collect();
    }

    fn log_input(&self, input: &Input, current: &Current) {
        let found = current.diagnostics();
        let count = |severity: Severity| found.iter().filter(|one| one.severity == severity).count();
        let paths: Vec<String> = input.paths.iter().map(|path| path.display().to_string()).collect();
        let details = input.check.clone().unwrap_or_else(|| url(self.operators.admin, "/report?format=text"));
        tracing::info!(
            paths = paths.join(", "),
            objects = current.set.len(),
            errors = count(Severity::Error),
            warnings = count(Severity::Warning),
            notes = count(Severity::Info),
            details = (!found.is_empty()).then_some(details),
            "configuration read"
        );
    }
}

impl ReportSink for StartUp {
    fn receive(&mut self, update: &Update<'_>) {
        // Nothing has been applied yet where the mesh settings have errors.
        if update.current.generation > 0 {
            self.log_serving(update.current);
        }
    }
}

fn log_listener(listener: &Listener, address: SocketAddr, snapshot: &Snapshot) {
    // Where there is one workload, its name tells nothing.
    let mut workloads = snapshot.listeners.keys().map(|id| &id.workload);
    let is_only = workloads.all(|workload| *workload == listener.id.workload);
    let workload = (!is_only).then_some(&*listener.id.workload.0);
    let port = (listener.server_port != address.port()).then_some(listener.server_port);
    for ((protocol, lacks_certificate), what) in services(listener, snapshot) {
        let (hosts, routes) =
            (what.hosts.map(|hosts| hosts.list()), what.routes.map(|routes| list(&routes, routes.len())));
        if lacks_certificate {
            tracing::info!(
                %address, protocol = protocol.as_str(), workload, server_port = port, hosts, routes,
                "listening without a certificate, so that every TLS handshake fails"
            );
        } else {
            tracing::info!(%address, protocol = protocol.as_str(), workload, server_port = port, hosts, routes, "serving");
        }
    }
}

/// What a listener serves in one protocol.
#[derive(Debug, Default)]
struct What<'a> {
    hosts: Option<Hosts<'a>>,
    /// Rules of VirtualServices that say where bytes go.
    routes: Option<BTreeSet<String>>,
}

/// The hosts of a table.
type HostMap = ir::Map<HostPattern, Arc<ir::Host>>;

/// Hosts of tables, and names of TLS servers. There may be a hundred thousand, of which a line names a few.
#[derive(Debug, Default)]
struct Hosts<'a> {
    tables: Vec<&'a HostMap>,
    names: Vec<&'a HostPattern>,
}

impl Hosts<'_> {
    fn all(&self) -> impl Iterator<Item = &HostPattern> {
        self.tables.iter().flat_map(|table| table.keys()).chain(self.names.iter().copied())
    }

    /// The first of them, and how many more there are. A host of several tables is counted once, unless there are very many.
    fn list(&self) -> String {
        let firsts = self.tables.iter().flat_map(|table| table.keys().take(HOSTS));
        let mut named = BTreeSet::new();
        for host in firsts.chain(self.names.iter().copied()) {
            named.insert(host);
            if named.len() > HOSTS {
                named.pop_last();
            }
        }
        let total = self.tables.iter().map(|table| table.size()).sum::<usize>() + self.names.len();
        let total = if total <= COUNTED { self.all().collect::<HashSet<_>>().len() } else { total };
        list(&named.into_iter().map(ToString::to_string).collect(), total)
    }
}

/// What a listener serves, by protocol and whether all handshakes fail for want of a certificate.
fn services<'a>(listener: &'a Listener, snapshot: &'a Snapshot) -> BTreeMap<(Protocol, bool), What<'a>> {
    let mut services: BTreeMap<(Protocol, bool), What<'a>> = BTreeMap::new();
    for one in served::of(listener, snapshot) {
        let what = services.entry((one.protocol, one.lacks_certificate)).or_default();
        match one.by {
            By::Hosts(table) => what.hosts.get_or_insert_default().tables.push(&table.hosts),
            By::Route(origin) => {
                what.routes.get_or_insert_default().insert(origin.to_string());
                if !one.names.is_empty() {
                    what.hosts.get_or_insert_default().names.extend(one.names);
                }
            }
        }
    }
    services
}

/// Some of them by name, and how many more there are of `total`.
fn list(all: &BTreeSet<String>, total: usize) -> String {
    let named: Vec<&str> = all.iter().take(HOSTS).map(String::as_str).collect();
    match total.saturating_sub(named.len()) {
        0 if named.is_empty() => "none".to_owned(),
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// The URL at which a page of a bound address is found on this machine.
pub(crate) fn url(bound: SocketAddr, path: &str) -> String {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}{path}", SocketAddr::new(ip, bound.port()))
}

/// The command that reports what is found in these paths for this workload.
pub(crate) fn check_command(paths: &[PathBuf], workload: &WorkloadArgs) -> String {
    let mut words = vec!["moongate".to_owned(), "check".to_owned()];
    words.extend(paths.iter().map(|path| quoted(path)));
    let roles = |role: &Role| match role {
        Role::Ingress => "ingress",
        Role::Egress => "egress",
    };
    if workload.roles != [Role::Ingress] {
        words.push(format!("--as {}", workload.roles.iter().map(roles).collect::<Vec<_>>().join(",")));
    }
    if !workload.labels.is_empty() {
        let labels: Vec<String> = workload.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        words.push(format!("--labels {}", labels.join(",")));
    }
    if workload.namespace != "istio-system" {
        words.push(format!("--namespace {}", workload.namespace));
    }
    if let Some(path) = &workload.mesh_config {
        words.push(format!("--mesh-config {}", quoted(path)));
    }
    if let Some(locality) = &workload.locality {
        words.push(format!("--locality {}", quoted(Path::new(locality))));
    }
    if let Some(node) = &workload.node_name {
        words.push(format!("--node-name {}", quoted(Path::new(node))));
    }
    words.join(" ")
}

/// A path as one word of a shell.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,=@%:".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_an_address_that_a_client_can_connect_to() {
        let of = |text: &str| url(text.parse().unwrap(), "/x");
        assert_eq!(of("10.0.0.1:80"), "http://10.0.0.1:80/x");
        assert_eq!(of("0.0.0.0:15021"), "http://127.0.0.1:15021/x");
        assert_eq!(of("[::]:1"), "http://[::1]:1/x");
    }

    #[test]
    fn long_lists_end_with_a_number() {
        let numbers = |count: usize| (0..count).map(|number| number.to_string()).collect();
        assert_eq!(list(&numbers(0), 0), "none");
        assert_eq!(list(&numbers(8), 8), "0, 1, 2, 3, 4, 5, 6, 7");
        assert_eq!(list(&numbers(11), 11), "0, 1, 10, 2, 3, 4, 5, 6 and 3 more");
    }

    #[test]
    fn hosts_are_named_in_order_and_counted() {
        let host = |number: usize| HostPattern::parse(&format!("h{number:06}.test")).unwrap();
        let table = |from: usize, to: usize| {
            let shared = Arc::new(ir::Host { pattern: host(0), routes: [].into(), https_redirect: false });
            (from..to).map(|number| (host(number), Arc::clone(&shared))).collect::<HostMap>()
        };
        let text = |tables: &[&HostMap], names: &[HostPattern]| {
            Hosts { tables: tables.to_vec(), names: names.iter().collect() }.list()
        };
        assert_eq!(text(&[], &[]), "none");
        // A host of two servers is one host.
        assert_eq!(text(&[&table(1, 3), &table(2, 4)], &[]), "h000001.test, h000002.test, h000003.test");
        assert_eq!(text(&[&table(1, 2)], &[host(0), host(1)]), "h000000.test, h000001.test");
        let first = "h000000.test, h000001.test, h000002.test, h000003.test, h000004.test, h000005.test, h000006.test, h000007.test";
        assert_eq!(text(&[&table(8, 10), &table(0, 9)], &[]), format!("{first} and 2 more"));
        assert_eq!(text(&[&table(0, 100_000)], &[]), format!("{first} and 99992 more"));
    }

    #[test]
    fn the_check_command_reads_the_same_for_the_same_workload() {
        let ingress =
            WorkloadArgs { roles: vec![Role::Ingress], namespace: "istio-system".to_owned(), ..Default::default() };
        assert_eq!(check_command(&["./config".into()], &ingress), "moongate check ./config");
        let other = WorkloadArgs {
            roles: vec![Role::Ingress, Role::Egress],
            labels: vec![("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d".to_owned())],
            namespace: "edge".to_owned(),
            mesh_config: Some("mesh.yaml".into()),
            ..Default::default()
        };
        assert_eq!(
            check_command(&["a".into(), "it's here".into()], &other),
            r"moongate check a 'it'\''s here' --as ingress,egress --labels a=b,c=d --namespace edge --mesh-config mesh.yaml"
        );
    }
}
