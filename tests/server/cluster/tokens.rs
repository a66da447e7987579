//! Tokens and blocks on several nodes: a token that grants nothing at one node disturbs no session at another one.

use super::{start_node, until_members};
use crate::scenarios::fast_settings;
use crate::support::backend::Backend;
use crate::support::http::ask;
use crate::support::listener::{ListenResult, Listener, Transport};
use crate::support::nodes::Cluster;
use crate::support::redis::Redis;
use crate::support::socket;
use crate::tokens::token;
use channelstream::config::Settings;
use serde_json::json;
use uuid::Uuid;

/// The code of the refusal of a handshake at a node.
async fn refusal(backend: &Backend, token: &str, conn_id: &str) -> String {
    let target = format!("/ws?token={token}&conn_id={conn_id}");
    let reply = socket::refused(backend.address(), &target, &[]).await;
    reply.header("x-channelstream-error").unwrap_or_default().to_owned()
}

#[actix_web::test]
async fn a_token_that_is_refused_leaves_the_session_at_another_node() {
    let cluster = Cluster::start(2, &fast_settings());
    let (here, there) = (cluster.servers[0].backend(), cluster.servers[1].backend());
    let conn_id = here.connect("ann", &["c"]).await;
    let mut ann = Listener::attach(cluster.servers[0].address, Transport::Websocket, &conn_id).await;
    assert_eq!(refusal(&there, &token("bob", json!({})), &conn_id).await, "token-mismatch");
    there.publish_text("c", "still here").await;
    assert_eq!(ann.texts(1).await, ["still here"]);
}

#[actix_web::test]
async fn a_block_is_in_force_at_all_nodes() {
    let cluster = Cluster::start(2, &fast_settings());
    let (here, there) = (cluster.servers[0].backend(), cluster.servers[1].backend());
    let conn_id = here.connect("ann", &["c"]).await;
    let mut ann = Listener::attach(cluster.servers[0].address, Transport::Websocket, &conn_id).await;
    there.post("/block", json!({"user": "ann", "seconds": 60})).await;
    assert_eq!(ann.next().await, ListenResult::Closed(Some(4006)));
    for node in [&here, &there] {
        assert_eq!(refusal(node, &token("ann", json!({})), &conn_id).await, "blocked");
    }
}

#[actix_web::test]
async fn a_block_ends_connections_that_no_node_has() {
    let redis = Redis::start(&[]);
    let (mut dying, other) = (start_node(&redis), start_node(&redis));
    let backend = Backend::new(other.address);
    let conn_id = Backend::new(dying.address).connect("ann", &["c"]).await;
    dying.signal("-KILL");
    assert_eq!(dying.ended().await, Some(128 + 9));
    until_members(&backend, 1, "c", json!([0, 0, []])).await;
    backend.post("/block", json!({"user": "ann", "seconds": 60})).await;
    let refused = ask(other.address, "GET", &format!("/listen?conn_id={conn_id}"), &[], "").await;
    assert_eq!(refused.status, 401, "{refused:?}");
}

#[actix_web::test]
async fn a_block_ends_the_connections_of_other_nodes_while_one_is_dying() {
    let redis = Redis::start(&[]);
    let (mut dying, other) = (start_node(&redis), start_node(&redis));
    let backend = Backend::new(other.address);
    Backend::new(dying.address).connect("ann", &["c"]).await;
    let conn_id = backend.connect("ann", &["c"]).await;
    let mut ann = Listener::attach(other.address, Transport::Websocket, &conn_id).await;
    dying.signal("-KILL");
    assert_eq!(dying.ended().await, Some(128 + 9));
    let block = json!({"user": "ann", "seconds": 60}).to_string();
    let blocked = backend.send("POST", "/block", &[], block.as_bytes()).await;
    assert_eq!(ann.next().await, ListenResult::Closed(Some(4006)));
    if blocked.status != 200 {
        let uncertain = blocked.header("x-channelstream-uncertain");
        assert_eq!((blocked.status, uncertain), (503, Some("1")), "{blocked:?}");
    }
}

#[actix_web::test]
async fn a_connection_that_is_refused_exists_at_no_node() {
    let cluster = Cluster::start(2, &Settings { max_channels: 2, ..fast_settings() });
    let (here, there) = (cluster.servers[0].backend(), cluster.servers[1].backend());
    there.connect("bob", &["x", "y"]).await;
    let conn_id = Uuid::new_v4().to_string();
    // Only Redis knows that there are enough channels.
    let request = json!({"username": "ann", "conn_id": conn_id, "channels": ["z"]}).to_string();
    let refused = here.send("POST", "/connect", &[], request.as_bytes()).await;
    assert_eq!(refused.header("x-channelstream-error"), Some("over-limit"), "{refused:?}");
    let request = json!({"conn_id": conn_id, "channels": ["x"]}).to_string();
    let refused = there.send("POST", "/subscribe", &[], request.as_bytes()).await;
    assert_eq!((refused.status, refused.json()["conn_id"].is_array()), (422, true), "{refused:?}");
}
