use super::Marks;
use super::frames::{FrameBounds, Frames, Passed, TrailerObserver};
use super::marks::Mark;
use std::cell::RefCell;
use std::rc::Rc;

const HEADER: usize = 9;

fn frame(kind: u8, flags: u8, stream: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let header = [(length >> 16) as u8, (length >> 8) as u8, length as u8, kind, flags, 0, 0, 0, stream];
    [&header[..], content].concat()
}

fn bounds(cheap_frames: u32) -> FrameBounds {
    FrameBounds { cheap_frames, section_timeout: None }
}

/// The reports about trailers.
#[derive(Debug, Default)]
struct Reports {
    frames: RefCell<Vec<(u32, usize)>>,
    malformed: RefCell<Vec<u32>>,
}

impl TrailerObserver for Reports {
    fn begin_frame(&self, stream: u32, octets: usize) {
        self.frames.borrow_mut().push((stream, octets));
    }

    fn mark_malformed(&self, stream: u32) {
        self.malformed.borrow_mut().push(stream);
    }
}

fn of_client(most: u32) -> Frames {
    reporting(most, &Rc::default())
}

fn reporting(most: u32, reports: &Rc<Reports>) -> Frames {
    let mut frames = Frames::of_client(&bounds(most), Rc::<Reports>::clone(reports));
    frames.pass(&[b'P'; 24]).unwrap();
    frames
}

#[test]
fn trailers_are_distinguished_from_heads_wherever_reads_are_cut() {
    let blocks = [(1, 1, 30), (9, 1, 30), (1, 3, 30), (0, 1, 5), (1, 1, 20), (9, 1, 10), (1, 5, 30), (9, 5, 30)];
    let all: Vec<u8> =
        blocks.into_iter().flat_map(|(kind, stream, length)| frame(kind, 0, stream, &vec![0; length])).collect();
    for size in [1, 7, 5000] {
        let reports = Rc::default();
        let mut frames = reporting(100, &reports);
        assert!(all.chunks(size).all(|piece| frames.pass(piece).is_ok()), "{size}");
        assert_eq!(*reports.frames.borrow(), [(1, 20), (1, 10)], "{size}");
    }
}

#[test]
fn rfc_9113_8_1_pseudo_header_fields_in_trailers_of_clients_are_reported() {
    // A head, whose path becomes an entry of the dynamic table, and trailers with a regular field.
    let head = b"\x82\x86\x44\x02/x\x41\x06a.test";
    let fine = [frame(1, 4, 1, head), frame(1, 5, 1, b"\x00\x01a\x02:b")].concat();
    // A path by the static table, by the dynamic table, and by name; a status; a name that only begins like one; in two frames.
    let malformed: [&[u8]; 6] =
        [b"\x84", b"\xbf", b"\x00\x05:path\x01/", b"\x88", b"\x00\x02:x\x00", b"\x00\x01a\x01b\x44\x02/y"];
    for (at, block) in malformed.into_iter().enumerate() {
        let (first, second) = block.split_at(block.len() / 2);
        let next = [frame(1, 4, 3, b"\x82\x86\x84"), frame(1, 1, 3, first), frame(9, 4, 3, second)].concat();
        for size in [1, 5, 9, 4096] {
            let reports = Rc::default();
            let mut frames = reporting(100, &reports);
            assert!([&fine[..], &next].concat().chunks(size).all(|piece| frames.pass(piece).is_ok()));
            assert_eq!(*reports.malformed.borrow(), [3], "{at} {size}");
        }
    }
}

fn of_endpoint() -> (Frames, Rc<Marks>) {
    let marks = Rc::default();
    (Frames::of_endpoint(&bounds(100), &marks), marks)
}

#[test]
fn a_peer_that_sends_only_cheap_frames_is_closed() {
    for kind in [0, 2, 3, 4, 6, 8, 9, 200] {
        let mut frames = of_client(100);
        let sent = (0..).take_while(|_| frames.pass(&frame(kind, 0, 1, b"")).is_ok()).count();
        assert_eq!(sent, 100, "{kind}");
    }
}

#[test]
fn messages_and_bodies_earn_room_wherever_reads_are_cut() {
    let mut all = Vec::new();
    for _ in 0..1000 {
        all.extend([frame(1, 4, 1, &[0x88; 30]), frame(0, 0, 1, &[0; 500]), frame(8, 0, 1, &[0; 4])].concat());
        all.extend([frame(6, 0, 0, &[0; 8]), frame(8, 0, 1, &[0; 4])].concat());
    }
    for size in [1, 7, 64, 5000] {
        let mut frames = of_client(10);
        assert!(all.chunks(size).all(|piece| frames.pass(piece).is_ok()), "{size}");
    }
}

#[test]
fn a_peer_that_reads_a_body_may_send_window_updates_for_it() {
    let mut frames = of_client(10);
    for _ in 0..10_000 {
        frames.wrote(1024);
        frames.pass(&frame(8, 0, 0, &[0; 4])).unwrap();
        frames.pass(&frame(8, 0, 1, &[0; 4])).unwrap();
    }
    let more = (0..).take_while(|_| frames.pass(&frame(8, 0, 1, &[0; 4])).is_ok()).count();
    assert!(more <= 10, "{more}");
}

#[test]
fn frames_other_than_data_are_sections_until_they_are_complete() {
    let mut frames = of_client(100);
    let within = |frames: &mut Frames, bytes: &[u8]| {
        frames.pass(bytes).unwrap();
        frames.is_within_section()
    };
    let head = frame(1, 0, 1, &[0x82; 4]);
    assert!(within(&mut frames, &head[..1]));
    assert!(within(&mut frames, &head[1..HEADER + 2]));
    assert!(within(&mut frames, &head[HEADER + 2..]), "CONTINUATION is still to come");
    assert!(!within(&mut frames, &frame(9, 4, 1, &[0x82; 4])));
    let data = frame(0, 0, 1, &[0; 50]);
    assert!(!within(&mut frames, &data[..HEADER + 20]));
    assert!(!within(&mut frames, &data[HEADER + 20..]));
    let next = [frame(6, 0, 0, &[0; 8]), vec![0]].concat();
    assert_eq!(frames.pass(&next), Ok(Passed { block_octets: 0, section_ended: true }));
    assert!(frames.is_within_section());
}

/// Reads frames that are cut in every way.
fn marks_of(frames: &[Vec<u8>]) -> Rc<Marks> {
    let all = frames.concat();
    let mut last = None;
    for size in [1, 5, 9, 10, 4096] {
        let (mut frames, marks) = of_endpoint();
        assert!(all.chunks(size).all(|piece| frames.pass(piece).is_ok()));
        last = Some(marks);
    }
    last.unwrap()
}

#[test]
fn rfc_9113_8_1_streams_of_malformed_messages_are_marked() {
    let marks = marks_of(&[
        // An answer and its trailers.
        frame(1, 4, 1, b"\x88"),
        frame(0, 0, 1, &[0x84; 20]),
        frame(1, 5, 1, b"\x00\x01a\x01b"),
        // One with a path, padded, with a priority; one with a path in the second part of the block.
        frame(1, 4 | 8 | 0x20, 3, b"\x03\x00\x00\x00\x00\x05\x88\x84\x84\x84\x84"),
        frame(1, 0, 5, b"\x88\x44"),
        frame(9, 4, 5, b"\x02/x"),
        // Without a body, and trailers with a status; padding that looks like a path.
        frame(1, 5, 7, b"\x89"),
        frame(1, 4, 9, b"\x88"),
        frame(1, 5 | 8, 9, b"\x02\x88\x84\x84"),
    ]);
    let malformed = [1, 3, 5, 7, 9].map(|stream| marks.has(stream, Mark::Malformed));
    assert_eq!(malformed, [false, true, true, false, false]);
    let ended = [1, 3, 5, 7, 9].map(|stream| marks.has(stream, Mark::EndsWithStatus));
    assert_eq!(ended, [false, false, false, true, true]);
    marks.forget(9);
    assert!(!marks.has(9, Mark::EndsWithStatus) && marks.has(7, Mark::EndsWithStatus));
}

#[test]
fn marks_are_bounded() {
    let ended: Vec<_> = (0..2000).map(|_| frame(1, 5, 7, b"\x88")).collect();
    let marks = marks_of(&[ended.concat(), frame(1, 5, 9, b"\x88")]);
    assert!(marks.has(9, Mark::EndsWithStatus));
    assert!(marks.len() <= 256, "{}", marks.len());
}

#[test]
fn header_blocks_are_bounded_by_the_requests_that_earn_them() {
    let count = |requests: usize| {
        let marks = Rc::<Marks>::default();
        // An error is the end of a connection; another one stands for the rest of the same.
        let sent = || {
            let mut frames = Frames::of_endpoint(&bounds(100), &marks);
            (0..).take_while(|_| frames.pass(&frame(1, 5, 1, b"\x88")).is_ok()).count()
        };
        let before = sent();
        (0..requests).for_each(|_| drop(marks.of(1)));
        (before, sent())
    };
    assert_eq!(count(7), (10_000, 70));
    assert_eq!(count(5000), (10_000, 10_000));
}
