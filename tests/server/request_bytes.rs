//! Requests that a client may send: of every size and in pieces, several at a time, with bodies that the server does
//! not read, and on half-closed sockets.

use crate::support::backend::signature;
use crate::support::http::{Reply, Wire, request};
use crate::support::process::{Process, command};
use crate::support::socket::{FIN, PING, PONG, frame, halves};
use crate::support::{TestServer, settings, within};
use channelstream::config::Settings;
use futures_util::future::join_all;
use serde_json::json;
use std::fmt::Write as _;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LARGE_FILE: &str = "/static/vendor/swagger-ui/swagger-ui-bundle.js";
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ID: &str = "5a8e9e0c-0000-4000-8000-000000000000";

/// The maximum number of headers, chunks and trailers: many more would take long and test nothing more.
const MAX_COUNT: usize = 1 << 14;

/// A request with one part of this many bytes.
type Sized = fn(usize) -> String;

fn head(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

fn letters(count: usize) -> String {
    "a".repeat(count)
}

fn chunked(chunks: &str) -> String {
    head("POST /disconnect", "Transfer-Encoding: chunked\r\n") + chunks
}

fn websocket(target: &str, headers: &str) -> String {
    head(&format!("GET {target}"), &format!("{HANDSHAKE}{headers}"))
}

/// Every part of a request and of a handshake.
const PARTS: [(&str, Sized); 23] = [
    ("method", |n| head(&format!("{} /", letters(n)), "")),
    ("path", |n| head(&format!("GET /{}", letters(n)), "")),
    ("query", |n| head(&format!("GET /?{}", letters(n)), "")),
    ("absolute target", |n| head(&format!("GET http://{}/", letters(n)), "")),
    ("version", |n| format!("GET / HTTP/1.{}\r\n\r\n", "1".repeat(n))),
    ("host", |n| format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", letters(n))),
    ("header name", |n| head("GET /", &format!("{}: x\r\n", letters(n)))),
    ("header value", |n| head("GET /", &format!("X: {}\r\n", letters(n)))),
    ("header count", |n| head("GET /", &"x:\r\n".repeat(n.min(MAX_COUNT)))),
    ("blank lines before", |n| "\r\n".repeat(n / 2) + &head("GET /", "")),
    ("length", |n| head("POST /disconnect", &format!("Content-Length: {}1\r\n", "0".repeat(n))) + "x"),
    ("body", |n| head("POST /disconnect", &format!("Content-Length: {n}\r\n")) + &letters(n)),
    ("body that the handler does not read", |n| {
        head("GET /health/live", &format!("Content-Length: {n}\r\n")) + &letters(n)
    }),
    ("digits of a chunk's size", |n| chunked(&format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(n)))),
    ("chunk", |n| chunked(&format!("{n:x}\r\n{}\r\n0\r\n\r\n", letters(n)))),
    ("chunks", |n| chunked(&("1\r\na\r\n".repeat(n.min(MAX_COUNT)) + "0\r\n\r\n"))),
    ("chunk extension", |n| chunked(&format!("1;{}\r\na\r\n0\r\n\r\n", letters(n)))),
    ("trailer", |n| chunked(&format!("0\r\n{}: x\r\n\r\n", letters(n)))),
    ("trailers", |n| chunked(&format!("0\r\n{}\r\n", "x:\r\n".repeat(n.min(MAX_COUNT))))),
    ("handshake's query", |n| websocket(&format!("/ws?conn_id={}", letters(n)), KEY)),
    ("handshake's key", |n| {
        websocket(&format!("/ws?conn_id={ID}"), &format!("Sec-WebSocket-Key: {}\r\n", letters(n)))
    }),
    ("handshake's extensions", |n| {
        let extensions = format!("{KEY}Sec-WebSocket-Extensions: {}\r\n", letters(n));
        websocket(&format!("/ws?conn_id={ID}"), &extensions)
    }),
    ("handshake's protocols", |n| {
        websocket(&format!("/ws?conn_id={ID}"), &format!("{KEY}Sec-WebSocket-Protocol: {}\r\n", letters(n)))
    }),
];

/// Sends bytes, finishes sending, and reads to the end. Bytes after the server has closed are not sent.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let (mut reading, mut writing) = within(TcpStream::connect(address)).await.unwrap().into_split();
    let mut answer = Vec::new();
    let write = async {
        let _ = writing.write_all(bytes).await;
        let _ = writing.shutdown().await;
    };
    within(async { tokio::join!(write, reading.read_to_end(&mut answer)) }).await.1.ok();
    answer
}

/// The statuses of the answers in these bytes, in order.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let answers = String::from_utf8_lossy(bytes);
    let answers = answers.split("HTTP/1.").skip(1);
    answers.filter_map(|answer| answer.get(2..5)?.parse().ok()).collect()
}

#[actix_web::test]
async fn server_answers_or_refuses_parts_of_every_size() {
    let internal = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = internal.port().to_string();
    let args = ["--port", "0", "--set", "workers=1", "--set", "internal_host=127.0.0.1", "--set"];
    let process = Process::run(command("", &[&args[..], &[&format!("internal_port={port}")]].concat()));
    for (part, make) in PARTS {
        let sizes = (6..=20).flat_map(|k| [(1_usize << k) - 1, 1 << k, (1 << k) + 1]);
        let probes = sizes.map(async |size| {
            let probe = make(size);
            let second = head("GET /health/live", "") + &probe;
            for (address, bytes, count) in [(process.address, &probe, 1), (internal, &second, 2)] {
                let answer = exchange(address, bytes.as_bytes()).await;
                let statuses = statuses(&answer);
                assert_eq!(statuses.len(), count, "{part} of {size} bytes: {statuses:?}");
                assert!(statuses.iter().all(|status| *status != 500), "{part} of {size} bytes: {statuses:?}");
            }
        });
        join_all(probes).await;
        let mut wire = Wire::open(process.address).await;
        assert_eq!(wire.ask("GET", "/health/live", &[], b"").await.status, 200, "after {part}");
    }
}

#[actix_web::test]
async fn server_refuses_and_counts_malformed_requests() {
    let server = TestServer::start(Settings { max_head_bytes: 4_096, ..settings() });
    let long = head("GET /", &format!("X: {}\r\n", letters(4_096)));
    let live = head("GET /health/live", "");
    for (bytes, status, code) in [
        ("\x16\x03\x01\x02\x00\x01\x00".to_owned(), 400, "malformed"),
        ("x\r\n\r\n".to_owned(), 400, "malformed"),
        (live.clone() + &head("GET /", "Content-Length: 1\r\nContent-Length: 1\r\n"), 400, "malformed"),
        (chunked("x\r\n"), 400, "malformed"),
        (long.clone(), 431, "over-limit"),
        (live.clone() + &long, 431, "over-limit"),
    ] {
        let mut wire = Wire::open(server.address).await;
        wire.write(&bytes).await;
        if bytes.starts_with(&live) {
            assert_eq!(wire.reply().await.status, 200);
        }
        let reply = wire.reply().await;
        assert_eq!((reply.status, reply.header("x-channelstream-error")), (status, Some(code)), "{bytes}");
        assert!(reply.json()["message"].is_string() && !reply.keeps_alive());
        assert!(wire.is_closed().await);
    }
    let figures = server.backend().send("GET", "/admin/limits.json", &[], b"").await.json();
    let count = |kind: &str, name: &str| {
        let rows = figures[kind].as_array().unwrap();
        rows.iter().find(|row| row["counter"] == name).unwrap()["count"].as_u64().unwrap()
    };
    assert_eq!((count("limits", "max_head_bytes"), count("refused", "refused_malformed")), (2, 4));
}

#[actix_web::test]
async fn malformed_body_has_only_one_answer() {
    let server = TestServer::start(settings());
    // The server answered before the rest of the body arrived.
    let mut wire = Wire::open(server.address).await;
    wire.write(head("POST /message", "Transfer-Encoding: chunked\r\n")).await;
    assert_eq!(wire.reply().await.status, 403);
    wire.write("z").await;
    assert!(wire.is_closed().await);
    // The client sent the body before the server asked for it.
    let (name, token) = signature();
    let headers = format!("{name}: {token}\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n");
    let answer = exchange(server.address, (head("POST /message", &headers) + "z").as_bytes()).await;
    assert_eq!(statuses(&answer), [400]);
}

#[actix_web::test]
async fn client_that_is_refused_while_it_sends_receives_the_answer() {
    let server = TestServer::start(Settings { max_sockets_per_address: 1, ..settings() });
    let first = Wire::open(server.address).await;
    let body = letters(4 << 20);
    for _ in 0..3 {
        let mut wire = Wire::open(server.address).await;
        wire.write(head("POST /message", &format!("Content-Length: {}\r\n", body.len()))).await;
        // Many clients read nothing if they cannot send the whole body.
        wire.write(&body).await;
        assert_eq!(wire.reply().await.status, 429);
    }
    drop(first);
}

/// Requests with all kinds of bodies, each with a text that its answer contains.
fn mixed(count: usize) -> (Vec<u8>, Vec<String>) {
    let (mut bytes, mut names) = (Vec::new(), Vec::new());
    for number in 0..count {
        let name = format!("/nowhere-{number}-");
        match number % 4 {
            0 => bytes.extend(request("GET", &name, &[], b"")),
            1 => bytes.extend(request("POST", &format!("/disconnect?conn_id=x&x={name}"), &[], b"")),
            2 => bytes.extend(request("GET", &name, &[("transfer-encoding", "chunked")], b"")),
            _ => bytes.extend(request("GET", &name, &[("x", &letters(number))], b"")),
        }
        if number % 4 == 2 {
            bytes.extend_from_slice(b"3;x\r\nabc\r\n0\r\nt: u\r\n\r\n");
        }
        names.push(if number % 4 == 1 { String::new() } else { name });
    }
    (bytes, names)
}

#[actix_web::test]
async fn server_answers_pipelined_requests_in_order_for_all_piece_sizes() {
    let server = TestServer::start(settings());
    let (bytes, names) = mixed(200);
    for piece in [bytes.len(), 8_192, 1_000, 97] {
        let mut wire = Wire::open(server.address).await;
        for part in bytes.chunks(piece) {
            wire.write(part).await;
        }
        for name in &names {
            let reply = wire.reply().await;
            assert!(reply.status >= 404 && reply.text().contains(name), "{name}: {reply:?}");
        }
        assert_eq!(wire.ask("GET", "/health/live", &[], b"").await.status, 200);
    }
}

/// The resident memory of a process, in KiB.
fn resident_kib(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[actix_web::test]
async fn pipelined_requests_use_little_memory() {
    const CONNECTIONS: u64 = 10;
    let process = Process::run(command("", &["--port", "0", "--set", "workers=1"]));
    let unit = head("GET /nowhere", "");
    let bytes = unit.repeat(131_000 / unit.len());
    // The first request is a poll that waits, and so do all requests after it.
    let mut backend = Wire::open(process.address).await;
    let (name, token) = signature();
    let mut ids = Vec::new();
    for user in 0..CONNECTIONS {
        let body = json!({"username": user.to_string(), "channels": ["c"]}).to_string();
        let reply = backend.ask("POST", "/connect", &[(name, &token)], body.as_bytes()).await;
        ids.push(reply.json()["conn_id"].as_str().unwrap().to_owned());
    }
    let before = resident_kib(&process);
    let mut kept = Vec::new();
    for id in ids {
        let mut wire = Wire::open(process.address).await;
        wire.write(head(&format!("GET /listen?conn_id={id}"), "") + &bytes).await;
        kept.push(wire);
    }
    actix_rt::time::sleep(Duration::from_millis(500)).await;
    let grown = resident_kib(&process).saturating_sub(before) / CONNECTIONS;
    assert!(grown < 512, "{grown} KiB for each connection");
}

/// Pipelines requests until `ends` is set, and counts the answers.
fn flood(address: SocketAddr, ends: &AtomicBool, answers: &AtomicU64) {
    let unit = head("GET /health/live", "");
    let mut reading = std::net::TcpStream::connect(address).unwrap();
    let mut writing = reading.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let bytes = unit.repeat(1_000);
            while std::io::Write::write_all(&mut writing, bytes.as_bytes()).is_ok() {}
        });
        let mut piece = vec![0; 1 << 16];
        while !ends.load(Relaxed) {
            let count = reading.read(&mut piece).unwrap();
            let begun = piece[..count].windows(9).filter(|window| *window == b"HTTP/1.1 ").count();
            answers.fetch_add(begun as u64, Relaxed);
        }
        let _ = reading.shutdown(std::net::Shutdown::Both);
    });
}

/// Measured in answers to the flood instead of time, because tests share the machine.
#[actix_web::test]
async fn pipelined_requests_do_not_delay_other_clients() {
    let server = TestServer::start(settings());
    let address = server.address;
    let (ends, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let flooding = std::thread::spawn({
        let (ends, answers) = (ends.clone(), answers.clone());
        move || flood(address, &ends, &answers)
    });
    within(async {
        while answers.load(Relaxed) < 2_000 {
            actix_rt::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let mut wire = Wire::open(address).await;
    let mut meanwhile = Vec::new();
    for _ in 0..20 {
        let before = answers.load(Relaxed);
        assert_eq!(wire.ask("GET", "/health/live", &[], b"").await.status, 200);
        meanwhile.push(answers.load(Relaxed) - before);
    }
    ends.store(true, Relaxed);
    flooding.join().unwrap();
    meanwhile.sort_unstable();
    let median = meanwhile[meanwhile.len() / 2];
    assert!(
        median < 1_000,
        "{median} answers to the flood while another client waits for one: {meanwhile:?}"
    );
}

/// Sends a body some time after its head, and reads the answer.
async fn late(address: SocketAddr, head: &str, body: &[u8], pieces: usize, pause: Duration) -> Option<Reply> {
    let mut wire = Wire::open(address).await;
    wire.write(head).await;
    for piece in body.chunks(body.len().div_ceil(pieces)) {
        actix_rt::time::sleep(pause).await;
        let _ = wire.try_write(piece).await;
    }
    wire.try_reply().await
}

#[actix_web::test]
async fn answers_are_complete_for_late_and_unread_bodies() {
    let server = TestServer::start(Settings { workers: 2, ..settings() });
    let backend = server.backend();
    let channels: Vec<_> = (0..40).map(|number| format!("c{number}")).collect();
    let channels: Vec<_> = channels.iter().map(String::as_str).collect();
    backend.connect("ann", &channels).await;
    backend.configure(&channels, json!({"store_history": true, "history_size": 20})).await;
    for channel in &channels {
        for _ in 0..10 {
            backend.publish_text(channel, &"y".repeat(1_000)).await;
        }
    }
    let (name, token) = signature();
    let signed = format!("{name}: {token}\r\n");
    let large = json!({"x": "z".repeat(200_000)}).to_string();
    let over = letters(9 << 20);
    let mut lines = vec![
        ("POST /admin/admin.json", signed.as_str(), 200),
        ("POST /nowhere", "", 404),
        ("POST /message", "", 403),
        ("POST /message", "x-channelstream-secret: bad\r\n", 401),
        ("DELETE /connect", signed.as_str(), 404),
        ("GET /health/live", "", 200),
        ("GET /ws", "", 426),
        ("POST /health/live", "", 404),
    ];
    let file = format!("GET {LARGE_FILE}");
    lines.push((&file, "", 200));
    let mut cases = Vec::new();
    for (line, headers, status) in lines {
        for (body, pieces, pause) in [("{}", 1, 10), ("{}", 2, 60), (&large[..], 1, 10), (&large, 5, 20)] {
            let length = format!("{headers}Content-Length: {}\r\n", body.len());
            cases.push((head(line, &length), body.to_owned(), pieces, pause, status));
            let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
            cases.push((
                head(line, &format!("{headers}Transfer-Encoding: chunked\r\n")),
                chunks,
                pieces,
                pause,
                status,
            ));
        }
    }
    let length = format!("{signed}Content-Length: {}\r\n", over.len());
    cases.push((head("POST /message", &length), over.clone(), 1, 10, 413));
    cases.push((head("POST /message", &length), over, 4, 50, 413));
    let answers = cases.iter().map(async |(head, body, pieces, pause, status)| {
        let pause = Duration::from_millis(*pause);
        let reply = late(server.address, head, body.as_bytes(), *pieces, pause).await;
        let reply = reply.unwrap_or_else(|| panic!("an answer to {head} with {} bytes", body.len()));
        assert_eq!(reply.status, *status, "{head} with {} bytes", body.len());
    });
    join_all(answers).await;
}

#[actix_web::test]
async fn server_sends_100_continue_only_if_a_handler_reads_the_body() {
    let server = TestServer::start(Settings { max_body_bytes: 4_096, ..settings() });
    let (name, token) = signature();
    let body = json!([{"user": "ann", "channel": "c", "message": {}}]).to_string();
    let expecting = |line: &str, headers: &str, length: usize| {
        head(line, &format!("{headers}Expect: 100-continue\r\nContent-Length: {length}\r\n"))
    };
    let signed = format!("{name}: {token}\r\n");
    for (line, headers, length, status) in [
        ("POST /message", "", 10, 403),
        ("POST /message", "x-channelstream-secret: bad\r\n", 10, 401),
        ("POST /message", &signed[..], 1 << 30, 413),
        ("POST /message?a=b", &signed, 1 << 30, 413),
        ("POST /nowhere", &signed, 10, 404),
        ("GET /health/live", "", 10, 200),
    ] {
        let mut wire = Wire::open(server.address).await;
        wire.write(expecting(line, headers, length)).await;
        assert_eq!(wire.reply().await.status, status, "{line}");
    }
    for line in ["POST /message", "POST /message?a=b", "PATCH /message"] {
        let mut wire = Wire::open(server.address).await;
        wire.write(expecting(line, &signed, body.len())).await;
        let mut asked = [0; 25];
        let mut stream = wire.into_stream();
        within(stream.read_exact(&mut asked)).await.unwrap();
        assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n", "{line}");
        stream.get_mut().write_all(body.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        within(stream.read_exact(&mut status)).await.unwrap();
        let expected: &[u8] = if line.starts_with("PATCH") { b"HTTP/1.1 422" } else { b"HTTP/1.1 200" };
        assert_eq!(status, expected, "{line}");
    }
}

/// Sends a request, finishes sending, and reads the answer.
async fn half_close(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    exchange(address, bytes).await
}

fn body(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer).into_owned();
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

#[actix_web::test]
async fn client_that_has_finished_sending_receives_its_answers() {
    for workers in [1, 2] {
        let server = TestServer::start(Settings { workers, poll_wait_ms: 60_000, ..settings() });
        let backend = server.backend();
        let (name, token) = signature();
        let signed = [(name, token.as_str())];
        for _ in 0..20 {
            let connect = request("POST", "/connect", &signed, br#"{"username": "ann", "channels": ["c"]}"#);
            let info = request("POST", "/info", &signed, br#"{"info": {}}"#);
            let both = half_close(server.address, &[&connect[..], &info].concat()).await;
            assert_eq!(statuses(&both), [200, 200]);
        }
        let cut = head("POST /info", &format!("{name}: {token}\r\nContent-Length: 9\r\n")) + "{";
        assert_eq!(statuses(&half_close(server.address, cut.as_bytes()).await), [422]);
        let id = backend.connect("bob", &["d"]).await;
        let poll = request("GET", &format!("/listen?conn_id={id}"), &[], b"");
        assert_eq!(body(&half_close(server.address, &poll).await), "[]");
        backend.publish_text("d", "missed").await;
        let answer = body(&half_close(server.address, &poll).await);
        assert!(answer.contains("missed"), "{answer}");
        // To the server this client looks disconnected, so the next poll returns the message again.
        let again =
            Wire::open(server.address).await.ask("GET", &format!("/listen?conn_id={id}"), &[], b"").await;
        assert!(again.text().contains("missed"), "{again:?}");
        // A client that finishes sending later is answered then.
        let mut stream = within(TcpStream::connect(server.address)).await.unwrap();
        stream.write_all(&poll).await.unwrap();
        actix_rt::time::sleep(Duration::from_millis(150)).await;
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        within(stream.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(body(&answer), "[]");
    }
}

/// Pipelined requests after a poll do not hide that its client has hung up.
#[actix_web::test]
async fn client_that_hangs_up_after_pipelined_requests_loses_nothing() {
    let server = TestServer::start(Settings { poll_wait_ms: 60_000, ..settings() });
    let backend = server.backend();
    for bytes in [100, 100_000] {
        let id = backend.connect("ann", &["c"]).await;
        let target = format!("/listen?conn_id={id}");
        let behind = head("GET /nowhere", "");
        let mut wire = Wire::open(server.address).await;
        wire.write(request("GET", &target, &[], b"")).await;
        actix_rt::time::sleep(Duration::from_millis(50)).await;
        wire.write(behind.repeat(bytes / behind.len() + 1)).await;
        actix_rt::time::sleep(Duration::from_millis(50)).await;
        drop(wire);
        backend.publish_text("c", "missed").await;
        let reply = Wire::open(server.address).await.ask("GET", &target, &[], b"").await;
        assert!(reply.text().contains("missed"), "{reply:?}");
    }
}

#[actix_web::test]
async fn server_ignores_upgrade_on_paths_without_a_websocket() {
    let server = TestServer::start(settings());
    let (name, token) = signature();
    for upgrade in [&[("upgrade", "websocket")][..], &[("upgrade", "websocket"), ("connection", "upgrade")]] {
        let signed = [upgrade, &[(name, token.as_str())]].concat();
        for (method, path, body, status) in [
            ("POST", "/connect", r#"{"username": "ann"}"#, 200),
            ("POST", "/info", "", 200),
            ("GET", "/health/live", "", 200),
            ("GET", "/static/channelstream/index.js", "", 200),
            ("GET", "/nowhere", "", 404),
            ("POST", "/ws", "{}", 426),
            ("POST", "/ws", "", 426),
            ("GET", "/demo/echo/", "", 307),
            ("GET", "/listen", "", 422),
        ] {
            let reply = Wire::open(server.address).await.ask(method, path, &signed, body.as_bytes()).await;
            assert_eq!(reply.status, status, "{method} {path} {upgrade:?}: {reply:?}");
        }
    }
}

#[actix_web::test]
async fn server_accepts_a_handshake_in_a_list_and_between_other_requests() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    for upgrade in ["websocket", "h2c, WebSocket", "h2c\r\nUpgrade: websocket"] {
        let id = backend.connect("ann", &["c"]).await;
        let handshake = websocket(&format!("/ws?conn_id={id}"), KEY)
            .replace("Upgrade: websocket", &format!("Upgrade: {upgrade}"));
        let mut wire = Wire::open(server.address).await;
        let before = head("GET /nowhere", "").repeat(40) + &head("GET /health/live", "");
        // The frames are more bytes than the server reads in one turn.
        let pings: Vec<u8> = (0..200).flat_map(|number: u8| frame(FIN | PING, &[number; 100])).collect();
        wire.write([before.as_bytes(), handshake.as_bytes(), &pings].concat()).await;
        for _ in 0..40 {
            assert_eq!(wire.reply().await.status, 404);
        }
        assert_eq!(wire.reply().await.status, 200);
        assert_eq!(wire.reply().await.status, 101, "{upgrade}");
        let (mut incoming, _outgoing) = halves(wire);
        let mut last = None;
        while last != Some(199) {
            let pong = incoming.expect_message().await;
            assert_eq!(pong.opcode, PONG);
            assert!(last < Some(pong.payload[0]), "{last:?} {pong:?}");
            last = Some(pong.payload[0]);
        }
    }
}

#[actix_web::test]
async fn server_serves_a_request_completed_while_the_process_was_paused() {
    let process = Process::run(command(
        "",
        &[
            "--port",
            "0",
            "--set",
            "workers=1",
            "--set",
            "header_timeout_ms=1000",
            "--set",
            "body_timeout_ms=1000",
        ],
    ));
    let (name, token) = signature();
    let body = r#"{"info": {}}"#;
    let mut whole = String::new();
    write!(
        whole,
        "{}{body}",
        head("POST /info", &format!("{name}: {token}\r\nContent-Length: {}\r\n", body.len()))
    )
    .unwrap();
    let mut wires = Vec::new();
    for at in [20, whole.len() - 5] {
        let mut wire = Wire::open(process.address).await;
        wire.write(&whole[..at]).await;
        wires.push((wire, at));
    }
    let mut idle = Wire::open(process.address).await;
    assert_eq!(idle.ask("GET", "/health/live", &[], b"").await.status, 200);
    actix_rt::time::sleep(Duration::from_millis(300)).await;
    process.signal("-STOP");
    for (wire, at) in &mut wires {
        wire.write(&whole[*at..]).await;
    }
    actix_rt::time::sleep(Duration::from_millis(1_500)).await;
    process.signal("-CONT");
    for (mut wire, at) in wires {
        assert_eq!(wire.reply().await.status, 200, "all but {at} bytes arrived while the process was paused");
    }
    assert_eq!(idle.ask("GET", "/health/live", &[], b"").await.status, 200);
}
