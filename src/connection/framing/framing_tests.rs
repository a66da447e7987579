use super::head::MAX_HEADERS;
use super::*;
use actix_codec::Decoder as _;
use actix_http::h1::{Codec, Message, MessageType};
use bytes::BytesMut;
use proptest::prelude::*;

fn is_upgraded(framing: &Framing) -> bool {
    matches!(framing.position, Position::Upgraded)
}

const RULES: HeadRules = HeadRules {
    max_head_bytes: 1 << 12,
    is_websocket_path: |target| target.starts_with("/ws"),
    is_valid_target: |target| actix_http::Uri::try_from(target).is_ok(),
};

/// The result of reading a connection's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// All bytes were accepted: this many requests are complete, and the next one may have started.
    Open {
        requests: usize,
        consumed: usize,
        is_in_body: bool,
    },
    Malformed {
        requests: usize,
        consumed: usize,
        malformed: MalformedRequest,
    },
    Upgraded {
        requests: usize,
        consumed: usize,
    },
}

/// Reads bytes that arrive in these pieces, one request after the other.
fn read(bytes: &[u8], pieces: &[usize]) -> Outcome {
    let mut framing = Framing::default();
    let (mut requests, mut consumed, mut buffered) = (0, 0, Vec::new());
    let mut rest = bytes;
    let mut sizes = pieces.iter().copied().chain(std::iter::repeat(usize::MAX));
    loop {
        let count = framing.consume(&mut buffered, &RULES);
        consumed += count;
        drop(buffered.drain(..count));
        if let Some(malformed) = framing.malformed() {
            return Outcome::Malformed { requests, consumed, malformed };
        }
        if is_upgraded(&framing) {
            return Outcome::Upgraded { requests, consumed };
        }
        if framing.is_complete() {
            requests += 1;
            framing.next_request();
        } else if rest.is_empty() {
            return Outcome::Open { requests, consumed, is_in_body: framing.is_in_body() };
        } else {
            let size = sizes.next().unwrap_or(1).clamp(1, rest.len());
            buffered.extend_from_slice(&rest[..size]);
            rest = &rest[size..];
        }
    }
}

thread_local! {
    /// The codec starts a clock, which requires a runtime.
    static RUNTIME: actix_rt::Runtime = actix_rt::Runtime::new().unwrap();
}

/// Reads the bytes with the HTTP stack's own codec.
fn read_by_stack(bytes: &[u8]) -> Result<usize, String> {
    RUNTIME.with(|runtime| runtime.block_on(async { decode(bytes) }))
}

fn decode(bytes: &[u8]) -> Result<usize, String> {
    let (mut codec, mut requests) = (Codec::default(), 0);
    let mut buffer = BytesMut::from(bytes);
    while let Some(message) = codec.decode(&mut buffer).map_err(|error| error.to_string())? {
        match message {
            Message::Item(_) if codec.message_type() == MessageType::Stream => return Ok(requests),
            Message::Item(_) if codec.message_type() == MessageType::None => requests += 1,
            Message::Item(_) | Message::Chunk(Some(_)) => {}
            Message::Chunk(None) => requests += 1,
        }
    }
    Ok(requests)
}

fn read_all(bytes: &str) -> Outcome {
    read(bytes.as_bytes(), &[])
}

fn requests(count: usize, bytes: &str) {
    let outcome = read_all(bytes);
    let expected = Outcome::Open { requests: count, consumed: bytes.len(), is_in_body: false };
    assert_eq!(outcome, expected, "{bytes}");
    assert_eq!(read_by_stack(&rewritten(bytes.as_bytes())), Ok(count), "{bytes}");
}

fn reason(bytes: &str) -> &'static str {
    match read_all(bytes) {
        Outcome::Malformed { malformed: MalformedRequest::Reason(reason), .. } => reason,
        other => panic!("{other:?} of {bytes}"),
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n";

#[test]
fn requests_end_as_announced() {
    requests(1, &format!("{GET}\r\n"));
    requests(3, &format!("{GET}\r\n").repeat(3));
    requests(2, &format!("{GET}Content-Length: 3\r\n\r\nabc\r\n\r\n{GET}Content-Length: 0\r\n\r\n"));
    requests(
        2,
        &format!("{GET}Transfer-Encoding: Chunked\r\n\r\n3 \r\nabc\r\n0;x=y\r\nT: u\r\n\r\n{GET}\r\n"),
    );
    requests(1, "GET / HTTP/1.0\r\n\r\n");
    requests(1, "GET / HTTP/1.0\n\n");
    requests(1, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    requests(1, &format!("{GET}Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nab"));
    requests(1, "POST /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nab");
    assert_eq!(
        read_all(&format!("{GET}Content-Length: 3\r\n\r\nab")),
        Outcome::Open { requests: 0, consumed: GET.len() + 23, is_in_body: true }
    );
}

#[test]
fn ambiguous_requests_are_refused() {
    for (headers, expected) in [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked", "both Content-Length and Transfer-Encoding"),
        ("Content-Length: 1\r\nContent-Length: 1", "Content-Length of the request is malformed"),
        ("Content-Length: 1, 1", "Content-Length"),
        ("Content-Length: +1", "Content-Length"),
        ("Content-Length: 0x1", "Content-Length"),
        ("Content-Length:", "Content-Length"),
        ("Content-Length: 18446744073709551616", "Content-Length"),
        ("Content-Length : 1", "A header of the request"),
        ("X: a\r\n folded: b", "A header of the request"),
        (" X: a", "A header of the request"),
        (": a", "A header of the request"),
        ("X: a\rb", "A header of the request"),
        ("X: a\0b", "A header of the request"),
        ("Transfer-Encoding: gzip, chunked", "not `chunked`"),
        ("Transfer-Encoding: identity", "not `chunked`"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "more than one Transfer-Encoding"),
        ("Transfer-Encoding: \x0bchunked", "A header of the request"),
        ("Host: b", "more than one Host"),
    ] {
        let bytes = format!("{GET}{headers}\r\n\r\n");
        assert!(reason(&bytes).contains(expected), "{headers}: {}", reason(&bytes));
    }
    assert_eq!(reason("GET / HTTP/1.1\r\n\r\n"), "The request has no Host.");
    assert!(reason("POST / HTTP/1.0\r\n\r\n").contains("no Content-Length"));
    assert!(reason("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").contains("HTTP/1.0"));
    for bytes in [
        "\x16\x03\x01\x02",
        "x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        "GET  / HTTP/1.1\r\n",
        "GET /\r\n",
        "G#T / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(reason(bytes), "This is not an HTTP/1.1 request.", "{bytes:?}");
    }
    assert_eq!(reason("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n"), "The target of the request is malformed.");
}

#[test]
fn chunks_are_limited_and_parsed_strictly() {
    let body = |chunks: &str| format!("{GET}Transfer-Encoding: chunked\r\n\r\n{chunks}");
    for chunks in [
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "0x1\r\n",
        "1\n",
        "1\r\r",
        "1\r\nab",
        "1\r\na\n",
        "1;a\nb\r\n",
        "0\r\nA: b\nC: d",
        "0\r\n\rx",
        "00000000000000001\r\n",
        "10000000000000000\r\n",
        "1 1\r\n",
        "0\r\n\n",
    ] {
        assert!(reason(&body(chunks)).contains("chunk"), "{chunks:?}");
    }
    requests(1, &body("fff\r\n").replace("fff\r\n", &format!("fff\r\n{}\r\n0\r\n\r\n", "a".repeat(0xfff))));
    for extra in [16 << 10, (16 << 10) + 1] {
        let extensions = body(&format!("1;{}\r\na\r\n0\r\n\r\n", "e".repeat(extra - 1)));
        let trailers = body(&format!("0\r\n{}\r\n\r\n", "t".repeat(extra)));
        for bytes in [extensions, trailers] {
            match extra == 16 << 10 {
                true => requests(1, &bytes),
                false => assert!(reason(&bytes).contains("more than 16384 bytes")),
            }
        }
    }
}

#[test]
fn heads_are_limited() {
    for length in [RULES.max_head_bytes - 1, RULES.max_head_bytes, RULES.max_head_bytes + 1] {
        let head = format!("{GET}X: {}\r\n\r\n", "x".repeat(length - GET.len() - 7));
        assert_eq!(head.len(), length);
        let expected = match length > RULES.max_head_bytes {
            false => Outcome::Open { requests: 1, consumed: length, is_in_body: false },
            true => {
                Outcome::Malformed { requests: 0, consumed: 0, malformed: MalformedRequest::HeadTooLarge }
            }
        };
        assert_eq!(read(head.as_bytes(), &[]), expected);
        assert_eq!(read(head.as_bytes(), &[1; 1 << 13]), expected);
    }
    let endless = "x".repeat(RULES.max_head_bytes);
    let too_large =
        Outcome::Malformed { requests: 0, consumed: 0, malformed: MalformedRequest::HeadTooLarge };
    assert_eq!(read_all(&endless), too_large);
    let lines = |count| format!("GET / HTTP/1.1\r\n{}Host: a\r\n\r\n", "x:\r\n".repeat(count));
    requests(1, &lines(MAX_HEADERS - 1));
    assert_eq!(read_all(&lines(MAX_HEADERS)), too_large);
}

/// A head that arrives in single bytes is not parsed for each of them.
#[test]
fn a_head_in_single_bytes_is_parsed_when_its_length_has_doubled() {
    let mut framing = Framing::default();
    let head = format!("{GET}X: {}", "x".repeat(2_000)).into_bytes();
    let mut parses = 0;
    for length in 1..=head.len() {
        framing.consume(&mut head[..length].to_vec(), &RULES);
        let Position::Head { parsed, .. } = framing.position else { panic!("{framing:?}") };
        parses += usize::from(parsed == length);
    }
    assert!(parses <= 12, "{parses}");
}

#[test]
fn headers_that_the_stack_must_ignore_are_blanked() {
    let after = |head: &str| {
        let mut bytes = head.as_bytes().to_vec();
        let mut framing = Framing::default();
        assert!(framing.consume(&mut bytes, &RULES) > 0, "{head}");
        (String::from_utf8(bytes).unwrap(), framing)
    };
    let (text, framing) = after(&format!("{GET}Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n"));
    assert!(framing.expects_continue() && text.contains("Expect:             \r\n"), "{text}");
    assert!(!after(&format!("{GET}Expect: 100-continue\r\n\r\n")).1.expects_continue(), "there is no body");
    assert!(
        !after("GET / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n").1.expects_continue()
    );
    let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: h2c, WebSocket\r\n\r\n";
    let (text, framing) = after(&format!("GET /ws HTTP/1.1\r\nHost: a\r\n{upgrade}"));
    assert!(is_upgraded(&framing) && text.contains("Upgrade: websocket     \r\n"), "{text}");
    for head in [
        format!("{GET}{upgrade}"),
        format!("GET /ws HTTP/1.0\r\n{upgrade}"),
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, WebSocket\r\n\r\n".to_owned(),
        format!("GET /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n{upgrade}"),
    ] {
        let (text, framing) = after(&head);
        assert!(!is_upgraded(&framing) && text.contains("Upgrade:               \r\n"), "{text}");
    }
}

/// Tries every byte in every part of a head: the stack accepts the bytes that are consumed here, as the same requests.
#[test]
fn the_stack_reads_every_byte_in_the_same_way() {
    for byte in 0..=u8::MAX {
        for text in [
            "?ET / HTTP/1.1",
            "GET /? HTTP/1.1",
            "GET /a?b=? HTTP/1.1",
            "GET / HTTP/1.1\r\na?: b",
            "GET / HTTP/1.1\r\nA: ?",
        ] {
            let (before, after) = text.rsplit_once('?').unwrap();
            let bytes = [before.as_bytes(), &[byte], after.as_bytes(), b"\r\nHost: a\r\n\r\n"].concat();
            assert_stack_agrees(&bytes);
        }
    }
}

/// Checks that the stack reads the bytes that are consumed here as the same number of requests.
fn assert_stack_agrees(bytes: &[u8]) {
    let text = bytes.escape_ascii();
    let (consumed, expected) = match read(bytes, &[]) {
        Outcome::Open { requests, consumed, .. } | Outcome::Malformed { requests, consumed, .. } => {
            (consumed, requests)
        }
        Outcome::Upgraded { requests, consumed } => (consumed, requests),
    };
    assert_eq!(read_by_stack(&rewritten(&bytes[..consumed])), Ok(expected), "{text}");
}

/// The bytes as the stack receives them.
fn rewritten(bytes: &[u8]) -> Vec<u8> {
    let (mut framing, mut all, mut from) = (Framing::default(), bytes.to_vec(), 0);
    while from < all.len() {
        let count = framing.consume(&mut all[from..], &RULES);
        if count == 0 {
            break;
        }
        from += count;
        framing.next_request();
    }
    all
}

/// A line or a piece of one, valid or not.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /ws HTTP/1.1\r\n",
        "GET /ws HTTP/1.1\r\n",
        "CONNECT a:1 HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "Host: a\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Upgrade: websocket\r\n",
        "Upgrade: h2c, websocket\r\n",
        "Connection: Upgrade\r\n",
        "Connection: close\r\n",
        "Expect: 100-continue\r\n",
        "X: y\r\n",
        "\r\n",
        "\n",
        "5\r\nabcde\r\n",
        "0\r\n",
        "0\r\n\r\n",
        "a;b=c\r\n0123456789\r\n",
        "T: u\r\n",
        "abcde",
        "\r",
        " ",
        "GET",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nabcde\r\n0\r\nT: u\r\n\r\n",
    ])
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (prop::collection::vec(piece(), 1..12), edits).prop_map(|(pieces, edits)| {
        let mut bytes = pieces.concat().into_bytes();
        for (index, byte) in edits {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        // Ends an open head: an error in a head may be found only when it is complete.
        bytes.extend_from_slice(b"\n\n");
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_result_does_not_depend_on_pieces(bytes in stream(), sizes in prop::collection::vec(1_usize..9, 0..400)) {
        prop_assert_eq!(read(&bytes, &sizes), read(&bytes, &[]));
        prop_assert_eq!(read(&bytes, &vec![1; bytes.len()]), read(&bytes, &[]));
    }

    #[test]
    fn the_stack_accepts_consumed_bytes_as_the_same_requests(bytes in stream()) {
        assert_stack_agrees(&bytes);
    }
}
