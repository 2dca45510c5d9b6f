//! `moongate get`: what kubectl would show of the same objects, of files and of a running gateway.

use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::gateway::{Gateway, Start};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");

/// Istio's first example, with one object of each further kind.
const OBJECTS: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: bookinfo-gateway}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}
  - {port: {number: 8443, name: https, protocol: HTTPS}, hosts: [a.test, "*"], tls: {mode: SIMPLE, credentialName: a}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bookinfo, labels: {app: bookinfo}}
spec:
  hosts: ["*"]
  gateways: [bookinfo-gateway]
  http: [{route: [{destination: {host: productpage, port: {number: 9080}}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.test, b.test]
  gateways: [bookinfo-gateway]
  http: [{directResponse: {status: 200}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: other}
spec: {host: reviews}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: out, namespace: other}
spec: {hosts: [out.test], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}
---
apiVersion: v1
kind: Service
metadata: {name: productpage, labels: {app: productpage}}
spec:
  clusterIP: 10.0.0.9
  selector: {app: productpage, tier: web}
  ports: [{port: 9080, name: http}, {port: 90, nodePort: 30090, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec: {type: LoadBalancer, ports: [{port: 80}], externalIPs: [9.9.9.9]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.100}, {hostname: lb.example.test}]}}
---
apiVersion: v1
kind: Secret
metadata: {name: a, namespace: istio-system}
type: kubernetes.io/tls
data: {tls.crt: aGlkZGVu, tls.key: aGlkZGVu}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: p-1, labels: {kubernetes.io/service-name: productpage}}
addressType: IPv4
ports: [{name: http, port: 9080}]
endpoints: [{addresses: [10.1.0.1]}, {addresses: [10.1.0.2]}, {addresses: [10.1.0.3]}, {addresses: [10.1.0.4]}]
"#;

/// Exit code, standard output and standard error of `moongate get` with these words.
fn get(words: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(PROGRAM).arg("get").args(words.split(' ')).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The same of a folder with `OBJECTS`.
fn of_folder(words: &str) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), OBJECTS).unwrap();
    get(words, &["-f", folder.path().to_str().unwrap()])
}

fn shown(words: &str) -> String {
    let (code, out, error) = of_folder(words);
    assert_eq!((code, &*error), (Some(0), ""), "{words}");
    out
}

#[test]
fn the_service_of_the_gateway_is_there_as_in_a_cluster() {
    let expected = "\
NAME                   TYPE           CLUSTER-IP   EXTERNAL-IP   PORT(S)                     AGE
istio-ingressgateway   LoadBalancer   <none>       <pending>     15021/TCP,80/TCP,8443/TCP   <unknown>
";
    assert_eq!(shown("svc -n istio-system"), expected);
    assert_eq!(shown("svc -n istio-system -o name"), "service/istio-ingressgateway\n");
}

#[test]
fn tables_are_those_of_kubectl() {
    assert_eq!(
        shown("services"),
        "\
NAME          TYPE           CLUSTER-IP   EXTERNAL-IP                             PORT(S)                 AGE
balanced      LoadBalancer   <none>       203.0.113.100,lb.example.test,9.9.9.9   80/TCP                  <unknown>
productpage   ClusterIP      10.0.0.9     <none>                                  9080/TCP,90:30090/UDP   <unknown>
"
    );
    assert_eq!(
        shown("vs"),
        "\
NAME       GATEWAYS               HOSTS                 AGE
a          [\"bookinfo-gateway\"]   [\"a.test\",\"b.test\"]   <unknown>
bookinfo   [\"bookinfo-gateway\"]   [\"*\"]                 <unknown>
"
    );
    assert_eq!(shown("gateways"), "NAME               AGE\nbookinfo-gateway   <unknown>\n");
    assert_eq!(
        shown("gw -o wide"),
        "\
NAME               AGE         SELECTOR               PORTS     HOSTS
bookinfo-gateway   <unknown>   istio=ingressgateway   80,8443   *,a.test
"
    );
    assert_eq!(
        shown("dr,se -A"),
        "\
NAMESPACE   NAME                                          HOST      AGE
other       destinationrule.networking.istio.io/reviews   reviews   <unknown>

NAMESPACE   NAME                                   HOSTS          LOCATION        RESOLUTION   AGE
other       serviceentry.networking.istio.io/out   [\"out.test\"]   MESH_EXTERNAL   DNS          <unknown>
"
    );
    assert_eq!(
        shown("endpointslices"),
        "\
NAME   ADDRESSTYPE   PORTS   ENDPOINTS                                AGE
p-1    IPv4          9080    10.1.0.1,10.1.0.2,10.1.0.3 + 1 more...   <unknown>
"
    );
    assert_eq!(shown("secret -n istio-system --no-headers"), "a     kubernetes.io/tls   2     <unknown>\n");
    assert_eq!(
        shown("vs -l app=bookinfo --show-labels --no-headers"),
        "bookinfo   [\"bookinfo-gateway\"]   [\"*\"]   <unknown>   app=bookinfo\n"
    );
    assert!(shown("svc productpage -o wide").ends_with("app=productpage,tier=web\n"));
}

#[test]
fn documents_are_those_that_were_written() {
    let yaml = shown("dr reviews -n other -o yaml");
    let expected = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: reviews
  namespace: other
spec:
  host: reviews
";
    assert_eq!(yaml, expected);
    let list = shown("vs -o json");
    assert!(list.starts_with("{\n    \"apiVersion\": \"v1\",\n    \"items\": [\n        {\n"), "{list}");
    assert!(
        list.ends_with("    \"kind\": \"List\",\n    \"metadata\": {\n        \"resourceVersion\": \"\"\n    }\n}\n"),
        "{list}"
    );
    // What is shown can be read again.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("again.yaml"), shown("gw,vs,svc -o yaml")).unwrap();
    let (code, again, error) = get("gw,vs -o name", &["-f", folder.path().to_str().unwrap()]);
    assert_eq!((code, &*error), (Some(0), ""));
    assert_eq!(again, shown("gw,vs -o name"));
}

#[test]
fn what_is_not_there_is_said_as_kubectl_says_it() {
    let said = |words: &str| {
        let (code, _, error) = of_folder(words);
        (code, error)
    };
    assert_eq!(said("gw -n other"), (Some(0), "No resources found in other namespace.\n".to_owned()));
    assert_eq!(said("pods -A"), (Some(0), "No resources found\n".to_owned()));
    assert_eq!(said("ns"), (Some(0), "No resources found\n".to_owned()));
    let missing = "Error from server (NotFound): gateways.networking.istio.io \"x\" not found\n";
    assert_eq!(said("gw x"), (Some(1), missing.to_owned()));
    let empty = "apiVersion: v1\nitems: []\nkind: List\nmetadata:\n  resourceVersion: \"\"\n";
    assert_eq!(of_folder("pods -A -o yaml"), (Some(0), empty.to_owned(), String::new()));
    assert_eq!(of_folder("pods -A -o name"), (Some(0), String::new(), String::new()));
    assert_eq!(of_folder("gw x -o yaml"), (Some(1), String::new(), missing.to_owned()));
    assert_eq!(said("svc/x"), (Some(1), "Error from server (NotFound): services \"x\" not found\n".to_owned()));
    let unknown = "error: the server doesn't have a resource type \"deploy\"\n";
    assert_eq!(said("deploy"), (Some(1), unknown.to_owned()));
    let everywhere = "error: a resource cannot be retrieved by name across all namespaces\n";
    assert_eq!(said("gw x -A"), (Some(1), everywhere.to_owned()));
    assert!(said("gw -o yml").1.contains("unable to match a printer suitable for the output format \"yml\""));
    let (code, _, error) = get("svc", &["-f", "not-there.yaml"]);
    assert_eq!((code, &*error), (Some(1), "error: the path \"not-there.yaml\" does not exist\n"));
    let (code, out, error) = of_folder("vs a x");
    assert_eq!((code, out.lines().count()), (Some(1), 2), "what is there is shown");
    assert!(error.contains("\"x\" not found"));
}

#[test]
fn a_running_gateway_shows_what_it_serves_and_no_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    // Without the server that needs a port and a certificate of its own.
    let text: String =
        OBJECTS.lines().filter(|line| !line.contains("8443")).map(|line| line.to_owned() + "\n").collect();
    fs::write(&file, &text).unwrap();
    let gateway = start(folder.path());
    let admin = gateway.admin.to_string();
    let asked = |words: &str| {
        let (code, out, error) = get(words, &["--admin", &admin]);
        assert_eq!((code, &*error), (Some(0), ""), "{words}");
        out
    };
    let service = asked("svc -n istio-system --no-headers");
    let bound = gateway.address(80).port();
    let cells: Vec<&str> = service.split_whitespace().collect();
    let ports = format!("15021:{}/TCP,80:{bound}/TCP", gateway.ready.port());
    assert_eq!(cells, ["istio-ingressgateway", "LoadBalancer", "<none>", "127.0.0.1", &ports, "<unknown>"]);
    assert_eq!(asked("vs -o yaml"), shown("vs -o yaml"));
    assert_eq!(asked("secrets -n istio-system --no-headers"), "a     kubernetes.io/tls   2     <unknown>\n");
    assert!(!asked("secrets -n istio-system -o yaml").contains("aGlkZGVu"));
    let (code, _, error) = get("svc", &["--admin", "127.0.0.1:1"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("cannot ask the gateway at 127.0.0.1:1"), "{error}");
}

fn start(folder: &Path) -> Gateway {
    let args = vec!["--bind".to_owned(), "127.0.0.1".to_owned()];
    Gateway::start(&Start { program: Path::new(PROGRAM), paths: vec![folder.to_owned()], ports: vec![80], args })
        .unwrap()
}
