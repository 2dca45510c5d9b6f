mod helm;
mod template;

use super::*;
use crate::cli::{AutoscaleTarget, DRAIN, DRAIN_DELAY, Role};
use chart::chart;
use gateway::{SCRAPERS, USER};
use serde_json::{Value, json};
use sources::{Extent, Published, Written};

fn both() -> ManifestsArgs {
    ManifestsArgs {
        roles: vec![Role::Ingress, Role::Egress],
        namespace: "istio-system".to_owned(),
        image: "moongate:0.1.0".to_owned(),
        without_namespace: false,
        publish_address: Vec::new(),
        autoscale: vec!["cpu=80".parse().unwrap()],
        drain_delay: DRAIN_DELAY,
        drain: DRAIN,
        run: Vec::new(),
        chart: false,
    }
}

fn of_kind<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
    all.iter().filter(|one| one.get("kind").and_then(Value::as_str) == Some(kind)).collect()
}

fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    value.pointer(path).unwrap_or_else(|| panic!("no {path} in {value}"))
}

#[test]
fn roles_allow_what_is_watched_and_written_and_nothing_else() {
    let published = ManifestsArgs { publish_address: vec![Published::parse("192.0.2.1")], ..both() };
    for args in [both(), published] {
        for (kind, extent) in [("ClusterRole", Extent::Cluster), ("Role", Extent::OwnNamespace)] {
            let all = objects(&args);
            let [ingress, egress] = of_kind(&all, kind)[..] else { panic!("two roles") };
            for (role, addresses) in [(ingress, !args.publish_address.is_empty()), (egress, false)] {
                let expected = sources::rules(extent, Written { statuses: true, addresses });
                let found = at(role, "/rules").as_array().unwrap();
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    assert_eq!(*at(found, "/apiGroups"), json!([expected.group]));
                    assert_eq!(*at(found, "/resources"), json!(expected.resources));
                    assert_eq!(*at(found, "/verbs"), json!(expected.verbs));
                    let names = expected.is_for_own_name.then(|| json!([at(role, "/metadata/labels/app")]));
                    assert_eq!(found.get("resourceNames"), names.as_ref());
                }
            }
        }
    }
}

#[test]
fn addresses_are_published_where_it_is_said_and_by_the_ingress_alone() {
    let args =
        ManifestsArgs { publish_address: vec![Published::parse("192.0.2.1"), Published::parse("lb.test")], ..both() };
    let arguments = |all: &[Value]| {
        let deployments = of_kind(all, "Deployment");
        deployments.iter().map(|one| at(one, "/spec/template/spec/containers/0/args").to_string()).collect::<Vec<_>>()
    };
    let [ingress, egress] = &arguments(&objects(&args))[..] else { panic!("two Deployments") };
    assert!(ingress.contains("--publish-address=192.0.2.1\",\"--publish-address=lb.test"), "{ingress}");
    assert!(!egress.contains("publish"), "{egress}");
    assert!(!arguments(&objects(&both())).concat().contains("publish"));
}

#[test]
fn the_service_is_that_of_istio_and_finds_the_pods() {
    let all = objects(&both());
    let [ingress, egress] = of_kind(&all, "Service")[..] else { panic!("two Services") };
    assert_eq!(
        (at(ingress, "/metadata/name"), at(ingress, "/spec/type")),
        (&json!("istio-ingressgateway"), &json!("LoadBalancer"))
    );
    assert_eq!(at(ingress, "/metadata/labels/istio"), "ingressgateway");
    let ports = |service: &Value| {
        let ports = at(service, "/spec/ports").as_array().unwrap().clone();
        ports.iter().map(|port| (at(port, "/port").clone(), at(port, "/targetPort").clone())).collect::<Vec<_>>()
    };
    assert_eq!(ports(ingress), [(json!(15021), json!(15021)), (json!(80), json!(8080)), (json!(443), json!(8443))]);
    assert_eq!((at(egress, "/spec/type"), ports(egress).len()), (&json!("ClusterIP"), 2));
    for (service, deployment) in [ingress, egress].into_iter().zip(of_kind(&all, "Deployment")) {
        let (selector, labels) = (at(service, "/spec/selector"), at(deployment, "/spec/template/metadata/labels"));
        assert!(selector.as_object().unwrap().iter().all(|(name, value)| labels.get(name) == Some(value)));
        assert_eq!(at(deployment, "/spec/selector/matchLabels"), at(service, "/spec/selector"));
        let container = at(deployment, "/spec/template/spec/containers/0");
        let opened: Vec<&Value> =
            at(container, "/ports").as_array().unwrap().iter().map(|port| at(port, "/containerPort")).collect();
        assert!(ports(service).iter().all(|(_, target)| opened.contains(&target)), "{container}");
    }
}

#[test]
fn containers_have_no_rights_and_no_disk() {
    for deployment in of_kind(&objects(&both()), "Deployment") {
        let pod = at(deployment, "/spec/template/spec");
        assert_eq!(
            (at(pod, "/securityContext/runAsNonRoot"), at(pod, "/securityContext/runAsUser")),
            (&json!(true), &json!(USER))
        );
        let context = at(pod, "/containers/0/securityContext");
        assert_eq!(at(context, "/readOnlyRootFilesystem"), &json!(true));
        assert_eq!(
            (at(context, "/capabilities/drop/0"), at(context, "/allowPrivilegeEscalation")),
            (&json!("ALL"), &json!(false))
        );
    }
}

#[test]
fn the_arguments_of_the_container_are_those_of_the_program() {
    check_arguments(&both()).unwrap();
    let with = |run: &[&str]| ManifestsArgs { run: run.iter().map(|one| (*one).to_owned()).collect(), ..both() };
    let more = with(&["--limit", "idle-timeout=10m"]);
    check_arguments(&more).unwrap();
    for deployment in of_kind(&objects(&more), "Deployment") {
        let arguments = at(deployment, "/spec/template/spec/containers/0/args").to_string();
        assert!(arguments.ends_with(r#""--limit","idle-timeout=10m"]"#), "{arguments}");
    }
    let error = check_arguments(&with(&["--limits", "idle-timeout=10m"])).unwrap_err().to_string();
    assert!(error.contains("'--limits'"), "{error}");
}

#[test]
fn a_pod_has_the_time_to_drain() {
    let of = |args: &ManifestsArgs| {
        let all = objects(args);
        let deployments = of_kind(&all, "Deployment");
        let pods = deployments.iter().map(|one| at(one, "/spec/template/spec"));
        let pods = pods
            .map(|pod| (at(pod, "/terminationGracePeriodSeconds").clone(), at(pod, "/containers/0/args").to_string()));
        pods.collect::<Vec<_>>()
    };
    for (grace, arguments) in of(&both()) {
        assert!(grace == 55 && arguments.contains(r#""--drain-delay=15","--drain=30""#), "{grace} {arguments}");
    }
    for (grace, arguments) in of(&ManifestsArgs { drain_delay: 20, drain: 300, ..both() }) {
        assert!(grace == 330 && arguments.contains(r#""--drain-delay=20","--drain=300""#), "{grace} {arguments}");
    }
}

#[test]
fn the_autoscaler_looks_at_what_it_is_told() {
    let autoscale = ["cpu=50", "requests=1000", "connections=20"].map(|one| one.parse().unwrap()).to_vec();
    let all = objects(&ManifestsArgs { autoscale, ..both() });
    let metrics = at(of_kind(&all, "HorizontalPodAutoscaler")[0], "/spec/metrics").clone();
    assert_eq!(*at(&metrics, "/0/resource/target/averageUtilization"), json!(50));
    let pods = |at_index: usize| {
        let metric = at(&metrics, &format!("/{at_index}/pods"));
        (at(metric, "/metric/name").clone(), at(metric, "/target/averageValue").clone())
    };
    assert_eq!(pods(1), (json!("istio_requests_per_second"), json!("1000")));
    assert_eq!(pods(2), (json!("moongate_downstream_connections_open"), json!("20")));
    for wrong in ["cpu", "cpu=0", "cpu=-1", "memory=80", "requests=many", ""] {
        assert!(wrong.parse::<AutoscaleTarget>().is_err(), "{wrong}");
    }
}

/// Each file has objects of its own, so that Kustomize takes any of them together.
#[test]
fn the_folder_deploy_has_what_is_printed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kustomize");
    let namespace = text(&ManifestsArgs { roles: Vec::new(), ..both() });
    let of = |role| text(&ManifestsArgs { roles: vec![role], without_namespace: true, ..both() });
    for (file, expected) in
        [("namespace.yaml", namespace), ("ingress.yaml", of(Role::Ingress)), ("egress.yaml", of(Role::Egress))]
    {
        let found = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        let command = "cargo run -- manifests --without-namespace";
        assert_eq!(found, expected, "run `{command}` for deploy/kustomize/{file}");
    }
}

#[test]
fn pods_are_left_alone_by_injectors_and_spread_over_nodes() {
    for deployment in of_kind(&objects(&both()), "Deployment") {
        let template = at(deployment, "/spec/template");
        assert_eq!(at(template, "/metadata/labels")["sidecar.istio.io/inject"], "false");
        // The selector of a Deployment cannot be changed later.
        let selector = at(deployment, "/spec/selector/matchLabels");
        assert_eq!(selector.as_object().unwrap().len(), 2);
        let spread = at(template, "/spec/topologySpreadConstraints/0");
        assert_eq!(at(spread, "/topologyKey"), "kubernetes.io/hostname");
        assert_eq!(at(spread, "/whenUnsatisfiable"), "ScheduleAnyway");
        assert_eq!(at(spread, "/labelSelector/matchLabels"), selector);
    }
}

#[test]
fn evictions_take_one_replica_at_a_time() {
    for budget in of_kind(&objects(&both()), "PodDisruptionBudget") {
        assert_eq!((at(budget, "/spec/maxUnavailable"), budget.pointer("/spec/minAvailable")), (&json!(1), None));
    }
}

#[test]
fn every_port_is_open_to_all_but_those_of_the_metrics() {
    for policy in of_kind(&objects(&both()), "NetworkPolicy") {
        assert_eq!(at(policy, "/spec/policyTypes"), &json!(["Ingress"]));
        let rules = at(policy, "/spec/ingress").as_array().unwrap();
        let ports = |rule: &Value| {
            let ranges = at(rule, "/ports").as_array().unwrap().clone();
            let ranges = ranges.into_iter().map(|one| {
                let begin = at(&one, "/port").as_u64().unwrap();
                begin..=one.get("endPort").map_or(begin, |end| end.as_u64().unwrap())
            });
            ranges.flatten().collect::<Vec<u64>>()
        };
        let [open, scraped] = &rules[..] else { panic!("two rules") };
        assert_eq!(open.get("from"), None);
        assert_eq!(ports(scraped), [15020, 15090]);
        let expected = (1..=65535).filter(|port| ![15020, 15090].contains(port));
        assert!(expected.eq(ports(open)));
        let labelled = json!({"namespaceSelector": {"matchLabels": {SCRAPERS: "true"}}});
        assert_eq!(at(scraped, "/from"), &json!([{"podSelector": {}}, labelled]));
    }
}

/// DR-41: it is one of the places where authorities are looked for.
#[test]
fn the_image_has_the_authorities_of_a_system() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/Containerfile");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, image) = text.split_once("\nFROM scratch\n").unwrap();
    let copied = "COPY --from=authorities /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt\n";
    assert!(image.contains(copied), "{image}");
}
