//! A node that dies under constant load. Clients that ask for no positions miss nothing, and receive again at most what was
//! published in the last beats of the node.

use super::{start_node_with, until_members};
use crate::scenarios::fast_settings;
use crate::support::backend::Backend;
use crate::support::listener::{ListenResult, Listener, Transport, text};
use crate::support::nodes::Cluster;
use crate::support::redis::Redis;
use crate::support::socket::{self, Incoming, Outgoing, TEXT};
use crate::support::within;
use actix_rt::task::JoinHandle;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

const CHANNELS: [&str; 3] = ["a", "b", "c"];
/// Nothing that was published earlier than this before the death comes again: ten beats, of which a busy machine may delay
/// some.
const AGAIN: Duration = Duration::from_secs(3);
/// How long the load lasts before the death, when a client lags: much longer than that.
const LOAD: Duration = Duration::from_secs(5);
/// The bytes of a message: large, so that the socket of a client that does not read is soon full.
const LENGTH: usize = 30_000;
const END: &str = "end";
/// Polls that are answered one after the other.
const POLLS: usize = 100;

/// Publishes numbered messages in a channel until it is stopped.
struct Load {
    channel: &'static str,
    enough: Rc<Cell<bool>>,
    /// When each message was accepted.
    accepted: Rc<RefCell<Vec<Instant>>>,
    task: JoinHandle<()>,
}

impl Load {
    fn start(backend: Backend, channel: &'static str) -> Self {
        let (enough, accepted) = (Rc::new(Cell::new(false)), Rc::new(RefCell::new(Vec::new())));
        let (stop, times) = (enough.clone(), accepted.clone());
        let task = actix_rt::spawn(async move {
            let padding = "x".repeat(LENGTH);
            while !stop.get() {
                let number = times.borrow().len();
                backend.publish_text(channel, &format!("{number} {padding}")).await;
                times.borrow_mut().push(Instant::now());
                actix_rt::time::sleep(Duration::from_millis(40)).await;
            }
            backend.publish_text(channel, END).await;
        });
        Self { channel, enough, accepted, task }
    }

    /// Publishes the last message. Returns when each message was accepted.
    async fn stop(self) -> Vec<Instant> {
        self.enough.set(true);
        self.task.await.expect("every message is accepted");
        self.accepted.take()
    }
}

/// The numbers that a client has received in each channel.
#[derive(Default)]
struct Received {
    numbers: BTreeMap<String, Vec<usize>>,
    ended: usize,
}

impl Received {
    fn take(&mut self, event: &Value) {
        let (channel, text) = (event["channel"].as_str().expect("a channel"), text(event));
        match text.split_once(' ') {
            Some((number, _)) => {
                let numbers = self.numbers.entry(channel.to_owned()).or_default();
                numbers.push(number.parse().expect("a number"));
            }
            None => self.ended += 1,
        }
    }

    async fn read_to_end(&mut self, listener: &mut Listener) {
        while self.ended < CHANNELS.len() {
            self.take(&listener.event().await);
        }
    }

    /// Nothing is missing in a channel. Returns the messages that came again.
    fn check(&self, channel: &str, count: usize) -> Vec<usize> {
        let (mut next, mut again) = (0, Vec::new());
        for number in &self.numbers[channel] {
            assert!(*number <= next, "{next} of {channel} is missing");
            match *number < next {
                true => again.push(*number),
                false => next += 1,
            }
        }
        assert_eq!(next, count, "the last messages of {channel}");
        again
    }
}

/// A client at the node that dies.
struct Client {
    conn_id: String,
    transport: Transport,
    listener: Listener,
    received: Received,
}

impl Client {
    async fn enter(at: SocketAddr, transport: Transport) -> Self {
        let conn_id = Backend::new(at).connect(&format!("{transport:?}"), &CHANNELS).await;
        let listener = Listener::attach(at, transport, &conn_id).await;
        Self { conn_id, transport, listener, received: Received::default() }
    }

    /// Reads what the dead node has sent, and goes to another one.
    async fn go_to(&mut self, at: SocketAddr) {
        loop {
            match self.listener.next().await {
                ListenResult::Event(event) => self.received.take(&event),
                end => break assert_eq!(end, ListenResult::Gone),
            }
        }
        self.listener = Listener::attach(at, self.transport, &self.conn_id).await;
    }
}

/// A client that does not read before its node has died.
struct SlowClient {
    conn_id: String,
    incoming: Incoming,
    _outgoing: Outgoing,
}

impl SlowClient {
    async fn enter(at: SocketAddr) -> Self {
        let conn_id = Backend::new(at).connect("slow", &CHANNELS).await;
        let target = format!("/ws?conn_id={conn_id}");
        let (incoming, _outgoing) = socket::open(at, &target, &[]).await.expect("it is accepted");
        Self { conn_id, incoming, _outgoing }
    }

    /// Reads what the kernel had accepted, and then everything at another node.
    async fn go_to(mut self, at: SocketAddr) -> Received {
        let mut received = Received::default();
        while let Some(frame) = self.incoming.frame().await {
            if frame.opcode == TEXT {
                let events: Vec<Value> = serde_json::from_slice(&frame.payload).expect("a list");
                events.iter().for_each(|event| received.take(event));
            }
        }
        let mut listener = Listener::attach(at, Transport::Websocket, &self.conn_id).await;
        received.read_to_end(&mut listener).await;
        received
    }
}

#[actix_web::test]
async fn a_client_that_polls_causes_one_call_per_beat_at_most() {
    let cluster = Cluster::start(1, &fast_settings());
    let backend = cluster.backend();
    let conn_id = backend.connect("ann", &["c"]).await;
    let mut ann = Listener::attach(cluster.addresses(), Transport::LongPoll, &conn_id).await;
    let calls = async |script: &str| backend.debug_value(&format!("engine, calls of {script}")).await;
    let (stores, beats) = (calls("Store").await, calls("Beat").await);
    for number in 0..POLLS {
        backend.publish_text("c", &number.to_string()).await;
        assert_eq!(ann.texts(1).await, [number.to_string()]);
    }
    let (stores, beats) = (calls("Store").await - stores, calls("Beat").await - beats);
    assert!(stores <= beats + 1, "{stores} calls for {POLLS} polls in {beats} beats");
}

#[actix_web::test]
async fn a_node_that_dies_under_load_repeats_its_last_beats_and_loses_nothing() {
    let redis = Redis::start(&[]);
    let queues = ["max_queued_bytes=256MiB", "max_queued_frames=100000"];
    let (mut dying, other) = (start_node_with(&redis, &queues), start_node_with(&redis, &queues));
    let backend = Backend::new(other.address);
    let mut clients = Vec::new();
    for transport in [Transport::Websocket, Transport::Sse, Transport::LongPoll] {
        clients.push(Client::enter(dying.address, transport).await);
    }
    let slow = SlowClient::enter(dying.address).await;
    let loads = CHANNELS.map(|channel| Load::start(backend, channel));
    let at_dying = Backend::new(dying.address);
    let lags = async || at_dying.debug_value("bytes queued for slow peers").await > 50 * LENGTH;
    within(async { while !lags().await {} }).await;
    actix_rt::time::sleep(LOAD).await;
    dying.signal("-KILL");
    let killed = Instant::now();
    assert_eq!(dying.ended().await, Some(128 + 9));
    until_members(&backend, 1, CHANNELS[0], json!([0, 0, []])).await;
    for client in &mut clients {
        client.go_to(other.address).await;
    }
    let mut published = BTreeMap::new();
    for load in loads {
        published.insert(load.channel, load.stop().await);
    }
    for Client { transport, mut listener, mut received, .. } in clients {
        received.read_to_end(&mut listener).await;
        for (channel, accepted) in &published {
            let again = received.check(channel, accepted.len());
            let oldest = again.iter().map(|number| killed.duration_since(accepted[*number])).max();
            assert!(oldest.unwrap_or_default() < AGAIN, "{transport:?}: {oldest:?} of {}", again.len());
        }
    }
    let received = slow.go_to(other.address).await;
    for (channel, accepted) in &published {
        let again = received.check(channel, accepted.len());
        assert!(again.len() <= 2, "what its socket had accepted long before comes once: {again:?}");
    }
}
