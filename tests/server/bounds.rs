//! The server refuses what exceeds a limit, names the limit and changes nothing; and it reads bodies by their charset.

use crate::support::backend::{Backend, now_unix, signature};
use crate::support::http::{Reply, Wire, request};
use crate::support::listener::{Listener, Transport};
use crate::support::process::{Process, command};
use crate::support::{TestServer, settings, within};
use channelstream::config::Settings;
use serde_json::{Value, json};
use std::ops::Range;

async fn post(server: &TestServer, path: &str, body: &str) -> Reply {
    server.backend().send("POST", path, &[], body.as_bytes()).await
}

#[actix_web::test]
async fn server_refuses_large_bodies() {
    let server = TestServer::start(Settings { max_body_bytes: 2_000, ..settings() });
    let body = |size: usize| {
        let frame = json!({"username": "ann", "channels": ["c"], "padding": ""}).to_string();
        frame.replace(r#""padding":"""#, &format!(r#""padding":"{}""#, "x".repeat(size - frame.len())))
    };
    assert_eq!(post(&server, "/connect", &body(2_000)).await.status, 200);
    let reply = post(&server, "/connect", &body(2_001)).await;
    assert_eq!((reply.status, reply.header("x-channelstream-error")), (413, Some("body-too-large")));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.json()["message"], "The body is too large. At most 2000 bytes are allowed.");
    // In pieces, without a length that the server could check.
    let (name, token) = signature();
    let mut wire = Wire::open(server.address).await;
    let head =
        format!("POST /message HTTP/1.1\r\nHost: t\r\n{name}: {token}\r\nTransfer-Encoding: chunked\r\n\r\n");
    wire.write(head).await;
    for _ in 0..3 {
        wire.write(format!("3e8\r\n{}\r\n", "x".repeat(1_000))).await;
    }
    wire.write("0\r\n\r\n").await;
    assert_eq!(wire.reply().await.status, 413);
}

async fn body_bytes(server: &TestServer) -> usize {
    server.backend().debug_value("bytes of bodies in flight").await
}

#[actix_web::test]
async fn server_counts_large_bodies_that_it_reads_for_a_bound_signature() {
    let server = TestServer::start(Settings { max_body_bytes: 2_000, ..settings() });
    let now = now_unix();
    let bound = [("x-channelstream-signature", format!("t={now},n=a,v1={}", "0".repeat(64)))];
    let bound = bound.each_ref().map(|(name, value)| (*name, value.as_str()));
    let body = "x".repeat(2_001);
    let reply = Wire::open(server.address).await.ask("POST", "/message", &bound, body.as_bytes()).await;
    assert_eq!((reply.status, reply.header("x-channelstream-error")), (413, Some("body-too-large")));
    assert_eq!(server.backend().debug_value("limit reached, max_body_bytes").await, 1);
}

async fn body_bytes_become(server: &TestServer, bytes: usize) {
    within(async {
        while body_bytes(server).await != bytes {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A request whose body arrives in chunks.
fn in_pieces(path: &str, content_type: &str, pieces: &[&str]) -> String {
    let (name, token) = signature();
    let pieces: String = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).collect();
    format!(
        "POST {path} HTTP/1.1\r\nHost: t\r\n{name}: {token}\r\nContent-Type: {content_type}\r\n\
         Transfer-Encoding: chunked\r\n\r\n{pieces}"
    )
}

#[actix_web::test]
async fn server_limits_the_total_size_of_pending_bodies() {
    let bounds = Settings { max_body_bytes: 100_000, max_pending_body_bytes: 65_536, ..settings() };
    let server = TestServer::start(bounds);
    let mut slow = Wire::open(server.address).await;
    let space = " ".repeat(40_000);
    slow.write(in_pieces("/message", "application/json", &["[", &space, &space])).await;
    body_bytes_become(&server, 80_001).await;
    // On the fast path and on the full path.
    for content_type in ["application/json", "application/json; charset=utf-8"] {
        let mut wire = Wire::open(server.address).await;
        wire.write(in_pieces("/message", content_type, &["[", &space])).await;
        let reply = wire.reply().await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{reply:?}");
        assert_eq!(reply.header("x-channelstream-error"), Some("busy"));
        drop(wire);
        body_bytes_become(&server, 80_001).await;
    }
    assert_eq!(
        post(&server, "/connect", r#"{"username": "ann"}"#).await.status,
        200,
        "the server accepts small bodies"
    );
    slow.write("1\r\n]\r\n0\r\n\r\n").await;
    assert_eq!(slow.reply().await.status, 200);
    body_bytes_become(&server, 0).await;
    let mut wire = Wire::open(server.address).await;
    wire.write(in_pieces("/message", "application/json", &["[", &space, "]"]) + "0\r\n\r\n").await;
    assert_eq!(wire.reply().await.status, 200, "the limit is free again");
    // A client that hangs up frees its share.
    let mut gone = Wire::open(server.address).await;
    gone.write(in_pieces("/message", "application/json", &["[", &space])).await;
    body_bytes_become(&server, 40_001).await;
    drop(gone);
    body_bytes_become(&server, 0).await;
}

#[actix_web::test]
async fn server_refuses_long_lists_and_deep_nesting() {
    let server = TestServer::start(Settings {
        max_list_items: 10,
        max_json_depth: 8,
        max_channels_per_request: 3,
        max_frame_bytes: 1_024,
        ..settings()
    });
    let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    let messages = |count: usize| vec![json!({"user": "p", "channel": "c"}); count];
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let message =
        |payload: &str| format!(r#"[{{"user": "p", "channel": "c", "message": {{"x": {payload}}}}}]"#);
    let cases = [
        ("/connect", json!({"username": "u", "channels": names(3)}).to_string(), true),
        ("/connect", json!({"username": "u", "channels": names(4)}).to_string(), false),
        ("/message", json!(messages(10)).to_string(), true),
        ("/message", json!(messages(11)).to_string(), false),
        ("/message", json!([{"user": "p", "pm_users": names(10)}]).to_string(), true),
        ("/message", json!([{"user": "p", "pm_users": names(11)}]).to_string(), false),
        ("/message", message(&deep(5)), true),
        ("/message", message(&deep(6)), false),
        ("/message", message(&format!("{:?}", "x".repeat(700))), true),
        ("/message", message(&format!("{:?}", "x".repeat(1_024))), false),
        ("/info", json!({"info": {"channels": names(4)}}).to_string(), false),
    ];
    for (path, body, good) in cases {
        let reply = post(&server, path, &body).await;
        assert_eq!(reply.status, if good { 200 } else { 422 }, "{path} {body}: {}", reply.text());
        if !good {
            assert_eq!(reply.header("x-channelstream-error"), Some("invalid"));
            assert!(reply.json().is_object(), "{reply:?}");
        }
    }
}

/// The requests of one connection, which publish these numbers.
fn publishing(numbers: Range<usize>) -> Vec<u8> {
    let (name, token) = signature();
    let one = |number: usize| {
        let body = json!([{"user": "p", "channel": "c", "message": {"text": number.to_string()}}]);
        request("POST", "/message", &[(name, &token)], body.to_string().as_bytes())
    };
    numbers.flat_map(one).collect()
}

/// All requests arrive while the process is paused, so the server handles one of each connection before the registry
/// runs: the tiny mailbox overflows. A refused request names a time to retry, accepted messages arrive, and no others
/// do.
#[actix_web::test]
async fn server_answers_503_if_a_mailbox_is_full() {
    const CONNECTIONS: usize = 8;
    const EACH: usize = 16;
    for mailboxes in [&["registry_mailbox=3"][..], &["channel_mailbox=3", "registry_mailbox=4"]] {
        let sets = ["workers=1"].iter().chain(mailboxes).flat_map(|setting| ["--set", *setting]);
        let process = Process::run(command("", &["--port", "0"].into_iter().chain(sets).collect::<Vec<_>>()));
        let backend = Backend::new(process.address);
        let conn_id = backend.connect("ann", &["c"]).await;
        let mut listener = Listener::attach(process.address, Transport::Websocket, &conn_id).await;
        let mut wires = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut wire = Wire::open(process.address).await;
            assert_eq!(wire.ask("GET", "/nowhere", &[], b"").await.status, 404);
            wires.push(wire);
        }
        process.signal("-STOP");
        for (index, wire) in wires.iter_mut().enumerate() {
            wire.write(publishing(index * EACH..(index + 1) * EACH)).await;
        }
        process.signal("-CONT");
        let mut accepted = Vec::new();
        for number in 0..CONNECTIONS * EACH {
            let reply = wires[number / EACH].reply().await;
            if reply.status == 200 {
                accepted.push(number.to_string());
                continue;
            }
            assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{reply:?}");
            assert_eq!(reply.header("x-channelstream-error"), Some("busy"));
            assert!(reply.json()["message"].is_string());
        }
        assert!(accepted.len() < CONNECTIONS * EACH, "all requests went through a mailbox of 3 messages");
        // Only the messages of each connection have an order.
        let mut received = listener.texts(accepted.len()).await;
        received.sort_by_key(|text| text.parse::<usize>().unwrap() / EACH);
        assert_eq!(received, accepted);
        backend.publish_text("c", "end").await;
        assert_eq!(listener.texts(1).await, ["end"]);
    }
}

#[actix_web::test]
async fn server_reads_bodies_in_other_charsets() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let conn_id = backend.connect("ann", &["c"]).await;
    let mut listener = Listener::attach(server.address, Transport::Websocket, &conn_id).await;
    let send = async |method: &str, charset: &str, body: &[u8]| {
        let content_type = format!("application/json; charset={charset}");
        backend.send(method, "/message", &[("content-type", &content_type)], body).await
    };
    let latin = b"[{\"user\": \"p\", \"channel\": \"c\", \"message\": {\"text\": \"\xe9\"}}]";
    for charset in ["latin-1", "ISO-8859-1", "\"windows-1252\""] {
        let reply = send("POST", charset, latin).await;
        assert_eq!((reply.status, &reply.json()[0]["message"]["text"]), (200, &json!("é")), "{charset}");
        assert_eq!(listener.texts(1).await, ["é"]);
    }
    let reply = send("PATCH", "latin-1", b"[{\"uuid\": \"\xe9\"}]").await;
    assert_eq!((reply.status, reply.json()), (422, json!({"0": {"uuid": ["Not a valid UUID."]}})));
    let utf16: Vec<u8> =
        std::str::from_utf8(b"[]").unwrap().encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(send("DELETE", "utf-16le", &utf16).await.json(), json!([]));
    for charset in ["utf-8", "UTF8", ""] {
        assert_eq!(send("POST", charset, "[]".as_bytes()).await.status, 200, "{charset}");
    }
    let refusals: [(&str, &[u8], &str); 3] = [
        ("klingon", b"[]", "Unknown charset klingon."),
        ("shift_jis", b"\x81", "The body is not Shift_JIS."),
        ("utf-8", latin, "Invalid JSON: invalid UTF-8 at line 1 column 53."),
    ];
    for (charset, body, text) in refusals {
        let reply = send("POST", charset, body).await;
        let found: Value = reply.json();
        assert_eq!((reply.status, found), (422, json!({"_schema": [text]})), "{charset}");
    }
}
