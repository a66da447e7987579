//! The commands of an operator.

use super::operator::{Operator, server};
use crate::support::listener::{ListenResult, Listener, Transport, text};
use serde_json::json;

#[actix_rt::test]
async fn operator_publishes_a_test_message() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    let id = backend.connect("ada", &["c"]).await;
    let mut ada = Listener::attach(server.address, Transport::Websocket, &id).await;
    let sent = operator
        .command("/admin/message", json!([{"channel": "c", "user": "admin", "message": {"text": "hi"}}]))
        .await;
    assert_eq!((sent.status, sent.json()[0]["channel"].as_str()), (200, Some("c")));
    assert_eq!(text(&ada.event().await), "hi");
    let refused = operator.command("/admin/message", json!([{"channel": "c", "message": {}}])).await;
    assert_eq!(
        (refused.status, refused.json()),
        (422, json!({"0": {"user": ["Missing data for required field."]}}))
    );
}

#[actix_rt::test]
async fn operator_changes_the_settings_of_a_channel() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    backend.connect("ada", &["c"]).await;
    let changed = operator
        .command("/admin/channel_config", json!({"c": {"store_history": true, "history_size": 3}}))
        .await;
    assert_eq!(changed.status, 200);
    let channel = operator.get("/admin/channel.json?name=c").await;
    assert_eq!(
        (&channel["settings"]["store_history"], &channel["settings"]["history_size"]),
        (&json!(true), &json!(3))
    );
    let refused = operator.command("/admin/channel_config", json!({"c": {"history_size": "many"}})).await;
    assert_eq!(refused.status, 422);
}

#[actix_rt::test]
async fn operator_ends_a_connection() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    let id = backend.connect("ada", &["c"]).await;
    let mut ada = Listener::attach(server.address, Transport::Websocket, &id).await;
    let ended = operator.command("/admin/disconnect", json!({"conn_id": id})).await;
    assert_eq!((ended.status, ended.json()), (200, json!({"ended": 1})));
    assert_eq!(ada.next().await, ListenResult::Closed(Some(1000)));
    assert_eq!(
        operator.command("/admin/disconnect", json!({"conn_id": id})).await.json(),
        json!({"ended": 0})
    );
}

#[actix_rt::test]
async fn operator_ends_all_connections_of_a_user() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    for _ in 0..3 {
        backend.connect("ada", &["c"]).await;
    }
    let id = backend.connect("ada", &["c"]).await;
    let bob = backend.connect("bob", &["c"]).await;
    let mut ada = Listener::attach(server.address, Transport::Websocket, &id).await;
    let ended = operator.command("/admin/disconnect_user", json!({"user": "ada"})).await;
    assert_eq!((ended.status, ended.json()), (200, json!({"ended": 4})));
    assert_eq!(ada.next().await, ListenResult::Closed(Some(1000)));
    let left = operator.get("/admin/connections.json").await;
    assert_eq!((&left["total"], &left["rows"][0]["conn_id"]), (&json!(1), &json!(bob)));
    assert_eq!(
        operator.command("/admin/disconnect_user", json!({"user": "ada"})).await.json(),
        json!({"ended": 0})
    );
    let unknown = operator.command("/admin/disconnect_user", json!({"user": "nobody"})).await;
    assert_eq!((unknown.status, unknown.json()), (422, json!({"user": ["Unknown user"]})));
}
