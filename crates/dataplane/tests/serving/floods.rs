//! Peers that send frames which cost them little: memory stays bounded, and other clients are not affected.

use crate::backend::Backend;
use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, RESET, SETTINGS, WINDOW_UPDATE,
    frame,
};
use crate::gateway::Gateway;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const FRAMES: usize = 100_000;
/// `GET`, `http`, `/`, and the authority `a`, in HPACK.
const REQUEST: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'a'];

/// The result of a flood.
struct Aftermath {
    /// Whether the gateway ended the connection.
    ended: bool,
    /// The bytes that the gateway sent.
    answered: usize,
}

/// Sends a flood, while another client sends requests and receives every response.
fn flood(frames: impl Fn(&mut Vec<u8>, usize)) -> Aftermath {
    let backend = Backend::echo();
    let gateway = Gateway::to(backend.address);
    let mut bytes = PREFACE.to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    (0..FRAMES).for_each(|number| frames(&mut bytes, number));
    let mut attacker = TcpStream::connect(gateway.addresses()[0]).unwrap();
    attacker.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut reader = attacker.try_clone().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let others = {
        let (mut client, over) = (gateway.client(), Arc::clone(&over));
        std::thread::spawn(move || {
            let mut asked = 0;
            while !over.load(Ordering::Relaxed) || asked < 10 {
                assert_eq!(client.with_body("POST", "as ever").answer().text(), "as ever");
                asked += 1;
            }
        })
    };
    let sending = std::thread::spawn(move || {
        attacker.write_all(&bytes).is_ok() && attacker.shutdown(std::net::Shutdown::Write).is_ok()
    });
    let (mut answered, mut room) = (0, vec![0; 1 << 16]);
    let mut last = Vec::new();
    let cut = loop {
        match reader.read(&mut room) {
            Ok(0) => break false,
            Ok(count) => {
                answered += count;
                last = room[count.saturating_sub(64)..count].to_vec();
            }
            // The gateway closed the connection with unread frames.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break true,
            Err(error) => panic!("{error}"),
        }
    };
    let sent = sending.join().unwrap();
    over.store(true, Ordering::Relaxed);
    others.join().unwrap();
    let goaway = last.windows(4).any(|window| window[0] == 7);
    Aftermath { ended: !sent || cut || goaway, answered }
}

#[test]
fn pings_settings_and_priorities_end_at_their_limit() {
    assert!(flood(|out, _| frame(out, PING, 0, 0, &[7; 8])).ended);
    assert!(flood(|out, _| frame(out, SETTINGS, 0, 0, &[])).ended);
    assert!(flood(|out, _| frame(out, PRIORITY, 0, 1, &[0, 0, 0, 0, 1])).ended);
}

#[test]
fn cve_2023_44487_streams_that_are_broken_off_at_once_end_the_connection() {
    let aftermath = flood(|out, number| {
        let stream = 2 * number as u32 + 1;
        frame(out, HEADERS, END_HEADERS | END_STREAM, stream, REQUEST);
        frame(out, RESET, 0, stream, &8_u32.to_be_bytes());
    });
    assert!(aftermath.ended && aftermath.answered < 1 << 20);
}

#[test]
fn cve_2024_27316_a_head_without_end_ends_the_connection() {
    let aftermath = flood(|out, number| match number {
        0 => frame(out, HEADERS, 0, 1, REQUEST),
        // Each block has another field.
        _ => frame(out, CONTINUATION, 0, 1, &[0, 1, b'x', 1, b'y']),
    });
    assert!(aftermath.ended);
    let aftermath = flood(|out, number| match number {
        0 => frame(out, HEADERS, 0, 1, REQUEST),
        _ => frame(out, CONTINUATION, 0, 1, &[]),
    });
    assert!(aftermath.ended);
}

#[test]
fn cve_2019_9518_empty_data_ends_at_its_limit() {
    let aftermath = flood(|out, number| match number {
        0 => {
            // A POST without its body.
            let head = [&[0x83], &REQUEST[1..]].concat();
            frame(out, HEADERS, END_HEADERS, 1, &head);
        }
        _ => frame(out, DATA, 0, 1, &[]),
    });
    assert!(aftermath.ended);
}

#[test]
fn cve_2019_9517_a_client_that_reads_no_responses_gets_a_hundred_streams_and_no_more() {
    let aftermath = flood(|out, number| {
        if number == 0 {
            // No octet of a body may arrive.
            frame(out, SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
        }
        match number {
            0..20_000 => frame(out, HEADERS, END_HEADERS | END_STREAM, 2 * number as u32 + 1, REQUEST),
            _ => frame(out, WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
        }
    });
    // Each stream beyond the limit is refused by one frame; no body is sent.
    assert!(aftermath.answered < 20_000 * 128, "{}", aftermath.answered);
}

#[test]
fn a_client_that_reads_a_large_body_may_send_window_updates_for_all_of_it() {
    const ALL: usize = 24 << 20;
    const PIECE: usize = 1 << 10;
    let backend = Backend::start(|side| {
        side.request();
        side.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {ALL}\r\n\r\n"));
        side.send(vec![7; ALL]);
        side.more();
    });
    let gateway = Gateway::to(backend.address);
    let mut stream = TcpStream::connect(gateway.addresses()[0]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = PREFACE.to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    frame(&mut bytes, HEADERS, END_HEADERS | END_STREAM, 1, REQUEST);
    stream.write_all(&bytes).unwrap();
    let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
    let (mut received, mut updates, mut open) = (0, 0, 0);
    while received < ALL {
        let mut header = [0; 9];
        reader.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let mut content = vec![0; length];
        reader.read_exact(&mut content).unwrap();
        assert!(header[3] != 7 && header[3] != RESET, "it ended after {updates} window updates");
        if header[3] != DATA {
            continue;
        }
        (received, open) = (received + length, open + length);
        bytes.clear();
        while open >= PIECE {
            open -= PIECE;
            for stream in [0, 1] {
                frame(&mut bytes, WINDOW_UPDATE, 0, stream, &(PIECE as u32).to_be_bytes());
                updates += 1;
            }
        }
        stream.write_all(&bytes).unwrap();
    }
    assert!(updates > 4 * 10_000, "{updates}");
}
