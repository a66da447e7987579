//! 7: how sockets are closed.

use super::script::{Case, End, INVALID_UTF8, NORMAL, PROTOCOL, Step, echoed, normal};
use crate::support::socket::{CLOSE, FIN, PING, TEXT, frame};

const VALID: [u16; 13] = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
const INVALID: [u16; 9] = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];
/// Undefined by the standard: informational in the suite. This server accepts no code above 4999.
const BEYOND: [u16; 2] = [5_000, 65_535];

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

/// The client's close frame is part of the sent bytes, and the server answers it with its code.
fn closed(id: &str, bytes: Vec<u8>, before: Vec<Step>) -> Case {
    let mut steps = vec![Step::Send(bytes)];
    steps.extend(before);
    steps.push(Step::Get(FIN | CLOSE, NORMAL.to_be_bytes().to_vec()));
    Case { id: id.to_owned(), steps, end: End::Sent }
}

/// The client sends a close frame with this payload.
fn close_case(id: String, payload: Vec<u8>, end: impl Fn(Vec<u8>) -> End) -> Case {
    Case { id, steps: Vec::new(), end: end(payload) }
}

/// The server answers with the same code and nothing after it.
fn answered(payload: Vec<u8>) -> End {
    let code = payload.iter().copied().take(2).collect();
    End::Client(payload, code)
}

fn refused_with(code: u16) -> impl Fn(Vec<u8>) -> End {
    move |payload| End::Refused(payload, code)
}

pub fn cases() -> Vec<Case> {
    let mut cases = basic();
    cases.extend(payloads());
    for (group, codes, end) in [
        ("7.7", &VALID[..], &answered as &dyn Fn(Vec<u8>) -> End),
        ("7.9", &INVALID, &refused_with(PROTOCOL)),
        ("7.13", &BEYOND, &refused_with(PROTOCOL)),
    ] {
        for (index, code) in codes.iter().enumerate() {
            cases.push(close_case(format!("{group}.{}", index + 1), close(*code, b""), end));
        }
    }
    cases
}

fn basic() -> Vec<Case> {
    let text = |payload: &[u8]| frame(FIN | TEXT, payload);
    let close_frame = frame(FIN | CLOSE, &close(NORMAL, b""));
    let hello = b"Hello World!";
    let long: Vec<u8> = b"BAsd7&jh23".iter().copied().cycle().take(256 << 10).collect();
    let after = |bytes: Vec<u8>| [close_frame.clone(), bytes].concat();
    let fragments = [frame(TEXT, b"fragment1"), close_frame.clone(), frame(FIN, b"fragment2")];
    let late = [text(&long), text(hello), close_frame.clone(), frame(FIN | PING, b"")];
    vec![
        Case { id: "7.1.1".into(), steps: vec![Step::Send(text(hello)), echoed(TEXT, hello)], end: normal() },
        closed("7.1.2", after(frame(FIN | CLOSE, b"")), vec![]),
        closed("7.1.3", after(frame(FIN | PING, b"")), vec![]),
        closed("7.1.4", after(text(hello)), vec![]),
        closed("7.1.5", fragments.concat(), vec![]),
        closed("7.1.6", late.concat(), vec![echoed(TEXT, &long), echoed(TEXT, hello)]),
    ]
}

fn payloads() -> Vec<Case> {
    let case =
        |id: &str, payload: Vec<u8>, end: &dyn Fn(Vec<u8>) -> End| close_case(id.to_owned(), payload, end);
    let broken = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
    vec![
        case("7.3.1", vec![], &answered),
        case("7.3.2", b"a".to_vec(), &refused_with(PROTOCOL)),
        case("7.3.3", close(NORMAL, b""), &answered),
        case("7.3.4", close(NORMAL, b"Hello World!"), &answered),
        case("7.3.5", close(NORMAL, &[b'*'; 123]), &answered),
        case("7.3.6", close(NORMAL, &[b'*'; 124]), &refused_with(PROTOCOL)),
        case("7.5.1", close(NORMAL, broken), &refused_with(INVALID_UTF8)),
    ]
}
