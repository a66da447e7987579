//! Requests with an `Idempotency-Key` that are repeated at other nodes.

use crate::scenarios::fast_settings;
use crate::support::backend::Backend;
use crate::support::http::Reply;
use crate::support::listener::{Listener, Transport};
use crate::support::nodes::Cluster;
use channelstream::config::Settings;
use futures_util::future::join_all;
use serde_json::{Value, json};

const ID: &str = "5a8e9e0c-0000-4000-8000-000000000000";

async fn keyed(backend: &Backend, method: &str, key: &str, body: &Value) -> Reply {
    let headers = [("idempotency-key", key)];
    backend.send(method, "/message?receipt=1", &headers, body.to_string().as_bytes()).await
}

fn is_replay(reply: &Reply) -> bool {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.header("idempotency-replayed").is_some_and(|value| value == "true")
}

/// The items of an answer, without the numbers of sessions, which the answer to a repeated request leaves out.
fn items(reply: &Reply) -> Value {
    let mut items = reply.json();
    for receipt in items.as_array_mut().unwrap().iter_mut().map(|item| &mut item["receipt"]) {
        let users = receipt["users"].as_object_mut().into_iter().flat_map(|users| users.values_mut());
        users.for_each(|user| _ = user.as_object_mut().unwrap().remove("online"));
        receipt.as_object_mut().unwrap().remove("online");
    }
    items
}

struct Scene {
    nodes: Vec<Backend>,
    ann: Listener,
    _cluster: Cluster,
}

/// Three nodes, and a client of the last one.
async fn scene(settings: &Settings) -> Scene {
    let cluster = Cluster::start(3, settings);
    let nodes: Vec<_> = cluster.servers.iter().map(|server| server.backend()).collect();
    let conn_id = nodes[2].connect("ann", &["c", "d"]).await;
    let ann = Listener::attach(cluster.servers[2].address, Transport::Websocket, &conn_id).await;
    Scene { nodes, ann, _cluster: cluster }
}

impl Scene {
    /// What has arrived until now, without receipts of presence.
    async fn types(&mut self) -> Vec<Value> {
        self.nodes[1].publish_text("c", "end").await;
        let mut types = Vec::new();
        loop {
            let event = self.ann.event().await;
            if event["message"]["text"] == "end" {
                return types;
            }
            types.push(event["type"].clone());
        }
    }
}

/// An item with an id of the client, one without, one for two users, and one for a channel that does not exist.
fn posted() -> Value {
    json!([
        {"uuid": ID, "user": "bob", "channel": "c", "message": {"n": 1}},
        {"user": "bob", "channel": "d", "message": {"n": 2}},
        {"user": "bob", "pm_users": ["ann", "zed"], "message": {"n": 3}},
        {"user": "bob", "channel": "none", "message": {"n": 4}},
    ])
}

#[actix_web::test]
async fn each_verb_has_one_effect_and_the_same_answer_at_all_nodes() {
    let mut scene = scene(&fast_settings()).await;
    let (ann, other) = (json!({"uuid": ID, "channel": "c"}), json!({"uuid": ID, "channel": "d"}));
    let edits = json!([
        {"uuid": ID, "channel": "c", "message": {"n": 7}},
        {"uuid": ID, "pm_users": ["ann"], "message": {"n": 8}},
    ]);
    let requests = [("POST", posted(), 3), ("PATCH", edits, 2), ("DELETE", json!([ann, other]), 2)];
    for (method, body, events) in requests {
        let first = keyed(&scene.nodes[0], method, method, &body).await;
        assert!(!is_replay(&first));
        for node in [&scene.nodes[1], &scene.nodes[2], &scene.nodes[0], &scene.nodes[1]] {
            let again = keyed(node, method, method, &body).await;
            assert!(is_replay(&again), "{again:?}");
            let kept =
                |reply: &Reply| items(reply).to_string().replace("\"stored\":true", "\"stored\":false");
            assert_eq!(kept(&again), kept(&first), "ids, times and positions are those of the first request");
        }
        assert_eq!(scene.types().await.len(), events, "{method}");
    }
    // The channel that did not exist when the request was answered.
    scene.nodes[1].connect("bob", &["none"]).await;
    assert!(is_replay(&keyed(&scene.nodes[2], "POST", "POST", &posted()).await));
}

#[actix_web::test]
async fn a_key_of_another_request_is_refused_at_all_nodes_without_effect() {
    let mut scene = scene(&fast_settings()).await;
    let text = |text: &str| json!({"uuid": ID, "channel": "c", "user": "bob", "message": {"text": text}});
    // The other request has more items than the first, and another number of streams.
    let (first, other) = (json!([text("a")]), json!([text("a"), text("b"), text("c")]));
    for method in ["POST", "PATCH", "DELETE"] {
        assert!(!is_replay(&keyed(&scene.nodes[0], method, method, &first).await));
        for node in [&scene.nodes[1], &scene.nodes[0], &scene.nodes[2], &scene.nodes[1]] {
            let refused = keyed(node, method, method, &other).await;
            let code = refused.header("x-channelstream-error");
            assert_eq!((refused.status, code), (422, Some("idempotency-key-reused")), "{refused:?}");
        }
        // The refusal has no effect on the key.
        assert!(is_replay(&keyed(&scene.nodes[1], method, method, &first).await));
    }
    let refused = keyed(&scene.nodes[1], "PATCH", "POST", &first).await;
    assert_eq!(refused.status, 422, "the method is another one");
    assert_eq!(scene.types().await.len(), 3);
}

#[actix_web::test]
async fn of_requests_that_several_nodes_receive_at_once_one_is_published() {
    let mut scene = scene(&fast_settings()).await;
    for round in 0..20 {
        let key = format!("key-{round}");
        let body = json!([{"user": "bob", "channel": "c", "message": {"n": round}}]);
        let replies = join_all(scene.nodes.iter().map(|node| keyed(node, "POST", &key, &body))).await;
        assert_eq!(replies.iter().filter(|reply| !is_replay(reply)).count(), 1);
        assert!(replies.iter().all(|reply| items(reply) == items(&replies[0])), "{replies:?}");
        let bodies = [0, 1, 2].map(|n| json!([{"user": "bob", "channel": "c", "message": {"other": n}}]));
        let key = format!("other-{round}");
        let replies = scene.nodes.iter().zip(&bodies).map(|(node, body)| keyed(node, "POST", &key, body));
        let statuses: Vec<_> = join_all(replies).await.iter().map(|reply| reply.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 422).count(), 2, "{statuses:?}");
    }
    assert_eq!(scene.types().await.len(), 40);
}

#[actix_web::test]
async fn a_key_ends_with_its_window_at_all_nodes() {
    let scene = scene(&Settings { publish_window_ms: 1_000, ..fast_settings() }).await;
    let body = json!([{"user": "bob", "channel": "c", "message": {}}]);
    assert!(!is_replay(&keyed(&scene.nodes[0], "POST", "k", &body).await));
    // A node that answers a repeated request does not remember the key for longer than Redis.
    let forgotten = async { while is_replay(&keyed(&scene.nodes[1], "POST", "k", &body).await) {} };
    crate::support::within(forgotten).await;
}
