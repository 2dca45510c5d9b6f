//! The gateway in Pods of a real cluster: the objects of `moongate manifests`, its controllers, and processes as containers. Requests come by
//! the address of the Service of type LoadBalancer.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use testkit::client;
use testkit::cluster::{self, Cluster};
use testkit::kubelet::{Images, Kubelet};
use testkit::load::{Load, OpenStream};
use testkit::metrics_api::{MetricsApi, Rule};
use testkit::network::{self, Family, Network};
use testkit::secured::Certificates;
use testkit::service_proxy::ServiceProxy;
use testkit::wait;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");
/// What an adapter of Prometheus is told in docs/kubernetes.md.
const RULES: &[Rule] = &[
    Rule { name: "istio_requests_per_second", series: "istio_requests_total", is_rate: true },
    Rule {
        name: "moongate_downstream_connections_open",
        series: "moongate_downstream_connections_open",
        is_rate: false,
    },
];
const DEPLOYMENT: &str = "deployment/istio-ingressgateway";

/// A backend with two Pods, and a way to it.
const SITE: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: echo
        image: echo
        args: [echo, --listen, "[::]:8080", --name, $(NAME)]
        env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        # It is left out before it ends, however long the controllers of a loaded machine take for it.
        lifecycle: {preStop: {sleep: {seconds: 15}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: site, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec:
  hosts: [web.test]
  gateways: [site]
  http: [{route: [{destination: {host: web, port: {number: 80}}}]}]
"#;

/// The same host by TLS. Its Secret is in the namespace of the gateway.
const SECURE: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: secure, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ["*"]
    tls: {mode: SIMPLE, credentialName: web}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: secure, namespace: default}
spec:
  hosts: [web.test]
  gateways: [secure]
  http: [{route: [{destination: {host: web, port: {number: 80}}}]}]
"#;

/// A Namespace with a host of its own.
const SHOP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: echo, image: echo, readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}}]}
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: shop}
spec: {selector: {app: shop}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Secret
metadata: {name: shop, namespace: shop}
stringData: {key: value}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.test]
  gateways: [default/site]
  http: [{route: [{destination: {host: shop, port: {number: 80}}}]}]
"#;

/// The Pods of a Deployment.
#[derive(Clone, Copy)]
struct Pods {
    namespace: &'static str,
    deployment: &'static str,
    labels: &'static str,
}

const OF_GATEWAY: Pods = Pods { namespace: "istio-system", deployment: DEPLOYMENT, labels: "istio=ingressgateway" };
const OF_WEB: Pods = Pods { namespace: "default", deployment: "deployment/web", labels: "app=web" };

/// A cluster with Istio's kinds and the gateway, with the parts that make it one.
struct World {
    kubelet: Kubelet,
    _proxy: ServiceProxy,
    cluster: Cluster,
}

impl World {
    /// `arguments`: those of `moongate manifests`. With an address to publish among them the cluster has no load balancer that gives one.
    fn new(network: &Network, arguments: &[&str]) -> Option<Self> {
        let cluster = cluster::start_in(network).unwrap()?;
        let program = |name: &str, arguments: &str| {
            (name.to_owned(), (PROGRAM.into(), arguments.split_whitespace().map(str::to_owned).collect()))
        };
        let echo = |name: &str, port: u16| program(name, &format!("echo --listen [::]:{port} --name {name}"));
        let images: Images = [
            program(concat!("moongate:", env!("CARGO_PKG_VERSION")), ""),
            echo("echo", 8080),
            // Those of Istio's samples; what they are is not asked here.
            echo("bookinfo-productpage", 9080),
            echo("bookinfo-details", 9080),
            echo("bookinfo-ratings", 9080),
            echo("bookinfo-reviews", 9080),
            echo("helloworld-v1", 5000),
            echo("helloworld-v2", 5000),
            echo("httpbin", 8080),
        ]
        .into();
        let kubelet = Kubelet::start(network, &cluster, images).unwrap();
        let proxy = ServiceProxy::start(network, &cluster, !arguments.contains(&"--publish-address")).unwrap();
        cluster.apply_file(&cluster.istio()).unwrap();
        cluster.wait_for_kinds().unwrap();
        let world = Self { kubelet, _proxy: proxy, cluster };
        world.install(arguments);
        Some(world)
    }

    /// Applies what `moongate manifests` prints.
    fn install(&self, arguments: &[&str]) {
        let manifests = Command::new(PROGRAM).arg("manifests").args(arguments).output().unwrap();
        self.cluster.apply(&String::from_utf8(manifests.stdout).unwrap()).unwrap();
    }

    /// Does something under load, of which no request may notice anything.
    fn unharmed(&self, address: SocketAddr, what: &str, change: impl FnOnce()) {
        self.unharmed_all(vec![Load::start(address, &["web.test"])], what, change);
    }

    /// The same with several loads at a time.
    fn unharmed_all(&self, loads: Vec<Load>, what: &str, change: impl FnOnce()) {
        loads.iter().for_each(|load| wait::until("requests flow", || load.answered() > 20));
        change();
        for load in loads {
            let before = load.answered();
            wait::until("requests still flow", || load.answered() > before + 20);
            let outcome = load.end();
            let logs = || self.kubelet.logs("istio-ingress");
            assert!(outcome.failures.is_empty(), "{what}: {:#?}\n{}", outcome.failures, logs());
        }
    }

    fn of_gateway(&self, words: &[&str]) -> String {
        self.cluster.must(&[&["-n", "istio-system"], words].concat()).unwrap()
    }

    /// So many replicas, all of them ready.
    fn scale(&self, replicas: u8) {
        self.of_gateway(&["scale", DEPLOYMENT, &format!("--replicas={replicas}")]);
        self.settled(replicas);
    }

    /// Waits until there are so many Pods of the gateway, all of them ready and none of them about to end.
    fn settled(&self, replicas: u8) -> BTreeSet<String> {
        self.settled_of(OF_GATEWAY, replicas)
    }

    fn settled_of(&self, of: Pods, replicas: u8) -> BTreeSet<String> {
        let kubectl = |words: &[&str]| self.cluster.must(&[&["-n", of.namespace], words].concat()).unwrap();
        kubectl(&["rollout", "status", of.deployment, "--timeout=120s"]);
        let mut pods = BTreeSet::new();
        let rows = "-o=custom-columns=:metadata.name,:metadata.deletionTimestamp,:status.containerStatuses[0].ready";
        wait::patiently("the replicas are ready, and no others are left", || {
            let shown = kubectl(&["get", "pods", "-l", of.labels, "--no-headers", rows]);
            let ready = shown.lines().filter(|line| line.contains("<none>") && line.ends_with("true"));
            pods = ready.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
            pods.len() == usize::from(replicas) && shown.lines().count() == pods.len()
        });
        pods
    }

    /// The external address of the Service of the gateway, as kubectl shows it.
    fn external(&self) -> String {
        let services = self.of_gateway(&["get", "svc"]);
        let ingress = services.lines().find(|line| line.starts_with("istio-ingressgateway")).unwrap();
        let columns: Vec<&str> = ingress.split_whitespace().collect();
        assert_eq!(columns[1], "LoadBalancer", "{services}");
        columns[3].to_owned()
    }

    /// Where the Service of the gateway is reached from outside.
    fn address(&self) -> SocketAddr {
        let mut address = None;
        wait::patiently("the Service has an external address", || {
            let path = "-o=jsonpath={.status.loadBalancer.ingress[0].ip}";
            address = self.of_gateway(&["get", "svc", "istio-ingressgateway", path]).parse().ok();
            address.is_some()
        });
        SocketAddr::new(address.unwrap(), 80)
    }
}

fn status(address: SocketAddr, host: &str) -> Option<u16> {
    client::get(address, host, "/").ok().map(|answer| answer.status)
}

#[test]
fn replicas_come_and_go_under_load_and_nothing_is_lost() {
    network::within(|network| {
        let Some(world) = World::new(network, &[]) else { return };
        world.cluster.apply(SITE).unwrap();
        world.cluster.apply(SECURE).unwrap();
        let file = |end: &str| format!("{}/../../oracle/certs/back0.{end}", env!("CARGO_MANIFEST_DIR"));
        let (certificate, key) = (format!("--cert={}", file("crt")), format!("--key={}", file("key")));
        world.of_gateway(&["create", "secret", "tls", "web", &certificate, &key]);
        // Without metrics of the CPU the autoscaler would only warn; here the test scales.
        world.of_gateway(&["delete", "hpa", "istio-ingressgateway"]);
        world.scale(3);
        let address = world.address();
        assert_eq!(world.external(), address.ip().to_string());
        wait::patiently("the backend is served", || status(address, "web.test") == Some(200));

        let first = world.settled(3);
        let secure = SocketAddr::new(address.ip(), 443);
        let loads = vec![Load::start(address, &["web.test"]), Load::start_http2(secure, "web.test")];
        let mut stream = OpenStream::start(secure, "web.test").unwrap();
        stream.send("begun before, ").unwrap();
        world.unharmed_all(loads, "a rolling update", || {
            world.of_gateway(&["rollout", "restart", DEPLOYMENT]);
            // A stream that is open when its replica ends is served to its end.
            wait::patiently("the end of its connection is announced", || stream.is_going_away());
            stream.send("ended after").unwrap();
            let (status, answer) = stream.end().unwrap();
            assert!(status == 200 && answer.contains("begun before, ended after"), "{status} {answer}");
            assert!(world.settled(3).is_disjoint(&first), "every Pod is another one");
        });
        world.unharmed(address, "more replicas, and fewer", || {
            world.scale(5);
            world.scale(1);
            world.scale(3);
        });

        // What a replica was about to answer when it was killed is lost, and nothing else: it is left out, and starts again.
        let pods = world.settled(3);
        let victim = pods.first().unwrap();
        let path = "-o=jsonpath={.status.containerStatuses[0].containerID}";
        let id = world.of_gateway(&["get", "pod", victim, path]);
        let (_, pid) = id.split_once("://").unwrap();
        let load = Load::start(address, &["web.test"]);
        wait::until("requests flow", || load.answered() > 20);
        assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
        wait::patiently("the container has started again", || {
            let path = "-o=jsonpath={.status.containerStatuses[0].restartCount}{.status.containerStatuses[0].ready}";
            world.of_gateway(&["get", "pod", victim, path]) == "1true"
        });
        let answers: Vec<String> = load.end().failures.into_iter().filter(|one| one.contains("HTTP/1.1")).collect();
        assert!(answers.is_empty(), "no request gets a wrong answer: {answers:?}");
        world.unharmed(address, "the time after", || assert_eq!(world.settled(3), pods));
    });
}

/// Pods, Services, the API server and what is published have no address of IPv4.
#[test]
fn a_cluster_of_ipv6_alone_is_served_as_any_other() {
    network::within_family(Family::V6, |network| {
        let published = Family::V6.balanced(20).to_string();
        let Some(world) = World::new(network, &["--publish-address", &published]) else { return };
        world.cluster.apply(SITE).unwrap();
        world.of_gateway(&["delete", "hpa", "istio-ingressgateway"]);
        world.scale(2);
        let address = world.address();
        assert_eq!((address.ip().to_string(), world.external()), (published.clone(), published));
        wait::patiently("the backend is served", || status(address, "web.test") == Some(200));
        wait::patiently("the status is written", || {
            let path = r#"-o=jsonpath={.status.conditions[?(@.type=="Reconciled")].status}"#;
            world.cluster.must(&["get", "gateways.networking.istio.io", "site", path]).unwrap() == "True"
        });
        world.unharmed(address, "a rolling update", || {
            let first = world.settled(2);
            world.of_gateway(&["rollout", "restart", DEPLOYMENT]);
            assert!(world.settled(2).is_disjoint(&first), "every Pod is another one");
        });
    });
}

#[test]
fn backends_and_namespaces_come_and_go_under_load_and_nothing_else_is_lost() {
    network::within(|network| {
        let Some(world) = World::new(network, &["--as", "ingress,egress"]) else { return };
        world.cluster.apply(SITE).unwrap();
        world.cluster.apply(SHOP).unwrap();
        // No Gateway selects the one for egress, which is ready all the same.
        for gateway in [DEPLOYMENT, "deployment/istio-egressgateway"] {
            world.of_gateway(&["rollout", "status", gateway, "--timeout=120s"]);
        }
        let address = world.address();
        for host in ["web.test", "shop.test"] {
            wait::patiently("the backends are served", || status(address, host) == Some(200));
        }

        let first = world.settled_of(OF_WEB, 2);
        world.unharmed(address, "a rolling update of the backend", || {
            world.cluster.must(&["rollout", "restart", OF_WEB.deployment]).unwrap();
            assert!(world.settled_of(OF_WEB, 2).is_disjoint(&first), "every Pod is another one");
        });

        world.unharmed(address, "a Namespace is deleted", || {
            world.cluster.must(&["delete", "namespace", "shop", "--timeout=120s"]).unwrap();
            let asked = world.cluster.kubectl(&["get", "namespace", "shop"]).unwrap();
            assert!(String::from_utf8_lossy(&asked.stderr).contains("NotFound"), "{asked:?}");
            wait::patiently("its host is gone", || status(address, "shop.test") == Some(404));
        });
    });
}

#[test]
fn the_autoscaler_follows_the_metrics_and_evictions_keep_to_the_budget() {
    network::within(|network| {
        let Some(world) = World::new(network, &[]) else { return };
        let tls = Certificates::of_project().unwrap().backend("back0", None).unwrap();
        let _metrics = MetricsApi::start(&world.cluster, &tls, (15020, "/stats/prometheus"), RULES).unwrap();
        world.cluster.apply(SITE).unwrap();
        let address = world.address();
        wait::patiently("the backend is served", || status(address, "web.test") == Some(200));
        let replicas = || world.of_gateway(&["get", DEPLOYMENT, "-o=jsonpath={.spec.replicas}"]);
        // The least that the autoscaler keeps.
        wait::patiently("there are two", || replicas() == "2");

        let autoscaler = || {
            let path = "-o=jsonpath={.status}";
            world.of_gateway(&["get", "hpa", "istio-ingressgateway", path])
        };
        for target in ["requests=10", "connections=1", "cpu=50"] {
            world.install(&["--autoscale", target]);
            let mut state = String::new();
            let mut is = |expected: &dyn Fn(&str) -> bool| {
                let now = autoscaler();
                if now != state {
                    println!("{target}: {now}");
                    state = now;
                }
                expected(&replicas())
            };
            world.unharmed(address, target, || {
                // The connections of the load alone can be one for each of two replicas, which is just what `connections=1` asks for.
                let more: Vec<Load> = (0..3).map(|_| Load::start(address, &["web.test"])).collect();
                wait::patiently("there are more replicas", || is(&|replicas| replicas > "2"));
                for load in more {
                    assert_eq!(load.end().failures, [""; 0], "{target}");
                }
            });
            wait::patiently("there are fewer again", || is(&|replicas| replicas == "2"));
        }

        // Of two that are ready one may be evicted, and under load nobody notices. The load is not to add replicas.
        world.of_gateway(&["delete", "hpa", "istio-ingressgateway"]);
        world.scale(2);
        let evict = |pod: &str| {
            let eviction = serde_json::json!({
                "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "istio-system"},
            });
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), eviction.to_string()).unwrap();
            let path = format!("/api/v1/namespaces/istio-system/pods/{pod}/eviction");
            let done =
                world.cluster.kubectl(&["create", "--raw", &path, "-f", &file.path().display().to_string()]).unwrap();
            (done.status.success(), String::from_utf8(done.stderr).unwrap())
        };
        // How many replicas are expected, are healthy, and may be evicted.
        let allowed = |number: &str| {
            let path = "-o=jsonpath={.status.expectedPods} {.status.currentHealthy} {.status.disruptionsAllowed}";
            wait::patiently("the budget is known", || {
                world.of_gateway(&["get", "pdb", "istio-ingressgateway", path]) == number
            });
        };
        allowed("2 2 1");
        // Of more replicas it is still one at a time.
        world.scale(4);
        allowed("4 4 1");
        world.scale(2);
        let pods = world.settled(2);
        let victim = pods.first().unwrap();
        world.unharmed(address, "an eviction", || {
            assert_eq!(evict(victim), (true, String::new()));
            assert!(!world.settled(2).contains(victim));
        });
    });
}

#[test]
fn the_samples_of_istio_are_applied_unchanged_and_reached_by_the_load_balancer() {
    network::within(|network| {
        let published = IpAddr::from([192, 0, 2, 200]);
        let Some(world) = World::new(network, &["--publish-address", &published.to_string()]) else { return };
        let address = world.address();
        assert_eq!((address.ip(), world.external()), (published, published.to_string()));
        let curl = |path: &str| {
            let url = format!("http://{address}{path}");
            let output = Command::new("curl").args(["-s", "-w", "\n%{http_code}", &url]).output().unwrap();
            let output = String::from_utf8(output.stdout).unwrap();
            let (body, code) = output.rsplit_once('\n').unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
            (code.to_owned(), body.get("backend").and_then(|name| name.as_str()).map(str::to_owned))
        };
        let served_by = |path: &str, name: &str| {
            wait::patiently(&format!("{path} is served by {name}"), || {
                curl(path) == ("200".to_owned(), Some(name.to_owned()))
            });
        };
        let with = |files: &[&str], path: &str, check: &dyn Fn()| {
            let files: Vec<String> =
                files.iter().map(|file| world.cluster.sample(file).display().to_string()).collect();
            let files: Vec<&str> = files.iter().flat_map(|file| ["-f", file]).collect();
            world.cluster.must(&[&["apply"], &*files].concat()).unwrap();
            check();
            world.cluster.must(&[&["delete", "--wait=false"], &*files].concat()).unwrap();
            wait::patiently("it is gone", || curl(path).0 != "200");
        };
        let bookinfo = ["bookinfo/platform/kube/bookinfo.yaml", "bookinfo/networking/bookinfo-gateway.yaml"];
        with(&bookinfo, "/productpage", &|| {
            for path in ["/productpage", "/static/a.css", "/login", "/logout", "/api/v1/products/1"] {
                served_by(path, "bookinfo-productpage");
            }
            // Another replica may not listen yet.
            wait::patiently("the sample has no route for it", || curl("/").0 == "404");
            // Subsets and shares of the mesh, which are no business of a gateway but have to be taken.
            for file in ["destination-rule-all.yaml", "virtual-service-reviews-80-20.yaml"] {
                world.cluster.apply_file(&world.cluster.sample("bookinfo/networking").join(file)).unwrap();
            }
            served_by("/productpage", "bookinfo-productpage");
        });
        with(&["helloworld/helloworld.yaml", "helloworld/helloworld-gateway.yaml"], "/hello", &|| {
            served_by("/hello", "helloworld-v1");
            served_by("/hello", "helloworld-v2");
        });
        let httpbin = ["httpbin/httpbin.yaml", "httpbin/httpbin-gateway.yaml"];
        with(&httpbin, "/anything", &|| served_by("/anything?a=b", "httpbin"));
    });
}
