//! Receipts: where published items went.

use crate::support::backend::{Backend, signature};
use crate::support::http::{Reply, Wire};
use crate::support::listener::{Listener, Transport};
use crate::support::{TestServer, settings, within};
use channelstream::config::Settings;
use serde_json::{Value, json};

const ID: &str = "5a8e9e0c-0000-4000-8000-000000000000";

async fn send(backend: &Backend, method: &str, target: &str, body: &Value) -> Reply {
    backend.send(method, target, &[], body.to_string().as_bytes()).await
}

/// The receipts of a request's items.
async fn receipts(backend: &Backend, method: &str, body: Value) -> Vec<Value> {
    let reply = send(backend, method, "/message?receipt=1", &body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json().as_array().unwrap().iter().map(|item| item["receipt"].clone()).collect()
}

fn to_channel(channel: &str) -> Value {
    json!({"user": "bob", "channel": channel, "message": {"text": "hi"}, "uuid": ID})
}

#[actix_web::test]
async fn each_verb_returns_the_positions_of_its_frames() {
    for workers in [1, 2] {
        let server = TestServer::start(Settings { workers, ..settings() });
        let backend = server.backend();
        let id = backend.connect("ann", &["c"]).await;
        backend.connect("eve", &["c"]).await;
        let mut listener = Listener::attach(server.address, Transport::Websocket, &id).await;
        let change = json!([{"uuid": ID, "channel": "c", "message": {"text": "ho"}}]);
        let mut epochs = Vec::new();
        for (offset, method) in (1..).zip(["POST", "PATCH", "DELETE", "POST"]) {
            let body = if method == "POST" { json!([to_channel("c")]) } else { change.clone() };
            let mut receipt = receipts(&backend, method, body).await.remove(0);
            epochs.push(receipt["epoch"].take().as_str().unwrap().to_owned());
            // Of the two connections one has a session.
            assert_eq!(
                receipt,
                json!({"epoch": null, "offset": offset, "online": 1, "stored": "memory"}),
                "{method}"
            );
            assert_eq!(listener.event().await["uuid"], ID);
        }
        epochs.dedup();
        assert!(epochs.len() == 1 && epochs[0].len() == 8, "{epochs:?}");
    }
}

#[actix_web::test]
async fn a_batch_has_a_receipt_for_each_item() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    backend.connect("ann", &["c", "d"]).await;
    let batch = json!([
        {"user": "bob", "channel": "c"},
        {"user": "bob", "channel": "unknown"},
        {"user": "bob", "channel": "d"},
        {"user": "bob"},
        {"user": "bob", "channel": "c", "pm_users": ["ann"], "exclude_users": ["ann"]},
        {"user": "bob", "pm_users": ["nobody"]},
    ]);
    let found = receipts(&backend, "POST", batch).await;
    let offsets: Vec<&Value> = found.iter().map(|receipt| &receipt["offset"]).collect();
    // The item without recipients is dropped.
    assert_eq!(offsets, [&json!(1), &Value::Null, &json!(1), &json!(2), &Value::Null]);
    assert_eq!(found[1], json!({"epoch": null, "offset": null, "online": 0, "stored": "none"}));
    assert!(found[0]["epoch"] == found[3]["epoch"] && found[0]["epoch"] != found[2]["epoch"]);
    assert_eq!(found[4]["users"], json!({"nobody": {"epoch": null, "offset": null, "online": 0}}));
    assert_eq!(receipts(&backend, "POST", json!([])).await, [] as [Value; 0]);
    // Edits and deletions without recipients are answered as well.
    for method in ["PATCH", "DELETE"] {
        assert_eq!(receipts(&backend, method, json!([{"uuid": ID}])).await, [found[1].clone()]);
    }
}

#[actix_web::test]
async fn a_private_item_has_a_position_in_the_stream_of_each_user() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let ids = [backend.connect("ann", &[]).await, backend.connect("ann", &[]).await];
    backend.connect("bea", &[]).await;
    let _first = Listener::attach(server.address, Transport::Websocket, &ids[0]).await;
    let _second = Listener::attach(server.address, Transport::Websocket, &ids[1]).await;
    let private = |users: &[&str]| json!([{"user": "bob", "pm_users": users, "uuid": ID}]);
    assert_eq!(receipts(&backend, "POST", private(&["bea"])).await[0]["users"]["bea"]["offset"], 1);
    let both = receipts(&backend, "POST", private(&["bea", "ann", "bea"])).await.remove(0);
    let members = |receipt: &Value, user: &str, member: &str| receipt["users"][user][member].clone();
    assert_eq!((members(&both, "ann", "offset"), members(&both, "ann", "online")), (json!(1), json!(2)));
    assert_eq!((members(&both, "bea", "offset"), members(&both, "bea", "online")), (json!(2), json!(0)));
    assert_eq!(both["stored"], "memory");
    assert_ne!(members(&both, "ann", "epoch"), members(&both, "bea", "epoch"));
    // With several users, the weakest value applies.
    for method in ["POST", "PATCH", "DELETE"] {
        let mixed = receipts(&backend, method, private(&["ann", "zed"])).await.remove(0);
        assert_eq!(mixed["users"]["zed"], json!({"epoch": null, "offset": null, "online": 0}));
        assert_eq!(
            (members(&mixed, "ann", "epoch"), &mixed["stored"]),
            (members(&both, "ann", "epoch"), &json!("none"))
        );
    }
    assert_eq!(receipts(&backend, "POST", private(&["ann"])).await[0]["users"]["ann"]["offset"], 5);
}

#[actix_web::test]
async fn receipts_state_whether_the_item_is_kept() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    backend.configure(&["none"], json!({"store_frames": false})).await;
    backend.configure(&["history"], json!({"store_frames": false, "store_history": true})).await;
    let stored = async |method: &str, item: Value| {
        receipts(&backend, method, json!([item])).await[0]["stored"].clone()
    };
    assert_eq!(stored("POST", to_channel("none")).await, "none");
    assert_eq!(stored("POST", to_channel("history")).await, "memory");
    let mut unstored = to_channel("history");
    unstored["no_history"] = true.into();
    assert_eq!(stored("POST", unstored).await, "none");
    // The history contains an edit only if it contains the message, and never a deletion.
    for (method, uuid, expected) in [
        ("PATCH", ID, "memory"),
        ("PATCH", "5a8e9e0c-0000-4000-8000-000000000001", "none"),
        ("DELETE", ID, "none"),
    ] {
        assert_eq!(
            stored(method, json!({"uuid": uuid, "channel": "history"})).await,
            expected,
            "{method} {uuid}"
        );
    }
}

#[actix_web::test]
async fn a_header_requests_receipts_and_durable_ones_need_no_store() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    backend.connect("ann", &["c"]).await;
    let body = json!([to_channel("c")]).to_string();
    for (target, headers) in [
        ("/message?receipt=durable", vec![]),
        ("/message", vec![("x-channelstream-receipt", "durable")]),
        ("/message", vec![("X-Channelstream-Receipt", "1")]),
    ] {
        let reply = backend.send("POST", target, &headers, body.as_bytes()).await;
        let last = reply.json()[0].as_object().unwrap().keys().next_back().cloned();
        assert_eq!((reply.status, last.as_deref()), (200, Some("receipt")), "{reply:?}");
        assert_eq!(reply.json()[0]["receipt"]["stored"], "memory");
    }
    let values =
        ["receipts", "durable receipts", "receipts that were late"].map(|name| backend.debug_value(name));
    assert_eq!(futures_util::future::join_all(values).await, [1, 2, 0]);
}

#[actix_web::test]
async fn without_the_option_nothing_changes() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    backend.connect("ann", &["c"]).await;
    let body = json!([to_channel("c")]);
    let plain = send(&backend, "POST", "/message", &body).await;
    let mut with_receipt = send(&backend, "POST", "/message?receipt=1", &body).await.json();
    let mut item = plain.json();
    assert!(item[0].get("receipt").is_none());
    with_receipt[0].as_object_mut().unwrap().remove("receipt");
    for value in [&mut item, &mut with_receipt] {
        value[0]["timestamp"].take();
    }
    assert_eq!(item, with_receipt);
    // The demo has no receipts, and ignores keys.
    let demo = json!([{"user": "ada", "channel": "demo", "message": {}}]).to_string();
    for _ in 0..2 {
        let headers = [("x-channelstream-receipt", "7"), ("idempotency-key", "k")];
        let reply = Wire::open(server.address)
            .await
            .ask("POST", "/demo/message?receipt=1", &headers, demo.as_bytes())
            .await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.json()[0].get("receipt").is_none() && reply.header("idempotency-replayed").is_none());
    }
}

#[actix_web::test]
async fn other_values_are_refused_and_publish_nothing() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    backend.connect("ann", &["c"]).await;
    let body = json!([to_channel("c")]);
    for method in ["POST", "PATCH", "DELETE"] {
        let reply = send(&backend, method, "/message?receipt=yes", &body).await;
        assert_eq!((reply.status, reply.header("x-channelstream-error")), (422, Some("invalid")));
        assert_eq!(reply.json(), json!({"receipt": ["Must be one of: 1, durable."]}));
    }
    let reply = backend
        .send("POST", "/message", &[("x-channelstream-receipt", "")], body.to_string().as_bytes())
        .await;
    assert_eq!(reply.json(), json!({"x-channelstream-receipt": ["Must be one of: 1, durable."]}));
    assert_eq!(receipts(&backend, "POST", body).await[0]["offset"], 1);
}

#[actix_web::test]
async fn a_client_that_disconnects_leaves_nothing_behind() {
    let server = TestServer::start(Settings { workers: 2, ..settings() });
    let backend = server.backend();
    backend.connect("ann", &["c"]).await;
    let items: Vec<Value> = (0..200).map(|_| json!({"user": "bob", "channel": "c"})).collect();
    let body = json!(items).to_string();
    let (name, token) = signature();
    for _ in 0..50 {
        let mut wire = Wire::open(server.address).await;
        wire.write(crate::support::http::request(
            "POST",
            "/message?receipt=1",
            &[(name, &token)],
            body.as_bytes(),
        ))
        .await;
    }
    // Accepted items are published, also if no client waits for their receipts.
    within(async {
        loop {
            let offset =
                receipts(&backend, "POST", json!([to_channel("c")])).await[0]["offset"].as_u64().unwrap();
            if offset > 200 && backend.debug_value("messages to channels in flight").await == 0 {
                break;
            }
        }
    })
    .await;
}
