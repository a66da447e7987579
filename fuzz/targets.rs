//! What is fuzzed, and what must be true of whatever comes: shared by the binaries for cargo-fuzz beside this file and
//! by `tests/fuzz.rs`, which plays the kept corpus and changes of it with any compiler.

use channelstream::api::channel_config::ChannelConfigRequest;
use channelstream::api::connect::ConnectRequest;
use channelstream::api::disconnect::DisconnectRequest;
use channelstream::api::info::InfoRequest;
use channelstream::api::invalid::Invalid;
use channelstream::api::limits::RequestLimits;
use channelstream::api::message_delete::{parse_deletes, write_delete_answer};
use channelstream::api::message_patch::{parse_edits, write_edit_answer};
use channelstream::api::message_post::{parse_messages, write_message_answer};
use channelstream::api::subscribe::SubscribeRequest;
use channelstream::api::unsubscribe::UnsubscribeRequest;
use channelstream::api::user_state::UserStateRequest;
use channelstream::auth::signing::{BadSignature, Keys};
use channelstream::config::{FileFormat, Secret, Settings, parse, to_ini, to_toml};
use channelstream::connection::framing::{Framing, HeadRules};
use channelstream::protocol::time::Timestamp;
use channelstream::protocol::websocket::close::CloseReason;
use channelstream::protocol::websocket::decoder::{DecodeTurn, Decoder, Incoming};
use channelstream::server;
use channelstream::transports::websocket::handshake::PlainHandshake;
use serde_json::value::RawValue;
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A target: it panics when something is not as it must be.
pub type Target = fn(&[u8]);

/// All of them by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("signature", signature),
    ("body", body),
    ("handshake", handshake),
    ("http", http),
    ("frames", frames),
    ("toml", toml),
    ("ini", ini),
];

const NOW: u64 = 1_600_000_000;
const MAX_AGE_S: u64 = 60;

/// A token of a request, and the same as a text to be signed.
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

/// The body of a request: the first byte says of which.
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
        4 => SubscribeRequest::parse(body, None, &limits).map(drop),
        5 => SubscribeRequest::parse(body, id, &limits).map(drop),
        6 => UnsubscribeRequest::parse(body, None, &limits).map(drop),
        7 => UserStateRequest::parse(body, &limits).map(drop),
        8 => ChannelConfigRequest::parse(body, &limits).map(drop),
        9 => InfoRequest::parse(body, &limits).map(drop),
        10 => DisconnectRequest::parse(body, &limits).map(drop),
        _ => DisconnectRequest::from_query(std::str::from_utf8(body).ok()).map(drop),
    };
    if let Err(refused) = read {
        says_why(&refused);
    }
}

/// What is accepted has an answer, and the answer is JSON with as many items.
fn answer<T>(items: &[T], write: fn(&[T], &mut Vec<u8>)) {
    let mut out = Vec::new();
    write(items, &mut out);
    // Not as values: payloads go through as text, with halves of surrogate pairs that Rust's strings cannot hold.
    let answer: Vec<&RawValue> = serde_json::from_slice(&out).expect("answers are JSON");
    assert_eq!(answer.len(), items.len());
}

fn says_why(refused: &Invalid) {
    let text = refused.errors.to_string();
    assert!(text.len() > 4, "{text}");
}

/// What a connection begins with.
pub fn handshake(data: &[u8]) {
    let Some(plain) = PlainHandshake::read(data) else { return };
    assert!(plain.length <= data.len());
    // What follows a handshake is not its business, and half of one is none.
    assert_eq!(PlainHandshake::read(&data[..plain.length]).as_ref(), Some(&plain));
    assert_eq!(PlainHandshake::read(&data[..plain.length - 1]), None);
    for deflate in [false, true] {
        let answer = plain.answer(deflate);
        assert!(answer.is_ascii() && answer.ends_with(b"\r\n\r\n"));
        assert_eq!(answer.windows(4).filter(|four| *four == b"\r\n\r\n").count(), 1, "an answer of one head");
    }
}

/// Panics of the server's threads.
static PANICS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread plays a client.
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
}

/// A server in this process. It lives as long as that.
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

/// What a connection sends to a listening server. The first byte says in which pieces.
pub fn http(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let address = server();
    IS_CLIENT.set(true);
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("a socket");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    // Many small pieces take long, and show nothing more.
    let size = (usize::from(*piece) + 1).max(bytes.len() / 16);
    let sent = bytes.chunks(size).try_for_each(|piece| stream.write_all(piece));
    let _ = sent.and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answers = Vec::new();
    let ended = stream.read_to_end(&mut answers);
    assert!(ended.is_ok(), "the server ends the connection: {ended:?} after {}", answers.escape_ascii());
    let requests = requests(bytes);
    assert!(finals(&answers) <= requests, "{} answers to {requests} requests", finals(&answers));
    assert!(PANICS.load(Ordering::Relaxed) == 0, "a thread of the server panicked");
}

/// Requests that may be answered: those that are whole, and what follows them.
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

/// How many final answers these are, one behind the other.
fn finals(mut answers: &[u8]) -> usize {
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
/// Bytes of a frame's longest header.
const HEADER: usize = 14;

/// What a websocket's peer sends. The first byte says whether compressed messages were agreed on, the second in which
/// pieces it comes.
pub fn frames(data: &[u8]) {
    let [inflating, piece, input @ ..] = data else { return };
    let whole = decoded(input, inflating & 1 == 1, input.len().max(1));
    let (mut pieces, mut whole_too) = (decoded(input, inflating & 1 == 1, usize::from(*piece).max(1)), whole);
    // Text that cannot become UTF-8, or a frame that cannot be taken, may be seen before what makes it so is complete.
    if pieces.1 != whole_too.1 {
        assert!(pieces.1.is_some() && whole_too.1.is_some(), "{pieces:?} {whole_too:?}");
        pieces.1 = None;
        whole_too.1 = None;
    }
    assert_eq!(pieces, whole_too, "pieces make no difference");
}

/// Everything that is said until it goes wrong, and why it did.
fn decoded(input: &[u8], inflating: bool, piece: usize) -> (Vec<Incoming>, Option<CloseReason>) {
    let mut decoder = Decoder::new(MAX_MESSAGE).inflating(inflating);
    let mut said = Vec::new();
    for bytes in input.chunks(piece) {
        decoder.feed(bytes);
        let mut turn = DecodeTurn::default();
        loop {
            match decoder.decode(&mut turn) {
                Ok(Some(incoming)) => {
                    check(&incoming);
                    said.push(incoming);
                }
                Ok(None) if decoder.is_behind() => turn = DecodeTurn::default(),
                Ok(None) => break,
                Err(reason) => return (said, Some(reason)),
            }
        }
        let held = decoder.held_bytes();
        assert!(held <= MAX_MESSAGE * 2 + HEADER + 125, "{held} bytes are held for a peer");
    }
    (said, None)
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

/// What is read can be written, and is the same when it is read again.
fn settings(text: &str, format: FileFormat) {
    let read = |text: &str, format| parse(text, format, Path::new("settings"));
    match read(text, format) {
        Err(error) => assert!(!error.problems.is_empty() && error.problems.iter().all(|of| !of.is_empty())),
        Ok(settings) => {
            // Told or not, a server never starts with what it may not have.
            let _ = settings.validate();
            let written = to_toml(&settings);
            let again = read(&written, FileFormat::Toml);
            assert_eq!(
                again.as_ref().map(to_toml).as_ref(),
                Ok(&written),
                "written settings are read as they were"
            );
            if let Ok(written) = to_ini(&settings) {
                assert!(read(&written, FileFormat::Ini).is_ok(), "a written file can be read: {written}");
            }
        }
    }
}
