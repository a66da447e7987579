//! Slow clients: the server ends heads and bodies that never end, and unread answers, after a fixed time.

use crate::support::backend::signature;
use crate::support::http::{Reply, Wire};
use crate::support::{TestServer, settings, within};
use channelstream::config::Settings;
use std::time::{Duration, Instant};

const LIMIT_MS: u64 = 300;
const INTERVAL: Duration = Duration::from_millis(20);

/// Sends a piece at intervals until the server closes.
async fn send_slowly(wire: &mut Wire, piece: &[u8]) -> Option<Reply> {
    within(async {
        loop {
            tokio::select! {
                biased;
                reply = wire.try_reply() => return reply,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            if wire.try_write(piece).await.is_err() {
                return wire.try_reply().await;
            }
        }
    })
    .await
}

fn assert_timed_out(reply: Option<Reply>, limit: &str) {
    let reply = reply.expect("the server answers before it closes");
    assert_eq!((reply.status, reply.header("x-channelstream-limit")), (408, Some(limit)), "{reply:?}");
    assert!(!reply.keeps_alive());
    assert_eq!(reply.json()["limit"], limit);
}

#[actix_web::test]
async fn server_closes_connections_with_an_endless_head() {
    let server = TestServer::start(Settings { header_timeout_ms: LIMIT_MS, ..settings() });
    let begun = Instant::now();
    // The first request of a connection, a handshake, and a request after another.
    for (count, begins) in
        (1..).zip(["GET / HTTP/1.1\r\nx: ", "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nx: "])
    {
        let mut wire = Wire::open(server.address).await;
        wire.write(begins).await;
        assert_timed_out(send_slowly(&mut wire, b"x").await, "header_timeout_ms");
        assert_eq!(server.backend().hits("header_timeout_ms").await, count);
    }
    let mut wire = Wire::open(server.address).await;
    assert_eq!(wire.ask("GET", "/nowhere", &[], b"").await.status, 404);
    wire.write("GET / HTTP/1.1\r\nx: ").await;
    assert_timed_out(send_slowly(&mut wire, b"x").await, "header_timeout_ms");
    assert_eq!(server.backend().hits("header_timeout_ms").await, 3);
    assert!(
        begun.elapsed() >= Duration::from_millis(3 * (LIMIT_MS - 100)),
        "the server closes no connection too early"
    );
}

#[actix_web::test]
async fn server_closes_connections_that_send_nothing() {
    let server = TestServer::start(Settings { header_timeout_ms: LIMIT_MS, ..settings() });
    let mut wire = Wire::open(server.address).await;
    assert_timed_out(wire.try_reply().await, "header_timeout_ms");
    assert!(wire.is_closed().await);
}

#[actix_web::test]
async fn server_closes_connections_with_an_endless_body() {
    let server = TestServer::start(Settings { body_timeout_ms: LIMIT_MS, ..settings() });
    let (name, token) = signature();
    // On the fast path and on the full path, with a length and in chunks.
    let signed = format!("{name}: {token}\r\n");
    let heads = [
        format!("POST /message HTTP/1.1\r\nHost: t\r\n{signed}Content-Length: 900\r\n\r\n["),
        format!("POST /message?a=b HTTP/1.1\r\nHost: t\r\n{signed}Content-Length: 900\r\n\r\n["),
        format!("POST /message HTTP/1.1\r\nHost: t\r\n{signed}Transfer-Encoding: chunked\r\n\r\n"),
        format!("PATCH /message HTTP/1.1\r\nHost: t\r\n{signed}Transfer-Encoding: chunked\r\n\r\n"),
    ];
    for (count, head) in (1..).zip(&heads) {
        let mut wire = Wire::open(server.address).await;
        wire.write(head).await;
        let piece: &[u8] = if head.contains("chunked") { b"1\r\n \r\n" } else { b" " };
        assert_timed_out(send_slowly(&mut wire, piece).await, "body_timeout_ms");
        assert_eq!(server.backend().hits("body_timeout_ms").await, count, "{head}");
    }
    // The server refuses a body that no handler reads immediately, and drops the rest.
    let mut wire = Wire::open(server.address).await;
    wire.write("POST /message HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(wire.reply().await.status, 403);
}

#[actix_web::test]
async fn server_drops_the_endless_rest_of_a_refused_body() {
    let settings = Settings { body_timeout_ms: LIMIT_MS, keep_alive_ms: LIMIT_MS, ..settings() };
    let server = TestServer::start(settings);
    for (count, framing, piece) in
        [(1, "Transfer-Encoding: chunked", &b"1\r\n \r\n"[..]), (2, "Content-Length: 1000000", b" ")]
    {
        let mut wire = Wire::open(server.address).await;
        wire.write(format!("POST /nowhere HTTP/1.1\r\nHost: t\r\n{framing}\r\n\r\n")).await;
        assert_eq!(wire.reply().await.status, 404);
        within(async {
            while wire.try_write(piece).await.is_ok() {
                tokio::time::sleep(INTERVAL).await;
            }
        })
        .await;
        assert_eq!(server.backend().hits("body_timeout_ms").await, count, "{framing}");
    }
}

#[actix_web::test]
async fn server_does_not_wait_for_the_missing_rest_of_a_refused_body() {
    let settings = Settings { body_timeout_ms: LIMIT_MS, keep_alive_ms: LIMIT_MS, ..settings() };
    let server = TestServer::start(settings);
    let mut wire = Wire::open(server.address).await;
    wire.write("POST /nowhere HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n \r\n").await;
    assert_eq!(wire.reply().await.status, 404);
    assert!(within(wire.try_reply()).await.is_none(), "only the end follows an answer");
    assert_eq!(server.backend().hits("body_timeout_ms").await, 1);
}

#[actix_web::test]
async fn server_closes_connections_with_an_unread_answer() {
    let server =
        TestServer::start(Settings { answer_timeout_ms: LIMIT_MS, keep_alive_ms: 3_600_000, ..settings() });
    let backend = server.backend();
    // More than the kernels buffer for a socket whose peer does not read.
    let history = serde_json::json!({"store_history": true, "history_size": 1_000});
    backend.configure(&["c"], history).await;
    let text = "x".repeat(1 << 20);
    for _ in 0..24 {
        backend.publish_text("c", &text).await;
    }
    let (name, token) = signature();
    let mut wire = Wire::open(server.address).await;
    wire.write(crate::support::http::request("POST", "/info", &[(name, &token)], br#"{"info": {}}"#)).await;
    within(async {
        while server.backend().hits("answer_timeout_ms").await == 0 {
            tokio::time::sleep(INTERVAL).await;
        }
    })
    .await;
    assert!(wire.try_reply().await.is_none(), "a partial answer is not an answer");
}

#[actix_web::test]
async fn time_limits_do_not_affect_polls_and_fast_clients() {
    let settings = Settings {
        header_timeout_ms: 200,
        body_timeout_ms: 200,
        answer_timeout_ms: 200,
        keep_alive_ms: 60_000,
        poll_wait_ms: 900,
        ..settings()
    };
    let server = TestServer::start(settings);
    let id = server.backend().connect("ann", &["c"]).await;
    let mut wire = Wire::open(server.address).await;
    for _ in 0..2 {
        let reply = wire.ask("GET", &format!("/listen?conn_id={id}"), &[], b"").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "[]"));
    }
    for limit in ["header_timeout_ms", "body_timeout_ms", "answer_timeout_ms"] {
        assert_eq!(server.backend().hits(limit).await, 0, "{limit}");
    }
}
