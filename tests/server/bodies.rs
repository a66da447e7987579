//! Bodies: the memory that unread responses cost, and the resources that senders without a secret can use.

use crate::support::backend::{Backend, now_unix, signature};
use crate::support::http::{Reply, Wire, request};
use crate::support::process::{Process, command};
use crate::support::{TestServer, settings, within};
use channelstream::auth::signing::Keys;
use channelstream::auth::signing::request_signature::BoundTo;
use channelstream::config::{Secret, Settings};
use serde_json::{Value, json};
use socket2::SockRef;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const MIB: usize = 1 << 20;
/// The number of clients that do not read, for each kind of response.
const CLIENTS: usize = 24;
/// The memory that each may cost, with its socket, its buffers and the overhead of the allocator.
const EACH: usize = 128 << 10;

/// The memory that unread responses of this length may cost: some of them once, and little for each client.
fn memory_limit(clients: usize, length: usize) -> usize {
    4 * MIB + 4 * length + clients * EACH
}

/// A client that sends a request and does not read. When this returns, the response has begun.
async fn unread(address: SocketAddr, request: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // The kernels buffer little for a client that does not read.
    socket.set_recv_buffer_size(2 << 10).unwrap();
    SockRef::from(&socket).set_tcp_mss(536).unwrap();
    let mut stream = within(socket.connect(address)).await.unwrap();
    within(stream.write_all(request)).await.unwrap();
    within(stream.peek(&mut [0; 1])).await.unwrap();
    stream
}

fn get(target: &str) -> Vec<u8> {
    let (name, token) = signature();
    request("GET", target, &[(name, &token)], b"")
}

async fn wait_for_value(backend: Backend, name: &str, value: usize) {
    let begun = Instant::now();
    loop {
        let now = backend.debug_value(name).await;
        if now == value {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{name}: {now}, {value} expected");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const RESPONSES: &str = "bytes of large responses in flight";
const UNVERIFIED: &str = "bytes of bodies in flight, signature not verified";

/// Waits until the server uses at most this much memory, and fails if it keeps using more.
async fn assert_memory_within(server: &Process, bound: usize, target: &str) {
    let begun = Instant::now();
    while server.memory() > bound {
        let now = server.memory() / MIB;
        assert!(begun.elapsed() < Duration::from_secs(4), "{target}: {now} MiB, {} expected", bound / MIB);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A channel with a history of large messages.
async fn fill(backend: Backend, channel: &str, messages: usize, bytes: usize) {
    backend.configure(&[channel], json!({"store_history": true, "history_size": 100})).await;
    for _ in 0..messages {
        backend.publish_text(channel, &"x".repeat(bytes)).await;
    }
}

#[actix_web::test]
async fn server_shares_unread_responses_between_clients() {
    let server = Process::run(command("", &["--port", "0", "--set", "workers=2"]));
    let backend = Backend::new(server.address);
    fill(backend, "c", 3, MIB).await;
    let file = "/static/vendor/swagger-ui/swagger-ui-bundle.js";
    for target in [file, "/info", "/admin/admin.json", "/openapi-3.1.json", "/openapi.json"] {
        let length = backend.send("GET", target, &[], b"").await.body.len();
        assert!(length > 32 << 10, "{target} has a large answer");
        let before = server.memory();
        let mut held = Vec::new();
        for _ in 0..CLIENTS {
            held.push(unread(server.address, &get(target)).await);
        }
        assert_memory_within(&server, before + memory_limit(CLIENTS, length), target).await;
        let whole = backend.send("GET", target, &[], b"").await;
        assert_eq!((whole.status, whole.body.len() > length - 100), (200, true));
        drop(held);
        wait_for_value(backend, RESPONSES, 0).await;
    }
}

#[actix_web::test]
async fn server_shares_events_between_unread_polls() {
    let server = Process::run(command("", &["--port", "0", "--set", "workers=2"]));
    let backend = Backend::new(server.address);
    for callback in ["", "&callback=take"] {
        let mut ids = Vec::new();
        for number in 0..12 {
            ids.push(backend.connect(&format!("u{number}"), &["c"]).await);
        }
        for _ in 0..3 {
            backend.publish_text("c", &"x".repeat(MIB)).await;
        }
        let before = server.memory();
        let mut held = Vec::new();
        for id in &ids[1..] {
            held.push(unread(server.address, &get(&format!("/listen?conn_id={id}{callback}"))).await);
        }
        assert_memory_within(&server, before + memory_limit(ids.len(), 3 * MIB), callback).await;
        // A client that reads receives all events.
        let target = format!("/listen?conn_id={}{callback}", ids[0]);
        let text = Wire::open(server.address).await.ask("GET", &target, &[], b"").await.text();
        let list = text.strip_prefix("take(").and_then(|list| list.strip_suffix(")")).unwrap_or(&text);
        let events: Vec<Value> = serde_json::from_str(list).unwrap();
        assert_eq!(events.iter().filter(|event| event["message"]["text"].is_string()).count(), 3);
        drop(held);
    }
}

async fn info(backend: Backend, channel: &str) -> Reply {
    let body = json!({"info": {"channels": [channel]}}).to_string();
    backend.send("POST", "/info", &[], body.as_bytes()).await
}

#[actix_web::test]
async fn server_limits_the_total_size_of_large_responses() {
    // A quarter of it is 16 MiB.
    let server = TestServer::start(Settings { max_total_queued_bytes: 64 * MIB, ..settings() });
    let backend = server.backend();
    let mut held = Vec::new();
    for channel in ["a", "b", "c"] {
        fill(backend, channel, 3, 3 * MIB).await;
    }
    let length = info(backend, "a").await.body.len();
    let ask = |channel: &str| {
        let (name, token) = signature();
        let body = json!({"info": {"channels": [channel]}}).to_string();
        request("POST", "/info", &[(name, &token)], body.as_bytes())
    };
    // Equal responses count once for all clients.
    for _ in 0..5 {
        held.push(unread(server.address, &ask("a")).await);
    }
    wait_for_value(backend, RESPONSES, length).await;
    held.push(unread(server.address, &ask("b")).await);
    wait_for_value(backend, RESPONSES, 2 * length).await;
    let refused = info(backend, "c").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert_eq!(refused.header("x-channelstream-error"), Some("busy"));
    for (method, target) in [("GET", "/admin/admin.json"), ("GET", "/openapi.json"), ("POST", "/info")] {
        assert_eq!(backend.send(method, target, &[], b"").await.status, 503, "{target}");
    }
    // The server still answers requests with small answers; it refuses those with large answers before it handles them.
    backend.publish_text("d", "small").await;
    let large = json!([{"user": "p", "channel": "d", "message": {"text": "x".repeat(50_000)}}]).to_string();
    assert_eq!(backend.send("POST", "/message", &[], large.as_bytes()).await.status, 503);
    let wrong = format!("[{}{{}}]", "{},".repeat(1_000));
    for headers in [&[][..], &[("content-type", "application/json; charset=utf-8")]] {
        let status = async || backend.send("POST", "/message", headers, wrong.as_bytes()).await.status;
        assert_eq!(status().await, 503, "a large refusal");
        assert_eq!(backend.send("POST", "/message", headers, b"[{}]").await.status, 422);
    }
    drop(held);
    wait_for_value(backend, RESPONSES, 0).await;
    assert_eq!(info(backend, "c").await.status, 200);
    assert_eq!(backend.send("POST", "/message", &[], wrong.as_bytes()).await.status, 422);
}

#[actix_web::test]
async fn server_closes_an_unread_poll_above_the_limit_without_loss() {
    let server =
        TestServer::start(Settings { max_total_queued_bytes: 5 * MIB, poll_wait_ms: 200, ..settings() });
    let backend = server.backend();
    let ids = [backend.connect("ann", &["c"]).await, backend.connect("bob", &["c"]).await];
    for _ in 0..3 {
        backend.publish_text("c", &"x".repeat(MIB)).await;
    }
    // Each of them fits, but not both together.
    let targets = ids.map(|id| format!("/listen?conn_id={id}"));
    let mut first = unread(server.address, &get(&targets[0])).await;
    let mut second = unread(server.address, &get(&targets[1])).await;
    wait_for_value(backend, "limit reached, max_total_queued_bytes", 1).await;
    let mut lengths = Vec::new();
    for stream in [&mut first, &mut second] {
        SockRef::from(&*stream).set_recv_buffer_size(8 * MIB).unwrap();
        let mut read = vec![0; 3 * MIB];
        let whole = within(stream.read_exact(&mut read)).await;
        lengths.push(whole.is_ok());
    }
    lengths.sort_unstable();
    assert_eq!(lengths, [false, true], "one of the responses ends early");
    drop((first, second));
    wait_for_value(backend, "bytes queued for slow peers", 0).await;
    let mut counts = Vec::new();
    for target in targets {
        let reply = Wire::open(server.address).await.ask("GET", &target, &[], b"").await;
        let events = reply.json();
        counts.push(events.as_array().unwrap().iter().filter(|event| event["type"] == "message").count());
    }
    assert!(counts.contains(&3), "its next poll has all of them: {counts:?}");
}

#[actix_web::test]
async fn superseded_poll_uses_no_memory() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let id = backend.connect("ann", &["c"]).await;
    for _ in 0..3 {
        backend.publish_text("c", &"x".repeat(MIB)).await;
    }
    let target = format!("/listen?conn_id={id}");
    let first = unread(server.address, &get(&target)).await;
    let reply = Wire::open(server.address).await.ask("GET", &target, &[], b"").await;
    let events = reply.json();
    assert_eq!(events.as_array().unwrap().iter().filter(|event| event["type"] == "message").count(), 3);
    wait_for_value(backend, "bytes queued for slow peers", 0).await;
    drop(first);
}

/// A sender without a secret: it sends all but the last ten bytes of a body.
async fn send_incomplete_body(address: SocketAddr, head: &str, length: usize) -> Wire {
    let mut wire = Wire::open(address).await;
    let _ = wire.try_write(format!("{head}Host: t\r\nContent-Length: {length}\r\n\r\n")).await;
    let _ = wire.try_write(vec![b' '; length - 10]).await;
    wire
}

/// Publishes in pieces that arrive separately, with this header; returns the status.
async fn publish_in_pieces(address: SocketAddr, (name, value): (&str, String), body: &[u8]) -> u16 {
    let mut wire = Wire::open(address).await;
    let head =
        request("POST", "/message", &[(name, &value), ("content-length", &body.len().to_string())], b"");
    wire.write(head).await;
    for piece in body.chunks(body.len() / 3 + 1) {
        wire.write(piece).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wire.reply().await.status
}

#[actix_web::test]
async fn unsigned_senders_do_not_block_signed_requests() {
    const BODY: usize = 512 << 10;
    let server = TestServer::start(Settings {
        max_body_bytes: BODY,
        max_pending_body_bytes: 4 * BODY,
        demo: channelstream::config::DemoSetting::On,
        ..settings()
    });
    let backend = server.backend();
    let wrong = format!("t={},n=a,v1={}", now_unix(), "0".repeat(64));
    let sources = [
        "POST /disconnect HTTP/1.1\r\n".to_owned(),
        "POST /demo/message HTTP/1.1\r\n".to_owned(),
        "POST /demo/connect HTTP/1.1\r\n".to_owned(),
        "POST /admin/sign_in HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n".to_owned(),
        "POST /admin/sign_out HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n".to_owned(),
        "POST /admin/message HTTP/1.1\r\n".to_owned(),
        format!("GET /health/live HTTP/1.1\r\nx-channelstream-signature: {wrong}\r\n"),
        format!("POST /message HTTP/1.1\r\nx-channelstream-signature: {wrong}\r\n"),
    ];
    let message =
        json!([{"user": "p", "channel": "c", "message": {"text": "x".repeat(100_000)}}]).to_string();
    for (number, head) in sources.iter().enumerate() {
        let mut held = Vec::new();
        for length in [BODY, 1_024, 4_096, 8_192].into_iter().cycle().take(24) {
            held.push(send_incomplete_body(server.address, head, length).await);
        }
        let body = message.as_bytes();
        let status = publish_in_pieces(server.address, signature(), body).await;
        assert_eq!(status, 200, "{head}");
        // The server checks a bound signature after the body, which waits among the other bodies.
        let keys = Keys::new(&[Secret::new("secret")]);
        let bound = keys.sign_bound(
            &BoundTo { method: "POST", target: "/message", body },
            now_unix(),
            &format!("n{number}"),
        );
        let status = publish_in_pieces(server.address, ("x-channelstream-signature", bound), body).await;
        assert_eq!(status, 200, "bound, {head}");
        assert!(backend.debug_value(UNVERIFIED).await <= BODY);
        drop(held);
        wait_for_value(backend, UNVERIFIED, 0).await;
        wait_for_value(backend, "bytes of bodies in flight", 0).await;
    }
}

#[actix_web::test]
async fn refusals_of_bodies_name_the_limit() {
    let server = TestServer::start(Settings { demo: channelstream::config::DemoSetting::On, ..settings() });
    let form = ("content-type", "application/x-www-form-urlencoded");
    let cases = [
        ("POST", "/admin/sign_in", 4_096),
        ("POST", "/admin/sign_out", 4_096),
        ("POST", "/disconnect", 1_024),
        ("POST", "/demo/message", 16_384),
        ("POST", "/demo/connect", 16_384),
    ];
    for (method, path, bound) in cases {
        for (length, is_too_large) in [(bound, false), (bound + 1, true)] {
            let body = vec![b' '; length];
            let reply = Wire::open(server.address).await.ask(method, path, &[form], &body).await;
            assert_eq!(reply.status == 413, is_too_large, "{path} {length}: {reply:?}");
            if is_too_large {
                let message = format!("The body is too large. At most {bound} bytes are allowed.");
                assert_eq!(
                    (reply.json()["message"].clone(), reply.header("x-channelstream-limit")),
                    (message.into(), None)
                );
                assert_eq!(reply.header("x-channelstream-error"), Some("body-too-large"));
            }
        }
    }
    // A signed request has the usual limit.
    let id = json!({"conn_id": uuid::Uuid::new_v4(), "padding": "x".repeat(50_000)}).to_string();
    assert_eq!(server.backend().send("POST", "/disconnect", &[], id.as_bytes()).await.json(), false);
    assert_eq!(server.backend().hits("max_body_bytes").await, 5);
}

#[actix_web::test]
async fn server_skips_or_names_bytes_around_the_json() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let message = json!([{"user": "p", "channel": "c", "message": {}}]).to_string();
    let marked = [b"\xef\xbb\xbf", message.as_bytes()].concat();
    // On the fast path, on the full path, and with a signature of these bytes.
    let keys = Keys::new(&[Secret::new("secret")]);
    let bound =
        keys.sign_bound(&BoundTo { method: "POST", target: "/message", body: &marked }, now_unix(), "n");
    let headers: [&[(&str, &str)]; 3] = [
        &[],
        &[("content-type", "application/json; charset=utf-8")],
        &[("x-channelstream-signature", &bound)],
    ];
    for headers in headers {
        assert_eq!(backend.send("POST", "/message", headers, &marked).await.status, 200, "{headers:?}");
    }
    let twice = [b"\xef\xbb\xbf", &marked[..]].concat();
    assert_eq!(backend.send("POST", "/message", &[], &twice).await.status, 422);
    for headers in headers.into_iter().take(2) {
        let utf16: Vec<u8> = "\u{feff}[]".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let reply = backend.send("POST", "/message", headers, &utf16).await;
        assert_eq!((reply.status, reply.text().contains("UTF-16")), (422, true), "{}", reply.text());
        let reply = backend.send("POST", "/message", headers, b"\x1f\x8b\x08\0").await;
        assert_eq!((reply.status, reply.text().contains("gzip")), (415, true), "{}", reply.text());
    }
    for (coding, path) in [("gzip", "/message"), ("identity, br", "/connect"), ("deflate", "/admin/sign_in")]
    {
        let reply = backend.send("POST", path, &[("content-encoding", coding)], message.as_bytes()).await;
        let named = coding.rsplit(", ").next().unwrap();
        assert_eq!(
            (reply.status, reply.header("x-channelstream-error")),
            (415, Some("body-encoded")),
            "{path}"
        );
        assert!(reply.text().contains(&format!("\\\"{named}\\\"")), "{}", reply.text());
    }
    for coding in ["identity", ""] {
        let reply =
            backend.send("POST", "/message", &[("content-encoding", coding)], message.as_bytes()).await;
        assert_eq!(reply.status, 200, "{coding}");
    }
    assert_eq!(
        backend.send("GET", "/info", &[("content-encoding", "gzip")], b"").await.status,
        200,
        "no body"
    );
}
