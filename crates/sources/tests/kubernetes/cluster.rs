//! A source that follows an API server of the test's own, and objects for it.

use resources::key::{Key, Kind, ObjectRef};
use resources::set::ResourceSet;
use sources::{Access, KubernetesSettings, KubernetesSource, Loaded, Pace, Reload, Watch, watch};
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::api_server::ApiServer;
use testkit::wait::TIMEOUT;

pub(crate) const GATEWAYS: &str = "/apis/networking.istio.io/v1/gateways";
pub(crate) const VIRTUAL_SERVICES: &str = "/apis/networking.istio.io/v1/virtualservices";
pub(crate) const SECRETS: &str = "/api/v1/secrets";

pub(crate) const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: site}}]
";

/// Everything that a source has said so far.
pub(crate) struct Cluster {
    pub(crate) watch: Watch,
    pub(crate) last: Option<Loaded>,
    pub(crate) reload: Reload,
    _folder: tempfile::TempDir,
}

impl Cluster {
    pub(crate) async fn follow(server: &ApiServer) -> Self {
        Self::with_state(&server.kubeconfig(), None).await
    }

    pub(crate) async fn with_state(kubeconfig: &str, state: Option<&Path>) -> Self {
        Self::with(kubeconfig, |settings| settings.state = state.map(Path::to_owned)).await
    }

    /// Follows a server by settings that differ from the usual ones.
    pub(crate) async fn with(kubeconfig: &str, change: impl FnOnce(&mut KubernetesSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("config");
        std::fs::write(&path, kubeconfig).unwrap();
        let [first, longest, install, removal] = [5, 20, 20, 100].map(Duration::from_millis);
        let (further, unused) = (10 * TIMEOUT, Duration::ZERO);
        let mut settings = KubernetesSettings {
            access: Access { kubeconfig: Some(path), context: None },
            namespace: "istio-system".into(),
            mesh: None,
            certificates: None,
            with_nodes: false,
            state: None,
            pace: Pace { first, longest, install, removal, further, unused },
            write: None,
        };
        change(&mut settings);
        let source = KubernetesSource::new(settings).await.unwrap();
        Self { reload: source.reload(), watch: watch(source), last: None, _folder: folder }
    }

    /// Waits until what was read meets a condition.
    pub(crate) async fn until(&mut self, what: &str, condition: impl Fn(&Loaded) -> bool) -> &Loaded {
        let search = async {
            while !self.last.as_ref().is_some_and(&condition) {
                self.last = Some(self.watch.next().await.expect("the source goes on"));
            }
        };
        if tokio::time::timeout(TIMEOUT, search).await.is_err() {
            panic!("waited too long: {what}; there is {:#?}", self.last);
        }
        self.last.as_ref().unwrap()
    }

    pub(crate) async fn complete(&mut self) -> &Loaded {
        self.until("the configuration is complete", |loaded| loaded.complete).await
    }
}

pub(crate) fn has(set: &ResourceSet, kind: Kind, namespace: &str, name: &str) -> bool {
    set.contains(&ObjectRef { kind, key: Key::new(namespace, name) })
}

pub(crate) fn route(name: &str, host: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: a}}\nspec:\n  hosts: [x.test]\n  \
         gateways: [istio-system/g]\n  http: [{{route: [{{destination: {{host: {host}}}}}]}}]\n---\n"
    )
}

pub(crate) fn slice(namespace: &str, service: &str, address: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}-1\n  namespace: {namespace}\n  labels: \
         {{kubernetes.io/service-name: {service}}}\naddressType: IPv4\nports: [{{port: 80}}]\nendpoints: [{{addresses: [{address}], \
         targetRef: {{kind: Pod, name: {service}-pod, namespace: {namespace}}}}}]\n---\n"
    )
}

pub(crate) fn secret(namespace: &str, name: &str, kind: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\ntype: {kind}\ndata: {{tls.crt: eA==}}\n---\n"
    )
}

pub(crate) fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: a, labels: {{version: v1}}}}\nstatus: {{phase: Running, podIP: \
         10.0.0.1}}\n---\n"
    )
}

pub(crate) fn node(region: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata:\n  name: one\n  labels: {{topology.kubernetes.io/region: {region}, topology.kubernetes.io/zone: z, \
         kubernetes.io/os: linux}}\n  annotations: {{a: b}}\nstatus: {{nodeInfo: {{kubeletVersion: v1}}}}\n"
    )
}

pub(crate) fn codes(loaded: &Loaded) -> Vec<&'static str> {
    loaded.diagnostics.iter().map(|one| one.code).collect()
}
