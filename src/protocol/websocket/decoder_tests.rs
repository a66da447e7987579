use super::*;
use crate::protocol::websocket::deflate;
use proptest::prelude::*;

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().enumerate().map(|(i, b)| b ^ mask[i & 3]));
    out
}

fn all(input: &[&[u8]]) -> Result<Vec<Incoming>, CloseReason> {
    let mut decoder = Decoder::new(1 << 20);
    let mut out = Vec::new();
    for bytes in input {
        decoder.feed(bytes);
        decode_all(&mut decoder, &mut out)?;
    }
    Ok(out)
}

/// Decodes everything, in as many turns as needed.
fn decode_all(decoder: &mut Decoder, out: &mut Vec<Incoming>) -> Result<(), CloseReason> {
    loop {
        let mut turn = DecodeTurn::default();
        let before = out.len();
        while let Some(incoming) = decoder.decode(&mut turn)? {
            out.push(incoming);
        }
        assert!(out.len() - before <= TURN_FRAMES);
        if !decoder.is_behind() {
            return Ok(());
        }
    }
}

fn one(bytes: &[u8]) -> Result<Vec<Incoming>, CloseReason> {
    all(&[bytes])
}

fn text(s: &str) -> Incoming {
    Incoming::Text(Bytes::copy_from_slice(s.as_bytes()))
}

#[test]
fn complete_messages_are_decoded() {
    assert_eq!(one(&masked(0x81, b"hi")), Ok(vec![text("hi")]));
    assert_eq!(one(&masked(0x82, &[0, 255])), Ok(vec![Incoming::Binary(Bytes::from_static(&[0, 255]))]));
    assert_eq!(one(&masked(0x81, b"")), Ok(vec![text("")]));
    assert_eq!(one(&masked(0x8a, b"x")), Ok(vec![Incoming::Pong]));
}

#[test]
fn control_frames_may_interrupt_fragments() {
    let parts = [masked(0x01, b"a"), masked(0x89, b"p"), masked(0x00, b"b"), masked(0x80, b"c")].concat();
    assert_eq!(one(&parts), Ok(vec![Incoming::Ping(Bytes::from_static(b"p")), text("abc")]));
}

#[test]
fn protocol_errors_are_detected() {
    let cases: [Vec<u8>; 8] = [
        masked(0xc1, b"rsv"),
        masked(0x83, b"opcode"),
        masked(0x80, b"nothing to continue"),
        [masked(0x01, b"a"), masked(0x81, b"b")].concat(),
        masked(0x09, b"fragmented control"),
        masked(0x89, &[0; 126]),
        vec![0x81, 0x02, b'h', b'i'],
        masked(0x88, b"x"),
    ];
    for case in cases {
        assert_eq!(one(&case), Err(CloseReason::Protocol), "{case:?}");
    }
    assert_eq!(one(&masked(0x88, &1005u16.to_be_bytes())), Err(CloseReason::Protocol));
}

#[test]
fn utf8_is_checked_on_arrival() {
    assert_eq!(one(&masked(0x81, &[0xff])), Err(CloseReason::InvalidText));
    assert_eq!(one(&masked(0x81, "ž".as_bytes().split_at(1).0)), Err(CloseReason::InvalidText));
    let (head, tail) = "ž".as_bytes().split_at(1);
    assert_eq!(one(&[masked(0x01, head), masked(0x80, tail)].concat()), Ok(vec![text("ž")]));
    // The invalid byte is detected although the frame is incomplete.
    let bad = masked(0x81, &[b'a', 0xc0, 0xaf, b'b', b'c']);
    assert_eq!(one(&bad[..bad.len() - 2]), Err(CloseReason::InvalidText));
    assert_eq!(one(&masked(0x88, &[0x03, 0xe8, 0xff])), Err(CloseReason::InvalidText));
}

#[test]
fn messages_over_the_limit_are_refused() {
    let mut decoder = Decoder::new(4);
    decoder.feed(&masked(0x81, b"12345")[..2]);
    assert_eq!(decoder.decode(&mut DecodeTurn::default()), Err(CloseReason::TooBig));
    let mut decoder = Decoder::new(4);
    decoder.feed(&[masked(0x01, b"123"), masked(0x80, b"45")].concat());
    assert_eq!(decoder.decode(&mut DecodeTurn::default()), Err(CloseReason::TooBig));
}

#[test]
fn close_codes_are_decoded() {
    assert_eq!(one(&masked(0x88, b"")), Ok(vec![Incoming::Close(None)]));
    assert_eq!(one(&masked(0x88, &[0x03, 0xe8, b'x'])), Ok(vec![Incoming::Close(Some(1000))]));
}

#[test]
fn idle_decoders_hold_nothing() {
    let mut decoder = Decoder::new(100);
    decoder.feed(&masked(0x81, b"hi"));
    while decoder.decode(&mut DecodeTurn::default()).unwrap().is_some() {}
    assert_eq!(decoder.input.capacity(), 0);
}

fn inflating(bytes: &[u8], max: usize) -> Result<Vec<Incoming>, CloseReason> {
    let mut decoder = Decoder::new(max).inflating(true);
    let mut out = Vec::new();
    decoder.feed(bytes);
    decode_all(&mut decoder, &mut out)?;
    Ok(out)
}

#[test]
fn compressed_messages_must_be_negotiated() {
    let mut payload = Vec::new();
    assert!(deflate::deflate("žluťoučký kůň".as_bytes(), &mut payload));
    let whole = masked(0xc1, &payload);
    assert_eq!(inflating(&whole, 100), Ok(vec![text("žluťoučký kůň")]));
    assert_eq!(one(&whole), Err(CloseReason::Protocol));
    let (head, tail) = payload.split_at(3);
    let parts = [masked(0x41, head), masked(0x89, b"p"), masked(0x80, tail)].concat();
    assert_eq!(
        inflating(&parts, 100),
        Ok(vec![Incoming::Ping(Bytes::from_static(b"p")), text("žluťoučký kůň")])
    );
    // Only the first frame may have RSV1, and control frames never.
    assert_eq!(
        inflating(&[masked(0x41, head), masked(0xc0, tail)].concat(), 100),
        Err(CloseReason::Protocol)
    );
    assert_eq!(inflating(&masked(0xc9, b"p"), 100), Err(CloseReason::Protocol));
    assert_eq!(inflating(&whole, 10), Err(CloseReason::TooBig));
    let mut bad = Vec::new();
    assert!(deflate::deflate(&[0xff, 0xfe], &mut bad));
    assert_eq!(inflating(&masked(0xc1, &bad), 100), Err(CloseReason::InvalidText));
    assert_eq!(inflating(&masked(0x81, b"plain"), 100), Ok(vec![text("plain")]));
}

/// The number of messages and control frames decoded in each turn.
fn turns(bytes: &[u8], max: usize) -> Vec<Result<usize, CloseReason>> {
    let mut decoder = Decoder::new(max).inflating(true);
    decoder.feed(bytes);
    let mut turns = Vec::new();
    loop {
        let (mut turn, mut incoming) = (DecodeTurn::default(), 0);
        loop {
            match decoder.decode(&mut turn) {
                Ok(Some(_)) => incoming += 1,
                Ok(None) => break,
                Err(reason) => {
                    turns.push(Err(reason));
                    return turns;
                }
            }
        }
        turns.push(Ok(incoming));
        if !decoder.is_behind() {
            return turns;
        }
    }
}

/// Frames of every kind need as many turns as their number requires.
#[test]
fn a_turn_decodes_a_limited_number_of_frames() {
    let fragment = masked(0x00, b"");
    let begun = |fragments: usize| [masked(0x01, b""), fragment.repeat(fragments)].concat();
    for (name, frame) in [
        ("empty pings", masked(0x89, b"")),
        ("pongs", masked(0x8a, b"")),
        ("empty texts", masked(0x81, b"")),
        ("small texts", masked(0x81, b"hi")),
        ("empty compressed texts", masked(0xc1, &[])),
    ] {
        let all = turns(&frame.repeat(1_000), 100);
        assert_eq!(all.len(), 1_000_usize.div_ceil(TURN_FRAMES), "{name}");
        assert!(
            all.iter().all(|incoming| incoming.is_ok_and(|incoming| incoming <= TURN_FRAMES)),
            "{name}: {all:?}"
        );
    }
    let all = turns(&begun(1_000), 100);
    assert_eq!(all.len(), 1_001_usize.div_ceil(TURN_FRAMES), "fragments");
}

/// Messages of a hundred bytes that decompress to 64 KiB: one per turn, and one of 16 MiB in hundreds of turns.
#[test]
fn a_turn_decompresses_a_limited_number_of_bytes() {
    let bomb = |bytes: usize| {
        let mut payload = Vec::new();
        assert!(deflate::deflate(&vec![b'a'; bytes], &mut payload));
        masked(0xc1, &payload)
    };
    let all = turns(&bomb(64 << 10).repeat(100), 64 << 10);
    assert!(all.iter().all(|incoming| incoming.is_ok_and(|incoming| incoming <= 2)), "{all:?}");
    assert_eq!(all.iter().map(|incoming| incoming.unwrap()).sum::<usize>(), 100);
    let all = turns(&bomb(16 << 20), 16 << 20);
    assert!(all.len() >= (16 << 20) / TURN_BYTES, "{} turns", all.len());
    let all = turns(&bomb(16 << 20), 64 << 10);
    assert!(all.len() <= 3 && all.last() == Some(&Err(CloseReason::TooBig)), "{all:?}");
}

proptest! {
    #[test]
    fn the_division_of_the_input_does_not_matter(message in "\\PC{0,300}", cuts in proptest::collection::vec(1usize..40, 0..30)) {
        let bytes = masked(0x81, message.as_bytes());
        let mut rest = &bytes[..];
        let mut pieces = Vec::new();
        for cut in cuts {
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            pieces.push(head);
            rest = tail;
        }
        pieces.push(rest);
        prop_assert_eq!(all(&pieces), Ok(vec![text(&message)]));
    }

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = one(&bytes);
    }
}
