//! Several nodes over one Redis: clients that move between them, nodes that die or stand still, and a Redis that does.

mod agreement;
mod failover;
mod keys;
mod kill;
mod limits;
mod marks;
mod moving;
mod network;
mod outage;
mod pause;
mod random_actions;
mod random_client;
mod reading;
mod rights;
mod rolling;
mod tls;
mod tokens;
mod totals;
mod witness;

use crate::support::backend::Backend;
use crate::support::http::Reply;
use crate::support::process::{Process, command};
use crate::support::redis::Redis;
use crate::support::wait_until_ready;
use actix_rt::task::JoinHandle;
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Settings of the nodes that are processes. They count as dead soon.
const NODE_SETTINGS: [&str; 7] = [
    "workers=1",
    "engine=redis",
    "engine_beat_ms=300",
    "engine_dead_ms=2000",
    "channel_frames=100000",
    "user_frames=1000",
    "grace_time_ms=60000",
];

/// No outage of a test takes longer.
const OUTAGE_LIMIT: Duration = Duration::from_secs(60);

/// Starts a node as its own process, and waits until it is ready.
fn start_node(redis: &Redis) -> Process {
    start_node_with(redis, &[])
}

/// The same with other settings in addition.
fn start_node_with(redis: &Redis, more: &[&str]) -> Process {
    let url = format!("engine_url={}", redis.url());
    let process = spawn_node(&[&[url.as_str()], more].concat());
    wait_until_ready(process.address);
    process
}

/// The figures of admin.json, without lists.
async fn figures(backend: &Backend) -> Value {
    let reply = backend.send("GET", "/admin/admin.json?per_page=0", &[], b"").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// The same for a node with a name.
fn start_named_node(redis: &Redis, name: &str, more: &[&str]) -> Process {
    let name = format!("node_name={name}");
    start_node_with(redis, &[&[name.as_str()], more].concat())
}

/// Starts a node as its own process with these settings in addition.
fn spawn_node(settings: &[&str]) -> Process {
    let settings = NODE_SETTINGS.iter().chain(settings);
    let mut arguments = vec!["--port", "0"];
    arguments.extend(settings.flat_map(|setting| ["--set", setting]));
    Process::run(command("", &arguments))
}

/// The numbers and the users of a channel, as /info returns them.
async fn members(backend: &Backend, channel: &str) -> Value {
    let mut found = backend.channel(channel).await;
    ["total_connections", "total_users", "users"].map(|name| found[name].take()).to_vec().into()
}

/// Waits until all nodes in turn return these members of a channel.
async fn until_members(backend: &Backend, nodes: usize, channel: &str, expected: Value) {
    let mut in_a_row = 0;
    let agree = async {
        while in_a_row < nodes {
            in_a_row = if members(backend, channel).await == expected { in_a_row + 1 } else { 0 };
        }
    };
    let agreed = tokio::time::timeout(Duration::from_secs(20), agree).await;
    assert!(agreed.is_ok(), "{} instead of {expected}", members(backend, channel).await);
}

/// Publishes a text once. The text is its idempotency key.
async fn try_publish(backend: &Backend, channel: &str, text: &str) -> Reply {
    let body = json!([{"user": "p", "channel": channel, "message": {"text": text}}]).to_string();
    backend.send("POST", "/message", &[("idempotency-key", text)], body.as_bytes()).await
}

/// Publishes a text as a backend that repeats a request until it is accepted.
async fn publish_surely(backend: &Backend, channel: &str, text: &str) {
    let until = Instant::now() + OUTAGE_LIMIT;
    loop {
        let reply = try_publish(backend, channel, text).await;
        match reply.status {
            200 => return,
            503 => assert!(Instant::now() < until, "{text}: {reply:?}"),
            _ => panic!("{text}: {reply:?}"),
        }
        actix_rt::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Publishes numbered messages, one after the other, until it is stopped.
struct Flow {
    enough: Rc<Cell<bool>>,
    task: JoinHandle<usize>,
}

impl Flow {
    /// Every request must be accepted.
    fn start(backend: Backend, channel: &'static str) -> Self {
        Self::start_at(channel, move || backend)
    }

    /// The same, with a backend for each message.
    fn start_at(channel: &'static str, backend: impl Fn() -> Backend + 'static) -> Self {
        Self::run(async move |text| _ = backend().publish_text(channel, text).await)
    }

    /// Requests are repeated until they are accepted.
    fn repeating(backend: Backend, channel: &'static str) -> Self {
        Self::run(async move |text| publish_surely(&backend, channel, text).await)
    }

    fn run(publish: impl AsyncFn(&str) + 'static) -> Self {
        let enough = Rc::new(Cell::new(false));
        let stop = enough.clone();
        let task = actix_rt::spawn(async move {
            let mut count = 0;
            while !stop.get() {
                publish(&count.to_string()).await;
                count += 1;
                actix_rt::time::sleep(Duration::from_millis(2)).await;
            }
            publish(witness::END).await;
            count
        });
        Self { enough, task }
    }

    /// Publishes the last message. Returns the texts of all messages.
    async fn stop(self) -> Vec<String> {
        self.enough.set(true);
        let count = self.task.await.expect("every message is accepted");
        (0..count).map(|number| number.to_string()).chain([witness::END.to_owned()]).collect()
    }
}
