//! A client that moves between nodes while messages are published receives each message once and in order, and no
//! member learns that it moved.

use super::Flow;
use super::witness::Witness;
use crate::scenarios::fast_settings;
use crate::support::listener::{ListenResult, Listener, Transport};
use crate::support::nodes::Cluster;
use serde_json::json;

/// Messages that a client receives from one node before it moves on.
const MESSAGES_PER_NODE: usize = 3;
const MOVES: usize = 50;

/// A cluster with a witness in the channel, and another user that has joined it.
struct Scene {
    cluster: Cluster,
    witness: Witness,
    conn_id: String,
}

impl Scene {
    async fn begin() -> Self {
        let cluster = Cluster::start(3, &fast_settings());
        let backend = cluster.backend();
        backend.configure(&["c"], json!({"notify_presence": true})).await;
        let conn_id = backend.connect("witness", &["c"]).await;
        let at = cluster.servers[0].address;
        let mut witness = Witness::new(Listener::attach(at, Transport::Websocket, &conn_id).await);
        let conn_id = backend.connect("ann", &["c"]).await;
        witness.read_until(|witness| witness.presence == ["ann joined"]).await;
        Self { cluster, witness, conn_id }
    }

    /// Checks that the witness received all messages, and no event about a user.
    async fn check(mut self, published: &[String]) {
        self.witness.read_to_end().await;
        assert_eq!(self.witness.texts, published);
        assert_eq!(self.witness.presence, ["ann joined"]);
    }
}

async fn client_polls_at_each_node_in_turn(transport: Transport) {
    let scene = Scene::begin().await;
    let mut ann = Witness::new(Listener::attach(scene.cluster.addresses(), transport, &scene.conn_id).await);
    let flow = Flow::start(scene.cluster.backend(), "c");
    ann.read_until(|ann| ann.texts.len() >= MOVES * MESSAGES_PER_NODE).await;
    let published = flow.stop().await;
    ann.read_to_end().await;
    assert_eq!(ann.texts, published);
    assert!(ann.presence.is_empty(), "{:?}", ann.presence);
    scene.check(&published).await;
}

async fn session_moves_to_each_node_in_turn(transport: Transport) {
    let scene = Scene::begin().await;
    let nodes = scene.cluster.addresses();
    let mut ann = Witness::new(Listener::attach(nodes, transport, &scene.conn_id).await);
    let flow = Flow::start(scene.cluster.backend(), "c");
    for number in 0..MOVES {
        let served = ann.texts.len() + MESSAGES_PER_NODE;
        ann.read_until(|ann| ann.texts.len() >= served).await;
        let next = Listener::attach(nodes, transport, &scene.conn_id).await;
        assert_eq!(ann.read_to_close().await, ListenResult::Closed(Some(4001)), "move {number}");
        ann.listener = next;
    }
    let published = flow.stop().await;
    ann.read_to_end().await;
    assert_eq!(ann.texts, published);
    assert!(ann.presence.is_empty(), "{:?}", ann.presence);
    scene.check(&published).await;
}

#[actix_web::test]
async fn polls_at_alternating_nodes_lose_and_repeat_nothing() {
    client_polls_at_each_node_in_turn(Transport::LongPoll).await;
}

#[actix_web::test]
async fn scripts_at_alternating_nodes_lose_and_repeat_nothing() {
    client_polls_at_each_node_in_turn(Transport::Jsonp).await;
}

#[actix_web::test]
async fn a_websocket_that_moves_loses_and_repeats_nothing() {
    session_moves_to_each_node_in_turn(Transport::Websocket).await;
}

#[actix_web::test]
async fn an_event_stream_that_moves_loses_and_repeats_nothing() {
    session_moves_to_each_node_in_turn(Transport::Sse).await;
}
