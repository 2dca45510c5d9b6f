//! What has to agree: how a destination is written, the name, its addresses, and the name in a tunnel.

use super::{PROXY, World, curl, sent};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::client_hello::{ClientHello, prefixed};
use testkit::wait::until;

#[test]
fn field_4_1_spellings_of_private_addresses_and_rebinding_reach_nothing() {
    let world = World::new();
    // Whatever is asked for, names of the allow-list lead to this machine.
    world.names.set("rebound.test", &[[169, 254, 169, 254], [10, 0, 0, 1], [100, 100, 100, 200], [0, 0, 0, 0]]);
    world.names.alias("alias.test", "localhost.internal.test");
    world.names.set("localhost.internal.test", &[[127, 0, 0, 1]]);
    let gateway = world.start(&world.config("", ""), &[]);
    let port = world.clear.address.port();
    let targets = [
        "2130706433",
        "0",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "017700000001",
        "0x7f000001",
        "0x7f.0.0.1",
        "0X7F.1",
        "127.0.0.1.",
        "127.000.000.001",
        "127.0.0.01",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "240.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001::1]",
        "[fe80::1]",
        "[fe80::1%25lo]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "api.test.",
        "api.test..",
        "api..test",
        ".api.test",
        "api.test@127.0.0.1",
        "127.0.0.1@api.test",
        "user:pass@api.test",
        "api.test%40127.0.0.1",
        "api.test%00.evil.test",
        "%6c%6f%63alhost",
        "api.test\\@127.0.0.1",
        "api.test\t",
        "ⓛocalhost",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "аpi.test",
        "api.test#@127.0.0.1",
        "api.test?@127.0.0.1",
        "internal.test",
        "rebound.test",
        "alias.test",
        "RebounD.test",
        "evil.test",
        "xapi.test",
        "api.test.evil.test",
        "wiki.test",
        "evilwiki.test",
        "metadata.google.internal",
        "instance-data",
        "kubernetes.default.svc",
    ];
    let mut vectors = 0;
    for target in targets {
        let requests = [
            format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n"),
            format!("GET http://{target}:{port}/ HTTP/1.1\r\nHost: {target}:{port}\r\n\r\n"),
            format!("CONNECT {target}:{port} HTTP/1.1\r\nHost: {target}:{port}\r\n\r\n"),
            format!("CONNECT {target}:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n"),
        ];
        for request in requests {
            vectors += 1;
            let answer = sent(&gateway, request.as_bytes());
            let status = answer.split(' ').nth(1).unwrap_or_default();
            assert!(["400", "403", "502"].contains(&status), "{request:?}: {answer:?}");
        }
    }
    // `Host` and the target have to agree, and CONNECT needs a port and no body.
    for request in [
        "GET http://api.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        "GET http://api.test:80/ HTTP/1.1\r\nHost: api.test:8080\r\n\r\n",
        "CONNECT api.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n",
        "CONNECT api.test HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "CONNECT api.test:0 HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "CONNECT api.test:443/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "CONNECT https://api.test:443 HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "CONNECT / HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "GET https://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "GET ftp://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n",
    ] {
        vectors += 1;
        let answer = sent(&gateway, request.as_bytes());
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["400", "403"].contains(&status), "{request:?}: {answer:?}");
    }
    assert!(vectors >= 80, "{vectors}");
}

#[test]
fn e_41_the_name_in_the_tunnel_has_to_be_that_of_the_tunnel() {
    let world = World::new();
    let gateway = world.start(&world.config("", ""), &[]);
    let proxy = format!("http://{}", gateway.address(PROXY));
    // curl asks the proxy for one name, and the server for another.
    let other = curl(&proxy, "https://a.example.com/", &["--connect-to", "a.example.com:443:api.test:443"]);
    assert_eq!((other.connect, other.status), (200, 0), "{other:?}");
    assert!(other.body.contains("unrecognized name") || other.code == Some(35), "{other:?}");
    let unnamed = curl(&proxy, "https://127.0.0.1/", &["--connect-to", "127.0.0.1:443:api.test:443", "-k"]);
    assert_eq!((unnamed.connect, unnamed.status), (200, 0), "{unnamed:?}");
    let clear = sent(
        &gateway,
        b"CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\nGET / HTTP/1.1\r\nHost: api.test\r\n\r\n",
    );
    assert!(clear.starts_with("HTTP/1.1 200 ") && !clear.contains("backend"), "{clear:?}");
    let log = || world.access_log();
    for detail in ["egress_denied{sni}", "egress_denied{no_sni}", "egress_denied{not_tls}"] {
        until(detail, || log().contains(detail));
    }
}

/// A destination that answers nothing: its port, and all that it has received.
fn silent() -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, received) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<u8>>>::default());
    let all = Arc::clone(&received);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, all) = (stream.unwrap(), Arc::clone(&all));
            std::thread::spawn(move || {
                let mut octets = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut octets) {
                    all.lock().unwrap().extend_from_slice(&octets[..count]);
                }
            });
        }
    });
    (port, received)
}

/// A ClientHello with an extension `server_name` for each list of names, in records of so many octets.
fn hello(extensions: &[&[&[u8]]], record: usize) -> Vec<u8> {
    extensions.iter().fold(ClientHello::default(), |hello, names| hello.server_name(names)).records(record)
}

/// What comes back on a connection until it ends; whoever sends nothing within the time has accepted something.
fn answered(mut stream: &TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    assert!(!matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "it stays open");
    answer
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&prefixed(3, payload)[..3], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[test]
fn e_41_nothing_but_a_client_hello_for_the_destination_enters_a_tunnel() {
    let world = World::new();
    let (port, received) = silent();
    let entry = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: bound\n  namespace: default\n  annotations: {{moongate.dev/allowed-addresses: 127.0.0.0/8}}\nspec:\n  hosts: [bound.test]\n  location: MESH_EXTERNAL\n  resolution: DNS\n  ports: [{{number: 443, name: tls, protocol: TLS, targetPort: {port}}}]\n"
    );
    world.names.set("bound.test", &[[127, 0, 0, 1]]);
    let gateway = world.start(&world.config("", &entry), &[]);
    let connect = || {
        let stream = TcpStream::connect(gateway.address(PROXY)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    let (own, other): (&[u8], &[u8]) = (b"bound.test", b"other.test");
    let good = hello(&[&[own]], 4000);
    for (what, octets) in [
        ("another name", hello(&[&[other]], 4000)),
        ("another name in records of one octet", hello(&[&[other]], 1)),
        ("two names", hello(&[&[own, other]], 4000)),
        ("two names, the other first", hello(&[&[other, own]], 7)),
        ("two extensions", hello(&[&[own], &[other]], 4000)),
        ("an empty name", hello(&[&[b""]], 4000)),
        ("no name", hello(&[], 4000)),
        ("a name with a dot at its end", hello(&[&[b"bound.test."]], 4000)),
        ("a name with a NUL", hello(&[&[b"bound.test\0.other.test"]], 4000)),
        ("a name with a blank", hello(&[&[b"bound.test "]], 4000)),
        ("the address", hello(&[&[b"127.0.0.1"]], 4000)),
        ("a request", b"GET / HTTP/1.1\r\nHost: bound.test\r\n\r\n".to_vec()),
        ("another protocol", b"SSH-2.0-x\r\n".to_vec()),
        ("a hello of SSL 2", [&[0x80, 0x2e, 1, 3, 1][..], &[0; 41]].concat()),
        ("a record of no octets first", [&[22, 3, 1, 0, 0][..], &good].concat()),
        ("an alert first", [&[21, 3, 1, 0, 2, 1, 0][..], &good].concat()),
    ] {
        let mut stream = connect();
        stream.write_all(b"CONNECT bound.test:443 HTTP/1.1\r\nHost: bound.test:443\r\n\r\n").unwrap();
        // It may be closed before all is written.
        let _ = stream.write_all(&octets);
        let answer = answered(&stream);
        let head = b"HTTP/1.1 200 Connection established\r\n\r\n";
        let after = answer.strip_prefix(&head[..]).unwrap_or_else(|| panic!("{what}: {answer:?}"));
        assert!(after.is_empty() || after == [21, 3, 3, 0, 2, 2, 112], "{what}: {after:?}");
    }
    // Streams of HTTP/2 whose CONNECT has more than an authority (RFC 9113 §8.5), or another one.
    let fields = |list: &[(&str, &str)]| -> Vec<u8> {
        let field = |(name, value): &(&str, &str)| {
            [vec![0], prefixed(1, name.as_bytes()), prefixed(1, value.as_bytes())].concat()
        };
        [(":method", "CONNECT"), (":authority", "bound.test:443")].iter().chain(list).flat_map(field).collect()
    };
    for list in [
        &[(":path", "/")][..],
        &[(":scheme", "https")],
        &[(":scheme", "https"), (":path", "/")],
        &[(":protocol", "websocket"), (":scheme", "https"), (":path", "/")],
        &[(":authority", "other.test:443")],
        &[("host", "other.test:443")],
        &[("content-length", "3")],
    ] {
        let mut stream = connect();
        let goodbye = frame(7, 0, 0, &[0; 8]);
        let sent = [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
            &frame(4, 0, 0, &[]),
            &frame(1, 4, 1, &fields(list)),
            &frame(0, 0, 1, &good),
            &goodbye,
        ]
        .concat();
        let _ = stream.write_all(&sent);
        let _ = stream.shutdown(Shutdown::Write);
        // The status 200 of HPACK's table begins no response.
        let answer = answered(&stream);
        assert!(!answer.windows(10).any(|octets| octets[3] == 1 && octets[9] == 0x88), "{list:?}: {answer:?}");
    }
    // All of the others are over. Of this one the destination gets every octet.
    let mut stream = connect();
    let octets = hello(&[&[b"Bound.Test"]], 1);
    stream.write_all(b"CONNECT bound.test:443 HTTP/1.1\r\nHost: bound.test:443\r\n\r\n").unwrap();
    stream.write_all(&octets).unwrap();
    until("the destination has the octets", || received.lock().unwrap().len() >= octets.len());
    assert_eq!(*received.lock().unwrap(), octets);
}
