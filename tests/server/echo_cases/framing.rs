//! 1: framing; 2: pings and pongs; 3: reserved bits; 4: opcodes; 5: fragmentation.

use super::script::{Case, End, PROTOCOL, Step, alive, echoed, normal, text_case};
use crate::support::socket::{BINARY, FIN, PING, PONG, TEXT, frame};

const HELLO: &[u8] = b"Hello, world!";
const BYTES: &[u8] = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff";
/// The reserved bits in the numbering of the suite, at their position in the first byte of a frame.
const RSV: [u8; 8] = [0, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70];

fn case(id: &str, steps: Vec<Step>, end: End) -> Case {
    Case { id: id.to_owned(), steps, end }
}

fn refused(id: &str, bytes: Vec<u8>) -> Case {
    case(id, vec![Step::Send(bytes)], End::Server(PROTOCOL))
}

/// Messages of the lengths at which the header changes.
pub fn framing() -> Vec<Case> {
    let lengths = [0, 125, 126, 127, 128, 65_535, 65_536, 65_536];
    let mut cases = Vec::new();
    for (group, opcode, byte) in [("1.1", TEXT, b'*'), ("1.2", BINARY, 0xfe)] {
        for (index, length) in lengths.into_iter().enumerate() {
            let payload = vec![byte; length];
            let bytes = frame(FIN | opcode, &payload);
            let sent = if index == 7 { Step::SendChopped(bytes, 997) } else { Step::Send(bytes) };
            cases.push(case(
                &format!("{group}.{}", index + 1),
                vec![sent, echoed(opcode, &payload)],
                normal(),
            ));
        }
    }
    cases
}

pub fn pings() -> Vec<Case> {
    let pong = |payload: &[u8]| Step::Get(FIN | PONG, payload.to_vec());
    let answered =
        |id, payload: &[u8]| case(id, vec![Step::Send(frame(FIN | PING, payload)), pong(payload)], normal());
    let ten: Vec<Vec<u8>> = (0..10).map(|number| format!("payload-{number}").into_bytes()).collect();
    let ten_pings = ten.iter().flat_map(|payload| frame(FIN | PING, payload)).collect::<Vec<_>>();
    let ten_pongs = || ten.iter().map(|payload| pong(payload));
    let unsolicited = frame(FIN | PONG, b"unsolicited pong payload");
    vec![
        answered("2.1", b""),
        answered("2.2", HELLO),
        answered("2.3", BYTES),
        answered("2.4", &[0xfe; 125]),
        refused("2.5", frame(FIN | PING, &[0xfe; 126])),
        case(
            "2.6",
            vec![Step::SendChopped(frame(FIN | PING, &[0xfe; 125]), 1), pong(&[0xfe; 125])],
            normal(),
        ),
        case("2.7", vec![Step::Send(frame(FIN | PONG, b""))], normal()),
        case("2.8", vec![Step::Send(unsolicited.clone())], normal()),
        case(
            "2.9",
            vec![
                Step::Send([unsolicited, frame(FIN | PING, b"ping payload")].concat()),
                pong(b"ping payload"),
            ],
            normal(),
        ),
        case("2.10", [Step::Send(ten_pings.clone())].into_iter().chain(ten_pongs()).collect(), normal()),
        case(
            "2.11",
            [Step::SendChopped(ten_pings.clone(), 1)].into_iter().chain(ten_pongs()).collect(),
            normal(),
        ),
    ]
}

/// A valid text, something invalid, a ping: the text comes back, then the server closes.
fn after_a_text(id: &str, bad: &[u8], chop: Option<usize>) -> Case {
    let bytes = [&frame(FIN | TEXT, HELLO), bad, &frame(FIN | PING, b"")].concat();
    let sent = match chop {
        Some(size) => Step::SendChopped(bytes, size),
        None => Step::Send(bytes),
    };
    case(id, vec![sent, echoed(TEXT, HELLO)], End::Server(PROTOCOL))
}

pub fn reserved_bits() -> Vec<Case> {
    let bad_text = |rsv: u8| frame(FIN | RSV[usize::from(rsv)] | TEXT, HELLO);
    let apart = vec![
        Step::Send(frame(FIN | TEXT, HELLO)),
        Step::Send(bad_text(3)),
        Step::Send(frame(FIN | PING, b"")),
        echoed(TEXT, HELLO),
    ];
    vec![
        refused("3.1", bad_text(1)),
        after_a_text("3.2", &bad_text(2), None),
        case("3.3", apart, End::Server(PROTOCOL)),
        after_a_text("3.4", &bad_text(4), Some(1)),
        refused("3.5", frame(FIN | RSV[5] | BINARY, BYTES)),
        refused("3.6", frame(FIN | RSV[6] | PING, HELLO)),
        refused("3.7", frame(FIN | RSV[7] | 0x8, b"")),
    ]
}

pub fn opcodes() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, first) in [("4.1", 3), ("4.2", 11)] {
        let bad = |number: u8, payload: &[u8]| frame(FIN | (first + number - 1), payload);
        let id = |number: u8| format!("{group}.{number}");
        cases.push(refused(&id(1), bad(1, b"")));
        cases.push(refused(&id(2), bad(2, b"reserved opcode payload")));
        cases.push(after_a_text(&id(3), &bad(3, b""), None));
        cases.push(after_a_text(&id(4), &bad(4, HELLO), None));
        cases.push(after_a_text(&id(5), &bad(5, HELLO), Some(1)));
    }
    cases
}

/// The ways in which the suite writes the same frames.
#[derive(Clone, Copy)]
enum Way {
    Joined,
    FrameByFrame,
    ByteByByte,
}

const WAYS: [Way; 3] = [Way::Joined, Way::FrameByFrame, Way::ByteByByte];

fn sent(frames: Vec<Vec<u8>>, way: Way) -> Vec<Step> {
    match way {
        Way::Joined => vec![Step::Send(frames.concat())],
        Way::FrameByFrame => frames.into_iter().map(Step::Send).collect(),
        Way::ByteByByte => vec![Step::SendChopped(frames.concat(), 1)],
    }
}

pub fn fragmentation() -> Vec<Case> {
    let (one, two) = (frame(TEXT, b"fragment1"), frame(FIN, b"fragment2"));
    let whole = b"fragment1fragment2";
    let mut cases = vec![
        refused("5.1", [frame(PING, b"fragment1"), two.clone()].concat()),
        refused("5.2", [frame(PONG, b"fragment1"), two.clone()].concat()),
    ];
    for (way, id) in WAYS.into_iter().zip(["5.3", "5.4", "5.5"]) {
        cases.push(text_case(id, whole, sent(vec![one.clone(), two.clone()], way)));
    }
    for (way, id) in WAYS.into_iter().zip(["5.6", "5.7", "5.8"]) {
        let frames = vec![one.clone(), frame(FIN | PING, b"ping payload"), two.clone()];
        let mut steps = sent(frames, way);
        steps.push(Step::Get(FIN | PONG, b"ping payload".to_vec()));
        cases.push(text_case(id, whole, steps));
    }
    for (fin, ids) in [(FIN, ["5.9", "5.10", "5.11"]), (0, ["5.12", "5.13", "5.14"])] {
        for (way, id) in WAYS.into_iter().zip(ids) {
            let frames = vec![frame(fin, b"non-continuation payload"), frame(FIN | TEXT, HELLO)];
            cases.push(case(id, sent(frames, way), End::Server(PROTOCOL)));
        }
    }
    let then_invalid = [one.clone(), two.clone(), frame(0, b"fragment3"), frame(FIN | TEXT, b"fragment4")];
    cases.push(case(
        "5.15",
        vec![Step::Send(then_invalid.concat()), echoed(TEXT, whole)],
        End::Server(PROTOCOL),
    ));
    for (fin, id) in [(0, "5.16"), (FIN, "5.17")] {
        let frames = [frame(fin, b"fragment1"), frame(TEXT, b"fragment2"), frame(FIN, b"fragment3")].concat();
        cases.push(refused(id, frames.repeat(2)));
    }
    cases.push(refused("5.18", [one, frame(FIN | TEXT, b"fragment2")].concat()));
    cases.extend([in_five("5.19", Way::Joined), in_five("5.20", Way::FrameByFrame)]);
    cases
}

/// Five fragments and two pings; the first ping is answered before the rest is sent.
fn in_five(id: &str, way: Way) -> Case {
    let part = |number: u8| format!("fragment{number}").into_bytes();
    let mut steps = sent(vec![frame(TEXT, &part(1)), frame(0, &part(2))], way);
    steps.extend(alive());
    let rest = vec![frame(0, &part(3)), frame(0, &part(4)), frame(FIN | PING, b"2"), frame(FIN, &part(5))];
    steps.extend(sent(rest, way));
    steps.push(Step::Get(FIN | PONG, b"2".to_vec()));
    text_case(id, &(1..=5).flat_map(part).collect::<Vec<_>>(), steps)
}
