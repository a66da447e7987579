//! Every limit on a number of items: the server names the limit, counts the refusal, and does nothing partially.

use crate::support::http::{Reply, Wire, request};
use crate::support::listener::{ListenResult, Listener, Transport};
use crate::support::socket::{self, HANDSHAKE};
use crate::support::{TestServer, settings, within};
use channelstream::config::Settings;
use serde_json::{Value, json};

async fn wait_for_hits(server: &TestServer, limit: &str, count: u64) {
    within(async {
        while server.backend().hits(limit).await < count {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.backend().hits(limit).await, count, "{limit}");
}

/// A refusal names its limit, is JSON, and sets a time to retry if a retry makes sense.
fn assert_refused(reply: &Reply, status: u16, limit: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("x-channelstream-limit"), Some(limit));
    assert_eq!(reply.header("x-channelstream-error"), Some("over-limit"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let later = reply.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
    assert_eq!(later.is_some_and(|seconds| seconds > 0), matches!(status, 429 | 503), "{reply:?}");
    assert!(reply.text().contains(&format!("({limit})")), "{}", reply.text());
}

async fn post(server: &TestServer, path: &str, body: Value) -> Reply {
    server.backend().send("POST", path, &[], body.to_string().as_bytes()).await
}

#[actix_web::test]
async fn server_limits_the_number_of_sessions() {
    let server = TestServer::start(Settings { max_sessions: 2, ..settings() });
    let backend = server.backend();
    let ids = [backend.connect("a", &["c"]).await, backend.connect("b", &["c"]).await];
    let target = |id: &str| format!("/ws?conn_id={id}");
    let mut first = Listener::attach(server.address, Transport::Websocket, &ids[0]).await;
    let second = Listener::attach(server.address, Transport::Websocket, &ids[1]).await;
    // On the fast path and on the full path.
    for headers in [&[][..], &[("x-forwarded-prefix", "/none")][..]] {
        let reply = socket::refused(server.address, &target(&ids[0]), headers).await;
        assert_refused(&reply, 503, "max_sessions");
    }
    let listen = format!("/listen?conn_id={}", ids[1]);
    let reply = Wire::open(server.address).await.ask("GET", &listen, &[], b"").await;
    assert_refused(&reply, 503, "max_sessions");
    assert_eq!(server.backend().hits("max_sessions").await, 3);
    // Open sessions are not affected, and backends may still call.
    backend.publish_text("c", "still here").await;
    assert_eq!(first.texts(1).await, ["still here"]);
    second.leave().await;
    within(async {
        while socket::open(server.address, &target(&ids[1]), &[]).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[actix_web::test]
async fn server_limits_the_sockets_of_one_address() {
    let server = TestServer::start(Settings { max_sockets_per_address: 3, ..settings() });
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::open(server.address).await;
        assert_eq!(wire.ask("GET", "/nowhere", &[], b"").await.status, 404);
        kept.push(wire);
    }
    let id = {
        let mut wire = Wire::open(server.address).await;
        let (name, token) = crate::support::backend::signature();
        let reply = wire.ask("POST", "/connect", &[(name, &token)], br#"{"username": "u"}"#).await.json();
        // A handshake after another request becomes a websocket without counting twice.
        let id = reply["conn_id"].as_str().unwrap().to_owned();
        assert_eq!(wire.ask("GET", &format!("/ws?conn_id={id}"), &HANDSHAKE, b"").await.status, 101);
        kept.push(wire);
        id
    };
    for ask in ["/nowhere".to_owned(), format!("/ws?conn_id={id}"), format!("/listen?conn_id={id}")] {
        let headers: &[(&str, &str)] = if ask.starts_with("/ws") { &HANDSHAKE } else { &[] };
        let reply = Wire::open(server.address).await.ask("GET", &ask, headers, b"").await;
        assert_refused(&reply, 429, "max_sockets_per_address");
    }
    drop(kept);
    // After those have closed there is room again; the refusals were counted.
    let count = within(async {
        loop {
            let mut wire = Wire::open(server.address).await;
            wire.write(request("GET", "/nowhere", &[("connection", "close")], b"")).await;
            if wire.reply().await.status == 404 {
                let (name, token) = crate::support::backend::signature();
                let mut wire = Wire::open(server.address).await;
                let headers = [(name, token.as_str()), ("connection", "close")];
                let reply = wire.ask("GET", "/admin/admin.json?limits=true", &headers, b"").await;
                if reply.status == 200 {
                    return reply.json()["limits"]["max_sockets_per_address"].as_u64().unwrap();
                }
            }
        }
    })
    .await;
    assert!(count >= 3, "{count}");
}

#[actix_web::test]
async fn server_limits_the_sockets_of_each_client_behind_a_proxy() {
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let server = TestServer::start(Settings { max_sockets_per_address: 2, trusted_proxies, ..settings() });
    let backend = server.backend();
    let id = backend.connect("u", &["c"]).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(backend.connect("u", &["c"]).await);
    }
    let target = |id: &str| format!("/ws?conn_id={id}");
    let from = |address: &'static str| [("x-forwarded-for", address)];
    let open = async |id: &str, address| socket::open(server.address, &target(id), &from(address)).await;
    let kept = [open(&id, "192.0.2.1").await, open(&others[0], "192.0.2.1").await];
    assert!(kept.iter().all(Result::is_ok));
    assert_refused(&open(&others[1], "192.0.2.1").await.err().unwrap(), 429, "max_sockets_per_address");
    let listen = format!("/listen?conn_id={}", others[1]);
    let polled = Wire::open(server.address).await.ask("GET", &listen, &from("192.0.2.1"), b"").await;
    assert_refused(&polled, 429, "max_sockets_per_address");
    // Other clients and the proxy's own requests are not affected.
    assert!(open(&others[2], "192.0.2.2").await.is_ok());
    assert_eq!(server.backend().hits("max_sockets_per_address").await, 2);
    drop(kept);
    within(async {
        while open(&others[1], "192.0.2.1").await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[actix_web::test]
async fn server_limits_the_rate_of_new_sockets_of_one_address() {
    let server = TestServer::start(Settings { connect_rate_per_address: 5, ..settings() });
    let mut kept = Vec::new();
    let mut refused = None;
    for _ in 0..200 {
        let mut wire = Wire::open(server.address).await;
        let reply = wire.ask("GET", "/nowhere", &[], b"").await;
        if reply.status != 404 {
            refused = Some(reply);
            break;
        }
        kept.push(wire);
    }
    assert!(kept.len() >= 5, "the server accepts the first five");
    assert_refused(
        &refused.expect("two hundred sockets in a burst exceed the rate"),
        429,
        "connect_rate_per_address",
    );
    // Open connections are not affected.
    assert_eq!(kept[0].ask("GET", "/nowhere", &[], b"").await.status, 404);
}

#[actix_web::test]
async fn server_limits_connections_in_total_and_of_one_user() {
    let server =
        TestServer::start(Settings { max_connections: 3, max_connections_per_user: 2, ..settings() });
    let backend = server.backend();
    let connect = async |user: &str| post(&server, "/connect", json!({"username": user})).await;
    let id = backend.connect("ann", &["c"]).await;
    backend.connect("ann", &["c"]).await;
    assert_refused(&connect("ann").await, 429, "max_connections_per_user");
    backend.connect("bob", &[]).await;
    assert_refused(&connect("cyd").await, 503, "max_connections");
    // An existing connection may be connected again, and one that ends frees its slot.
    let again = post(&server, "/connect", json!({"username": "ann", "conn_id": id})).await;
    assert_eq!(again.status, 200, "{again:?}");
    assert!(backend.disconnect(&id).await);
    assert_eq!(connect("cyd").await.status, 200);
    assert_eq!(server.backend().hits("max_connections").await, 1);
    assert_eq!(server.backend().hits("max_connections_per_user").await, 1);
}

#[actix_web::test]
async fn server_limits_channels_of_a_connection_and_in_total() {
    let server =
        TestServer::start(Settings { max_channels_per_connection: 3, max_channels: 5, ..settings() });
    let backend = server.backend();
    let id = backend.connect("ann", &["a", "b"]).await;
    let subscribe =
        async |names: &[&str]| post(&server, "/subscribe", json!({"conn_id": id, "channels": names})).await;
    let reply = subscribe(&["b", "c", "d"]).await;
    assert_refused(&reply, 422, "max_channels_per_connection");
    assert!(reply.json()["channels"][0].is_string(), "the field is named: {}", reply.text());
    assert_eq!(
        backend.post("/info", json!({"info": {}})).await["channels"].as_object().unwrap().len(),
        2,
        "the server created none"
    );
    assert_eq!(subscribe(&["a", "b", "c", "c"]).await.status, 200);
    assert_eq!(subscribe(&["c", "a"]).await.status, 200, "a repeated subscription is accepted");
    let connect =
        async |names: &[&str]| post(&server, "/connect", json!({"username": "bob", "channels": names})).await;
    assert_refused(&connect(&["d", "e", "f"]).await, 422, "max_channels");
    assert_eq!(connect(&["d", "e", "a"]).await.status, 200);
    assert_refused(&post(&server, "/channel_config", json!({"f": {}})).await, 422, "max_channels");
    assert_eq!(post(&server, "/channel_config", json!({"e": {"notify_presence": true}})).await.status, 200);
    assert_eq!(server.backend().hits("max_channels").await, 2);
    assert_eq!(server.backend().hits("max_channels_per_connection").await, 1);
}

#[actix_web::test]
async fn server_limits_user_states() {
    let server =
        TestServer::start(Settings { max_user_state_keys: 3, max_user_state_bytes: 40, ..settings() });
    let connect =
        async |state: Value| post(&server, "/connect", json!({"username": "ann", "user_state": state})).await;
    let set =
        async |state: Value| post(&server, "/user_state", json!({"user": "ann", "user_state": state})).await;
    let reply = connect(json!({"a": 1, "b": 2, "c": 3, "d": 4})).await;
    assert_refused(&reply, 422, "max_user_state_keys");
    assert!(reply.json()["user_state"][0].is_string(), "the field is named");
    assert_eq!(
        set(json!({"a": 1})).await.json(),
        json!({"user": ["Unknown user"]}),
        "the server created no user"
    );
    assert_eq!(connect(json!({"a": 1, "b": 2})).await.status, 200);
    assert_eq!(set(json!({"a": 5, "b": 6, "c": 7})).await.status, 200);
    assert_refused(&set(json!({"d": 1})).await, 422, "max_user_state_keys");
    assert_refused(&set(json!({"a": "x".repeat(40)})).await, 422, "max_user_state_bytes");
    let state = set(json!({"c": "x".repeat(35)})).await.json();
    assert_eq!(state["user_state"], json!({"a": 5, "b": 6, "c": "x".repeat(35)}));
    assert_eq!(server.backend().hits("max_user_state_keys").await, 2);
    assert_eq!(server.backend().hits("max_user_state_bytes").await, 1);
}

#[actix_web::test]
async fn server_limits_the_length_of_names() {
    let server = TestServer::start(Settings {
        max_channel_name_length: 4,
        max_user_name_length: 5,
        max_state_key_length: 6,
        ..settings()
    });
    let wrong = |max: usize| format!("Length must be between 1 and {max}.");
    let cases = [
        ("/connect", json!({"username": "sixsix"}), json!({"username": [wrong(5)]})),
        ("/connect", json!({"username": "u", "channels": ["fiver"]}), json!({"channels": {"0": [wrong(4)]}})),
        (
            "/connect",
            json!({"username": "u", "state_public_keys": ["seven77"]}),
            json!({"state_public_keys": {"0": [wrong(6)]}}),
        ),
        ("/message", json!([{"user": "sixsix", "channel": "c"}]), json!({"0": {"user": [wrong(5)]}})),
        ("/message", json!([{"user": "u", "channel": "fiver"}]), json!({"0": {"channel": [wrong(4)]}})),
    ];
    let count = cases.len() as u64;
    for (path, body, errors) in cases {
        let reply = post(&server, path, body).await;
        assert_eq!((reply.status, reply.json()), (422, errors), "{path}");
    }
    assert_eq!(server.backend().hits("fields").await, count);
    let good = json!({"username": "fifth", "channels": ["four"], "state_public_keys": ["sixsix"]});
    assert_eq!(post(&server, "/connect", good).await.status, 200);
}

#[actix_web::test]
async fn server_limits_the_publish_rate_of_one_secret() {
    let server = TestServer::start(Settings { publish_rate_per_secret: 100, ..settings() });
    let backend = server.backend();
    let id = backend.connect("ann", &["c"]).await;
    let mut listener = Listener::attach(server.address, Transport::Websocket, &id).await;
    // A request counts as the number of its messages: this one uses up a minute, even on a slow machine.
    let batch = vec![json!({"user": "p", "channel": "c", "message": {"text": "x"}}); 6_100];
    assert_eq!(post(&server, "/message", json!(batch)).await.status, 200);
    let one = json!([{"user": "p", "channel": "c", "message": {"text": "too much"}}]);
    let refused = post(&server, "/message", one).await;
    assert_refused(&refused, 429, "publish_rate_per_secret");
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((30..=60).contains(&seconds), "{seconds}");
    for method in ["PATCH", "DELETE"] {
        let body = json!([{"uuid": uuid::Uuid::new_v4(), "channel": "c"}]).to_string();
        let refused = backend.send(method, "/message", &[], body.as_bytes()).await;
        assert_refused(&refused, 429, "publish_rate_per_secret");
    }
    assert_eq!(server.backend().hits("publish_rate_per_secret").await, 3);
    assert!(listener.texts(6_100).await.iter().all(|text| text == "x"));
}

/// A client that does not read has a limited queue: a limit on bytes, and one on frames for small messages.
#[actix_web::test]
async fn server_limits_queued_frames_and_bytes() {
    for (settings, limit) in [
        (Settings { max_queued_frames: 64, max_queued_bytes: 64 << 20, ..settings() }, "max_queued_frames"),
        (Settings { max_queued_bytes: 65_536, ..settings() }, "max_queued_bytes"),
        // The server checks the total ten times a second: until then one queue may grow by a megabyte.
        (
            Settings { max_total_queued_bytes: 65_536, max_queued_bytes: 1 << 30, ..settings() },
            "max_total_queued_bytes",
        ),
    ] {
        let server = TestServer::start(settings);
        let backend = server.backend();
        let id = backend.connect("ann", &["c"]).await;
        let silent = socket::open(server.address, &format!("/ws?conn_id={id}"), &[]).await.ok().unwrap();
        let reader_id = backend.connect("bob", &["b"]).await;
        let mut reader = Listener::attach(server.address, Transport::Websocket, &reader_id).await;
        let large = "x".repeat(32 << 10);
        within(async {
            while server.backend().hits(limit).await == 0 {
                for _ in 0..8 {
                    backend.publish_text("c", &large).await;
                }
            }
        })
        .await;
        assert_eq!(server.backend().hits(limit).await, 1);
        backend.publish_text("b", "unharmed").await;
        assert_eq!(reader.texts(1).await, ["unharmed"], "{limit}");
        // The server has freed its memory and counted why it was closed.
        let debug = async || backend.send("GET", "/admin/debug", &[], b"").await.text();
        within(async {
            loop {
                let text = debug().await;
                let is_free = text.contains("bytes queued for slow peers: 0\n");
                if is_free && text.contains("websockets closed, too_slow: 1\n") {
                    break;
                }
            }
        })
        .await;
        drop(silent);
    }
}

#[actix_web::test]
async fn poll_leaves_messages_above_the_limit_to_the_next_one() {
    let server = TestServer::start(Settings { max_queued_frames: 16, ..settings() });
    let backend = server.backend();
    let id = backend.connect("ann", &["c"]).await;
    let mut listener = Listener::attach(server.address, Transport::LongPoll, &id).await;
    let batch: Vec<_> =
        (0..90).map(|n| json!({"user": "p", "channel": "c", "message": {"text": n.to_string()}})).collect();
    backend.post("/message", json!(batch)).await;
    assert_eq!(listener.texts(90).await, (0..90).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(server.backend().hits("max_queued_frames").await, 0, "the server closes no client for it");
}

#[actix_web::test]
async fn server_counts_why_it_closed_sockets() {
    let server = TestServer::start(Settings { max_client_message_bytes: 125, ..settings() });
    let backend = server.backend();
    let closed = async || {
        let answer = backend.send("GET", "/admin/admin.json?limits=true", &[], b"").await.json();
        answer["closed"].clone()
    };
    let id = backend.connect("ann", &["c"]).await;
    let target = format!("/ws?conn_id={id}");
    let (mut incoming, mut outgoing) = socket::open(server.address, &target, &[]).await.ok().unwrap();
    outgoing.text(&"x".repeat(126)).await;
    assert_eq!(incoming.closing().await.code(), Some(1009));
    drop((incoming, outgoing));
    let mut first = Listener::attach(server.address, Transport::Websocket, &id).await;
    let second = Listener::attach(server.address, Transport::Websocket, &id).await;
    assert_eq!(first.next().await, ListenResult::Closed(Some(4001)));
    drop(first);
    second.leave().await;
    within(async {
        loop {
            let counts = closed().await;
            if ["too_big", "taken_over", "by_peer"].iter().all(|reason| counts[reason] == 1) {
                break;
            }
        }
    })
    .await;
    let plain = backend.send("GET", "/admin/admin.json", &[], b"").await.json();
    assert_eq!(
        (plain.get("limits"), plain.get("closed")),
        (None, None),
        "without the parameter the answer has no extra keys"
    );
    wait_for_hits(&server, "fields", 0).await;
}
