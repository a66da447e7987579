//! 9: limits and performance; 10: automatic fragmentation.

use super::script::{Case, Step, echoed, fragments, normal};
use crate::support::socket::{BINARY, FIN, TEXT, frame};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// How many times 9.7 and 9.8 send their message.
const ROUND_TRIPS: usize = 1_000;

fn payload(pattern: &[u8], length: usize) -> Vec<u8> {
    pattern.iter().copied().cycle().take(length).collect()
}

fn case(id: String, sent: Step, opcode: u8, payload: &[u8]) -> Case {
    Case { id, steps: vec![sent, echoed(opcode, payload)], end: normal() }
}

/// One message of increasing length.
pub fn lengths() -> Vec<Case> {
    let lengths = [64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB];
    let mut cases = Vec::new();
    for (group, opcode, pattern) in
        [("9.1", TEXT, &b"BAsd7&jh23"[..]), ("9.2", BINARY, b"\x00\xfe\x23\xfa\xf0")]
    {
        for (index, length) in lengths.into_iter().enumerate() {
            let payload = payload(pattern, length);
            let sent = Step::Send(frame(FIN | opcode, &payload));
            cases.push(case(format!("{group}.{}", index + 1), sent, opcode, &payload));
        }
    }
    cases
}

/// 4 MiB in fragments of increasing length.
pub fn fragment_lengths() -> Vec<Case> {
    let sizes = [64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB];
    let mut cases = Vec::new();
    for (group, opcode, byte) in [("9.3", TEXT, b'*'), ("9.4", BINARY, 0xfe)] {
        for (index, size) in sizes.into_iter().enumerate() {
            let payload = vec![byte; 4 * MIB];
            let sent = Step::Send(fragments(opcode, &payload, size));
            cases.push(case(format!("{group}.{}", index + 1), sent, opcode, &payload));
        }
    }
    cases
}

/// 1 MiB in writes of increasing length.
pub fn chops() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, opcode, pattern) in
        [("9.5", TEXT, &b"BAsd7&jh23"[..]), ("9.6", BINARY, b"\x00\xfe\x23\xfa\xf0")]
    {
        for (index, size) in [64, 128, 256, 512, KIB, 2 * KIB].into_iter().enumerate() {
            let payload = payload(pattern, MIB);
            let sent = Step::SendChopped(frame(FIN | opcode, &payload), size);
            cases.push(case(format!("{group}.{}", index + 1), sent, opcode, &payload));
        }
    }
    cases
}

/// A thousand messages; each is sent when the previous one has come back.
pub fn round_trips() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, opcode, byte) in [("9.7", TEXT, b'*'), ("9.8", BINARY, 0xfe)] {
        for (index, length) in [0, 16, 64, 256, KIB, 4 * KIB].into_iter().enumerate() {
            let payload = vec![byte; length];
            let once = || [Step::Send(frame(FIN | opcode, &payload)), echoed(opcode, &payload)];
            let steps = (0..ROUND_TRIPS).flat_map(|_| once()).collect();
            cases.push(Case { id: format!("{group}.{}", index + 1), steps, end: normal() });
        }
    }
    cases
}

pub fn automatic_fragmentation() -> Vec<Case> {
    let payload = vec![b'*'; 64 * KIB];
    vec![case("10.1.1".into(), Step::Send(fragments(TEXT, &payload, 1_300)), TEXT, &payload)]
}
