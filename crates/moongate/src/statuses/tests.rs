use super::*;
use crate::current::Current;
use sources::{Access, KubernetesSettings, KubernetesSource, Pace, watch};
use testkit::api_server::ApiServer;
use testkit::wait::TIMEOUT;

fn diagnostic(severity: Severity, code: &'static str, message: &str) -> Diagnostic {
    let (field, message) = ("spec.x".to_owned(), message.to_owned());
    Diagnostic { code, severity, object: None, field, position: None, message, help: None }
}

#[test]
fn every_code_has_a_name() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/diagnostics.md");
    let text = std::fs::read_to_string(file).unwrap();
    let codes: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("| MG")?.split(' ').next()).collect();
    assert!(codes.len() > 100);
    for code in codes.iter().map(|code| format!("MG{code}")) {
        assert!(!name(&code).starts_with("MG") && !name(&code).starts_with("Mg"), "{code}");
    }
    assert_eq!((name("MG0005"), name("MG8001").is_empty()), ("WrongValue".to_owned(), false));
}

#[test]
fn the_page_of_the_codes_is_a_url_or_none() {
    assert_eq!(documentation(""), None);
    let url = documentation("https://git.example.com/moongate").unwrap();
    assert_eq!(url, "https://git.example.com/moongate/blob/main/docs/diagnostics.md");
}

#[test]
fn a_status_names_the_gravest_findings_and_each_code_once() {
    let found = [
        diagnostic(Severity::Error, "MG8001", "unknown host `b`"),
        diagnostic(Severity::Error, "MG8001", "unknown host `c`"),
        diagnostic(Severity::Warning, "MG6018", "odd"),
    ];
    let all: Vec<&Diagnostic> = found.iter().collect();
    let one = status(&all, true);
    assert_eq!((one.reconciled, one.reason, one.messages.len()), (false, "Invalid", 2));
    let expected =
        "2 errors, 1 warning: MG8001 spec.x: unknown host `b`; MG8001 spec.x: unknown host `c`; MG6018 spec.x: odd";
    assert_eq!(one.message, expected);
    let one = status(&all[2..], true);
    assert_eq!((one.reconciled, &*one.message), (true, "applied; 1 warning: MG6018 spec.x: odd"));
    let one = status(&[], false);
    assert_eq!((one.reconciled, &*one.message, one.messages.len(), one.always), (true, "applied", 0, false));
    let long = diagnostic(Severity::Error, "MG8001", &"ü".repeat(5000));
    assert!(status(&[&long; 9], true).message.chars().count() <= LONGEST + 1);
}

/// A source of a server, and a sink whose statuses learn what it reads.
async fn source(server: &ApiServer) -> (KubernetesSource, StatusSink) {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("config");
    std::fs::write(&kubeconfig, server.kubeconfig()).unwrap();
    let write = WriteSettings { name: "gateway".into(), identity: "one".into(), statuses: true, publish: Vec::new() };
    let settings = KubernetesSettings {
        access: Access { kubeconfig: Some(kubeconfig), context: None },
        namespace: "istio-system".into(),
        mesh: None,
        certificates: None,
        with_nodes: false,
        state: None,
        pace: Pace::default(),
        write: Some(write),
    };
    let mut source = KubernetesSource::new(settings).await.unwrap();
    let (_, statuses) = source.writer().unwrap();
    let sink = StatusSink::new(statuses, [Workload::ingress()].into(), "cluster.local".into());
    (source, sink)
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_objects_of_others_are_left_alone() {
    let server = ApiServer::start().unwrap();
    let apply = |kind: &str, name: &str, spec: &str| {
        server.apply(&format!(
            "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: a}}\nspec: {spec}\n"
        ));
    };
    let gateway =
        |name: &str, selector: &str| apply("Gateway", name, &format!("{{selector: {selector}, servers: none}}"));
    gateway("own", "{istio: ingressgateway}");
    gateway("other", "{istio: other}");
    gateway("unreadable", "ingressgateway");
    let route = |name: &str, gateways: &str| {
        apply("VirtualService", name, &format!("{{hosts: [x.test], gateways: {gateways}, http: none}}"));
    };
    route("of-own", "[mesh, own]");
    route("of-nothing", "[nowhere]");
    route("of-others", "[other, unreadable]");
    route("of-mesh", "[mesh]");
    route("of-text", "own");
    let (source, sink) = source(&server).await;
    let mut watch = watch(source);
    let complete = async {
        loop {
            let loaded = watch.next().await.unwrap();
            if loaded.complete {
                return loaded;
            }
        }
    };
    let loaded = tokio::time::timeout(TIMEOUT, complete).await.unwrap();
    let current = Current {
        set: Arc::clone(&loaded.set),
        versions: loaded.versions.clone(),
        read: Arc::clone(&loaded.diagnostics),
        generation: 1,
        ..Current::default()
    };
    assert_eq!(loaded.set.gateways.size() + loaded.set.virtual_services.size(), 0);
    let found = Found::of(&current);
    let wanted = |kind: Kind, name: &str| {
        let object = ObjectRef { kind, key: Key::new("a", name) };
        assert!(current.versions.get(&object).is_some(), "{object}");
        sink.wanted(&object, &current, &found).map(|status| (status.reconciled, status.always))
    };
    let is_reported = Some((false, true));
    let gateways = ["own", "other", "unreadable"].map(|name| wanted(Kind::Gateway, name));
    assert_eq!(gateways, [is_reported, None, None]);
    let routes = ["of-own", "of-nothing", "of-others", "of-mesh", "of-text"];
    assert_eq!(routes.map(|name| wanted(Kind::VirtualService, name)), [is_reported, is_reported, None, None, None]);
}

#[tokio::test]
async fn versions_count_as_applied_once_no_part_of_the_process_is_behind() {
    let server = ApiServer::start().unwrap();
    let (_source, mut sink) = source(&server).await;
    let object = ObjectRef { kind: Kind::Gateway, key: Key::new("a", "g") };
    let at = |generation: i64, behind: &[Diagnostic]| {
        let version = ObjectVersion::new("1", Some(generation));
        let versions = [(object.clone(), version)].into_iter().collect();
        Current { versions, behind: behind.to_vec(), generation: 1, ..Current::default() }
    };
    let behind = [diagnostic(Severity::Error, "MG9004", "the workers have not applied it")];
    let reports = [at(1, &[]), at(2, &behind), at(2, &[])];
    let mut before = Current::default();
    let applied = reports.map(|current| {
        sink.receive(&Update { before: &before, current: &current, requested: false });
        before = current;
        sink.applied.get(&object).and_then(|version| version.generation)
    });
    assert_eq!(applied, [Some(1), Some(1), Some(2)]);
}
