use super::*;
use proptest::prelude::*;

fn ends(source: &str, destination: &str) -> Ends {
    Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&V2[..], &[command, family], &length, rest].concat()
}

#[test]
fn s_112_a_line_tells_both_ends() {
    let line = b"PROXY TCP4 203.0.113.7 10.0.0.1 51000 443\r\nGET / HTTP/1.1\r\n";
    let header = Header { length: 43, ends: Some(ends("203.0.113.7:51000", "10.0.0.1:443")) };
    assert_eq!(parse(line), Ok(Some(header)));
    let line = b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n";
    assert_eq!(parse(line).unwrap().unwrap().ends, Some(ends("[2001:db8::7]:1", "[::1]:65535")));
}

#[test]
fn s_112_unknown_and_local_keep_the_sockets_address() {
    for line in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN ff:: ff:: 1 2\r\n"] {
        assert_eq!(parse(line), Ok(Some(Header { length: line.len(), ends: None })));
    }
    for bytes in [v2(0x20, 0x11, &[7; 12]), v2(0x20, 0, &[]), v2(0x21, 0, &[1, 2]), v2(0x21, 0x31, &[0; 216])] {
        assert_eq!(parse(&bytes), Ok(Some(Header { length: bytes.len(), ends: None })), "{bytes:?}");
    }
}

#[test]
fn s_112_version_2_is_read_with_what_follows_the_addresses() {
    let mut rest = vec![203, 0, 113, 7, 10, 0, 0, 1, 0xc7, 0x38, 1, 0xbb];
    rest.extend_from_slice(&[0x04, 0, 2, 9, 9]);
    let header = Header { length: 33, ends: Some(ends("203.0.113.7:51000", "10.0.0.1:443")) };
    assert_eq!(parse(&v2(0x21, 0x11, &rest)), Ok(Some(header)));
}

#[test]
fn s_112_an_invalid_header_is_rejected_as_early_as_possible() {
    let long = [&b"PROXY UNKNOWN "[..], &[b'x'; MAX_V1]].concat();
    let too_long = [&V2[..], &[0x21, 0x11, 0xff, 0xff]].concat();
    for bad in [
        &b"G"[..],
        b"\x16\x03\x01",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
        b"PROXY TCP4 1.2.3.4 ::1 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        &long,
        &too_long,
        &v2(0x11, 0x11, &[0; 12]),
        &v2(0x22, 0x11, &[0; 12]),
        &v2(0x21, 0x41, &[0; 12]),
        &v2(0x21, 0x11, &[0; 11]),
        &v2(0x21, 0x21, &[0; 35]),
    ] {
        assert_eq!(parse(bad), Err(NoHeader), "{:?}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn dr_51_version_1_is_written_as_a_line() {
    let mut out = Vec::new();
    write(Version::V1, Some(&ends("[::ffff:203.0.113.7]:51000", "10.0.0.1:443")), &mut out);
    assert_eq!(out, b"PROXY TCP4 203.0.113.7 10.0.0.1 51000 443\r\n");
    out.clear();
    write(Version::V1, Some(&ends("203.0.113.7:51000", "[::1]:443")), &mut out);
    assert_eq!(out, b"PROXY TCP6 ::ffff:203.0.113.7 ::1 51000 443\r\n");
}

#[test]
fn dr_51_a_connection_of_the_gateway_is_written_as_local() {
    for version in [Version::V1, Version::V2] {
        let mut out = Vec::new();
        write(version, None, &mut out);
        assert_eq!(parse(&out), Ok(Some(Header { length: out.len(), ends: None })));
    }
}

proptest! {
    #[test]
    fn dr_51_what_is_written_is_read_as_it_was(
        v1 in any::<bool>(), v6 in any::<bool>(), a in any::<u128>(), b in any::<u128>(), ports in any::<(u16, u16)>(),
    ) {
        let address = |bits: u128| -> IpAddr {
            if v6 { Ipv6Addr::from(bits | 1 << 127).into() } else { Ipv4Addr::from(bits as u32).into() }
        };
        let ends = Ends { source: SocketAddr::new(address(a), ports.0), destination: SocketAddr::new(address(b), ports.1) };
        let mut out = Vec::new();
        write(if v1 { Version::V1 } else { Version::V2 }, Some(&ends), &mut out);
        prop_assert!(!v1 || out.len() <= MAX_V1);
        for cut in 0..out.len() {
            prop_assert_eq!(parse(&out[..cut]), Ok(None));
        }
        let length = out.len();
        out.extend_from_slice(b"GET");
        prop_assert_eq!(parse(&out), Ok(Some(Header { length, ends: Some(ends) })));
    }

    #[test]
    fn s_112_any_bytes_give_a_value_and_never_ask_for_more_than_the_bound(
        start in 0..4_usize, rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let begun: [&[u8]; 4] = [b"", b"PROXY ", b"PROXY TCP6 ::1 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00"];
        let bytes = [begun[start], &rest].concat();
        match parse(&bytes) {
            Ok(Some(header)) => prop_assert!(header.length <= bytes.len() && header.length <= MAX_V2),
            Ok(None) => prop_assert!(bytes.len() < MAX_V2),
            Err(NoHeader) => {}
        }
    }
}
