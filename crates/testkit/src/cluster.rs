//! A real API server with etcd behind it, for tests: built by `conformance/cluster/build`, on loopback ports or in a network of the test's own, with
//! rights enforced. It is used where it has been built, and in CI it has to be.

use crate::client;
use crate::network::{Family, Network};
use crate::not_run::{is_ci, not_run};
use crate::{ports, wait};
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/cluster/build");
/// The token of an administrator, and that of the gateway's account.
const ADMIN: &str = "admin-token";
const GATEWAY: &str = "gateway-token";

/// The longest start of an API server: some ten seconds on an idle machine.
const STARTING: Duration = Duration::from_secs(180);

/// The port of the API server of a cluster with nodes, which has the address of the Service `kubernetes`.
const PORT: u16 = 443;

/// The controllers that a cluster with nodes has: those that make Pods, EndpointSlices and accounts, count, and clean up.
const CONTROLLERS: [&str; 12] = [
    "deployment-controller",
    "replicaset-controller",
    "endpointslice-controller",
    "endpoints-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "horizontal-pod-autoscaler-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "pod-garbage-collector-controller",
];

/// A cluster: an API server and, if it is to have nodes, controllers. Nodes are somebody else's ([`crate::kubelet`]).
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    folder: tempfile::TempDir,
    etcd: Child,
    /// `None` while it is stopped.
    api_server: Option<Child>,
    /// `None` without nodes, and while they are stopped.
    controllers: Option<Child>,
    etcd_port: u16,
    /// Where the API server is.
    address: SocketAddr,
    has_nodes: bool,
}

/// Starts a cluster without nodes: objects can be created, and nothing runs them. `None`, and one line that says so, where it has not been
/// built. In CI that is an error.
pub fn start() -> Result<Option<Cluster>> {
    start_at(SocketAddr::from(([127, 0, 0, 1], ports::free())), false)
}

/// Starts a cluster with controllers in a network of the test's own; Pods find the API server at the address of the Service `kubernetes`.
pub fn start_in(network: &Network) -> Result<Option<Cluster>> {
    start_at(SocketAddr::from((network.family.api_server(), PORT)), true)
}

/// The program kubectl, for what it does without a cluster. `None` as with [`start`].
pub fn kubectl() -> Result<Option<PathBuf>> {
    Ok(programs()?.map(|programs| programs.join("kubectl")))
}

fn start_at(address: SocketAddr, has_nodes: bool) -> Result<Option<Cluster>> {
    programs()?.map(|programs| Cluster::start(programs, address, has_nodes)).transpose()
}

/// Istio's CRDs, without a cluster. `None` as with [`start`].
pub fn istio() -> Result<Option<PathBuf>> {
    Ok(programs()?.map(|programs| definitions(&programs)))
}

fn definitions(programs: &Path) -> PathBuf {
    programs.join("istio.yaml")
}

/// The folder of the programs that have been built.
fn programs() -> Result<Option<PathBuf>> {
    let built = Command::new(BUILD).args((!is_ci()).then_some("--if-built")).stderr(Stdio::inherit()).output();
    let built = built.context("conformance/cluster/build cannot run")?;
    if built.status.success() {
        return Ok(Some(PathBuf::from(String::from_utf8_lossy(&built.stdout).trim())));
    }
    not_run("the API server for tests is not built; `conformance/cluster/build` builds it with Go")?;
    Ok(None)
}

impl Cluster {
    fn start(programs: PathBuf, address: SocketAddr, has_nodes: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (etcd_port, peer_port) = (ports::free(), ports::free());
        let rights = format!(
            "{ADMIN},admin,admin,\"system:masters\"\n{GATEWAY},system:serviceaccount:istio-system:istio-ingressgateway,gateway,\
             \"system:serviceaccounts,system:authenticated\"\n"
        );
        fs::write(folder.path().join("tokens.csv"), rights)?;
        let key =
            Command::new("openssl").args(["genrsa", "-out"]).arg(folder.path().join("sa.key")).arg("2048").output()?;
        if !key.status.success() {
            bail!("openssl made no key: {}", String::from_utf8_lossy(&key.stderr));
        }
        let (client, peer) = (format!("http://127.0.0.1:{etcd_port}"), format!("http://127.0.0.1:{peer_port}"));
        let etcd = Command::new(programs.join("etcd"))
            .arg("--data-dir")
            .arg(folder.path().join("etcd"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client, "--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("default={peer}")])
            .arg("--unsafe-no-fsync")
            .stdin(Stdio::null())
            .stdout(File::create(folder.path().join("etcd.log"))?)
            .stderr(Stdio::null())
            .spawn()
            .context("etcd does not start")?;
        let (api_server, controllers) = (None, None);
        let mut cluster = Self { programs, folder, etcd, api_server, controllers, etcd_port, address, has_nodes };
        for (name, token) in [("admin", ADMIN), ("gateway", GATEWAY)] {
            fs::write(cluster.kubeconfig(name), cluster.config(token))?;
        }
        cluster.start_api_server()?;
        if has_nodes {
            cluster.start_controllers()?;
        }
        Ok(cluster)
    }

    /// Starts the API server again, and waits until it serves.
    pub fn start_api_server(&mut self) -> Result<()> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let log = File::create(self.folder.path().join("api-server.log"))?;
        let mut command = Command::new(self.programs.join("kube-apiserver"));
        // Accounts are made by a controller.
        if !self.has_nodes {
            command.arg("--disable-admission-plugins=ServiceAccount");
        }
        let family = Family::of(self.address.ip());
        let advertised = if self.has_nodes { family.machine() } else { self.address.ip() };
        let child = command
            .arg(format!("--bind-address={}", self.address.ip()))
            .arg(format!("--advertise-address={advertised}"))
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port))
            .arg(format!("--secure-port={}", self.address.port()))
            .arg(format!("--cert-dir={}", file("certs")))
            .arg(format!("--token-auth-file={}", file("tokens.csv")))
            .arg(format!("--service-account-key-file={}", file("sa.key")))
            .arg(format!("--service-account-signing-key-file={}", file("sa.key")))
            .arg("--endpoint-reconciler-type=none")
            .arg(format!("--service-cluster-ip-range={}", family.services()))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg("--authorization-mode=RBAC")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("kube-apiserver does not start")?;
        self.api_server = Some(child);
        let until = Instant::now() + STARTING;
        while !self.kubectl(&["get", "--raw", "/readyz"]).is_ok_and(|answer| answer.status.success()) {
            let log = || fs::read_to_string(self.folder.path().join("api-server.log")).unwrap_or_default();
            if Instant::now() > until {
                bail!("the API server does not serve; it said:\n{}", log());
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Ok(())
    }

    fn start_controllers(&mut self) -> Result<()> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let log = File::create(self.folder.path().join("controllers.log"))?;
        let child = Command::new(self.programs.join("kube-controller-manager"))
            .arg(format!("--kubeconfig={}", file("admin")))
            .arg(format!("--controllers={}", CONTROLLERS.join(",")))
            .arg(format!("--service-account-private-key-file={}", file("sa.key")))
            .arg(format!("--root-ca-file={}", file("certs/apiserver.crt")))
            .args(["--leader-elect=false", "--secure-port=0", "--kube-api-qps=200", "--kube-api-burst=400"])
            // Minutes in a cluster of users.
            .args([
                "--horizontal-pod-autoscaler-sync-period=1s",
                "--horizontal-pod-autoscaler-downscale-stabilization=5s",
            ])
            .args(["--horizontal-pod-autoscaler-cpu-initialization-period=1s"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("kube-controller-manager does not start")?;
        self.controllers = Some(child);
        Ok(())
    }

    /// What the controllers have printed.
    pub fn controllers_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("controllers.log")).unwrap_or_default()
    }

    /// Kills the API server; etcd has what it knew.
    pub fn kill_api_server(&mut self) {
        if let Some(mut child) = self.api_server.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Deletes an object behind the API server's back, while that is not there, and forgets all versions before: who watches from one of them
    /// is told that it has expired. `key`: the object's own in etcd, `/registry/GROUP/PLURAL/NAMESPACE/NAME`.
    pub fn delete_and_compact(&self, key: &str) -> Result<()> {
        let deleted = self.etcd("deleterange", &json!({"key": STANDARD.encode(key)}))?;
        let revision = deleted.pointer("/header/revision").and_then(Value::as_str).context("no revision")?;
        if deleted.get("deleted").and_then(Value::as_str) != Some("1") {
            bail!("etcd has no {key}: {deleted}");
        }
        self.etcd("compaction", &json!({"revision": revision, "physical": true})).map(|_| ())
    }

    fn etcd(&self, what: &str, body: &Value) -> Result<Value> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.etcd_port));
        let headers =
            [("Host".to_owned(), address.to_string()), ("Content-Type".to_owned(), "application/json".to_owned())];
        let target = format!("/v3/kv/{what}");
        let body = body.to_string();
        let request = client::Request { method: "POST", target: &target, headers: &headers, body: body.as_bytes() };
        match client::send(address, &request) {
            Ok(answer) if answer.status == 200 => Ok(serde_json::from_slice(&answer.body)?),
            Ok(answer) => bail!("etcd says: {}", String::from_utf8_lossy(&answer.body)),
            Err(error) => bail!("etcd does not answer: {error:?}"),
        }
    }

    /// The kubeconfig of `admin`, or of the gateway's account: `gateway`.
    pub fn kubeconfig(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A kubeconfig of an account that has been created, with a token that the API server gives it.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let token = self.must(&["create", "token", account, "-n", namespace])?;
        let file = self.folder.path().join(format!("{namespace}-{account}"));
        fs::write(&file, self.config(token.trim()))?;
        Ok(file)
    }

    fn config(&self, token: &str) -> String {
        let authority = self.folder.path().join("certs/apiserver.crt");
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: test\n  cluster: {{server: \"https://{}\", \
             certificate-authority: {}}}\nusers:\n- name: test\n  user: {{token: {token}}}\ncontexts:\n- name: test\n  context: {{cluster: \
             test, user: test}}\n",
            self.address,
            authority.display()
        )
    }

    /// Istio's CRDs.
    pub fn istio(&self) -> PathBuf {
        definitions(&self.programs)
    }

    /// A file of Istio's samples, such as `bookinfo/platform/kube/bookinfo.yaml`.
    pub fn sample(&self, file: &str) -> PathBuf {
        self.programs.join("samples").join(file)
    }

    /// kubectl as the administrator.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig("admin")).args(arguments);
        // Its cache of discovery is the cluster's own.
        command.env("HOME", self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs kubectl as the administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments).output().context("kubectl does not start")
    }

    /// The same, which has to succeed; what it prints.
    pub fn must(&self, arguments: &[&str]) -> Result<String> {
        let output = self.kubectl(arguments)?;
        if !output.status.success() {
            bail!("kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the server serves every kind that it has a definition of, and names it to its clients, which is later than `Established`.
    pub fn wait_for_kinds(&self) -> Result<()> {
        // kubectl fails at once where a definition has no conditions yet.
        wait::patiently("the definitions are established", || {
            self.must(&["wait", "--for=condition=Established", "--timeout=180s", "crd", "--all"]).is_ok()
        });
        let defined = self.must(&["get", "crd", "-o", "name"])?;
        let named = |line: &str| line.rsplit('/').next().unwrap_or_default().to_owned();
        let defined: Vec<String> = defined.lines().map(named).collect();
        until_named(&defined, || self.must(&["api-resources", "--cached=false", "-o", "name"]));
        Ok(())
    }

    /// Applies a YAML text, as the server does it.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        let file = self.folder.path().join("apply.yaml");
        fs::write(&file, yaml)?;
        self.apply_file(&file)
    }

    /// Applies a file.
    pub fn apply_file(&self, file: &Path) -> Result<()> {
        let file = file.display().to_string();
        self.must(&["apply", "--server-side", "--force-conflicts", "-f", &file]).map(|_| ())
    }
}

/// Waits until all kinds are among those that `ask` prints. kubectl fails while a group does not answer yet, which is waited for, too.
fn until_named(kinds: &[String], mut ask: impl FnMut() -> Result<String>) {
    let mut last = String::new();
    wait::patiently("the server names its kinds", || match ask() {
        Ok(served) => kinds.iter().all(|kind| served.lines().any(|line| line == kind)),
        Err(error) => {
            let error = format!("{error:#}");
            if error != last {
                eprintln!("not yet: {error}");
                last = error;
            }
            false
        }
    });
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut controllers) = self.controllers.take() {
            let _ = controllers.kill();
            let _ = controllers.wait();
        }
        self.kill_api_server();
        let _ = self.etcd.kill();
        let _ = self.etcd.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn kinds_are_waited_for_while_discovery_fails_or_lacks_one() {
        let failed = || Err(anyhow!("unable to retrieve the complete list of server APIs"));
        let mut answers = vec![failed(), Ok("a.one\n"), failed(), Ok("b.one\na.one\n")].into_iter();
        let kinds = ["a.one".to_owned(), "b.one".to_owned()];
        until_named(&kinds, || answers.next().unwrap().map(str::to_owned));
        assert!(answers.next().is_none());
    }
}
