//! What has to agree: how a destination is written, the name, its addresses, and the name in a tunnel.

use super::{PROXY, World, curl, sent};
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
