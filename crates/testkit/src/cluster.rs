//! A real API server with etcd behind it, for tests: built by `conformance/cluster/build`, on loopback ports, with rights enforced. It is used
//! where it has been built, and in CI it has to be.

use crate::ports;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/cluster/build");
/// The token of an administrator, and that of the gateway's account.
const ADMIN: &str = "admin-token";
const GATEWAY: &str = "gateway-token";

/// The longest start of an API server: some ten seconds on an idle machine.
const STARTING: Duration = Duration::from_secs(180);

/// A cluster without nodes: objects can be created, and nothing runs them.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    folder: tempfile::TempDir,
    etcd: Child,
    /// `None` while it is stopped.
    api_server: Option<Child>,
    etcd_port: u16,
    port: u16,
}

/// Starts a cluster; `None`, and one line that says so, where it has not been built. In CI that is an error.
pub fn start() -> Result<Option<Cluster>> {
    let is_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    let built = Command::new(BUILD).args((!is_ci).then_some("--if-built")).stderr(Stdio::inherit()).output();
    let built = built.context("conformance/cluster/build cannot run")?;
    if built.status.success() {
        let programs = PathBuf::from(String::from_utf8_lossy(&built.stdout).trim());
        return Cluster::start(programs).map(Some);
    }
    if is_ci {
        bail!("the API server for tests cannot be built");
    }
    println!("not run: the API server for tests is not built; `conformance/cluster/build` builds it with Go");
    Ok(None)
}

impl Cluster {
    fn start(programs: PathBuf) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (etcd_port, peer_port, port) = (ports::free(), ports::free(), ports::free());
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
        let mut cluster = Self { programs, folder, etcd, api_server: None, etcd_port, port };
        for (name, token) in [("admin", ADMIN), ("gateway", GATEWAY)] {
            fs::write(cluster.kubeconfig(name), cluster.config(token))?;
        }
        cluster.start_api_server()?;
        Ok(cluster)
    }

    /// Starts the API server again, and waits until it serves.
    pub fn start_api_server(&mut self) -> Result<()> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let log = File::create(self.folder.path().join("api-server.log"))?;
        let child = Command::new(self.programs.join("kube-apiserver"))
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port))
            .arg(format!("--secure-port={}", self.port))
            .arg(format!("--cert-dir={}", file("certs")))
            .arg(format!("--token-auth-file={}", file("tokens.csv")))
            .arg(format!("--service-account-key-file={}", file("sa.key")))
            .arg(format!("--service-account-signing-key-file={}", file("sa.key")))
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"])
            .args([
                "--service-cluster-ip-range=10.96.0.0/16",
                "--service-account-issuer=https://kubernetes.default.svc",
            ])
            .args(["--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount"])
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

    /// Kills the API server; etcd has what it knew.
    pub fn kill_api_server(&mut self) {
        if let Some(mut child) = self.api_server.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The kubeconfig of `admin`, or of the gateway's account: `gateway`.
    pub fn kubeconfig(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, token: &str) -> String {
        let authority = self.folder.path().join("certs/apiserver.crt");
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: test\n  cluster: {{server: \"https://127.0.0.1:{}\", \
             certificate-authority: {}}}\nusers:\n- name: test\n  user: {{token: {token}}}\ncontexts:\n- name: test\n  context: {{cluster: \
             test, user: test}}\n",
            self.port,
            authority.display()
        )
    }

    /// Istio's CRDs.
    pub fn istio(&self) -> PathBuf {
        self.programs.join("istio.yaml")
    }

    /// Runs kubectl as the administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.programs.join("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig("admin")).args(arguments);
        // Its cache of discovery is the cluster's own.
        command.env("HOME", self.folder.path()).stdin(Stdio::null());
        command.output().context("kubectl does not start")
    }

    /// The same, which has to succeed; what it prints.
    pub fn must(&self, arguments: &[&str]) -> Result<String> {
        let output = self.kubectl(arguments)?;
        if !output.status.success() {
            bail!("kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill_api_server();
        let _ = self.etcd.kill();
        let _ = self.etcd.wait();
    }
}
