//! Memory of the real program while backends send interim responses without end to clients that read nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testkit::gateway::{Gateway, Start};
use testkit::wait::TIMEOUT;

/// Octets that a backend sends at the most; those of the attack that this is made after were 33 MB, and took 869 MB.
const MOST: usize = 32 << 20;
const GROWTH_KB: u64 = 64 << 10;
const CLIENTS: usize = 4;

const WORLD: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
";

fn service(name: &str, protocol: &str, address: SocketAddr) -> String {
    let port = address.port();
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: default}}
spec: {{hosts: [{name}.test], gateways: [g], http: [{{route: [{{destination: {{host: {name}.test}}}}]}}]}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: default}}
spec:
  hosts: [{name}.test]
  ports: [{{number: 80, name: {protocol}, protocol: {protocol}}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1, ports: {{{protocol}: {port}}}}}]
"
    )
}

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// A backend that answers what it sees with what `attack` makes of it; counts the connections that the gateway has ended.
fn backend(
    attack: impl Fn(&[u8]) -> Option<(Vec<u8>, Vec<u8>)> + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (address, ended) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (attack, counter) = (Arc::new(attack), Arc::clone(&ended));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (attack, counter) = (Arc::clone(&attack), Arc::clone(&counter));
            std::thread::spawn(move || {
                if flood(stream, &*attack) {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    (address, ended)
}

/// What a backend sends to a request: once, then again and again; `None` before the request is whole.
type Attack = dyn Fn(&[u8]) -> Option<(Vec<u8>, Vec<u8>)>;

/// Whether the gateway ended it before everything was sent.
fn flood(mut stream: TcpStream, attack: &Attack) -> bool {
    let (mut seen, mut room) = (Vec::new(), [0; 4096]);
    let (first, again) = loop {
        match stream.read(&mut room) {
            Ok(count @ 1..) => seen.extend_from_slice(&room[..count]),
            _ => return true,
        }
        if let Some(bytes) = attack(&seen) {
            break bytes;
        }
    };
    let mut reader = stream.try_clone().unwrap();
    std::thread::spawn(move || while let Ok(1..) = reader.read(&mut room) {});
    let mut sent = first.len();
    let mut going = stream.write_all(&first).is_ok();
    while going && sent < MOST {
        going = stream.write_all(&again).is_ok();
        sent += again.len();
    }
    !going
}

fn one(seen: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    seen.ends_with(b"\r\n\r\n").then(|| {
        let hint = format!("HTTP/1.1 103 Early Hints\r\nx: {}\r\n\r\n", "a".repeat(3900));
        (Vec::new(), hint.repeat(16).into_bytes())
    })
}

fn two(seen: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut rest = seen.get(24..)?;
    loop {
        let [high, middle, low, kind, _, a, b, c, d, behind @ ..] = rest else { return None };
        let stream = u32::from_be_bytes([*a, *b, *c, *d]);
        if *kind == 1 {
            // 3.9 KB in the table of HPACK, and fourteen octets that each mean it again.
            let literal = [b"\x08\x03103\x40\x01x\x7f\xbd\x1d", "a".repeat(3900).as_bytes()].concat();
            let first = [frame(4, 0, 0, b""), frame(4, 1, 0, b""), frame(1, 4, stream, &literal)].concat();
            let again = frame(1, 4, stream, &[&b"\x08\x03103"[..], &[0xbe; 14]].concat()).repeat(1000);
            return Some((first, again));
        }
        rest = behind.get(u32::from_be_bytes([0, *high, *middle, *low]) as usize..)?;
    }
}

/// Sends requests in HTTP/2, and reads nothing.
fn ask(gateway: SocketAddr, host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway).unwrap();
    let head = [&[0x82, 0x86, 0x84, 0x41, host.len() as u8], host.as_bytes()].concat();
    let begin = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, b""), frame(1, 5, 1, &head)];
    stream.write_all(&begin.concat()).unwrap();
    stream
}

fn resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn interim_responses_without_end_take_no_memory_and_end_their_connection() {
    let (one, ended_one) = backend(one);
    let (two, ended_two) = backend(two);
    let folder = tempfile::tempdir().unwrap();
    let world = [WORLD.to_owned(), service("one", "http", one), service("two", "http2", two)].concat();
    fs::write(folder.path().join("w.yaml"), world).unwrap();
    let process = Gateway::start(&Start {
        program: Path::new(env!("CARGO_BIN_EXE_moongate")),
        paths: vec![folder.path().to_owned()],
        ports: vec![80],
        args: ["--bind", "127.0.0.1", "--workers", "1"].map(str::to_owned).to_vec(),
    })
    .unwrap();
    let before = resident_kb(process.pid());
    let mut most = before;
    for (host, ended, connections) in [("one.test", &ended_one, CLIENTS), ("two.test", &ended_two, 1)] {
        let clients: Vec<_> = (0..CLIENTS).map(|_| ask(process.address(80), host)).collect();
        let begun = Instant::now();
        while ended.load(Ordering::SeqCst) < connections {
            assert!(begun.elapsed() < TIMEOUT, "nobody ended the attack of {host}");
            most = most.max(resident_kb(process.pid()));
            std::thread::park_timeout(Duration::from_millis(5));
        }
        drop(clients);
    }
    assert!(most - before < GROWTH_KB, "{before} KB became {most} KB");
}
