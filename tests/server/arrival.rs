//! The fast path and the full path: the answer is the same for all first bytes of a connection, however they arrive.

use crate::support::backend::signature;
use crate::support::http::{Reply, Wire, request};
use crate::support::socket::{FIN, HANDSHAKE, PING, PONG, frame, halves, open};
use crate::support::{TestServer, settings};
use channelstream::config::Settings;
use futures_util::future::{Either, select};
use serde_json::{Value, json};
use std::pin::pin;

/// An offer with an option that the server declines.
const OFFER: (&str, &str) = ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits");

/// How a handshake arrives.
#[derive(Clone, Copy, Debug)]
enum Arriving {
    /// Immediately after the connection opens.
    Immediately,
    /// When the server has already waited for it.
    Later,
    /// In two parts.
    InParts,
    /// After another request.
    Second,
    /// Together with the first frame.
    WithFrame,
}

/// When this request is answered, the server has read everything that was sent before it.
async fn has_arrived(server: &TestServer) {
    let mut wire = Wire::open(server.address).await;
    assert_eq!(wire.ask("GET", "/nowhere", &[], b"").await.status, 404);
}

/// Sends a handshake and then a ping; returns the answer to the handshake and checks the pong.
async fn enter(server: &TestServer, conn_id: &str, arriving: Arriving) -> Reply {
    let bytes = request("GET", &format!("/ws?conn_id={conn_id}"), &[&HANDSHAKE[..], &[OFFER]].concat(), b"");
    let ping = frame(FIN | PING, b"there?");
    let mut wire = Wire::open(server.address).await;
    match arriving {
        Arriving::Immediately => wire.write(&bytes).await,
        Arriving::Later => {
            has_arrived(server).await;
            wire.write(&bytes).await;
        }
        Arriving::InParts => {
            wire.write(&bytes[..bytes.len() / 2]).await;
            has_arrived(server).await;
            wire.write(&bytes[bytes.len() / 2..]).await;
        }
        Arriving::Second => {
            assert_eq!(wire.ask("GET", "/nowhere", &[], b"").await.status, 404);
            wire.write(&bytes).await;
        }
        Arriving::WithFrame => wire.write([&bytes[..], &ping].concat()).await,
    }
    let reply = wire.reply().await;
    if !matches!(arriving, Arriving::WithFrame) {
        wire.write(&ping).await;
    }
    let (mut incoming, _outgoing) = halves(wire);
    let pong = incoming.expect_message().await;
    assert_eq!((pong.opcode, &pong.payload[..]), (PONG, &b"there?"[..]), "{arriving:?}");
    reply
}

#[actix_web::test]
async fn server_answers_a_handshake_however_it_arrives() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    for arriving in
        [Arriving::Immediately, Arriving::Later, Arriving::InParts, Arriving::Second, Arriving::WithFrame]
    {
        let conn_id = backend.connect("ann", &["c"]).await;
        let reply = enter(&server, &conn_id, arriving).await;
        assert_eq!(reply.status, 101, "{arriving:?}");
        assert_eq!(reply.header("upgrade"), Some("websocket"));
        assert_eq!(reply.header("connection"), Some("upgrade"));
        assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        let extension = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        assert_eq!(reply.header("sec-websocket-extensions"), Some(extension), "{arriving:?}");
    }
}

#[actix_web::test]
async fn server_answers_a_request_however_it_arrives() {
    let server = TestServer::start(settings());
    let bytes = request("GET", "/nowhere", &[], b"");
    let mut later = Wire::open(server.address).await;
    let mut in_parts = Wire::open(server.address).await;
    in_parts.write(&bytes[..9]).await;
    has_arrived(&server).await;
    later.write(&bytes).await;
    in_parts.write(&bytes[9..]).await;
    assert_eq!((later.reply().await.status, in_parts.reply().await.status), (404, 404));
    let mut ended = Wire::open(server.address).await;
    ended.write("GET /").await;
    has_arrived(&server).await;
    drop((ended, Wire::open(server.address).await));
    has_arrived(&server).await;
}

#[actix_web::test]
async fn server_assigns_connections_to_all_workers() {
    let server = TestServer::start(Settings { workers: 3, ..settings() });
    let backend = server.backend();
    for _ in 0..9 {
        let conn_id = backend.connect("ann", &["c"]).await;
        assert_eq!(enter(&server, &conn_id, Arriving::Immediately).await.status, 101);
        assert_eq!(enter(&server, &conn_id, Arriving::Later).await.status, 101);
    }
}

/// Attaches a client twice, the second time as soon as the first handshake is answered. Returns whether the first
/// socket is closed as taken over.
async fn is_taken_over(server: &TestServer, target: &str) -> bool {
    let (mut first, _outgoing) = open(server.address, target, &[]).await.ok().unwrap();
    let (mut second, _outgoing) = open(server.address, target, &[]).await.ok().unwrap();
    match select(pin!(first.closing()), pin!(second.closing())).await {
        Either::Left((closing, _)) => closing.code() == Some(4001),
        Either::Right(_) => false,
    }
}

#[actix_web::test]
async fn later_handshake_takes_over() {
    let server = TestServer::start(Settings { workers: 3, ..settings() });
    let backend = server.backend();
    for (way, query) in [("fast", ""), ("full", "&way=long")] {
        let mut first_stayed = 0;
        for _ in 0..500 {
            let id = &backend.connect("ann", &["c"]).await;
            let target = format!("/ws?conn_id={id}{query}");
            first_stayed += u32::from(!is_taken_over(&server, &target).await);
        }
        assert_eq!(first_stayed, 0, "by the {way} path");
    }
}

/// The answer without the parts that differ between requests.
fn comparable(reply: &Reply) -> (u16, Vec<(String, String)>, Value) {
    let mut headers: Vec<_> = reply.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
    headers.sort();
    let mut body = reply.json();
    if let Some(message) = body.get_mut(0).and_then(Value::as_object_mut) {
        message.retain(|name, _| name != "uuid" && name != "timestamp");
    }
    (reply.status, headers, body)
}

#[actix_web::test]
async fn fast_path_and_full_path_answer_alike() {
    let server = TestServer::start(settings());
    let conn_id = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
    let (name, token) = signature();
    let mut wire = Wire::open(server.address).await;
    for (path, body) in [
        ("/connect", json!({"username": "ann", "conn_id": conn_id, "channels": ["c"]})),
        ("/connect", json!({"username": "bob", "conn_id": conn_id})),
        ("/connect", json!({})),
        ("/subscribe", json!({"conn_id": conn_id, "channels": ["c"]})),
        ("/subscribe", json!({"channels": ["c"]})),
        ("/unsubscribe", json!({"conn_id": conn_id, "channels": ["none"]})),
        ("/unsubscribe", json!(["c"])),
        ("/user_state", json!({"user": "ann", "user_state": {"a": 1}, "state_public_keys": ["a"]})),
        ("/user_state", json!({"user": "nobody", "user_state": {}})),
        ("/message", json!([{"user": "ann", "channel": "c", "message": {"text": "x"}}])),
        ("/message", json!([{"channel": "c"}])),
        ("/message", json!("x")),
    ] {
        let body = body.to_string();
        let mut ask = async |content_type: &str| {
            let headers = [(name, token.as_str()), ("content-type", content_type)];
            wire.ask("POST", path, &headers, body.as_bytes()).await
        };
        // A call that changes something does so here.
        ask("application/json").await;
        let short = ask("application/json").await;
        // The fast path does not handle a charset.
        let long = ask("application/json; charset=utf-8").await;
        assert_eq!(comparable(&short), comparable(&long), "{path} {body}");
    }
}
