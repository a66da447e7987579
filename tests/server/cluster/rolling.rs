//! Nodes that are restarted one after the other. Their clients return to other nodes: no user parts, no client loses a message,
//! and sessions that are kept open receive none twice.

use super::witness::{END, Witness};
use super::{Flow, start_node_with, until_members};
use crate::support::backend::Backend;
use crate::support::listener::{ListenResult, Listener, Transport};
use crate::support::nodes::Nodes;
use crate::support::process::Process;
use crate::support::redis::Redis;
use crate::support::within;
use actix_rt::task::JoinHandle;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

const SETTINGS: [&str; 2] = ["shutdown_spread=300", "restart_grace_ms=5000"];
const KINDS: [Transport; 4] = [Transport::Websocket, Transport::Sse, Transport::LongPoll, Transport::Jsonp];
/// How long a client waits before it connects again.
const RETURN: Duration = Duration::from_millis(50);
/// How long messages flow between two restarts.
const PAUSE: Duration = Duration::from_millis(500);

/// The nodes to which the load balancer sends clients.
#[derive(Clone, Default)]
struct Living(Rc<RefCell<Vec<SocketAddr>>>);

impl Living {
    fn next(&self) -> SocketAddr {
        self.try_next().expect("a node lives")
    }

    fn try_next(&self) -> Option<SocketAddr> {
        let mut living = self.0.borrow_mut();
        let next = living.pop()?;
        living.insert(0, next);
        Some(next)
    }

    fn add(&self, node: &Process) {
        self.0.borrow_mut().push(node.address);
    }

    fn remove(&self, node: &Process) {
        self.0.borrow_mut().retain(|address| *address != node.address);
    }
}

/// A client that asks for no positions, and returns whenever its session ends.
struct Client {
    name: String,
    transport: Transport,
    conn_id: String,
    witness: Witness,
    returns: usize,
}

impl Client {
    async fn enter(living: &Living, transport: Transport) -> Self {
        let name = format!("{transport:?}");
        let conn_id = Backend::new(living.next()).connect(&name, &["c"]).await;
        let witness = Witness::new(Listener::attach(living.next(), transport, &conn_id).await);
        Self { name, transport, conn_id, witness, returns: 0 }
    }

    /// Reads to the last message.
    async fn read_to_end(mut self, living: Living) -> Self {
        while self.witness.texts.last().is_none_or(|text| text != END) {
            if let ListenResult::Event(event) = self.witness.listener.next().await {
                self.witness.take(&event);
                continue;
            }
            actix_rt::time::sleep(RETURN).await;
            if let Some(node) = living.try_next() {
                self.witness.listener = Listener::attach(node, self.transport, &self.conn_id).await;
                self.returns += 1;
            }
        }
        self
    }
}

impl Client {
    /// Nothing is missing. A client whose poll was answered while its node stopped may receive this answer again.
    fn check_texts(&self, published: &[String]) {
        let texts = &self.witness.texts;
        if self.transport.is_kept_open() {
            return assert_eq!(texts, published, "{}", self.name);
        }
        let mut next = 0;
        for text in texts {
            let place = published.iter().position(|other| other == text).expect("it was published");
            assert!(place <= next, "{}: {:?} is missing", self.name, &published[next..place]);
            next = next.max(place + 1);
        }
        assert_eq!(next, published.len(), "{}", self.name);
    }
}

/// The members that /info names.
fn members() -> Value {
    let mut names = KINDS.map(|kind| format!("{kind:?}"));
    names.sort();
    json!([KINDS.len(), KINDS.len(), names])
}

struct Scene {
    redis: Redis,
    nodes: Vec<Process>,
    living: Living,
    clients: Vec<JoinHandle<Client>>,
}

impl Scene {
    async fn begin(nodes: usize) -> Self {
        let (redis, living) = (Redis::start(&[]), Living::default());
        let nodes: Vec<_> = (0..nodes).map(|_| start_node_with(&redis, &SETTINGS)).collect();
        nodes.iter().for_each(|node| living.add(node));
        Backend::new(living.next()).configure(&["c"], json!({"notify_presence": true})).await;
        let mut clients = Vec::new();
        for kind in KINDS {
            clients.push(Client::enter(&living, kind).await);
        }
        for (index, client) in clients.iter_mut().enumerate() {
            let later = KINDS.len() - 1 - index;
            client.witness.read_until(|witness| witness.presence.len() >= later).await;
            client.witness.presence.clear();
        }
        let begin = |client: Client| actix_rt::spawn(client.read_to_end(living.clone()));
        let clients = clients.into_iter().map(begin).collect();
        Self { redis, nodes, living, clients }
    }

    async fn restart(&mut self, index: usize) {
        self.living.remove(&self.nodes[index]);
        self.nodes[index].signal("-TERM");
        assert_eq!(self.nodes[index].ended().await, Some(0));
        self.nodes[index] = start_node_with(&self.redis, &SETTINGS);
        self.living.add(&self.nodes[index]);
    }

    /// The members of nodes that have stopped are removed, and all clients have returned.
    async fn until_settled(&self) {
        let has_stopped = || self.redis.ask::<usize>(&["ZCARD", "cs:{0}:beats"]) > self.nodes.len();
        within(async {
            while has_stopped() || self.redis.ask::<bool>(&["EXISTS", "cs:{0}:dead"]) {
                actix_rt::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        let nodes = self.nodes.iter().map(|node| node.address);
        until_members(&Backend::new(Nodes::in_turn(nodes)), self.nodes.len(), "c", members()).await;
    }

    async fn check(self, published: &[String]) {
        for client in self.clients {
            let client = client.await.expect("it reads to the end");
            client.check_texts(published);
            assert!(client.witness.presence.is_empty(), "{}: {:?}", client.name, client.witness.presence);
            assert!(client.returns > 0, "{} was at a node that was restarted", client.name);
        }
    }
}

#[actix_web::test]
async fn a_rolling_restart_causes_no_event_and_no_loss() {
    let mut scene = Scene::begin(3).await;
    let living = scene.living.clone();
    let flow = Flow::start_at("c", move || Backend::new(living.next()));
    for index in 0..scene.nodes.len() {
        actix_rt::time::sleep(PAUSE).await;
        scene.restart(index).await;
    }
    actix_rt::time::sleep(PAUSE).await;
    scene.until_settled().await;
    let published = flow.stop().await;
    scene.check(&published).await;
}

#[actix_web::test]
async fn a_single_node_that_is_restarted_causes_no_event_and_no_loss() {
    let mut scene = Scene::begin(1).await;
    let backend = Backend::new(scene.living.next());
    backend.publish_text("c", "before").await;
    scene.living.remove(&scene.nodes[0]);
    scene.nodes[0].signal("-TERM");
    assert_eq!(scene.nodes[0].ended().await, Some(0));
    scene.nodes[0] = start_node_with(&scene.redis, &SETTINGS);
    scene.living.add(&scene.nodes[0]);
    scene.until_settled().await;
    Backend::new(scene.living.next()).publish_text("c", END).await;
    scene.check(&["before".to_owned(), END.to_owned()]).await;
}
