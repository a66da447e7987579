//! A node that dies in the middle of its work.

use super::witness::{END, Witness};
use super::{Flow, start_node};
use crate::support::backend::Backend;
use crate::support::listener::{ListenResult, Listener, Transport};
use crate::support::nodes::Nodes;
use crate::support::page::Page;
use crate::support::redis::Redis;
use futures_util::future::join_all;
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Users of each kind at the node that dies.
const USERS: usize = 5;
/// The users of a dead node part within this time.
const PART_LIMIT: Duration = Duration::from_secs(5);

/// A client without positions, at the node that dies.
struct OldClient {
    conn_id: String,
    witness: Witness,
}

impl OldClient {
    async fn enter(at: SocketAddr, user: &str) -> Self {
        let conn_id = Backend::new(at).connect(user, &["c"]).await;
        let listener = Listener::attach(at, Transport::Websocket, &conn_id).await;
        Self { conn_id, witness: Witness::new(listener) }
    }

    /// Reads what the dead node has sent, and goes to another one.
    async fn go_to(&mut self, at: SocketAddr) {
        assert_eq!(self.witness.read_to_close().await, ListenResult::Gone);
        self.witness.listener = Listener::attach(at, Transport::Websocket, &self.conn_id).await;
    }

    /// It may receive again what it received shortly before the node died.
    async fn check(mut self, published: &[String]) {
        self.witness.read_to_end().await;
        let texts = &self.witness.texts;
        let place =
            |text: &String| published.iter().position(|other| other == text).expect("it was published");
        let mut next = 0;
        for place in texts.iter().map(place) {
            assert!(place <= next, "{:?} is missing", &published[next..place]);
            next = next.max(place + 1);
        }
        let again = texts.windows(2).filter(|pair| place(&pair[0]) >= place(&pair[1])).count();
        assert!(again <= 1, "they come again in order: {texts:?}");
    }
}

/// A client that sends its positions when it returns.
struct ResumeClient {
    conn_id: String,
    page: Page,
    listener: Listener,
}

impl ResumeClient {
    async fn enter(at: SocketAddr, user: &str) -> Self {
        let conn_id = Backend::new(at).connect(user, &["c"]).await;
        let listener = Listener::resume(at, Transport::Websocket, &conn_id, "").await;
        Self { conn_id, page: Page::default(), listener }
    }

    async fn go_to(&mut self, at: SocketAddr) {
        assert_eq!(self.page.read_to_close(&mut self.listener).await, ListenResult::Gone);
        let positions = self.page.positions();
        self.listener = Listener::resume(at, Transport::Websocket, &self.conn_id, &positions).await;
    }

    async fn check(mut self, published: &[String]) {
        while self.page.frames.last().is_none_or(|frame| frame != END) {
            self.page.read(&mut self.listener, 1, false).await;
        }
        self.page.frames.retain(|frame| frame != "presence");
        assert_eq!(self.page.frames, published);
        assert_eq!(self.page.repeated, 0);
        assert_eq!(self.page.attached["streams"]["c"]["recovered"], true, "{}", self.page.attached);
    }
}

/// The events of these users with this action, as the witness has received them.
fn received(witness: &Witness, users: &[String], action: &str) -> Vec<String> {
    let expected = expected(users, action);
    witness.presence.iter().filter(|event| expected.contains(event)).cloned().collect()
}

fn expected(users: &[String], action: &str) -> Vec<String> {
    users.iter().map(|user| format!("{user} {action}")).collect()
}

/// Each of these users has parted once.
fn check_parted(witness: &Witness, users: &[String]) {
    let mut parted = received(witness, users, "parted");
    parted.sort();
    assert_eq!(parted, expected(users, "parted"));
}

#[actix_web::test]
async fn users_of_a_killed_node_part_once_and_return_without_loss() {
    let redis = Redis::start(&[]);
    let (mut dying, others) = (start_node(&redis), [start_node(&redis), start_node(&redis)]);
    let backend = Backend::new(Nodes::in_turn(others.each_ref().map(|node| node.address)));
    backend.configure(&["c"], json!({"notify_presence": true})).await;
    let mut witnesses = Vec::new();
    for (node, name) in others.iter().zip(["w1", "w2"]) {
        let conn_id = backend.connect(name, &["c"]).await;
        witnesses.push(Witness::new(Listener::attach(node.address, Transport::Websocket, &conn_id).await));
    }
    let users: Vec<String> = (0..2 * USERS).map(|number| format!("u{number}")).collect();
    let (old_users, resume_users) = users.split_at(USERS);
    let (mut old, mut resume) = (Vec::new(), Vec::new());
    for user in old_users {
        old.push(OldClient::enter(dying.address, user).await);
    }
    for user in resume_users {
        resume.push(ResumeClient::enter(dying.address, user).await);
    }
    for witness in &mut witnesses {
        witness
            .read_until(|witness| {
                users.iter().all(|user| witness.presence.contains(&format!("{user} joined")))
            })
            .await;
    }
    let flow = Flow::start(backend, "c");
    for client in &mut old {
        client.witness.read_until(|witness| witness.texts.len() >= 50).await;
    }
    dying.signal("-KILL");
    let killed = Instant::now();
    assert_eq!(dying.ended().await, Some(128 + 9));
    for witness in &mut witnesses {
        witness.read_until(|witness| received(witness, &users, "parted").len() >= users.len()).await;
        check_parted(witness, &users);
    }
    assert!(killed.elapsed() < PART_LIMIT, "{:?}", killed.elapsed());
    for (client, node) in old.iter_mut().zip(others.iter().cycle()) {
        client.go_to(node.address).await;
    }
    for (client, node) in resume.iter_mut().zip(others.iter().cycle()) {
        client.go_to(node.address).await;
    }
    let published = flow.stop().await;
    for client in old {
        client.check(&published).await;
    }
    for client in resume {
        client.check(&published).await;
    }
    for witness in &mut witnesses {
        witness.read_to_end().await;
        assert_eq!(witness.texts, published);
        check_parted(witness, &users);
    }
}

/// Clients that come to another node before the death of theirs is known wait there until it is.
async fn clients_wait_for_the_death_of_their_node(signal: &str) {
    let redis = Redis::start(&[]);
    let (dying, other) = (start_node(&redis), start_node(&redis));
    let backend = Backend::new(other.address);
    let mut clients = Vec::new();
    for number in 0..2 * USERS {
        clients.push(OldClient::enter(dying.address, &format!("u{number}")).await);
    }
    backend.publish_text("c", "before").await;
    for client in &mut clients {
        client.witness.read_until(|witness| witness.texts == ["before"]).await;
    }
    dying.signal(signal);
    backend.publish_text("c", "meanwhile").await;
    let returns = clients.iter_mut().map(async |client| {
        client.witness.listener =
            Listener::attach(other.address, Transport::Websocket, &client.conn_id).await;
        // It may receive the first message again.
        client.witness.read_until(|witness| witness.texts.ends_with(&["meanwhile".to_owned()])).await;
    });
    join_all(returns).await;
}

#[actix_web::test]
async fn clients_of_a_killed_node_are_not_refused() {
    clients_wait_for_the_death_of_their_node("-KILL").await;
}

#[actix_web::test]
async fn clients_of_a_node_that_stands_still_are_not_refused() {
    clients_wait_for_the_death_of_their_node("-STOP").await;
}
