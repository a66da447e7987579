//! 12 and 13: compressed messages, with different contents and different negotiated parameters.

use super::script::fragments;
use crate::support::socket::{self, BINARY, FIN, Incoming, Outgoing, TEXT};
use crate::support::within;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use std::net::SocketAddr;

const RSV1: u8 = 0x40;
/// The end of a flushed block, which messages leave out (RFC 7692).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Length of the messages and of their fragments; 0 stands for a single fragment.
const SIZES: [(usize, usize); 18] = [
    (16, 0),
    (64, 0),
    (256, 0),
    (1_024, 0),
    (4_096, 0),
    (8_192, 0),
    (16_384, 0),
    (32_768, 0),
    (65_536, 0),
    (131_072, 0),
    (8_192, 256),
    (16_384, 256),
    (32_768, 256),
    (65_536, 256),
    (131_072, 256),
    (131_072, 1_024),
    (131_072, 4_096),
    (131_072, 32_768),
];
/// The suite sends a thousand messages in each case. This many bytes test the same in this server, which compresses
/// each message independently.
const BYTES: usize = 128 << 10;

/// The default offer of the suite's client.
const OFFER: &str = "permessage-deflate; client_no_context_takeover; client_max_window_bits";
const NEGOTIATED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The contents of the messages.
#[derive(Clone, Copy)]
struct Contents {
    opcode: u8,
    make: fn(usize) -> Vec<u8>,
    /// Whether compression shortens messages of a kilobyte or more.
    shrink: bool,
}

const JSON: Contents = Contents { opcode: TEXT, make: json, shrink: true };
const PICTURE: Contents = Contents { opcode: BINARY, make: picture, shrink: true };
const PROSE: Contents = Contents { opcode: BINARY, make: prose, shrink: true };
const HTML: Contents = Contents { opcode: TEXT, make: html, shrink: true };
const NOISE: Contents = Contents { opcode: BINARY, make: noise, shrink: false };

/// A case: the contents, the offer, and whether the server accepts it.
pub struct Case {
    pub id: String,
    contents: Contents,
    size: usize,
    fragment: usize,
    offer: String,
    accepted: bool,
}

fn cases(group: &str, contents: Contents, offer: &str, accepted: bool) -> Vec<Case> {
    let case = |(index, (size, fragment)): (usize, &(usize, usize))| Case {
        id: format!("{group}.{}", index + 1),
        contents,
        size: *size,
        fragment: *fragment,
        offer: offer.to_owned(),
        accepted,
    };
    SIZES.iter().enumerate().map(case).collect()
}

/// The kinds of contents that the suite has: JSON, a picture, prose, HTML, and compressed data.
pub fn contents() -> Vec<Case> {
    let group = |(index, contents)| cases(&format!("12.{}", index + 1), contents, OFFER, true);
    [JSON, PICTURE, PROSE, HTML, NOISE].into_iter().enumerate().flat_map(group).collect()
}

/// The offers of the suite. This server never agrees to a window smaller than the largest (it compresses a broadcast
/// once for all clients): then it sends messages uncompressed.
pub fn negotiations() -> Vec<Case> {
    let no_takeover = format!("{OFFER}; server_no_context_takeover");
    let both = |bits: u8| format!("{no_takeover}; server_max_window_bits={bits}");
    let offers = [
        (OFFER.to_owned(), true),
        (no_takeover.clone(), true),
        (format!("{OFFER}; server_max_window_bits=9"), false),
        (format!("{OFFER}; server_max_window_bits=15"), true),
        (both(9), false),
        (both(15), true),
        (format!("{}, {no_takeover}, {OFFER}", both(9)), true),
    ];
    let group = |(index, (offer, accepted)): (usize, &(String, bool))| {
        cases(&format!("13.{}", index + 1), JSON, offer, *accepted)
    };
    offers.iter().enumerate().flat_map(group).collect()
}

pub async fn run(address: SocketAddr, cases: Vec<Case>) {
    for case in cases {
        println!("case {}", case.id);
        let offer = [("sec-websocket-extensions", case.offer.as_str())];
        let opened = socket::open_with_reply(address, "/demo/echo", &offer).await;
        let (reply, mut incoming, mut outgoing) = opened.unwrap_or_else(|reply| panic!("{reply:?}"));
        let accepted = case.accepted.then_some(NEGOTIATED);
        assert_eq!(reply.header("sec-websocket-extensions"), accepted, "{}", case.id);
        let mut message = (case.contents.make)(case.size);
        for _ in 0..(BYTES / case.size).clamp(1, 100) {
            exchange(&case, &message, &mut incoming, &mut outgoing).await;
            // No two messages are equal.
            message.rotate_left(1);
        }
        outgoing.close().await;
        assert_eq!(within(incoming.closing()).await.code(), Some(1000), "{}", case.id);
    }
}

async fn exchange(case: &Case, message: &[u8], incoming: &mut Incoming, outgoing: &mut Outgoing) {
    let sent = if case.accepted { deflate(message) } else { message.to_vec() };
    let first = if case.accepted { RSV1 | case.contents.opcode } else { case.contents.opcode };
    let fragment = if case.fragment == 0 { sent.len() } else { case.fragment };
    outgoing.raw(&fragments(first, &sent, fragment)).await;
    let Some((first, payload)) = within(incoming.raw_frame()).await else { panic!("{}: closed", case.id) };
    assert_eq!(first & !RSV1, FIN | case.contents.opcode, "{}", case.id);
    let compressed = first & RSV1 != 0;
    match (case.accepted, message.len()) {
        (true, 1_024..) => assert_eq!(compressed, case.contents.shrink, "{}", case.id),
        (true, 256..) => {}
        _ => assert!(!compressed, "{}: not negotiated, or below the threshold", case.id),
    }
    let received = if compressed { inflate(&payload) } else { payload };
    assert!(
        received == message,
        "{}: {} bytes came back instead of the {} sent",
        case.id,
        received.len(),
        message.len()
    );
}

fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut compress = Compress::new(Compression::default(), false);
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 1_000 + 100);
    compress.compress_vec(payload, &mut out, FlushCompress::Sync).expect("it compresses");
    assert_eq!(compress.total_in(), payload.len() as u64);
    out.truncate(out.len() - TAIL.len());
    out
}

fn inflate(payload: &[u8]) -> Vec<u8> {
    let whole = [payload, &TAIL].concat();
    let mut out = Vec::with_capacity(256 << 10);
    let mut decompress = Decompress::new(false);
    decompress.decompress_vec(&whole, &mut out, FlushDecompress::Sync).expect("it is a deflate stream");
    assert_eq!(decompress.total_in(), whole.len() as u64);
    out
}

fn repeated(pattern: &str, length: usize) -> Vec<u8> {
    pattern.bytes().cycle().take(length).collect()
}

/// ASCII only, so that it can be cut at any byte.
fn json(length: usize) -> Vec<u8> {
    let rows = (0..).map(|row| {
        format!("{{\"id\": {row}, \"name\": \"item {}\", \"tags\": [\"a\", \"b\"]}},", row * 7919)
    });
    rows.flat_map(String::into_bytes).take(length).collect()
}

fn html(length: usize) -> Vec<u8> {
    repeated("<tr><td class=\"name\">Ada</td><td class=\"year\">1843</td></tr>\n", length)
}

fn prose(length: usize) -> Vec<u8> {
    repeated(
        "Habe nun, ach! Philosophie, Juristerei und Medizin, und leider auch Theologie durchaus studiert. ",
        length,
    )
}

/// Smooth data, like a picture.
fn picture(length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at % 512) / 4 + at / 2_048) as u8).collect()
}

/// Bytes without any pattern (xorshift).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}
