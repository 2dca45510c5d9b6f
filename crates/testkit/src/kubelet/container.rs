//! A container as a process: in the network of its Pod, with a root of its own, as the user it asks for.

use super::environment::{self, expand};
use super::node::{Ending, Images};
use super::probe::{Probe, Purpose};
use super::volumes::{self, Mount, Volume};
use crate::kube_api::{Api, list, now, text};
use crate::network::{Family, Host};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// How long a container that has ended is left alone; twice as long each time. A kubelet begins with 10 s.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The time that a container which is not alive gets for its end.
const KILLED_AFTER: Duration = Duration::from_secs(30);

/// Folders of the machine that every root has: programs that are linked dynamically need its libraries.
const SHARED: [&str; 7] = ["/usr", "/lib", "/lib64", "/bin", "/sbin", "/dev", "/proc"];

/// Binds pairs of places and `ro` or `rw` below a root, and becomes the program in it.
const BECOME: &str = r#"
set -e
root=$1 user=$2 groups=$3
shift 3
while [ "$1" != -- ]; do
    mount --bind "$1" "$root$2"
    [ "$3" = rw ] || mount -o remount,bind,ro "$root$2"
    shift 3
done
shift
exec chroot --userspec="$user" --groups="$groups" "$root" "$@"
"#;

/// What becomes of a container.
#[derive(Debug, Clone)]
pub(super) enum State {
    Waiting(String),
    Running { pid: u32, since: String, is_ready: bool },
    Ended { code: i32, since: String, until: String },
}

/// What the Node has for the containers of a Pod.
#[derive(Clone, Copy)]
pub(super) struct PodContext<'a> {
    pub(super) images: &'a Images,
    pub(super) volumes: &'a [Volume],
    pub(super) folder: &'a Path,
    pub(super) host: &'a Host,
}

/// All that it takes to start a container.
#[derive(Debug)]
pub(super) struct Container {
    program: Vec<String>,
    environment: Vec<(String, String)>,
    user: String,
    groups: String,
    root: PathBuf,
    mounts: Vec<Mount>,
    log: PathBuf,
    namespace: String,
    startup: Option<Probe>,
    liveness: Option<Probe>,
    readiness: Option<Probe>,
    /// How long it goes on before SIGTERM.
    pause: Duration,
    restarts: Restarts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restarts {
    Always,
    OnFailure,
    Never,
}

impl Container {
    /// Reads a container of a Pod, and makes its root below a folder.
    pub(super) async fn read(api: &Api, pod: &Value, container: &Value, context: &PodContext<'_>) -> Result<Self> {
        let PodContext { images, volumes, folder, host } = *context;
        let name = text(container, "/name");
        if container.pointer("/securityContext/privileged").is_some_and(|value| *value != Value::Bool(false)) {
            bail!("securityContext.privileged is not supported");
        }
        let image = text(container, "/image");
        let program = images.iter().filter(|(part, _)| image.contains(&***part)).max_by_key(|(part, _)| part.len());
        let (_, (file, arguments)) = program.with_context(|| format!("there is no program for the image {image}"))?;
        let inside = format!("/{}", file.file_name().unwrap_or_default().to_string_lossy());
        let variables = environment::read(api, pod, container, host.address).await?;
        let words = |field: &str| -> Option<Vec<String>> {
            let words = container.get(field)?.as_array()?;
            Some(words.iter().map(|word| expand(word.as_str().unwrap_or_default(), &variables)).collect())
        };
        let mut program = words("command").unwrap_or_else(|| vec![inside.clone()]);
        program.extend(
            words("args").or_else(|| words("command").is_none().then(|| arguments.clone())).unwrap_or_default(),
        );
        let id = |field: &str| {
            let of = |value: &Value| value.pointer(&format!("/securityContext/{field}")).and_then(Value::as_u64);
            of(container).or_else(|| pod.get("spec").and_then(of))
        };
        let user = id("runAsUser").unwrap_or_default();
        if user == 0 && pod.pointer("/spec/securityContext/runAsNonRoot") == Some(&Value::Bool(true)) {
            bail!("the container would run as root");
        }
        let root = folder.join("roots").join(name);
        let mut mounts = shared(&root, Family::of(host.address))?;
        mounts.push(Mount { from: file.clone(), to: inside, is_read_only: true });
        mounts.extend(volumes::mounts(container, volumes)?);
        for mount in &mounts {
            place(&root, mount)?;
        }
        let probe = |field: &str| Probe::read(container, field, host.address);
        Ok(Self {
            program,
            environment: variables.into_iter().collect(),
            user: format!("{user}:{}", id("runAsGroup").unwrap_or_default()),
            groups: id("fsGroup").map(|group| group.to_string()).unwrap_or_default(),
            root,
            mounts,
            log: folder.join(format!("{name}.log")),
            namespace: host.namespace(),
            startup: probe("startupProbe")?,
            liveness: probe("livenessProbe")?,
            readiness: probe("readinessProbe")?,
            pause: pause(container)?,
            restarts: match text(pod, "/spec/restartPolicy") {
                "Never" => Restarts::Never,
                "OnFailure" => Restarts::OnFailure,
                _ => Restarts::Always,
            },
        })
    }

    /// Runs it until it is not to run any more, and tells what becomes of it.
    pub(super) async fn run(self, mut ending: watch::Receiver<Ending>, report: mpsc::Sender<State>) {
        let mut wait = FIRST_WAIT;
        loop {
            let since = now();
            let exit = match self.start() {
                Ok(child) => self.watch(child, &since, &mut ending, &report).await,
                Err(error) => {
                    let _ = report.send(State::Waiting(format!("{error:#}"))).await;
                    None
                }
            };
            if let Some(exit) = exit {
                let code = exit.code().unwrap_or_else(|| 128 + exit.signal().unwrap_or_default());
                let _ = report.send(State::Ended { code, since, until: now() }).await;
                if self.restarts == Restarts::Never || self.restarts == Restarts::OnFailure && code == 0 {
                    return;
                }
            }
            if *ending.borrow() != Ending::No {
                return;
            }
            tokio::select! {
                () = sleep(wait) => wait = wait.saturating_mul(2).min(LONGEST_WAIT),
                _ = ending.changed() => return,
            }
        }
    }

    fn start(&self) -> Result<Child> {
        let log = File::options().append(true).create(true).open(&self.log)?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace));
        command.args(["unshare", "--mount", "--propagation", "private", "sh", "-c", BECOME, "sh"]);
        command.arg(&self.root).args([&self.user, &self.groups]);
        for mount in &self.mounts {
            command.arg(&mount.from).arg(&mount.to).arg(if mount.is_read_only { "ro" } else { "rw" });
        }
        command.arg("--").args(&self.program).env_clear().envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir("/").kill_on_drop(true);
        command.spawn().context("nsenter does not run")
    }

    /// Until the process has ended: by itself, because it is to end, or because it is not alive.
    async fn watch(
        &self,
        mut child: Child,
        since: &str,
        ending: &mut watch::Receiver<Ending>,
        report: &mpsc::Sender<State>,
    ) -> Option<ExitStatus> {
        let pid = child.id()?;
        let running = |is_ready| State::Running { pid, since: since.to_owned(), is_ready };
        let (out, mut probed) = mpsc::channel(4);
        let mut probes = JoinSet::new();
        let mut ask = |probe: &Option<Probe>, purpose| {
            if let Some(probe) = probe {
                probes.spawn(probe.clone().run(purpose, out.clone()));
            }
        };
        ask(&self.startup, Purpose::Start);
        // The other probes wait for the start. Without a probe it is ready, and alive.
        if self.startup.is_none() {
            ask(&self.liveness, Purpose::Life);
            ask(&self.readiness, Purpose::Readiness);
        }
        let _ = report.send(running(self.startup.is_none() && self.readiness.is_none())).await;
        let signal = |signal| {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, signal);
            }
        };
        let (mut terminate_at, mut kill_at): (Option<Instant>, Option<Instant>) = (None, None);
        loop {
            tokio::select! {
                exit = child.wait() => return exit.ok(),
                Some(probed) = probed.recv() => match probed {
                    (Purpose::Readiness, is_ready) => {
                        let _ = report.send(running(is_ready)).await;
                    }
                    (Purpose::Start, true) => {
                        ask(&self.liveness, Purpose::Life);
                        ask(&self.readiness, Purpose::Readiness);
                        let _ = report.send(running(self.readiness.is_none())).await;
                    }
                    (Purpose::Start | Purpose::Life, false) if kill_at.is_none() => {
                        signal(Signal::TERM);
                        kill_at = Some(Instant::now() + KILLED_AFTER);
                    }
                    (Purpose::Start | Purpose::Life, _) => {}
                },
                Ok(()) = ending.changed() => match *ending.borrow_and_update() {
                    Ending::No => {}
                    Ending::Within(seconds) => {
                        if kill_at.is_none() {
                            terminate_at = Some(Instant::now() + self.pause);
                        }
                        kill_at = Some(Instant::now() + Duration::from_secs(seconds));
                    }
                    Ending::AtOnce => kill_at = Some(Instant::now()),
                },
                () = until(terminate_at) => { signal(Signal::TERM); terminate_at = None; }
                () = until(kill_at) => { signal(Signal::KILL); kill_at = Some(Instant::now() + LONGEST_WAIT); }
            }
        }
    }
}

/// Until a moment, if there is one.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The pause of `lifecycle.preStop.sleep`. There are no other hooks.
fn pause(container: &Value) -> Result<Duration> {
    let Some(lifecycle) = container.get("lifecycle") else { return Ok(Duration::ZERO) };
    match lifecycle.pointer("/preStop/sleep/seconds").and_then(Value::as_u64) {
        Some(seconds) if lifecycle.as_object().is_some_and(|hooks| hooks.len() == 1) => {
            Ok(Duration::from_secs(seconds))
        }
        _ => bail!("lifecycle is not supported but for preStop.sleep"),
    }
}

/// A root with the machine's libraries.
fn shared(root: &Path, family: Family) -> Result<Vec<Mount>> {
    fs::create_dir_all(root.join("etc"))?;
    // There is no name server; whoever asks it learns that at once.
    fs::write(root.join("etc/resolv.conf"), format!("nameserver {}\n", family.name_server()))?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    let mut mounts = Vec::new();
    for folder in SHARED.map(Path::new) {
        match fs::read_link(folder) {
            Ok(target) => symlink(target, root.join(folder.strip_prefix("/")?))?,
            Err(_) if folder.is_dir() => {
                let to = folder.display().to_string();
                let is_read_only = folder != Path::new("/dev");
                mounts.push(Mount { from: folder.to_owned(), to, is_read_only });
            }
            Err(_) => {}
        }
    }
    Ok(mounts)
}

/// What a mount is laid over.
fn place(root: &Path, mount: &Mount) -> Result<()> {
    let place = root.join(mount.to.trim_start_matches('/'));
    if mount.from.is_dir() {
        fs::create_dir_all(&place)?;
    } else {
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        File::create(&place)?;
    }
    Ok(())
}

/// The containers of a Pod.
pub(super) fn of(pod: &Value) -> &[Value] {
    list(pod, "/spec/containers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_pauses_before_its_end_and_has_no_other_hooks() {
        let of = |lifecycle: Value| pause(&json!({"lifecycle": lifecycle})).ok();
        assert_eq!(pause(&json!({})).ok(), Some(Duration::ZERO));
        assert_eq!(of(json!({"preStop": {"sleep": {"seconds": 3}}})), Some(Duration::from_secs(3)));
        assert_eq!(of(json!({"preStop": {"exec": {"command": ["true"]}}})), None);
        assert_eq!(of(json!({"preStop": {"sleep": {"seconds": 3}}, "postStart": {"sleep": {"seconds": 1}}})), None);
    }
}
