//! The load generator's own parts: what it would overlook, no benchmark would show.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

#[path = "../benches/load/generator/mod.rs"]
mod generator;

use generator::backend::Answers;
use generator::frames::{Finder, Frame, Kind, content, digits_at, first, renumber};
use generator::ledger::Ledger;

#[test]
fn frames_are_told_apart() {
    assert_eq!(first(b"\x81\x02[]\x89\x00"), Some(Frame { kind: Kind::Text, start: 2, end: 4 }));
    assert_eq!(first(b"\x89\x00"), Some(Frame { kind: Kind::Ping, start: 2, end: 2 }));
    assert_eq!(first(b"\x81\x03[]"), None);
    assert_eq!(first(b"\x81"), None);
    assert_eq!(first(b"\x81\x7e\x01"), None);
    let long = [&b"\x81\x7e\x01\x00"[..], &[b'x'; 256]].concat();
    assert_eq!(first(&long), Some(Frame { kind: Kind::Text, start: 4, end: 260 }));
}

#[test]
fn numbers_are_written_and_found_again() {
    let mut text = format!("[{}]", content(64)).into_bytes();
    assert_eq!(text.len(), 66);
    let place = digits_at(&text).unwrap();
    let mut finder = Finder::default();
    for number in [0, 1, 4_294_967_295] {
        renumber(&mut text, place, number);
        assert_eq!(finder.number(&text), Some(number));
        assert_eq!(finder.number(&[b"    ", &text[..]].concat()), Some(number), "elsewhere");
    }
    assert_eq!(finder.number(b"[]"), None);
    assert_eq!(finder.number(br#"{"n":"12"}"#), None);
}

fn ledger(notes: &[(usize, u32)]) -> Ledger {
    let mut ledger = Ledger::new(2);
    notes.iter().for_each(|(subscriber, number)| ledger.note(*subscriber, *number));
    ledger
}

#[test]
fn each_fault_is_seen() {
    assert!(ledger(&[(0, 0), (0, 1), (1, 0), (1, 1)]).is_clean(2));
    assert!(!ledger(&[(0, 0), (0, 1), (1, 0)]).is_clean(2), "the last one is missing");
    assert!(!ledger(&[(0, 0), (0, 1), (1, 1)]).is_clean(2), "one in between is missing");
    assert!(!ledger(&[(0, 0), (0, 1), (1, 1), (1, 0)]).is_clean(2), "out of order");
    assert!(!ledger(&[(0, 0), (0, 0), (1, 0)]).is_clean(1), "twice");
    let faulty = ledger(&[(0, 0), (0, 2), (0, 1), (1, 0)]);
    assert_eq!((faulty.skipped, faulty.late, faulty.completed()), (1, 1, 1));
}

#[test]
fn answers_come_in_pieces() {
    let text =
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
    let mut answers = Answers::default();
    let mut got = Vec::new();
    for byte in text {
        answers.feed(&[*byte], |status, body| got.push((status, body.to_vec()))).unwrap();
    }
    assert_eq!(got, [(200, b"ok".to_vec()), (503, Vec::new())]);
    assert!(answers.feed(b"nonsense\r\n\r\n", |_, _| {}).is_err());
}
