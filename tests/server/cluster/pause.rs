//! A node that stands still for so long that the others count it as dead, and then continues.

use super::witness::Witness;
use super::{start_node, until_members};
use crate::support::backend::Backend;
use crate::support::listener::{Listener, Transport};
use crate::support::nodes::Nodes;
use crate::support::redis::Redis;
use serde_json::json;

const USERS: [&str; 3] = ["ann", "bob", "eve"];

fn events(action: &str) -> Vec<String> {
    USERS.iter().map(|user| format!("{user} {action}")).collect()
}

/// Reads until a list of presence events is complete, in any order of the users; then forgets them.
async fn expect_all(witness: &mut Witness, action: &str) {
    witness.read_until(|witness| witness.presence.len() >= USERS.len()).await;
    let mut seen = std::mem::take(&mut witness.presence);
    seen.sort();
    assert_eq!(seen, events(action));
}

#[actix_web::test]
async fn members_of_a_paused_node_part_and_join_again() {
    let redis = Redis::start(&[]);
    let (paused, other) = (start_node(&redis), start_node(&redis));
    let backend = Backend::new(other.address);
    backend.configure(&["c"], json!({"notify_presence": true})).await;
    let conn_id = backend.connect("witness", &["c"]).await;
    let mut witness = Witness::new(Listener::attach(other.address, Transport::Websocket, &conn_id).await);
    let mut clients = Vec::new();
    for (user, transport) in
        USERS.into_iter().zip([Transport::Websocket, Transport::Sse, Transport::LongPoll])
    {
        let conn_id = Backend::new(paused.address).connect(user, &["c"]).await;
        clients.push(Witness::new(Listener::attach(paused.address, transport, &conn_id).await));
    }
    expect_all(&mut witness, "joined").await;
    backend.publish_text("c", "before").await;
    for client in &mut clients {
        client.read_until(|client| client.texts == ["before"]).await;
    }
    paused.signal("-STOP");
    expect_all(&mut witness, "parted").await;
    backend.publish_text("c", "meanwhile").await;
    paused.signal("-CONT");
    expect_all(&mut witness, "joined").await;
    let both = Backend::new(Nodes::in_turn([paused.address, other.address]));
    until_members(&both, 2, "c", json!([4, 4, ["ann", "bob", "eve", "witness"]])).await;
    both.publish_text("c", "after").await;
    both.publish_text("c", "end").await;
    for client in &mut clients {
        client.read_to_end().await;
        assert_eq!(client.texts, ["before", "meanwhile", "after", "end"]);
    }
    witness.read_to_end().await;
    assert_eq!(witness.texts, ["before", "meanwhile", "after", "end"]);
    assert!(witness.presence.is_empty(), "{:?}", witness.presence);
}
