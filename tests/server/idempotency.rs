//! Requests with an `Idempotency-Key`: however often one is repeated, its items are published once.

use crate::support::backend::{Backend, now_unix, signature};
use crate::support::http::{Reply, Wire, request};
use crate::support::listener::{Listener, Transport};
use crate::support::{TestServer, settings, within};
use channelstream::auth::signing::Keys;
use channelstream::config::{Secret, Settings};
use serde_json::{Value, json};
use std::time::Duration;

const ID: &str = "5a8e9e0c-0000-4000-8000-000000000000";

async fn keyed(backend: &Backend, method: &str, target: &str, key: &str, body: &Value) -> Reply {
    backend.send(method, target, &[("Idempotency-Key", key)], body.to_string().as_bytes()).await
}

async fn post(backend: &Backend, key: &str, body: &Value) -> Reply {
    keyed(backend, "POST", "/message", key, body).await
}

fn is_replay(reply: &Reply) -> bool {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.header("idempotency-replayed").is_some_and(|value| value == "true")
}

fn assert_refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.header("x-channelstream-error")), (status, Some(code)), "{reply:?}");
}

/// A message without an id and a time, which the server adds.
fn text(text: &str) -> Value {
    json!([{"user": "bob", "channel": "c", "message": {"text": text}}])
}

struct Scene {
    server: TestServer,
    backend: Backend,
    listener: Listener,
}

async fn scene(settings: Settings) -> Scene {
    let server = TestServer::start(settings);
    let backend = server.backend();
    let id = backend.connect("ann", &["c"]).await;
    let listener = Listener::attach(server.address, Transport::Websocket, &id).await;
    Scene { server, backend, listener }
}

#[actix_web::test]
async fn each_verb_has_one_effect_and_the_same_answer() {
    let Scene { backend, mut listener, server: _server } = scene(settings()).await;
    let private = json!({"user": "bob", "pm_users": ["ann", "zed"], "message": {}});
    let batch = json!([text("a")[0], private, {"user": "dropped"}, text("b")[0]]);
    let first = post(&backend, "post", &batch).await;
    assert!(!is_replay(&first));
    for key in ["post", "\"post\""] {
        let again = post(&backend, key, &batch).await;
        assert!(is_replay(&again));
        assert_eq!(again.text(), first.text(), "ids and times are those of the first request");
    }
    let ids: Vec<Value> = first.json().as_array().unwrap().iter().map(|item| item["uuid"].clone()).collect();
    let mut received = Vec::new();
    for _ in 0..3 {
        received.push(listener.event().await["uuid"].clone());
    }
    received.sort_by_key(Value::to_string);
    let mut sorted = ids.clone();
    sorted.sort_by_key(Value::to_string);
    assert_eq!(received, sorted);
    assert!(ids.iter().all(|id| id.as_str().unwrap().as_bytes()[14] == b'8'), "{ids:?}");
    let change = json!([{"uuid": ids[0], "channel": "c", "message": {"text": "A"}}]);
    for (method, kind) in [("PATCH", "message:edit"), ("DELETE", "message:delete")] {
        let first = keyed(&backend, method, "/message", method, &change).await;
        let again = keyed(&backend, method, "/message", method, &change).await;
        assert!(!is_replay(&first) && is_replay(&again) && first.text() == again.text());
        assert_eq!(listener.event().await["type"], kind);
    }
    backend.publish_text("c", "end").await;
    assert_eq!(listener.texts(1).await, ["end"]);
}

#[actix_web::test]
async fn a_replay_has_the_receipts_of_the_first_request() {
    let Scene { backend, listener: _listener, server: _server } = scene(settings()).await;
    let private = json!({"user": "bob", "pm_users": ["ann", "zed"]});
    let body = json!([text("a")[0], private]);
    // The first request need not ask for them.
    for (key, target) in [("plain", "/message"), ("receipt", "/message?receipt=1")] {
        let first = keyed(&backend, "POST", target, key, &body).await;
        assert!(!is_replay(&first));
        let again = keyed(&backend, "POST", "/message?receipt=1", key, &body).await;
        assert!(is_replay(&again));
        let receipts = again.json();
        assert_eq!(receipts[0]["receipt"]["online"], Value::Null);
        assert_eq!(receipts[0]["receipt"]["stored"], "memory");
        assert_eq!(receipts[1]["receipt"]["users"]["ann"]["online"], Value::Null);
        if target == "/message?receipt=1" {
            for member in ["epoch", "offset"] {
                assert_eq!(receipts[0]["receipt"][member], first.json()[0]["receipt"][member]);
            }
            assert_eq!(receipts[1]["receipt"]["users"]["ann"]["offset"], 2);
            assert_eq!(first.json()[0]["receipt"]["online"], 1);
        }
        let without = post(&backend, key, &body).await;
        assert!(is_replay(&without) && without.json()[0].get("receipt").is_none());
    }
}

/// `stored` is the value that is true when the request is repeated.
#[actix_web::test]
async fn a_replay_states_whether_the_item_is_still_kept() {
    let Scene { backend, listener: _listener, server: _server } =
        scene(Settings { channel_frames: 2, user_frames: 1, workers: 2, ..settings() }).await;
    backend.configure(&["h"], json!({"store_history": true, "history_size": 1, "store_frames": false})).await;
    let message = |channel: &str| json!({"user": "bob", "channel": channel, "uuid": ID, "message": {}});
    let private = json!({"user": "bob", "pm_users": ["ann"]});
    let body = json!([message("c"), private, message("h"), message("unknown")]);
    let stored = async || -> Vec<String> {
        let reply = keyed(&backend, "POST", "/message?receipt=1", "k", &body).await.json();
        let of = |item: &Value| item["receipt"]["stored"].as_str().unwrap().to_owned();
        reply.as_array().unwrap().iter().map(of).collect()
    };
    assert_eq!(stored().await, ["memory", "memory", "memory", "none"]);
    backend.publish_text("c", "second").await;
    assert_eq!(stored().await, ["memory", "memory", "memory", "none"]);
    backend.publish_text("c", "third").await;
    assert_eq!(stored().await, ["none", "memory", "memory", "none"]);
    backend.publish(json!({"pm_users": ["ann"]}), "second").await;
    assert_eq!(stored().await, ["none", "none", "memory", "none"]);
    backend.call("DELETE", "/message", json!([{"uuid": ID, "channel": "h"}])).await;
    assert_eq!(stored().await, ["none", "none", "none", "none"]);
}

#[actix_web::test]
async fn another_request_with_the_key_is_refused() {
    let Scene { backend, mut listener, server: _server } = scene(settings()).await;
    let body = json!([{"uuid": ID, "user": "bob", "channel": "c", "message": {"text": "a"}}]);
    assert!(!is_replay(&post(&backend, "k", &body).await));
    assert_refused(&post(&backend, "k", &text("b")).await, 422, "idempotency-key-reused");
    for method in ["PATCH", "DELETE"] {
        let reply = keyed(&backend, method, "/message", "k", &body).await;
        assert_refused(&reply, 422, "idempotency-key-reused");
    }
    let other = post(&backend, "K", &text("b")).await;
    assert!(!is_replay(&other));
    assert_eq!(listener.texts(2).await, ["a", "b"]);
}

#[actix_web::test]
async fn a_refused_request_frees_its_key() {
    let Scene { backend, mut listener, server: _server } = scene(settings()).await;
    let wrong = json!([{"channel": "c"}]);
    for _ in 0..2 {
        assert_refused(&post(&backend, "k", &wrong).await, 422, "invalid");
    }
    assert!(!is_replay(&post(&backend, "k", &text("a")).await));
    assert_eq!(listener.texts(1).await, ["a"]);
    assert_eq!(backend.debug_value("items stored with idempotency keys").await, 1);
    let refused = ["", "\"\"", "a b", "\"a", &"x".repeat(256)];
    for key in refused {
        let reply = post(&backend, key, &text("b")).await;
        assert_refused(&reply, 422, "invalid");
        assert!(reply.json()["idempotency-key"].is_array(), "{}", reply.text());
    }
}

#[actix_web::test]
async fn a_request_over_the_rate_frees_its_key() {
    let Scene { backend, mut listener, server: _server } =
        scene(Settings { publish_rate_per_secret: 1, ..settings() }).await;
    let three = json!([text("a")[0], text("b")[0], text("c")[0]]);
    assert!(!is_replay(&post(&backend, "one", &three).await));
    assert_refused(&post(&backend, "two", &text("d")).await, 429, "over-limit");
    // A replay publishes nothing, so it does not count.
    assert!(is_replay(&post(&backend, "one", &three).await));
    let accepted = within(async {
        loop {
            let reply = post(&backend, "two", &text("d")).await;
            if reply.status == 200 {
                break reply;
            }
        }
    });
    assert!(!is_replay(&accepted.await));
    assert_eq!(listener.texts(4).await, ["a", "b", "c", "d"]);
}

#[actix_web::test]
async fn of_simultaneous_requests_exactly_one_publishes() {
    for workers in [1, 2] {
        let Scene { server, backend, mut listener } = scene(Settings { workers, ..settings() }).await;
        for round in 0..20 {
            let (key, body) = (format!("k{round}"), text(&format!("round {round}")));
            let target = if round % 2 == 0 { "/message" } else { "/message?receipt=1" };
            let (name, token) = signature();
            let headers = [(name, token.as_str()), ("idempotency-key", key.as_str())];
            let bytes = request("POST", target, &headers, body.to_string().as_bytes());
            let mut wires = Vec::new();
            for _ in 0..4 {
                wires.push(Wire::open(server.address).await);
            }
            futures_util::future::join_all(wires.iter_mut().map(|wire| wire.write(&bytes))).await;
            let replies = futures_util::future::join_all(wires.iter_mut().map(Wire::reply)).await;
            let published =
                |reply: &&Reply| reply.status == 200 && reply.header("idempotency-replayed").is_none();
            assert_eq!(replies.iter().filter(published).count(), 1, "{replies:?}");
            for reply in replies.iter().filter(|reply| reply.status != 200) {
                assert_refused(reply, 409, "idempotency-in-progress");
                assert_eq!(reply.header("retry-after"), Some("1"));
            }
            assert!(is_replay(&post(&backend, &key, &body).await));
            assert_eq!(listener.texts(1).await, [format!("round {round}")]);
        }
    }
}

/// A batch whose receipts take a while.
fn large() -> Value {
    (0..10_000).map(|_| json!({"user": "bob", "channel": "c"})).collect()
}

#[actix_web::test]
async fn a_request_is_refused_while_the_first_one_waits() {
    let server = TestServer::start(Settings { workers: 2, ..settings() });
    let backend = server.backend();
    backend.connect("ann", &["c"]).await;
    let body = large();
    let mut refused = None;
    for round in 0..50 {
        let (key, target) = (format!("k{round}"), "/message?receipt=1");
        let requests = (0..3).map(|_| keyed(&backend, "POST", target, &key, &body));
        let replies = futures_util::future::join_all(requests).await;
        refused = replies.into_iter().find(|reply| reply.status != 200);
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("a request meets one that waits");
    assert_refused(&refused, 409, "idempotency-in-progress");
    assert_eq!(refused.header("retry-after"), Some("1"));
}

/// After the time for receipts the request is answered, because its items are accepted. The others arrive later.
#[actix_web::test]
async fn late_receipts_are_in_the_answer_to_a_repeated_request() {
    let server = TestServer::start(Settings { workers: 2, receipt_timeout_ms: 1, ..settings() });
    let backend = server.backend();
    backend.connect("ann", &["c"]).await;
    let body = large();
    let first = keyed(&backend, "POST", "/message?receipt=1", "k", &body).await;
    let missing = |reply: &Reply| {
        reply.json().as_array().unwrap().iter().filter(|item| item["receipt"].is_null()).count()
    };
    assert!(!is_replay(&first) && missing(&first) > 0);
    assert_eq!(backend.debug_value("receipts that were late").await, missing(&first));
    within(async {
        loop {
            let again = keyed(&backend, "POST", "/message?receipt=1", "k", &body).await;
            assert!(is_replay(&again));
            if missing(&again) == 0 {
                let offset = |index: usize| again.json()[index]["receipt"]["offset"].as_u64();
                assert_eq!((offset(0), offset(9_999)), (Some(1), Some(10_000)));
                break;
            }
        }
    })
    .await;
}

#[actix_web::test]
async fn a_client_that_disconnects_can_repeat_its_request() {
    let Scene { server, backend, mut listener } = scene(Settings { workers: 2, ..settings() }).await;
    for round in 0..20 {
        let (key, body) = (format!("k{round}"), text(&format!("round {round}")));
        let (name, token) = signature();
        let headers = [(name, token.as_str()), ("idempotency-key", key.as_str())];
        let bytes = request("POST", "/message?receipt=1", &headers, body.to_string().as_bytes());
        Wire::open(server.address).await.write(&bytes).await;
        // The first request may not have been read yet, may wait for its receipt, or may be answered.
        within(async {
            while post(&backend, &key, &body).await.status == 409 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert_eq!(listener.texts(1).await, [format!("round {round}")]);
    }
    backend.publish_text("c", "end").await;
    assert_eq!(listener.texts(1).await, ["end"]);
}

#[actix_web::test]
async fn a_key_ends_with_its_window() {
    let Scene { backend, mut listener, server: _server } =
        scene(Settings { publish_window_ms: 1_000, ..settings() }).await;
    let first = post(&backend, "k", &text("a")).await;
    assert!(is_replay(&post(&backend, "k", &text("a")).await));
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let next = post(&backend, "k", &text("a")).await;
    assert!(!is_replay(&next));
    assert_eq!(next.json()[0]["uuid"], first.json()[0]["uuid"], "the id follows from the key");
    assert_eq!(listener.texts(2).await, ["a", "a"]);
    // Nothing remains when no request comes.
    within(async {
        while backend.debug_value("items stored with idempotency keys").await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[actix_web::test]
async fn a_full_table_refuses_new_keys_and_keeps_the_others() {
    let Scene { backend, mut listener, server: _server } =
        scene(Settings { max_idempotency_keys: 3, ..settings() }).await;
    let two = json!([text("a")[0], text("b")[0]]);
    assert!(!is_replay(&post(&backend, "one", &two).await));
    assert!(!is_replay(&post(&backend, "two", &text("c")).await));
    let full = post(&backend, "three", &text("d")).await;
    assert_refused(&full, 503, "over-limit");
    assert_eq!(full.header("x-channelstream-limit"), Some("max_idempotency_keys"));
    let seconds: u64 = full.header("retry-after").unwrap().parse().unwrap();
    assert!((290..=300).contains(&seconds), "{seconds}");
    assert!(
        is_replay(&post(&backend, "one", &two).await) && is_replay(&post(&backend, "two", &text("c")).await)
    );
    assert_eq!(backend.hits("max_idempotency_keys").await, 1);
    // Requests without a key are not affected.
    backend.publish_text("c", "e").await;
    assert_eq!(listener.texts(4).await, ["a", "b", "c", "e"]);
}

#[actix_web::test]
async fn keys_of_different_secrets_are_different() {
    let secrets = vec![Secret::new("secret"), Secret::new("other")];
    let Scene { server, backend, mut listener } = scene(Settings { secrets, ..settings() }).await;
    let first = post(&backend, "k", &text("a")).await;
    let token = Keys::new(&[Secret::new("other")]).sign("", now_unix());
    let headers = [("x-channelstream-secret", token.as_str()), ("idempotency-key", "k")];
    let body = text("a").to_string();
    let other = Wire::open(server.address).await.ask("POST", "/message", &headers, body.as_bytes()).await;
    assert!(!is_replay(&other));
    assert_ne!(other.json()[0]["uuid"], first.json()[0]["uuid"]);
    assert_eq!(listener.texts(2).await, ["a", "a"]);
}

/// A retry needs a new bound signature, but not a new key.
#[actix_web::test]
async fn a_request_with_a_bound_signature_can_be_repeated() {
    use channelstream::auth::signing::request_signature::BoundTo;
    let Scene { server, mut listener, backend } = scene(settings()).await;
    let body = text("a").to_string();
    let mut replays = Vec::new();
    for nonce in ["one", "two"] {
        let bound = BoundTo { method: "POST", target: "/message?receipt=1", body: body.as_bytes() };
        let signature = Keys::new(&[Secret::new("secret")]).sign_bound(&bound, now_unix(), nonce);
        let headers = [("x-channelstream-signature", signature.as_str()), ("idempotency-key", "k")];
        let mut wire = Wire::open(server.address).await;
        let reply = wire.ask("POST", "/message?receipt=1", &headers, body.as_bytes()).await;
        replays.push(is_replay(&reply));
    }
    assert_eq!(replays, [false, true]);
    backend.publish_text("c", "end").await;
    assert_eq!(listener.texts(2).await, ["a", "end"]);
}
