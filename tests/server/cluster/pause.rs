//! A node that stands still for so long that the others count it as dead, and then continues.

use super::witness::Witness;
use super::{spawn_node, start_node, until_members};
use crate::support::backend::Backend;
use crate::support::listener::{ListenResult, Listener, Transport};
use crate::support::nodes::Nodes;
use crate::support::page::Page;
use crate::support::process::Process;
use crate::support::proxy::{Proxy, Target};
use crate::support::redis::Redis;
use crate::support::wait_until_ready;
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

/// A node whose link to Redis can be held back.
fn start_node_behind(proxy: &Proxy) -> Process {
    let url = format!("engine_url={}", proxy.url());
    let process = spawn_node(&[&url, "engine_timeout_ms=500", "poll_wait_ms=300"]);
    wait_until_ready(process.address);
    process
}

/// A client with positions that was at a node, and has continued at another one while that was paused.
struct Returning {
    conn_id: String,
    page: Page,
    listener: Listener,
}

impl Returning {
    async fn enter(at: &Process, user: &str) -> Self {
        let conn_id = Backend::new(at.address).connect(user, &["c"]).await;
        let listener = Listener::resume(at.address, Transport::Websocket, &conn_id, "").await;
        Self { conn_id, page: Page::default(), listener }
    }

    async fn go_to(&mut self, at: &Process, transport: Transport) {
        let positions = self.page.positions();
        self.listener = Listener::resume(at.address, transport, &self.conn_id, &positions).await;
    }
}

#[actix_web::test]
async fn a_paused_node_answers_no_client_from_what_it_had_before() {
    let redis = Redis::start(&[]);
    let proxy = Proxy::start(Target::Unix(redis.socket()));
    let (paused, other) = (start_node_behind(&proxy), start_node(&redis));
    let backend = Backend::new(other.address);
    backend.configure(&["c"], json!({"notify_presence": true})).await;
    let conn_id = backend.connect("witness", &["c"]).await;
    let mut witness = Witness::new(Listener::attach(other.address, Transport::Websocket, &conn_id).await);
    let mut clients = Vec::new();
    for user in USERS {
        clients.push(Returning::enter(&paused, user).await);
    }
    expect_all(&mut witness, "joined").await;
    backend.publish_text("c", "before").await;
    for client in &mut clients {
        while client.page.frames.last().is_none_or(|frame| frame != "before") {
            client.page.read(&mut client.listener, 1, false).await;
        }
        client.page.take_frames();
    }
    paused.signal("-STOP");
    expect_all(&mut witness, "parted").await;
    for client in &mut clients {
        client.go_to(&other, Transport::Websocket).await;
    }
    backend.publish_text("c", "meanwhile").await;
    for client in &mut clients {
        while client.page.frames.last().is_none_or(|frame| frame != "meanwhile") {
            client.page.read(&mut client.listener, 1, false).await;
        }
        client.page.take_frames();
    }
    // The node continues, and clients ask it before it can learn what has happened.
    proxy.stall();
    paused.signal("-CONT");
    let [ann, bob, eve] = &mut clients[..] else { unreachable!() };
    ann.go_to(&paused, Transport::Websocket).await;
    assert_eq!(ann.listener.next().await, ListenResult::Refused(503));
    bob.go_to(&paused, Transport::Sse).await;
    assert_eq!(bob.listener.next().await, ListenResult::Refused(200), "it may return after a while");
    eve.go_to(&paused, Transport::LongPoll).await;
    let body = json!({"info": {"channels": ["c"]}}).to_string();
    let reply = Backend::new(paused.address).send("POST", "/info", &[], body.as_bytes()).await;
    assert_eq!((reply.status, reply.header("x-channelstream-error")), (503, Some("engine-unavailable")));
    proxy.resume();
    wait_until_ready(paused.address);
    backend.publish_text("c", "after").await;
    for (client, transport) in clients.iter_mut().zip([Transport::Websocket, Transport::Sse]) {
        client.go_to(&paused, transport).await;
    }
    for client in &mut clients {
        while client.page.frames.last().is_none_or(|frame| frame != "after") {
            client.page.read(&mut client.listener, 1, false).await;
        }
        client.page.frames.retain(|frame| frame != "presence");
        assert_eq!((&client.page.take_frames()[..], client.page.repeated), (&["after".to_owned()][..], 0));
        assert_eq!(client.page.attached["streams"]["c"]["recovered"], true, "{}", client.page.attached);
    }
}
