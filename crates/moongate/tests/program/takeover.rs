//! One process after the other on the same ports, under load.

use super::clients::{Server, grpc, script, websocket};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use testkit::client::{self, Request};
use testkit::ports;
use testkit::python::Python;
use testkit::wait::TIMEOUT;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");
/// Processes that follow one another.
const UPGRADES: usize = 20;

/// Each process writes to its own file.
static LOGS: AtomicUsize = AtomicUsize::new(0);

/// What all of the processes are started with.
pub(super) struct Line {
    folder: tempfile::TempDir,
    pub(super) port: u16,
    ready: SocketAddr,
    admin: SocketAddr,
    /// Further arguments.
    pub(super) args: Vec<String>,
}

/// A process that is killed when it is dropped.
pub(super) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Waits for its end; its exit code.
    pub(super) fn end(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < TIMEOUT {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::yield_now();
        }
        panic!("it does not end");
    }
}

impl Line {
    pub(super) fn new(configuration: &str) -> Self {
        let local = || SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let (folder, args) = (tempfile::tempdir().unwrap(), Vec::new());
        let line = Self { folder, port: ports::free(), ready: local(), admin: local(), args };
        let text = configuration.replace("number: 8080", &format!("number: {}", line.port));
        std::fs::create_dir(line.folder.path().join("config")).unwrap();
        std::fs::write(line.folder.path().join("config/all.yaml"), text).unwrap();
        line
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("run").arg(self.folder.path().join("config")).args([
            "--bind",
            "127.0.0.1",
            "--workers",
            "2",
            "--access-log",
            "off",
        ]);
        command.args(["--ready", &self.ready.to_string(), "--admin", &self.admin.to_string()]);
        command.args(&self.args).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Starts another process, and waits until it serves the listeners.
    pub(super) fn follow(&self) -> Process {
        let path = self.folder.path().join("takeover");
        let log = self.folder.path().join(format!("log-{}", LOGS.fetch_add(1, Ordering::Relaxed)));
        let err = std::fs::File::create(&log).unwrap();
        let first = !path.exists();
        let process = Process(self.command().arg("--takeover").arg(&path).stderr(err).spawn().unwrap());
        let begun = Instant::now();
        let said = |text: &str| std::fs::read_to_string(&log).unwrap().contains(text);
        while !(if first { path.exists() } else { said("took over from the process before") }) {
            assert!(begun.elapsed() < TIMEOUT, "{}", std::fs::read_to_string(&log).unwrap());
            std::thread::yield_now();
        }
        process
    }
}

/// Sends requests, each over a new connection, until it is stopped, and counts the responses.
fn ask_on(address: SocketAddr, keep_alive: bool, over: &AtomicBool, answers: &AtomicUsize) {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let request = format!("GET /forbidden. HTTP/1.1\r\nHost: grpc.example\r\nConnection: {connection}\r\n\r\n");
    while !over.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        loop {
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"not for you: 100%") {
                let mut part = [0; 1024];
                let count = stream.read(&mut part).unwrap();
                assert!(count > 0, "cut off after {}", String::from_utf8_lossy(&answer));
                answer.extend_from_slice(&part[..count]);
            }
            answers.fetch_add(1, Ordering::Relaxed);
            if String::from_utf8_lossy(&answer).contains("connection: close") || over.load(Ordering::Relaxed) {
                break;
            }
        }
    }
}

/// A WebSocket that is held open.
struct Chat(TcpStream);

impl Chat {
    fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let head = "GET /chat HTTP/1.1\r\nHost: ws.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut octet = [0];
            stream.read_exact(&mut octet).unwrap();
            answer.push(octet[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        Self(stream)
    }

    /// Sends a message, and receives the echo. The mask is zero.
    fn say(&mut self, word: u8) {
        self.0.write_all(&[0x82, 0x81, 0, 0, 0, 0, word]).unwrap();
        let mut heard = [0; 3];
        self.0.read_exact(&mut heard).unwrap();
        assert_eq!(heard, [0x82, 1, word]);
    }
}

#[test]
fn twenty_upgrades_lose_nothing() {
    let (Some(python), Some(chatting)) = (Python::with(&["grpcio"]).unwrap(), Python::with(&["websockets"]).unwrap())
    else {
        return;
    };
    let server = Server::start(python.command(&script("grpc_interop.py"), &["server"]));
    let echo = Server::start(chatting.command(&script("websocket_frames.py"), &["server"]));
    let of_chat = websocket(echo.port()).replace("namespace: default", "namespace: chat").replace("backend.", "chat.");
    let mut line = Line::new(&format!("{}---\n{of_chat}", grpc(server.port())));
    // The first process waits for its connections as long as the test takes.
    line.args = ["--drain", "600"].map(str::to_owned).into();
    let address = SocketAddr::from(([127, 0, 0, 1], line.port));
    let mut processes = vec![line.follow()];
    let (over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let threads: Vec<_> = [true, true, false]
        .map(|keep_alive| {
            let (over, answers) = (Arc::clone(&over), Arc::clone(&answers));
            std::thread::spawn(move || ask_on(address, keep_alive, &over, &answers))
        })
        .into();
    let mut calls = python.command(&script("grpc_interop.py"), &["load", &address.to_string()]);
    let mut calls = calls.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(calls.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "begun");
    let mut chat = Chat::open(address);
    for number in 0..UPGRADES {
        processes.push(line.follow());
        // Each serves before it is followed.
        let before = answers.load(Ordering::Relaxed);
        while answers.load(Ordering::Relaxed) < before + 20 && !threads.iter().any(|thread| thread.is_finished()) {
            std::thread::yield_now();
        }
        // Still through the first of them.
        chat.say(number as u8);
    }
    drop(chat);
    drop(calls.stdin.take());
    let told = calls.wait_with_output().unwrap();
    over.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let counted = said.next().unwrap().unwrap();
    let counts: Vec<usize> = counted.split(' ').map(|count| count.parse().unwrap()).collect();
    assert!(counts.len() == 2 && counts.iter().all(|count| *count > 1), "{counted}");
    // With their connections the elder ones end, each in peace.
    let mut last = processes.pop().unwrap();
    for process in &mut processes {
        assert_eq!(process.end(), Some(0));
    }
    let ready =
        Request { method: "GET", target: "/healthz/ready", headers: &[("Host".to_owned(), "a".to_owned())], body: b"" };
    assert_eq!(client::send(line.ready, &ready).unwrap().status, 200);
    assert!(last.0.try_wait().unwrap().is_none());
}

#[test]
fn the_ports_of_istio_pass_to_the_next_process() {
    let mut line = Line::new(&grpc(1));
    let addresses = [ports::free(), ports::free()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    line.args = vec![format!("--istio-ports={},{}", addresses[0], addresses[1])];
    let mut elder = line.follow();
    let _younger = line.follow();
    assert_eq!(elder.end(), Some(0));
    for address in addresses {
        let headers = [("Host".to_owned(), "a".to_owned())];
        let request = Request { method: "GET", target: "/stats/prometheus", headers: &headers, body: b"" };
        assert_eq!(client::send(address, &request).unwrap().status, 200);
    }
}

#[test]
fn a_socket_of_the_service_manager_is_listened_on() {
    let line = Line::new(&grpc(1));
    let socket = TcpListener::bind(("127.0.0.1", line.port)).unwrap();
    // As systemd does: descriptor 3, and two variables that state it for this process. The shell sets the descriptor and the process id.
    let program = line.command();
    let mut shell = Command::new("sh");
    shell.args(["-c", "export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\" 3<&0 0</dev/null"]);
    shell.arg(program.get_program()).args(program.get_args());
    shell.stdin(Stdio::from(std::os::fd::OwnedFd::from(socket))).stdout(Stdio::null()).stderr(Stdio::null());
    let _process = Process(shell.spawn().unwrap());
    // The socket was there before the process, and the connection waits in it.
    let request = Request {
        method: "GET",
        target: "/forbidden.",
        headers: &[("Host".to_owned(), "grpc.example".to_owned())],
        body: b"",
    };
    let answer = client::send(SocketAddr::from(([127, 0, 0, 1], line.port)), &request).unwrap();
    assert_eq!(answer.status, 403);
}

#[test]
fn a_path_that_is_no_socket_is_left_alone() {
    let line = Line::new(&grpc(1));
    let path = line.folder.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    let output = line.command().arg("--takeover").arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("exists and is not a socket"), "{said}");
    assert_eq!(std::fs::read_to_string(Path::new(&path)).unwrap(), "data");
}
