//! Signals, the end of the process, its user, and what a service manager learns of it.

use super::operation::{direct, server, start, status};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use testkit::client;
use testkit::gateway::{Gateway, Signal, Start};
use testkit::wait::until;

const KEPT_ALIVE: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), server("g", 80) + &direct("a", "g", 201)).unwrap();
    folder
}

fn readiness(gateway: &Gateway) -> Option<u16> {
    gateway.get(gateway.ready, "/healthz/ready").map(|(status, _)| status)
}

#[test]
fn on_sigterm_readiness_goes_at_once_and_listeners_stay_open_for_the_delay() {
    let folder = folder();
    let mut gateway = start(folder.path(), &[80], &["--drain-delay", "3600"]);
    assert_eq!(status(&gateway, 80, "a.test"), 201);
    gateway.signal(Signal::TERM);
    until("readiness is withdrawn", || readiness(&gateway) == Some(503));
    assert_eq!(gateway.get(gateway.ready, "/healthz/live").map(|(status, _)| status), Some(200));
    // Responses on new connections have `Connection: close`: the client reads to the end without requesting it.
    let raw = client::exchange(gateway.address(80), KEPT_ALIVE).unwrap();
    let answer = client::parse(&raw, false).unwrap();
    assert_eq!((answer.status, answer.header("connection").as_deref()), (201, Some("close")));
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().unwrap(), Some(0), "{}", gateway.log());
}

#[test]
fn on_sigint_listeners_close_without_delay_and_open_requests_end() {
    let folder = folder();
    let mut gateway = start(folder.path(), &[80], &["--drain-delay", "3600", "--drain", "3600"]);
    // A request that has begun keeps the process until it is answered.
    let mut open = TcpStream::connect(gateway.address(80)).unwrap();
    open.write_all(&KEPT_ALIVE[..20]).unwrap();
    until("the connection is accepted", || {
        let metrics = gateway.get(gateway.admin, "/metrics").map(|(_, text)| text).unwrap_or_default();
        metrics.lines().any(|line| line.starts_with("moongate_downstream_connections_open") && line.ends_with(" 1"))
    });
    gateway.signal(Signal::INT);
    until("the listener is closed", || TcpStream::connect(gateway.address(80)).is_err());
    assert_eq!(readiness(&gateway), Some(503));
    open.write_all(&KEPT_ALIVE[20..]).unwrap();
    let mut raw = Vec::new();
    open.read_to_end(&mut raw).unwrap();
    assert_eq!(client::parse(&raw, false).unwrap().status, 201);
    assert_eq!(gateway.wait().unwrap(), Some(0), "{}", gateway.log());
}

#[test]
fn connections_that_wait_to_be_accepted_are_served_at_the_end() {
    let folder = folder();
    let mut gateway = start(folder.path(), &[80], &["--drain-delay", "0", "--drain", "3600"]);
    gateway.signal(Signal::STOP);
    // The system completes these handshakes while the process is stopped.
    let waiting: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = TcpStream::connect(gateway.address(80)).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
            stream
        })
        .collect();
    gateway.signal(Signal::TERM);
    gateway.signal(Signal::CONT);
    for mut stream in waiting {
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).unwrap();
        assert_eq!(client::parse(&raw, false).unwrap().status, 201);
    }
    assert_eq!(gateway.wait().unwrap(), Some(0), "{}", gateway.log());
}

#[test]
fn on_sigusr1_the_access_log_is_opened_again() {
    let folder = folder();
    let logs = tempfile::tempdir().unwrap();
    let (file, rotated) = (logs.path().join("access.log"), logs.path().join("access.log.1"));
    let gateway = start(folder.path(), &[80], &["--access-log", file.to_str().unwrap()]);
    let lines = |path: &Path| fs::read_to_string(path).unwrap_or_default().lines().count();
    assert_eq!(status(&gateway, 80, "a.test"), 201);
    until("the first line is written", || lines(&file) == 1);
    fs::rename(&file, &rotated).unwrap();
    gateway.signal(Signal::USR1);
    until("the file is there again", || file.exists());
    assert_eq!(status(&gateway, 80, "a.test"), 201);
    until("the second line is written", || lines(&file) == 1);
    assert_eq!(lines(&rotated), 1);
    // A file that cannot be opened leaves the one before in use.
    fs::rename(&file, logs.path().join("access.log.2")).unwrap();
    fs::create_dir(&file).unwrap();
    gateway.signal(Signal::USR1);
    until("the failure is reported", || gateway.log().contains("access log not reopened"));
    assert_eq!(status(&gateway, 80, "a.test"), 201);
    until("the third line is written", || lines(&logs.path().join("access.log.2")) == 2);
}

#[test]
fn a_service_manager_learns_what_the_process_does() {
    let folder = folder();
    let sockets = tempfile::tempdir().unwrap();
    let path = sockets.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let next = || {
        let mut message = [0; 512];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let args = ["--bind", "127.0.0.1", "--drain-delay", "0"].map(str::to_owned).to_vec();
    let program = Path::new(env!("CARGO_BIN_EXE_moongate"));
    let start = Start { program, paths: vec![folder.path().to_owned()], ports: vec![80], args };
    let mut gateway = Gateway::spawn_with(&start, &[("NOTIFY_SOCKET", path.to_str().unwrap())]).unwrap();
    let message = next();
    assert!(message.contains("READY=1\n") && message.contains(&format!("MAINPID={}\n", gateway.pid())), "{message}");
    assert_eq!(readiness(&gateway), Some(200));
    gateway.signal(Signal::HUP);
    let message = next();
    assert!(message.contains("RELOADING=1\n") && message.contains("MONOTONIC_USEC="), "{message}");
    assert!(next().contains("READY=1\n"));
    gateway.signal(Signal::TERM);
    assert!(next().contains("STOPPING=1\n"));
    assert_eq!(gateway.wait().unwrap(), Some(0), "{}", gateway.log());
}

#[test]
fn privileges_are_dropped_once_the_listeners_are_bound() {
    if !rustix::process::geteuid().is_root() {
        return testkit::not_run("privileges are dropped by root").unwrap();
    }
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let gateway = start(folder.path(), &[80], &["--user", "65534:65533"]);
    let tasks = fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap();
    let mut count = 0;
    for task in tasks {
        // A thread may have ended meanwhile.
        let Ok(text) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().collect();
        let (users, groups, further): (Vec<&str>, Vec<&str>, Vec<&str>) = (line("Uid:"), line("Gid:"), line("Groups:"));
        assert_eq!(users, ["Uid:", "65534", "65534", "65534", "65534"]);
        assert_eq!(groups, ["Gid:", "65533", "65533", "65533", "65533"]);
        assert!(further.iter().skip(1).all(|group| *group != "0"), "{further:?}");
        count += 1;
    }
    assert!(count > 2, "{count} threads");
    assert_eq!(status(&gateway, 80, "a.test"), 201);
    // The configuration is read by the new user.
    fs::write(folder.path().join("a.yaml"), server("g", 80) + &direct("a", "g", 202)).unwrap();
    until("the edit shows", || status(&gateway, 80, "a.test") == 202);
    assert!(!gateway.log().contains("running as root"), "{}", gateway.log());
}
