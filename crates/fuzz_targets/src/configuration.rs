//! Configuration: YAML to a snapshot, to the tables of the data plane, and to heads that are edited by them.

use crate::http1::prepared;
use crate::random::Random;
use compiler::{Memo, Settings, Workload, compile};
use ir::{FieldName, HostPattern, Listener, Operator, Service, Snapshot, TableId, TargetCluster, TcpRoute};
use resources::diagnostic::{Diagnostic, Severity};
use resources::read::{Reading, SourceText, documents, read, read_mesh_config};
use resources::set::{Absence, Change, ResourceSet};
use routing::{Facts, RouteEntry, Servers, Table, TcpEntry};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use wire::edit::Edits;
use wire::h1::request::RequestHead;
use wire::h1::response::{RequestKind, ResponseHead};
use wire::h1::{HeadError, HeadLimits, OutFraming, RequestParts, ResponseParts, write_request, write_response};
use wire::view::{Fields, RequestView};

/// The text of a file with objects. A document without the word `kind` is also read as mesh settings.
///
/// - An object is rejected only with an error, and an error rejects something. Findings are of one line, and their places are in the text.
/// - The snapshot does not depend on whether the objects came at once or in two steps.
/// - What a snapshot names is in it, each listener and table can be built, and each host is found in its table.
/// - Whatever headers, paths and redirects are configured, a head that is edited by them is exactly one head.
///
/// Returns whether there is an object without errors.
pub fn configuration(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let mut random = Random::of(data);
    let file: Arc<Path> = Path::new("in.yaml").into();
    let mut settings = Settings { workloads: vec![Workload::ingress(), Workload::egress()], ..Settings::default() };
    let (mut objects, mut diagnostics) = (Vec::new(), Vec::new());
    let mut absent = ir::Map::default();
    let mut valid = 0;
    for document in documents(text) {
        if !document.text.contains("kind") {
            let (mesh, found) = read_mesh_config(&file, document.text);
            settings.mesh = mesh;
            diagnostics.extend(found);
        }
        let reading = read(&file, document);
        check_reading(&reading);
        valid += reading.objects.len();
        objects.extend(reading.objects);
        for rejected in reading.rejected {
            match rejected.guard {
                Some(guard) => objects.push(guard),
                None => {
                    let (code, selector) = (rejected.code, rejected.selector);
                    absent.insert_mut(rejected.object, Absence::Invalid { code, selector });
                }
            }
        }
        diagnostics.extend(reading.diagnostics);
    }

    let (first, second) = objects.split_at(random.below(objects.len() + 1));
    let put = |objects: &[resources::set::AnyObject]| objects.iter().cloned().map(Change::Put).collect::<Vec<_>>();
    let before = ResourceSet::default().with(put(first));
    let set = before.with(put(second)).with_absent(absent);
    let compiled = compile(&set, &settings, &mut Memo::default());
    let mut memo = Memo::default();
    compile(&before, &settings, &mut memo);
    let stepped = compile(&set, &settings, &mut memo);
    assert!(stepped.snapshot == compiled.snapshot, "two steps give another snapshot than one");

    diagnostics.extend(compiled.report.located(&set));
    check_findings(text, &set, &diagnostics);
    check_snapshot(&compiled.snapshot, &mut random);
    valid > 0
}

fn check_reading(reading: &Reading) {
    let is_error = |diagnostic: &&Diagnostic| diagnostic.severity == Severity::Error;
    let errors: Vec<_> = reading.diagnostics.iter().filter(is_error).collect();
    for rejected in &reading.rejected {
        let told = errors.iter().any(|error| error.object.as_ref() == Some(&rejected.object));
        assert!(told, "{} is rejected without an error", rejected.object);
    }
    let is_kept = reading.rejected.is_empty() && !reading.unreadable;
    assert!(!is_kept || errors.is_empty(), "nothing is rejected for {errors:?}");
}

/// Findings are shown as `check` and the log show them.
fn check_findings(text: &str, set: &ResourceSet, diagnostics: &[Diagnostic]) {
    let mut source = SourceText::new(text.into());
    let lines = text.split('\n').count();
    // YAML takes CR alone for the end of a line, which no line of a file is counted by.
    let counts = !text.replace("\r\n", "\n").contains('\r');
    for diagnostic in diagnostics.iter().take(32) {
        let line = resources::render::line(diagnostic);
        assert!(!line.chars().any(|c| c.is_control()), "a finding is not one line: {line:?}");
        if let Some(position) = &diagnostic.position {
            assert!(!counts || position.line as usize <= lines, "{line}");
            resources::render::frame(diagnostic, source.line(position.line), false);
        }
        let Some(object) = &diagnostic.object else { continue };
        let place = set.source(object).and_then(|at| source.locate(object, at, &diagnostic.field));
        assert!(!counts || place.is_none_or(|(line, _)| source.line(line).is_some()), "{line}: {place:?}");
    }
}

fn check_snapshot(snapshot: &Snapshot, random: &mut Random) {
    assert!(serde_json::to_string(snapshot).is_ok());
    let mut named = BTreeSet::new();
    for (id, listener) in &snapshot.listeners {
        assert_eq!(*id, listener.id);
        check_listener(snapshot, listener, &mut named, random);
    }
    let tables: BTreeSet<&TableId> = snapshot.tables.keys().collect();
    assert_eq!(named, tables, "tables that listeners name, and tables of the snapshot");
    for table in snapshot.tables.values() {
        let built = Table::build(table, &mut |_| 0);
        assert_eq!(built.hosts(), table.hosts.size());
        for pattern in table.hosts.keys() {
            let name = match pattern {
                HostPattern::Exact(name) => name.to_string(),
                HostPattern::Suffix(suffix) => format!("fuzzed-name{suffix}"),
                HostPattern::Any => "fuzzed-name".to_owned(),
            };
            let found = built.host(&name);
            assert_eq!(found.map(|host| &host.pattern), Some(pattern), "{name}");
        }
        for host in table.hosts.values().take(8) {
            let Some(found) = built.covering(&host.pattern.to_string()).next() else { continue };
            for rule in found.rules.iter().take(8) {
                check_targets(snapshot, rule);
                check_edits(table, rule, random);
            }
        }
    }
}

fn check_listener<'a>(
    snapshot: &Snapshot,
    listener: &'a Listener,
    named: &mut BTreeSet<&'a TableId>,
    random: &mut Random,
) {
    let servers = Servers::build(listener);
    assert_eq!(servers.is_empty(), listener.tls.is_empty());
    for name in listener.tls.iter().flat_map(|server| &server.names) {
        let asked = match name {
            HostPattern::Exact(name) => Some(name.to_string()),
            HostPattern::Suffix(suffix) => Some(format!("fuzzed-name{suffix}")),
            HostPattern::Any => None,
        };
        let found = servers.pick(asked.as_deref()).and_then(|place| listener.tls.get(place));
        assert!(found.is_some_and(|server| server.names.contains(name)), "{name} is not found");
    }
    for service in listener.plain.iter().chain(listener.tls.iter().map(|server| &server.service)) {
        match service {
            Service::Http(table) => {
                named.insert(table);
            }
            Service::Tcp(route) => check_tcp(snapshot, route, random),
        }
    }
}

fn check_tcp(snapshot: &Snapshot, route: &Arc<TcpRoute>, random: &mut Random) {
    assert!(!route.targets.is_empty() && route.targets.iter().all(|target| target.weight > 0), "{route:?}");
    let entry = TcpEntry::build(route, &mut |_| 0);
    let chosen = entry.choose(|| random.next());
    assert!(entry.cluster(chosen).is_some());
    route.targets.iter().for_each(|target| check_cluster(snapshot, &target.cluster));
}

fn check_targets(snapshot: &Snapshot, rule: &RouteEntry) {
    let Some(forward) = rule.forward() else { return };
    forward.targets.iter().for_each(|target| check_cluster(snapshot, &target.cluster));
    forward.mirrors.iter().for_each(|mirror| check_cluster(snapshot, &mirror.cluster));
}

fn check_cluster(snapshot: &Snapshot, cluster: &TargetCluster) {
    if let TargetCluster::Known(id) = cluster {
        assert!(snapshot.clusters.get(id).is_some(), "{id} is not in the snapshot");
    }
}

/// Values that end lines, in the hope that one of them gets into a head.
struct Hostile<'a> {
    view: &'a RequestView<'a>,
    responds: bool,
}

impl Facts for Hostile<'_> {
    fn request(&self, name: &FieldName) -> Option<Cow<'_, [u8]>> {
        routing::substitute::of_request(self.view, name)
    }

    fn response(&self) -> Option<(u16, Fields<'_>)> {
        self.responds.then_some((200, self.view.fields))
    }

    fn put(&self, _: &Operator, out: &mut Vec<u8>) {
        out.extend_from_slice(b" a\r\ntransfer-encoding: chunked\r\n\r\n\0 ");
    }
}

/// A request and a response with all that a rule does to their heads.
fn check_edits(table: &ir::HttpTable, rule: &RouteEntry, random: &mut Random) {
    const TARGETS: [&str; 5] = ["/", "/a%20b?c=%0d%0a", "/a/..;/b//c", "/a?b=\"{}\"", "*"];
    let target = random.pick(&TARGETS).unwrap_or("/");
    let method = if target == "*" { "OPTIONS" } else { "GET" };
    let text =
        format!("{method} {target} HTTP/1.1\r\nhost: a.test\r\nx-a: b\r\ncookie: c=d\r\ncontent-length: 3\r\n\r\n");
    let buffer = text.as_bytes();
    let mut head = RequestHead::default();
    if !matches!(head.parse(buffer, &HeadLimits::default()), Ok(Some(_))) {
        return;
    }
    prepared(&head, buffer, table, |view| {
        let targets = rule.forward().map_or(0, |forward| forward.targets.len());
        let chosen = rule.choose(|| random.next());
        assert!(targets == 0 || chosen < targets);
        let facts = Hostile { view, responds: false };
        let mut edits = Edits::default();
        // A path that backends would read differently is refused when the request comes.
        if let Ok(rewritten) = rule.rewritten(view) {
            rule.edit_request(chosen, rewritten, view, &facts, &mut edits);
            let mut written = Vec::new();
            write_request(&mut written, &RequestParts::of(&head, view, None), &edits);
            let mut again = RequestHead::default();
            let length = again.parse(&written, &HeadLimits::default());
            check_length(length, &written);
            if length.is_ok() {
                assert_eq!(again.body, head.body, "{}", written.escape_ascii());
            }
        }
        let facts = Hostile { view, responds: true };
        let mut edits = Edits::default();
        rule.edit_response(chosen, &facts, &mut edits);
        let answer = rule.local_answer(view).unwrap_or_default();
        if let Some(location) = answer.location {
            edits.set("location", location);
        }
        let status = if answer.status == 0 { 200 } else { answer.status };
        let parts = ResponseParts {
            status,
            fields: view.fields,
            nominates: false,
            framing: OutFraming::None,
            upgrade: None,
            close: false,
        };
        let mut written = Vec::new();
        write_response(&mut written, &parts, &edits);
        let length = ResponseHead::default().parse(&written, RequestKind::Head, &HeadLimits::default());
        check_length(length, &written);
    });
}

/// The whole is one head; too many or too large headers can be configured.
fn check_length(length: Result<Option<usize>, HeadError>, written: &[u8]) {
    let is_large = matches!(length, Err(HeadError::TooManyFields | HeadError::TooLarge));
    assert!(is_large || length == Ok(Some(written.len())), "{length:?}: {}", written.escape_ascii());
}
