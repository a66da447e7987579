//! The figures of all nodes, at each of them.

use super::{figures, start_named_node, start_node};
use crate::support::backend::Backend;
use crate::support::http::ask;
use crate::support::listener::{Listener, Transport};
use crate::support::redis::Redis;
use crate::support::within;
use serde_json::{Value, json};

/// Asks until the figures are right. Messages are counted once and for all: their number may only grow.
async fn until(backend: &Backend, least: &mut u64, is_right: impl Fn(&Value) -> bool) -> Value {
    within(async {
        loop {
            let figures = figures(backend).await;
            let messages = figures["total_unique_messages"].as_u64().unwrap();
            assert!(messages >= *least, "{messages} after {least}");
            *least = messages;
            if is_right(&figures) {
                return figures;
            }
        }
    })
    .await
}

/// Connections, users, and number of nodes.
fn numbers(figures: &Value) -> Value {
    let nodes = figures["nodes"].as_array().unwrap().len();
    json!([figures["total_connections"], figures["unique_user_count"], nodes])
}

#[actix_rt::test]
async fn messages_stay_counted_and_connections_do_not_when_nodes_end() {
    let redis = Redis::start(&[]);
    let (mut first, mut second) = (start_node(&redis), start_node(&redis));
    let (one, two) = (Backend::new(first.address), Backend::new(second.address));
    one.connect("ada", &["news"]).await;
    for user in ["ada", "bob"] {
        let conn_id = two.connect(user, &["news"]).await;
        let mut listener = Listener::attach(second.address, Transport::Websocket, &conn_id).await;
        two.publish_text("news", "hello").await;
        listener.event().await;
    }
    // The node that is asked adds what it has counted itself.
    let shown = figures(&two).await;
    assert_eq!((&shown["total_connections"], &shown["total_unique_messages"]), (&json!(3), &json!(2)));
    let mut least = 2;
    until(&two, &mut least, |shown| numbers(shown) == json!([3, 2, 2])).await;
    let shown = until(&one, &mut least, |shown| shown["total_messages"] == 5).await;
    assert_eq!((numbers(&shown), &shown["stale"]), (json!([3, 2, 2]), &json!(false)));

    second.signal("-KILL");
    assert_eq!(second.ended().await, Some(128 + 9));
    until(&one, &mut least, |shown| numbers(shown) == json!([1, 1, 1])).await;
    let third = start_node(&redis);
    let three = Backend::new(third.address);
    three.publish_text("news", "again").await;
    until(&three, &mut least, |shown| shown["total_unique_messages"] == 3).await;
    one.publish_text("news", "the last one").await;
    first.signal("-TERM");
    assert_eq!(first.ended().await, Some(0));
    until(&three, &mut least, |shown| numbers(shown) == json!([0, 0, 1])).await;
    assert_eq!(least, 4, "a node that stops states first what it has counted");
}

#[actix_rt::test]
async fn an_absent_connection_is_not_counted() {
    let redis = Redis::start(&[]);
    let (first, second) = (start_node(&redis), start_node(&redis));
    let conn_id = Backend::new(first.address).connect("ada", &[]).await;
    let listener = Listener::attach(first.address, Transport::Websocket, &conn_id).await;
    let (two, mut least) = (Backend::new(second.address), 0);
    until(&two, &mut least, |shown| numbers(shown) == json!([1, 1, 2])).await;
    listener.hang_up().await;
    let shown = until(&two, &mut least, |shown| numbers(shown) == json!([0, 0, 2])).await;
    assert_eq!(shown["remembered_user_count"], 1);
    let _back = Listener::attach(second.address, Transport::Websocket, &conn_id).await;
    until(&two, &mut least, |shown| numbers(shown) == json!([1, 1, 2])).await;
}

#[actix_rt::test]
async fn a_node_that_stops_is_not_ready_and_listed_as_draining() {
    let redis = Redis::start(&[]);
    let slow = ["shutdown_spread=60000", "shutdown_timeout_ms=120000"];
    let [north, south] = ["north", "south"].map(|name| start_named_node(&redis, name, &slow));
    let conn_id = Backend::new(south.address).connect("ada", &[]).await;
    let _listener = Listener::attach(south.address, Transport::Websocket, &conn_id).await;
    let (observer, mut least) = (Backend::new(north.address), 0);
    let states = |shown: &Value| -> Value {
        shown["nodes"].as_array().unwrap().iter().map(|node| json!([node["name"], node["state"]])).collect()
    };
    until(&observer, &mut least, |shown| {
        states(shown) == json!([["north", "serving"], ["south", "serving"]])
    })
    .await;
    south.signal("-TERM");
    until(&observer, &mut least, |shown| {
        states(shown) == json!([["north", "serving"], ["south", "draining"]])
    })
    .await;
    let ready = async |address| ask(address, "GET", "/health/ready", &[], "").await.status;
    assert_eq!((ready(north.address).await, ready(south.address).await), (200, 503));
}
