//! A network between nodes and Redis that fails, and a Redis that refuses or forgets a part of what it has.

use super::witness::{END, Witness};
use super::{Flow, OUTAGE_LIMIT, publish_surely, try_publish, until_members};
use crate::support::backend::Backend;
use crate::support::listener::{Listener, Transport};
use crate::support::nodes::Nodes;
use crate::support::page::Page;
use crate::support::proxy::{Direction, Proxy, Target};
use crate::support::redis::{Redis, at};
use crate::support::{TestServer, settings, within};
use channelstream::config::Settings;
use futures_util::future::join;
use serde_json::json;
use std::time::{Duration, Instant};

/// A node that is silent for longer counts as dead; in most tests none is.
const DEAD_MS: u64 = 15_000;

/// Two nodes, each behind a proxy. Users of the first node are a member without positions and one with positions; a witness
/// is at the second node.
struct Scene {
    redis: Redis,
    proxies: [Proxy; 2],
    servers: [TestServer; 2],
    both: Backend,
    ann: Witness,
    bob_id: String,
    bob: Listener,
    page: Page,
    witness: Witness,
}

impl Scene {
    async fn begin(dead_ms: u64) -> Self {
        let redis = Redis::start(&[]);
        let proxies = [0, 1].map(|_| Proxy::start(Target::Unix(redis.socket())));
        let servers = proxies.each_ref().map(|proxy| {
            TestServer::start(at(
                &[&proxy.url()],
                Settings {
                    engine_timeout_ms: 5_000,
                    engine_beat_ms: 200,
                    engine_dead_ms: dead_ms,
                    channel_frames: 100_000,
                    ..settings()
                },
            ))
        });
        servers.iter().for_each(TestServer::wait_until_ready);
        let both = Backend::new(Nodes::in_turn(servers.each_ref().map(|server| server.address)));
        both.configure(&["c"], json!({"notify_presence": true})).await;
        let [first, second] = servers.each_ref().map(|server| server.address);
        let conn_id = both.connect("witness", &["c"]).await;
        let mut witness = Witness::new(Listener::attach(second, Transport::Websocket, &conn_id).await);
        let conn_id = both.connect("ann", &["c"]).await;
        let ann = Witness::new(Listener::attach(first, Transport::Websocket, &conn_id).await);
        let bob_id = both.connect("bob", &["c"]).await;
        let bob = Listener::resume(first, Transport::Websocket, &bob_id, "").await;
        witness
            .read_until(|witness| witness.presence.ends_with(&["ann joined".into(), "bob joined".into()]))
            .await;
        witness.presence.clear();
        Self { redis, proxies, servers, both, ann, bob_id, bob, page: Page::default(), witness }
    }

    fn backend(&self, node: usize) -> Backend {
        self.servers[node].backend()
    }

    /// How often a node has lost its connection.
    async fn losses(&self, node: usize) -> usize {
        self.backend(node).debug_value("engine, connections to Redis lost").await
    }

    /// Waits until both nodes answer.
    async fn until_connected(&self) {
        for server in &self.servers {
            let body = br#"{"info": {"channels": ["c"]}}"#;
            let ask = async || server.backend().send("POST", "/info", &[], body).await.status;
            within(async { while ask().await != 200 {} }).await;
        }
    }

    /// All members are there and have received what was published, once and in order, and the member with positions can
    /// continue at the other node. Returns the events about users.
    async fn check(mut self, published: &[String]) -> Vec<String> {
        self.until_connected().await;
        until_members(&self.both, 2, "c", json!([3, 3, ["ann", "bob", "witness"]])).await;
        for member in [&mut self.ann, &mut self.witness] {
            member.read_to_end().await;
            assert_eq!(member.texts, published);
        }
        while self.page.frames.last().is_none_or(|frame| frame != END) {
            self.page.read(&mut self.bob, 1, false).await;
        }
        let positions = self.page.positions();
        publish_surely(&self.backend(0), "c", "missed").await;
        self.bob =
            Listener::resume(self.servers[1].address, Transport::Websocket, &self.bob_id, &positions).await;
        self.page.frames.retain(|frame| frame != "presence");
        self.page.read(&mut self.bob, 1, false).await;
        assert_eq!(self.page.frames.pop().as_deref(), Some("missed"));
        assert_eq!(self.page.attached["streams"]["c"]["recovered"], true, "{}", self.page.attached);
        assert_eq!((&self.page.frames[..], self.page.repeated), (published, 0));
        assert!(self.page.announced.is_empty(), "{:?}", self.page.announced);
        self.witness.presence
    }
}

/// Publishes at both nodes while something happens to the proxies.
async fn disturb(scene: Scene, begin: impl Fn(&Proxy), proxies: &[usize], duration: Duration) -> Vec<String> {
    let flow = Flow::repeating(scene.both, "c");
    actix_rt::time::sleep(Duration::from_millis(200)).await;
    proxies.iter().for_each(|at| begin(&scene.proxies[*at]));
    actix_rt::time::sleep(duration).await;
    scene.proxies.iter().for_each(Proxy::resume);
    actix_rt::time::sleep(Duration::from_millis(200)).await;
    let published = flow.stop().await;
    scene.check(&published).await
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[actix_web::test]
async fn a_short_cut_is_not_noticed() {
    let scene = Scene::begin(DEAD_MS).await;
    let flow = Flow::repeating(scene.both, "c");
    scene.proxies[0].stall();
    actix_rt::time::sleep(Duration::from_millis(200)).await;
    scene.proxies[0].resume();
    let published = flow.stop().await;
    assert_eq!(scene.losses(0).await, 0);
    assert_eq!(scene.check(&published).await, nothing());
}

#[actix_web::test]
async fn a_cut_of_two_seconds_causes_no_event() {
    let scene = Scene::begin(DEAD_MS).await;
    assert_eq!(disturb(scene, Proxy::stall, &[0], Duration::from_secs(2)).await, nothing());
}

#[actix_web::test]
async fn a_connection_that_breaks_causes_no_event() {
    let scene = Scene::begin(DEAD_MS).await;
    assert_eq!(scene.proxies.each_ref().map(Proxy::connections), [1, 1]);
    assert_eq!(disturb(scene, Proxy::cut, &[0, 1], Duration::from_millis(100)).await, nothing());
}

#[actix_web::test]
async fn users_of_a_node_that_is_cut_off_for_long_part_and_return() {
    let scene = Scene::begin(4_000).await;
    let mut seen = disturb(scene, Proxy::stall, &[0], Duration::from_secs(8)).await;
    seen.sort();
    assert_eq!(seen, ["ann joined", "ann parted", "bob joined", "bob parted"]);
}

#[actix_web::test]
async fn a_cut_of_all_nodes_causes_no_event() {
    let scene = Scene::begin(6_000).await;
    assert_eq!(disturb(scene, Proxy::stall, &[0, 1], Duration::from_secs(8)).await, nothing());
}

#[actix_web::test]
async fn calls_that_do_not_arrive_cause_no_event() {
    let scene = Scene::begin(DEAD_MS).await;
    let cut = |proxy: &Proxy| proxy.stall_one(Direction::ToServer);
    assert_eq!(disturb(scene, cut, &[0], Duration::from_secs(3)).await, nothing());
}

#[actix_web::test]
async fn replies_that_do_not_arrive_cause_no_event() {
    let scene = Scene::begin(DEAD_MS).await;
    let cut = |proxy: &Proxy| proxy.stall_one(Direction::ToClient);
    assert_eq!(disturb(scene, cut, &[0], Duration::from_secs(3)).await, nothing());
}

#[actix_web::test]
async fn a_distant_redis_makes_everything_late_only() {
    const ONE_WAY: Duration = Duration::from_millis(100);
    let scene = Scene::begin(DEAD_MS).await;
    scene.proxies.iter().for_each(|proxy| proxy.delay(ONE_WAY));
    let mut published = Vec::new();
    for number in 0..5 {
        let (text, begun) = (number.to_string(), Instant::now());
        scene.both.publish_text("c", &text).await;
        assert!(begun.elapsed() >= 2 * ONE_WAY, "{:?}", begun.elapsed());
        published.push(text);
    }
    scene.both.publish_text("c", END).await;
    published.push(END.into());
    assert_eq!([scene.losses(0).await, scene.losses(1).await], [0, 0]);
    assert_eq!(scene.check(&published).await, nothing());
}

#[actix_web::test]
async fn scripts_that_redis_forgets_are_not_missed() {
    let scene = Scene::begin(DEAD_MS).await;
    let flow = Flow::start(scene.both, "c");
    for _ in 0..5 {
        actix_rt::time::sleep(Duration::from_millis(50)).await;
        let () = scene.redis.ask(&["SCRIPT", "FLUSH", "SYNC"]);
    }
    let published = flow.stop().await;
    assert_eq!([scene.losses(0).await, scene.losses(1).await], [0, 0]);
    assert_eq!(scene.check(&published).await, nothing());
}

#[actix_web::test]
async fn a_full_redis_refuses_changes_and_recovers() {
    let scene = Scene::begin(3_000).await;
    scene.both.publish_text("c", "before").await;
    let () = scene.redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let requests = [
        ("/message", json!([{"user": "p", "channel": "c", "message": {"text": "refused"}}])),
        ("/connect", json!({"username": "eve", "channels": ["c"]})),
        ("/user_state", json!({"user": "ann", "user_state": {"a": 1}})),
        ("/channel_config", json!({"c": {"notify_presence": false}})),
    ];
    for (path, body) in &requests {
        for node in 0..2 {
            let reply = scene.backend(node).send("POST", path, &[], body.to_string().as_bytes()).await;
            let code = reply.header("x-channelstream-error");
            assert_eq!((reply.status, code), (503, Some("engine-full")), "{path}: {reply:?}");
            assert_eq!(reply.header("x-channelstream-uncertain"), None, "{path}");
        }
    }
    // Longer than a node may be silent: beats need no memory.
    actix_rt::time::sleep(Duration::from_secs(4)).await;
    let () = scene.redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    scene.both.publish_text("c", END).await;
    assert_eq!(scene.both.channel("c").await["users"], json!(["ann", "bob", "witness"]));
    assert_eq!([scene.losses(0).await, scene.losses(1).await], [0, 0]);
    assert_eq!(scene.check(&["before".into(), END.into()]).await, nothing());
}

#[actix_web::test]
async fn a_node_that_redis_cuts_off_because_it_reads_too_slowly_catches_up() {
    const TEXT_BYTES: usize = 200_000;
    let scene = Scene::begin(DEAD_MS).await;
    let limits = "pubsub 1mb 0 0 normal 1mb 0 0";
    let () = scene.redis.ask(&["CONFIG", "SET", "client-output-buffer-limit", limits]);
    scene.proxies[0].stall_one(Direction::ToClient);
    let subscribed = || scene.redis.ask::<String>(&["CLIENT", "LIST"]).matches(" ssub=1 ").count();
    assert_eq!(subscribed(), 2);
    let (until, mut published) = (Instant::now() + OUTAGE_LIMIT, Vec::new());
    // Buffers of sockets and of the proxy fill up before those of Redis.
    while subscribed() == 2 {
        assert!(Instant::now() < until, "Redis does not cut the node off");
        let text = format!("{}-{}", published.len(), "x".repeat(TEXT_BYTES));
        scene.backend(1).publish_text("c", &text).await;
        published.push(text);
    }
    scene.proxies[0].resume();
    scene.backend(1).publish_text("c", END).await;
    published.push(END.into());
    assert_eq!(scene.check(&published).await, nothing());
}

#[actix_web::test]
async fn a_request_that_was_refused_without_redis_was_not_done() {
    let scene = Scene::begin(DEAD_MS).await;
    scene.proxies.iter().for_each(Proxy::stall);
    let mut codes = Vec::new();
    while codes.last().is_none_or(|code| code != "engine-unavailable") {
        let reply = try_publish(&scene.both, "c", &format!("text-{}", codes.len())).await;
        assert_eq!(reply.status, 503, "{reply:?}");
        let is_uncertain = reply.header("x-channelstream-uncertain").is_some();
        codes.push(match is_uncertain {
            true => "uncertain".to_owned(),
            false => reply.header("x-channelstream-error").unwrap_or_default().to_owned(),
        });
    }
    scene.proxies.iter().for_each(Proxy::resume);
    publish_surely(&scene.both, "c", END).await;
    let mut witness = scene.witness;
    witness.read_to_end().await;
    for text in &witness.texts {
        let number = text.strip_prefix("text-").and_then(|number| number.parse::<usize>().ok());
        assert!(number.is_none_or(|number| codes[number] == "uncertain"), "{text} of {codes:?}");
    }
}

/// The connection to Redis breaks when Redis has stored a new connection and before the node knows it. Its id
/// can be used at each node.
#[actix_web::test]
async fn a_connection_whose_reply_is_lost_can_be_created_at_each_node() {
    const ID: &str = "00000000-0000-4000-8000-00000000000a";
    let scene = Scene::begin(DEAD_MS).await;
    let row = format!("cs:{{0}}:conn:{ID}");
    let owner = || scene.redis.ask::<Option<String>>(&["HGET", &row, "owner"]);
    let connect = async |node: usize, user: &str| {
        let body = json!({"username": user, "conn_id": ID, "channels": ["c"]}).to_string();
        scene.backend(node).send("POST", "/connect", &[], body.as_bytes()).await
    };
    let is_lost = async |user: &str| {
        scene.proxies[0].stall_one(Direction::ToClient);
        let cut = async {
            let stored = async {
                while owner().is_none() {
                    actix_rt::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(1), stored).await;
            scene.proxies[0].cut();
            scene.proxies[0].resume();
        };
        let (reply, ()) = join(connect(0, user), cut).await;
        if reply.status == 200 {
            assert!(scene.backend(0).disconnect(ID).await);
            return false;
        }
        assert_eq!(reply.status, 503, "{reply:?}");
        reply.header("x-channelstream-uncertain") == Some("1")
    };
    // If the node waits for another reply at that moment, it does not send the call yet. It would first read the record of a
    // user that it knows.
    let mut users = (0..).map(|number| format!("carl {number}"));
    let user = within(async {
        loop {
            let user = users.next().unwrap_or_default();
            let is_lost = is_lost(&user).await;
            scene.until_connected().await;
            if is_lost {
                return user;
            }
        }
    })
    .await;
    within(async { while connect(1, &user).await.status != 200 {} }).await;
    for node in [1, 0] {
        assert_eq!(connect(node, &user).await.status, 200);
        until_members(&scene.both, 2, "c", json!([4, 4, ["ann", "bob", user, "witness"]])).await;
        assert!(scene.backend(node).disconnect(ID).await);
    }
}
