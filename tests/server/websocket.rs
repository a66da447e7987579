//! Websockets: pings and heartbeats, invalid frames from clients, and closes.

use crate::support::http::{Wire, request};
use crate::support::socket::{self, BINARY, CLOSE, FIN, Frame, Incoming, Outgoing, PING, PONG, TEXT, frame};
use crate::support::{TestServer, settings, within};
use channelstream::config::Settings;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn open(server: &TestServer, conn_id: &str) -> (Incoming, Outgoing) {
    let opened = socket::open(server.address, &format!("/ws?conn_id={conn_id}"), &[]).await;
    opened.map_err(|reply| panic!("{reply:?}")).unwrap()
}

async fn enter(server: &TestServer, channels: &[&str]) -> (String, Incoming, Outgoing) {
    let conn_id = server.backend().connect("ann", channels).await;
    let (incoming, outgoing) = open(server, &conn_id).await;
    (conn_id, incoming, outgoing)
}

fn event(frame: &Frame) -> Value {
    assert_eq!(frame.opcode, TEXT, "{frame:?}");
    let list: Value = serde_json::from_slice(&frame.payload).expect("JSON");
    assert_eq!(list.as_array().expect("a list").len(), 1);
    list[0].clone()
}

#[actix_web::test]
async fn server_sends_heartbeats_from_the_start_of_a_socket() {
    let server = TestServer::start(Settings { heartbeat_interval_ms: 200, workers: 2, ..settings() });
    let late = server.backend().connect("late", &["c"]).await;
    let (_, in_channel, _keep) = enter(&server, &["c"]).await;
    let (_, in_none, _keep_too) = enter(&server, &[]).await;
    // Longer than a heartbeat interval after the connect.
    actix_rt::time::sleep(Duration::from_millis(500)).await;
    let (opened_late, _keep_late) = open(&server, &late).await;
    for mut incoming in [in_channel, in_none, opened_late] {
        for _ in 0..4 {
            assert_eq!(incoming.expect().await, Frame { opcode: TEXT, payload: b"[]".to_vec() });
        }
    }
}

#[actix_web::test]
async fn live_messages_are_not_marked_as_catchup() {
    let server = TestServer::start(settings());
    let (_, mut incoming, mut outgoing) = enter(&server, &["c"]).await;
    outgoing.frame(FIN | PING, b"").await;
    assert_eq!(incoming.expect_message().await.opcode, PONG);
    let uuid = server.backend().publish_text("c", "ž").await;
    let live = event(&incoming.expect_message().await);
    assert_eq!(live["catchup"], false);
    server.backend().call("DELETE", "/message", json!([{"uuid": uuid, "channel": "c"}])).await;
    let live = event(&incoming.expect_message().await);
    assert_eq!(live, json!({"channel": "c", "uuid": uuid, "type": "message:delete"}));
}

#[actix_web::test]
async fn server_ignores_input_of_any_kind() {
    let server = TestServer::start(settings());
    let (_, mut incoming, mut outgoing) = enter(&server, &["c"]).await;
    outgoing.text(r#"{"type":"heartbeat"}"#).await;
    outgoing.text("[]").await;
    outgoing.text("{no json").await;
    outgoing.text("").await;
    outgoing.frame(FIN | BINARY, &[0, 0xff]).await;
    outgoing.frame(TEXT, "ž".as_bytes()[..1].as_ref()).await;
    outgoing.frame(FIN | PONG, b"unasked").await;
    outgoing.frame(FIN, "ž".as_bytes()[1..].as_ref()).await;
    // Sent byte by byte.
    for byte in frame(FIN | TEXT, b"slowly") {
        outgoing.raw(&[byte]).await;
    }
    outgoing.frame(FIN | PING, b"end").await;
    assert_eq!(incoming.expect().await, Frame { opcode: PONG, payload: b"end".to_vec() });
    server.backend().publish_text("c", "still there").await;
    assert_eq!(event(&incoming.expect_message().await)["message"]["text"], "still there");
}

#[actix_web::test]
async fn server_reads_frames_sent_with_the_handshake() {
    let server = TestServer::start(settings());
    let conn_id = server.backend().connect("ann", &[]).await;
    let headers = [
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let handshake = request("GET", &format!("/ws?conn_id={conn_id}"), &headers, b"");
    let mut wire = Wire::open(server.address).await;
    wire.write([handshake, frame(FIN | PING, b"early")].concat()).await;
    assert_eq!(wire.reply().await.status, 101);
    let mut stream = wire.into_stream();
    let mut pong = [0; 7];
    within(tokio::io::AsyncReadExt::read_exact(&mut stream, &mut pong)).await.unwrap();
    assert_eq!(&pong, b"\x8a\x05early");
}

#[actix_web::test]
async fn server_answers_pings() {
    let server = TestServer::start(settings());
    let (_, mut incoming, mut outgoing) = enter(&server, &[]).await;
    for payload in [&b""[..], b"x", &[0xff; 125]] {
        outgoing.frame(FIN | PING, payload).await;
        assert_eq!(incoming.expect_message().await, Frame { opcode: PONG, payload: payload.to_vec() });
    }
}

#[actix_web::test]
async fn server_sends_pings() {
    let server =
        TestServer::start(Settings { ping_interval_ms: 100, heartbeat_interval_ms: 0, ..settings() });
    let (_, mut incoming, _outgoing) = enter(&server, &[]).await;
    for _ in 0..3 {
        assert_eq!(incoming.expect().await, Frame { opcode: PING, payload: Vec::new() });
    }
}

#[actix_web::test]
async fn server_closes_after_a_broken_frame_with_the_reason() {
    let settings = Settings { max_client_message_bytes: 1_000, ..settings() };
    let server = TestServer::start(settings);
    let cases: [(&str, Vec<u8>, u16); 11] = [
        ("not masked", b"\x81\x01x".to_vec(), 1002),
        ("reserved bit", frame(FIN | 0x40 | TEXT, b"x"), 1002),
        ("unknown opcode", frame(FIN | 0x3, b"x"), 1002),
        ("a ping in parts", frame(PING, b"x"), 1002),
        ("a long ping", frame(FIN | PING, &[0; 126]), 1002),
        ("a continuation of nothing", frame(FIN, b"x"), 1002),
        ("a message within another", [frame(TEXT, b"x"), frame(FIN | TEXT, b"y")].concat(), 1002),
        ("half a close code", frame(FIN | CLOSE, b"x"), 1002),
        ("a code that must not be sent", frame(FIN | CLOSE, &1005_u16.to_be_bytes()), 1002),
        ("invalid UTF-8", frame(FIN | TEXT, b"\xff"), 1007),
        (
            "an announced payload that is too large",
            b"\x81\xff\x00\x00\x00\x00\x00\x10\x00\x00mask".to_vec(),
            1009,
        ),
    ];
    for (name, bytes, code) in cases {
        let (conn_id, mut incoming, mut outgoing) = enter(&server, &["c"]).await;
        outgoing.raw(&bytes).await;
        assert_eq!(incoming.closing().await.code(), Some(code), "{name}");
        outgoing.close().await;
        assert_eq!(within(incoming.frame()).await, None, "{name}: closed after the close frames");
        // The connection survives the socket.
        server.backend().publish_text("c", name).await;
        let (mut incoming, _outgoing) = open(&server, &conn_id).await;
        assert_eq!(event(&incoming.expect_message().await)["message"]["text"], name);
    }
}

#[actix_web::test]
async fn server_answers_close_frames_with_the_same_code() {
    let server = TestServer::start(settings());
    for payload in [vec![], 1000_u16.to_be_bytes().to_vec(), 4321_u16.to_be_bytes().to_vec()] {
        let (_, mut incoming, mut outgoing) = enter(&server, &["c"]).await;
        outgoing.frame(FIN | CLOSE, &payload).await;
        assert_eq!(incoming.closing().await.payload, payload);
        assert_eq!(within(incoming.frame()).await, None);
    }
}

#[actix_web::test]
async fn server_closes_only_silent_sockets() {
    let server = TestServer::start(Settings { pong_timeout: 1_500, ..settings() });
    let (_, mut silent, _outgoing) = enter(&server, &["c"]).await;
    let (_, mut lively, mut sending) = enter(&server, &["c"]).await;
    let begun = Instant::now();
    let signs = async {
        loop {
            sending.text(r#"{"type":"heartbeat"}"#).await;
            actix_rt::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let closing = async {
        let frame = silent.closing().await;
        // The other socket stays open for the same time again.
        actix_rt::time::sleep(begun.elapsed()).await;
        frame
    };
    let frame = tokio::select! { frame = closing => frame, () = signs => unreachable!() };
    assert_eq!(frame.code(), Some(4003));
    assert!(begun.elapsed() >= Duration::from_millis(1_400));
    server.backend().publish_text("c", "still there").await;
    assert_eq!(event(&lively.expect_message().await)["message"]["text"], "still there");
}

/// With default settings, and without a close frame from the client.
#[actix_web::test]
async fn user_parts_soon_after_its_socket_has_closed() {
    let server = TestServer::start(settings());
    server.backend().configure(&["c"], json!({"notify_presence": true})).await;
    let (_, mut witness, _keep) = enter(&server, &["c"]).await;
    let conn_id = server.backend().connect("bob", &["c"]).await;
    assert_eq!(event(&witness.expect_message().await)["message"]["action"], "joined");
    let (incoming, outgoing) = open(&server, &conn_id).await;
    let closed = Instant::now();
    drop((incoming, outgoing));
    assert_eq!(event(&witness.expect_message().await)["message"]["action"], "parted");
    // Documented as within a second; the idle timeout would take fifteen. The rest is a margin for a busy machine.
    assert!(closed.elapsed() < Duration::from_secs(5), "{:?}", closed.elapsed());
}

#[actix_web::test]
async fn server_refuses_invalid_handshakes() {
    let server = TestServer::start(settings());
    let refused = async |target: &str| socket::refused(server.address, target, &[]).await;
    let missing = refused("/ws").await;
    assert_eq!((missing.status, missing.header("connection")), (422, Some("close")));
    assert_eq!(missing.json(), json!({"conn_id": ["Missing data for required field."]}));
    assert_eq!(refused("/ws?conn_id=x").await.json(), json!({"conn_id": ["Not a valid UUID."]}));
    let twice = format!("/ws?conn_id={0}&conn_id={0}", uuid::Uuid::nil());
    assert_eq!(refused(&twice).await.json(), json!({"conn_id": ["Given more than once."]}));
    assert_eq!(refused("/elsewhere").await.status, 404);
    let plain = Wire::open(server.address).await.ask("GET", "/ws?conn_id=x", &[], b"").await;
    assert_eq!(plain.status, 426);
    let target = "/ws?conn_id=5a8e9e0c-0000-4000-8000-000000000000";
    let (mut incoming, _outgoing) = socket::open(server.address, target, &[]).await.ok().unwrap();
    assert_eq!(
        incoming.closing().await.code(),
        Some(1000),
        "unknown: accepted and closed, as in the original"
    );
}

/// If the earlier socket reads slowly, it receives no message that its successor receives too.
#[actix_web::test]
async fn full_socket_is_taken_over_without_loss() {
    const MESSAGES: usize = 60;
    let settings = Settings { max_queued_bytes: 64 << 20, heartbeat_interval_ms: 0, ..settings() };
    let server = TestServer::start(settings);
    let backend = server.backend();
    let (conn_id, mut incoming, _outgoing) = enter(&server, &["c"]).await;
    let padding = "x".repeat(256 << 10);
    for number in 0..MESSAGES {
        let message =
            json!([{"user": "p", "channel": "c", "message": {"number": number, "padding": padding}}]);
        backend.post("/message", message).await;
    }
    // The first message was received, so the socket is attached; most of the others do not fit into its buffers.
    let number = |frame: &Frame| event(frame)["message"]["number"].as_u64().expect("a number") as usize;
    let mut received = vec![number(&incoming.expect().await)];
    let (mut next, _outgoing) = open(&server, &conn_id).await;
    let mut later = Vec::new();
    while received.len() + later.len() < MESSAGES {
        later.push(number(&next.expect().await));
        while later.last() == Some(&(MESSAGES - 1)) && received.len() + later.len() < MESSAGES {
            received.push(number(&incoming.expect().await));
        }
    }
    // The earlier socket can only receive a close frame now, if it could still be sent.
    assert!(within(incoming.frame()).await.is_none_or(|frame| frame.opcode == CLOSE));
    received.extend(later);
    assert_eq!(received, (0..MESSAGES).collect::<Vec<_>>());
}

/// The numbers of the events up to `last`, or to the end of the socket.
async fn numbers(incoming: &mut Incoming, last: Option<u64>) -> Vec<u64> {
    let mut numbers = Vec::new();
    while last.is_none() || numbers.last().copied() != last {
        let Some(frame) = within(incoming.frame()).await else { break };
        if frame.opcode == TEXT && frame.payload != b"[]" {
            let text = event(&frame)["message"]["text"].as_str().expect("a text").to_owned();
            numbers.push(text.split(' ').next().unwrap().parse().expect("a number"));
        }
    }
    numbers
}

#[actix_web::test]
async fn client_closed_as_too_slow_reads_everything_sent_even_if_it_sends_first() {
    let server =
        TestServer::start(Settings { max_queued_bytes: 300_000, channel_frames: 10_000, ..settings() });
    let (conn_id, mut slow, mut sends) = enter(&server, &["c"]).await;
    let fill = "x".repeat(50_000);
    let mut published = 0;
    let closed = "sessions closed, too slow: 1";
    while !server.backend().send("GET", "/admin/debug", &[], b"").await.text().contains(closed) {
        server.backend().publish_text("c", &format!("{published} {fill}")).await;
        published += 1;
    }
    // Browsers answer a ping in this way. If the server had dropped the socket, the kernel would answer with a reset
    // and lose the data that it still buffers for the client.
    sends.frame(FIN | PONG, b"").await;
    let mut read = numbers(&mut slow, None).await;
    let (mut next, _keep) = open(&server, &conn_id).await;
    server.backend().publish_text("c", &published.to_string()).await;
    read.extend(numbers(&mut next, Some(published)).await);
    assert_eq!(read, (0..=published).collect::<Vec<_>>());
}
