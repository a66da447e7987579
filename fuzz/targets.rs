//! The fuzz targets, and what must hold for every input: shared by the binaries for cargo-fuzz in this folder and by
//! `tests/fuzz.rs`, which runs the stored corpus and mutations of it with any compiler.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use channelstream::api::answer::Invalid;
use channelstream::api::body::RequestLimits;
use channelstream::api::channel_config::ChannelConfigRequest;
use channelstream::api::connect::ConnectRequest;
use channelstream::api::disconnect::DisconnectRequest;
use channelstream::api::info::InfoRequest;
use channelstream::api::message_delete::{parse_deletes, write_delete_answer};
use channelstream::api::message_patch::{parse_edits, write_edit_answer};
use channelstream::api::message_post::{parse_messages, write_message_answer};
use channelstream::api::subscribe::SubscribeRequest;
use channelstream::api::token::read_grant;
use channelstream::api::user_state::parse_user_state;
use channelstream::auth::Gate;
use channelstream::auth::signing::{BadSignature, Keys};
use channelstream::broker::engine::entry::{Mail, read_answers, read_mail};
use channelstream::broker::engine::record::Record;
use channelstream::config::{FileFormat, Secret, Settings, parse, to_ini, to_toml};
use channelstream::connection::framing::{Framing, HeadRules};
use channelstream::protocol::ids::ServerEpoch;
use channelstream::protocol::position::{Cursor, Since};
use channelstream::protocol::time::Timestamp;
use channelstream::protocol::websocket::close::CloseReason;
use channelstream::protocol::websocket::decoder::{DecodeTurn, Decoder, Incoming};
use channelstream::server;
use channelstream::transports::websocket::handshake::PlainHandshake;
use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::value::RawValue;
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A target: it panics when a rule does not hold.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 10] = [
    ("signature", signature),
    ("token", token),
    ("body", body),
    ("positions", positions),
    ("handshake", handshake),
    ("http", http),
    ("frames", frames),
    ("toml", toml),
    ("ini", ini),
    ("mail", mail),
];

const NOW: u64 = 1_600_000_000;
const MAX_AGE_S: u64 = 60;

/// The input as a connection token, and as the claims of a token with a valid signature.
pub fn token(data: &[u8]) {
    static GATE: OnceLock<Gate> = OnceLock::new();
    let gate = GATE.get_or_init(|| Gate::new(Arc::default()));
    let _ = gate.verify_token_of(&String::from_utf8_lossy(data), None, true, NOW);
    let message = format!("eyJhbGciOiJIUzI1NiJ9.{}", URL_SAFE_NO_PAD.encode(data));
    let key = EncodingKey::from_secret(b"secret").expect("a key");
    let signature = sign(message.as_bytes(), &key, Algorithm::HS256).expect("a signature");
    let Ok(verified) = gate.verify_token_of(&format!("{message}.{signature}"), None, true, NOW) else {
        return;
    };
    assert!(verified.expires_unix + 5 > NOW && verified.issued_unix.is_none_or(|issued| issued <= NOW + 5));
    if let Ok(grant) = read_grant(&verified, None, &RequestLimits::from(&*gate.settings), NOW) {
        assert!(
            !grant.connect.username.is_empty() && grant.connect.conn_id.is_some() && grant.valid_for_ms > 0
        );
    }
}

/// What a returning client says that it has: its cursor on the first line, its positions after it.
pub fn positions(data: &[u8]) {
    const MAX_POSITIONS: usize = 3;
    let text = String::from_utf8_lossy(data);
    let (cursor, positions) = text.split_once('\n').unwrap_or((&text, ""));
    let server = ServerEpoch::new(7);
    let parsed = Cursor::parse(cursor);
    if let Some(cursor) = parsed {
        assert_eq!(Cursor::parse(&cursor.to_string()), parsed, "the server reads what it writes");
    }
    match Since::read(Some(cursor), Some(positions), server, MAX_POSITIONS) {
        Ok(since) => {
            let own = parsed.filter(|cursor| cursor.server == server);
            assert!(since.own_cursor() == own && parsed.is_some());
            assert!(since.positions.len() <= MAX_POSITIONS);
        }
        Err(unreadable) => assert!(parsed.is_none() || unreadable.field == "positions"),
    }
}

/// The input as a token of a request, and as a text to be signed.
pub fn signature(data: &[u8]) {
    let keys = Keys::new(&[Secret::new("secret".to_owned()), Secret::new("older".to_owned())]);
    let ageless = keys.verify(data, NOW, None);
    match (keys.verify(data, NOW, Some(MAX_AGE_S)), ageless) {
        (Ok(of), Ok(same)) => assert!(of == same && of.age_s <= MAX_AGE_S as i64),
        (Err(BadSignature::TooOld { age_s, .. }), Ok(of)) => {
            assert!(of.age_s == age_s && age_s > MAX_AGE_S as i64)
        }
        (aged, ageless) => assert_eq!(aged, ageless),
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let verified = keys.verify(keys.sign(text, NOW), NOW, Some(MAX_AGE_S));
        assert_eq!(verified.map(|of| (of.secret_index, of.age_s)), Ok((0, 0)));
    }
}

/// The body of a request: the first byte selects the endpoint.
pub fn body(data: &[u8]) {
    let Some((endpoint, body)) = data.split_first() else { return };
    let limits = RequestLimits::from(&Settings::default());
    let now = Timestamp::from_unix_micros(1_582_366_272_123_456);
    let id = Some("5b1d5a0e-4c5c-4b7e-9d5e-0c8a8f1f2a3b");
    let read = match endpoint % 12 {
        0 => parse_messages(body, &limits, now).map(|items| answer(&items, write_message_answer)),
        1 => parse_edits(body, &limits, now).map(|items| answer(&items, write_edit_answer)),
        2 => parse_deletes(body, &limits).map(|items| answer(&items, write_delete_answer)),
        3 => ConnectRequest::parse(body, &limits).map(drop),
        4 | 6 => SubscribeRequest::parse(body, None, &limits).map(drop),
        5 => SubscribeRequest::parse(body, id, &limits).map(drop),
        7 => parse_user_state(body, &limits).map(drop),
        8 => ChannelConfigRequest::parse(body, &limits).map(drop),
        9 => InfoRequest::parse(body, &limits).map(drop),
        10 => DisconnectRequest::parse(body, &limits).map(drop),
        _ => DisconnectRequest::from_query(std::str::from_utf8(body).ok()).map(drop),
    };
    if let Err(refused) = read {
        assert_has_reason(&refused);
    }
}

/// An accepted body has an answer, and the answer is a JSON list with the same number of items.
fn answer<T>(items: &[T], write: fn(&[T], &mut Vec<u8>)) {
    let mut out = Vec::new();
    write(items, &mut out);
    // Not as values: payloads pass as text, with halves of surrogate pairs that Rust's strings cannot contain.
    let answer: Vec<&RawValue> = serde_json::from_slice(&out).expect("answers are JSON");
    assert_eq!(answer.len(), items.len());
}

fn assert_has_reason(refused: &Invalid) {
    let text = refused.errors.to_string();
    assert!(text.len() > 4, "{text}");
}

/// The first bytes of a connection.
pub fn handshake(data: &[u8]) {
    let Some(plain) = PlainHandshake::read(data) else { return };
    assert!(plain.length <= data.len());
    // The parser ignores bytes after a handshake, and it does not accept an incomplete handshake.
    assert_eq!(PlainHandshake::read(&data[..plain.length]).as_ref(), Some(&plain));
    assert_eq!(PlainHandshake::read(&data[..plain.length - 1]), None);
    for deflate in [false, true] {
        let answer = plain.answer(deflate);
        assert!(answer.is_ascii() && answer.ends_with(b"\r\n\r\n"));
        assert_eq!(answer.windows(4).filter(|four| *four == b"\r\n\r\n").count(), 1, "an answer of one head");
    }
}

/// The number of panics in threads of the server.
static PANICS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread acts as a client.
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
}

/// A server in this process, which runs until the process ends.
fn server() -> SocketAddr {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    *SERVER.get_or_init(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_CLIENT.get() {
                PANICS.fetch_add(1, Ordering::Relaxed);
            }
            hook(panic);
        }));
        let (started, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let settings = Settings { port: 0, workers: 1, poll_wait_ms: 20, ..Settings::default() };
                let running = server::start(settings).expect("a server");
                started.send(running.address).expect("a client");
                running.wait().await.expect("no end");
            });
        });
        address.recv().expect("a server")
    })
}

/// Bytes that a client sends to a listening server. The first byte sets the size of the pieces.
pub fn http(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let address = server();
    IS_CLIENT.set(true);
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("a socket");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    // Many small pieces take long and test nothing more.
    let size = (usize::from(*piece) + 1).max(bytes.len() / 16);
    let sent = bytes.chunks(size).try_for_each(|piece| stream.write_all(piece));
    let _ = sent.and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answers = Vec::new();
    let ended = stream.read_to_end(&mut answers);
    assert!(ended.is_ok(), "the server ends the connection: {ended:?} after {}", answers.escape_ascii());
    let requests = requests(bytes);
    assert!(
        final_answers(&answers) <= requests,
        "{} answers to {requests} requests",
        final_answers(&answers)
    );
    assert!(PANICS.load(Ordering::Relaxed) == 0, "a thread of the server panicked");
}

/// The number of requests that the server may answer: the complete ones, and one for the bytes after them.
fn requests(bytes: &[u8]) -> usize {
    let rules =
        HeadRules { max_head_bytes: 32 << 10, is_websocket_path: |_| false, is_valid_target: |_| true };
    let (mut framing, mut rest, mut count) = (Framing::default(), bytes.to_vec(), 1);
    loop {
        let taken = framing.consume(&mut rest, &rules);
        drop(rest.drain(..taken));
        if !framing.is_complete() {
            return count;
        }
        count += 1;
        framing.next_request();
    }
}

/// The number of final answers in these bytes.
fn final_answers(mut answers: &[u8]) -> usize {
    let mut count = 0;
    while !answers.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut answer = httparse::Response::new(&mut headers);
        let parsed = answer.parse(answers);
        let Ok(httparse::Status::Complete(length)) = parsed else {
            panic!("an answer is HTTP: {parsed:?} {}", answers.escape_ascii())
        };
        let status = answer.code.expect("it is complete");
        answers = &answers[length..];
        if status == 100 {
            continue;
        }
        count += 1;
        if status == 101 {
            return count;
        }
        assert!((200..600).contains(&status), "status {status}");
        let length = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.map_or(0, |header| {
            std::str::from_utf8(header.value).expect("digits").parse().expect("a length")
        });
        // Answers to HEAD have a length and no body.
        let has_body = !answers.is_empty() && !answers.starts_with(b"HTTP/1.");
        if has_body {
            assert!(answers.len() >= length, "an answer is whole: {} of {length} bytes", answers.len());
            answers = &answers[length..];
        }
    }
    count
}

const MAX_MESSAGE: usize = 1 << 12;
/// The length of the longest frame header.
const HEADER: usize = 14;

/// Bytes that a websocket client sends. The first byte sets whether compression was negotiated, the second the size of
/// the pieces.
pub fn frames(data: &[u8]) {
    let [inflating, piece, input @ ..] = data else { return };
    let whole = decoded(input, inflating & 1 == 1, input.len().max(1));
    let (mut pieces, mut whole) = (decoded(input, inflating & 1 == 1, usize::from(*piece).max(1)), whole);
    // The decoder may reject invalid UTF-8 or an unacceptable frame before the invalid part is complete.
    if pieces.1 != whole.1 {
        assert!(pieces.1.is_some() && whole.1.is_some(), "{pieces:?} {whole:?}");
        pieces.1 = None;
        whole.1 = None;
    }
    assert_eq!(pieces, whole, "the result does not depend on the pieces");
}

/// The messages up to the first error, and the reason of that error.
fn decoded(input: &[u8], inflating: bool, piece: usize) -> (Vec<Incoming>, Option<CloseReason>) {
    let mut decoder = Decoder::new(MAX_MESSAGE).inflating(inflating);
    let mut incoming_items = Vec::new();
    for bytes in input.chunks(piece) {
        decoder.feed(bytes);
        let mut turn = DecodeTurn::default();
        loop {
            match decoder.decode(&mut turn) {
                Ok(Some(incoming)) => {
                    check(&incoming);
                    incoming_items.push(incoming);
                }
                Ok(None) if decoder.is_behind() => turn = DecodeTurn::default(),
                Ok(None) => break,
                Err(reason) => return (incoming_items, Some(reason)),
            }
        }
        let held = decoder.held_bytes();
        assert!(held <= MAX_MESSAGE * 2 + HEADER + 125, "{held} bytes are held for a peer");
    }
    (incoming_items, None)
}

fn check(incoming: &Incoming) {
    match incoming {
        Incoming::Text(text) => {
            assert!(text.len() <= MAX_MESSAGE && std::str::from_utf8(text).is_ok());
        }
        Incoming::Binary(bytes) => assert!(bytes.len() <= MAX_MESSAGE),
        Incoming::Ping(payload) => assert!(payload.len() <= 125),
        Incoming::Pong | Incoming::Close(_) => {}
    }
}

/// A file of settings.
pub fn toml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    settings(text, FileFormat::Toml);
}

/// A file of the original's settings.
pub fn ini(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    settings(text, FileFormat::Ini);
    settings(&format!("[channelstream]\n{text}"), FileFormat::Ini);
}

/// Settings that were read can be written, and are the same when they are read again.
fn settings(text: &str, format: FileFormat) {
    let read = |text: &str, format| parse(text, format, Path::new("settings"));
    match read(text, format) {
        Err(error) => assert!(!error.problems.is_empty() && error.problems.iter().all(|of| !of.is_empty())),
        Ok(settings) => {
            // Refused or not, a server never starts with invalid settings.
            let _ = settings.validate();
            let written = to_toml(&settings);
            let again = read(&written, FileFormat::Toml);
            assert_eq!(
                again.as_ref().map(to_toml).as_ref(),
                Ok(&written),
                "settings are unchanged after they are written and read"
            );
            if let Ok(written) = to_ini(&settings) {
                assert!(read(&written, FileFormat::Ini).is_ok(), "a written file can be read: {written}");
            }
        }
    }
}

/// What a node receives from Redis: its mail, whose records are read again as they are written, and answers.
pub fn mail(data: &[u8]) {
    drop(read_answers(data));
    for item in read_mail(data).unwrap_or_default() {
        let (Mail::Entry(change) | Mail::Note(change)) = item else { continue };
        if let Some(record) = Record::decode(change.record, Some("news")) {
            assert_eq!(Record::decode(&record.encode(), Some("news")), Some(record));
        }
    }
}
