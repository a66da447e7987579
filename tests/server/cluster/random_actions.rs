//! Three nodes whose clients, requests and faults are drawn at random: nodes are killed, stopped, paused and replaced, and
//! Redis stands still.
//!
//! Every accepted message arrives once and in order at clients that send positions or cursors, and old clients miss none.
//! Users join and part in turn, and no change of a user's state is lost.
//!
//! Fifteen seconds, unless `CHANNELSTREAM_RANDOM_SECONDS` sets another time. `CHANNELSTREAM_SEED` repeats the choices of
//! an earlier run; the timing of the machine still differs.

use super::random_client::{Client, Kind, Progress};
use super::{start_node, until_members};
use crate::random_clients::number;
use crate::support::backend::{Backend, signature};
use crate::support::http::{Wire, request};
use crate::support::nodes::Nodes;
use crate::support::process::Process;
use crate::support::redis::Redis;
use crate::support::within;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

const SECONDS: u64 = 15;
const NODES: usize = 3;
const USERS: usize = 5;
const CHANNELS: [&str; 3] = ["c0", "c1", "c2"];
/// All clients attach, and receive everything after the last fault, within this time.
const LIMIT: Duration = Duration::from_secs(60);

/// The nodes that clients and backends know.
#[derive(Clone)]
pub struct Known(Rc<RefCell<Vec<SocketAddr>>>);

impl Known {
    pub fn any(&self, chance: &mut StdRng) -> SocketAddr {
        let nodes = self.0.borrow();
        nodes[chance.random_range(0..nodes.len())]
    }
}

pub async fn sleep_up_to(chance: &mut StdRng, ms: u64) {
    actix_rt::time::sleep(Duration::from_millis(chance.random_range(0..ms))).await;
}

/// A backend that repeats a request at any node until it is accepted.
struct Requester {
    known: Known,
    chance: StdRng,
}

impl Requester {
    fn new(known: &Known, chance: &mut StdRng) -> Self {
        Self { known: known.clone(), chance: StdRng::seed_from_u64(chance.next_u64()) }
    }

    async fn post(&mut self, path: &str, body: Value) -> Value {
        let key = uuid::Uuid::new_v4().to_string();
        let body = body.to_string();
        loop {
            if let Some(answer) = self.try_post(path, &body, &key).await {
                return answer;
            }
            sleep_up_to(&mut self.chance, 100).await;
        }
    }

    /// Returns `None` if the request must be repeated.
    async fn try_post(&mut self, path: &str, body: &str, key: &str) -> Option<Value> {
        let (name, token) = signature();
        let headers = [(name, token.as_str()), ("connection", "close"), ("idempotency-key", key)];
        let mut wire = Wire::try_open(self.known.any(&mut self.chance)).await.ok()?;
        wire.try_write(request("POST", path, &headers, body.as_bytes())).await.ok()?;
        let reply = wire.try_reply().await?;
        match reply.status {
            200 => Some(reply.json()),
            409 | 503 => None,
            _ => panic!("{path} {body}: {reply:?}"),
        }
    }
}

/// Publishes numbered messages in channels and to users, one request after the other. Returns the number of each stream.
async fn publish(mut requester: Requester, enough: Rc<Cell<bool>>) -> BTreeMap<String, u64> {
    let mut published = BTreeMap::new();
    while !enough.get() {
        let mut items = Vec::new();
        for _ in 0..requester.chance.random_range(1..5) {
            let to_user = requester.chance.random_range(0..5) == 0;
            let stream = match to_user {
                true => format!("u{}", requester.chance.random_range(0..USERS)),
                false => CHANNELS[requester.chance.random_range(0..CHANNELS.len())].to_owned(),
            };
            let number = published.entry(stream.clone()).or_insert(0);
            items.push(item(&stream, &number.to_string()));
            *number += 1;
        }
        requester.post("/message", items.into()).await;
        sleep_up_to(&mut requester.chance, 15).await;
    }
    let streams = CHANNELS.map(str::to_owned).into_iter().chain((0..USERS).map(|user| format!("u{user}")));
    requester.post("/message", streams.map(|stream| item(&stream, "end")).collect::<Vec<_>>().into()).await;
    published
}

fn item(stream: &str, text: &str) -> Value {
    let mut item = json!({"user": "publisher", "message": {"text": format!("{stream} {text}")}});
    match stream.starts_with('c') {
        true => item["channel"] = json!(stream),
        false => item["pm_users"] = json!([stream]),
    }
    item
}

/// Users that come, change their channels, and leave, each request at any node. Returns how many did.
async fn visit(mut requester: Requester, enough: Rc<Cell<bool>>) -> usize {
    let mut count = 0;
    while !enough.get() {
        let conn_id = uuid::Uuid::new_v4().to_string();
        let connect =
            json!({"conn_id": conn_id, "username": format!("v{}", count % USERS), "channels": ["c0"]});
        requester.post("/connect", connect).await;
        requester.post("/subscribe", json!({"conn_id": conn_id, "channels": ["c1"]})).await;
        sleep_up_to(&mut requester.chance, 100).await;
        requester.post("/unsubscribe", json!({"conn_id": conn_id, "channels": ["c0"]})).await;
        requester.post("/disconnect", json!({"conn_id": conn_id})).await;
        count += 1;
    }
    count
}

/// Changes the state of a user. Returns the last value.
async fn change_state(mut requester: Requester, enough: Rc<Cell<bool>>) -> u64 {
    let mut value = 0;
    while !enough.get() {
        value += 1;
        requester.post("/user_state", json!({"user": "u0", "user_state": {"value": value}})).await;
        sleep_up_to(&mut requester.chance, 100).await;
    }
    value
}

/// The nodes and their Redis, and what happens to them.
struct Machines {
    redis: Redis,
    nodes: Vec<Process>,
    known: Known,
    chance: StdRng,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Killed,
    Stopped,
    Paused,
    RedisPaused,
}

const FAULTS: [Fault; 4] = [Fault::Killed, Fault::Stopped, Fault::Paused, Fault::RedisPaused];

impl Machines {
    fn start(chance: &mut StdRng) -> Self {
        let redis = Redis::start(&[]);
        let nodes: Vec<_> = (0..NODES).map(|_| start_node(&redis)).collect();
        let known = Known(Rc::new(RefCell::new(nodes.iter().map(|node| node.address).collect())));
        Self { redis, nodes, known, chance: StdRng::seed_from_u64(chance.next_u64()) }
    }

    /// One fault after the other, each after everything works again.
    async fn run(mut self, end: Instant) -> Self {
        let mut faults = BTreeMap::new();
        while Instant::now() < end {
            sleep_up_to(&mut self.chance, 1_000).await;
            let fault = FAULTS[self.chance.random_range(0..FAULTS.len())];
            *faults.entry(fault).or_insert(0) += 1;
            self.fail(fault).await;
            for node in &self.nodes {
                self.until_it_works(node.address).await;
            }
        }
        println!("{faults:?}");
        self
    }

    /// Waits until a node has everything that it needs from Redis.
    async fn until_it_works(&self, node: SocketAddr) {
        let request = async || {
            let body = json!({"info": {"channels": ["c0"]}}).to_string();
            Backend::new(node).send("POST", "/info", &[], body.as_bytes()).await.status
        };
        within(async { while request().await != 200 {} }).await;
    }

    async fn fail(&mut self, fault: Fault) {
        let node = self.chance.random_range(0..NODES);
        match fault {
            Fault::Killed => self.replace(node, "-KILL").await,
            Fault::Stopped => self.replace(node, "-TERM").await,
            Fault::Paused => {
                // Often for longer than the time after which others count it as dead.
                self.nodes[node].signal("-STOP");
                sleep_up_to(&mut self.chance, 4_000).await;
                self.nodes[node].signal("-CONT");
            }
            Fault::RedisPaused => {
                self.redis.signal("-STOP");
                sleep_up_to(&mut self.chance, 3_000).await;
                self.redis.signal("-CONT");
            }
        }
    }

    /// Ends a node, and starts another one in its place.
    async fn replace(&mut self, node: usize, signal: &str) {
        self.nodes[node].signal(signal);
        self.nodes[node].ended().await;
        sleep_up_to(&mut self.chance, 2_500).await;
        let redis = &self.redis;
        self.nodes[node] = start_node(redis);
        self.known.0.borrow_mut()[node] = self.nodes[node].address;
    }
}

/// The value in the state of a user, as a member of a channel.
async fn state_value(at: SocketAddr) -> Value {
    let request = json!({"info": {"channels": ["c0"]}});
    let answer = Backend::new(at).post("/info", request).await;
    let users = answer["users"].as_array().expect("a list");
    users.iter().find(|user| user["user"] == "u0").map_or(Value::Null, |user| user["state"]["value"].clone())
}

/// Waits until all clients have come so far.
async fn all(so_far: &Semaphore, count: usize) {
    let all = tokio::time::timeout(LIMIT, so_far.acquire_many(count as u32)).await;
    all.unwrap_or_else(|_| panic!("{} of {count}", so_far.available_permits())).expect("it is open").forget();
}

#[actix_web::test]
async fn faults_lose_nothing_and_repeat_no_event() {
    let seed = number("CHANNELSTREAM_SEED").unwrap_or_else(|| rand::rng().next_u64());
    let seconds = number("CHANNELSTREAM_RANDOM_SECONDS").unwrap_or(SECONDS);
    println!("CHANNELSTREAM_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let machines = Machines::start(&mut chance);
    let known = machines.known.clone();
    let mut setup = Requester::new(&known, &mut chance);
    let notify = CHANNELS.map(|name| (name.to_owned(), json!({"notify_presence": true})));
    setup.post("/channel_config", Value::Object(notify.into_iter().collect())).await;
    let progress = Rc::new(Progress::default());
    let mut clients = Vec::new();
    for (index, kind) in Kind::ALL.into_iter().cycle().take(2 * Kind::ALL.len()).enumerate() {
        let user = format!("u{}", index % USERS);
        let answer = setup.post("/connect", json!({"username": user, "channels": CHANNELS})).await;
        let conn_id = answer["conn_id"].as_str().expect("an id").to_owned();
        let chance = StdRng::seed_from_u64(chance.next_u64());
        clients.push(Client::new(kind, user, conn_id, known.clone(), chance, progress.clone()));
    }
    let count = clients.len();
    let clients: Vec<_> = clients.into_iter().map(|client| actix_rt::spawn(client.run())).collect();
    all(&progress.attached, count).await;

    let (enough, visited) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let flow = actix_rt::spawn(publish(Requester::new(&known, &mut chance), visited.clone()));
    let visits = actix_rt::spawn(visit(Requester::new(&known, &mut chance), enough.clone()));
    let states = actix_rt::spawn(change_state(Requester::new(&known, &mut chance), enough.clone()));
    let machines = machines.run(Instant::now() + Duration::from_secs(seconds)).await;
    enough.set(true);
    let (visits, value) = (visits.await.expect("visits work"), states.await.expect("states change"));
    // The last messages follow the last presence events.
    visited.set(true);
    let published = flow.await.expect("every message is accepted");
    println!("published {published:?}, {visits} visits, {value} states");
    all(&progress.complete, count).await;

    let users: Vec<_> = (0..USERS).map(|user| format!("u{user}")).collect();
    let addresses: Vec<_> = machines.nodes.iter().map(|node| node.address).collect();
    for channel in CHANNELS {
        let backend = Backend::new(Nodes::in_turn(addresses.iter().copied()));
        until_members(&backend, NODES, channel, json!([count, USERS, users])).await;
    }
    for address in addresses {
        assert_eq!(state_value(address).await, json!(value));
    }
    progress.is_over.set(true);
    for client in clients {
        client.await.expect("no client fails").check(&published);
    }
}
