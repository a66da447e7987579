//! A Redis that stands still, that is restarted, or that has lost everything.

use super::until_members;
use super::witness::Witness;
use crate::support::backend::Backend;
use crate::support::listener::{Listener, Transport};
use crate::support::nodes::Nodes;
use crate::support::redis::Redis;
use crate::support::{TestServer, settings, within};
use channelstream::config::Settings;
use serde_json::json;
use std::time::{Duration, Instant};

const TIMEOUT_MS: u64 = 1_000;
/// A request during an outage is refused after `engine_timeout_ms` and this time.
const REFUSED_AFTER: Duration = Duration::from_secs(1);

/// With these arguments Redis keeps what it has answered.
const AOF: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

/// Two nodes, each with a member of the channel.
struct Scene {
    servers: [TestServer; 2],
    backend: Backend,
    members: [Witness; 2],
    redis: Redis,
}

impl Scene {
    async fn begin(arguments: &[&str]) -> Self {
        let redis = Redis::start(arguments);
        let node = || {
            TestServer::start(redis.settings(Settings {
                engine_timeout_ms: TIMEOUT_MS,
                engine_beat_ms: 300,
                engine_dead_ms: 1_500,
                ..settings()
            }))
        };
        let servers = [node(), node()];
        servers.iter().for_each(TestServer::wait_until_ready);
        let backend = Backend::new(Nodes::in_turn(servers.each_ref().map(|server| server.address)));
        backend.configure(&["c"], json!({"notify_presence": true})).await;
        let mut members = Vec::new();
        for (server, user) in servers.iter().zip(["ann", "bob"]) {
            let conn_id = backend.connect(user, &["c"]).await;
            let listener = Listener::attach(server.address, Transport::Websocket, &conn_id).await;
            members.push(Witness::new(listener));
        }
        let [mut ann, bob] = <[Witness; 2]>::try_from(members).ok().expect("two members");
        ann.read_until(|ann| ann.presence == ["bob joined"]).await;
        ann.presence.clear();
        let mut scene = Self { servers, backend, members: [ann, bob], redis };
        scene.publish("before").await;
        scene
    }

    /// Publishes a message, which all members receive, and nothing before it.
    async fn publish(&mut self, text: &str) {
        self.backend.publish_text("c", text).await;
        for member in &mut self.members {
            member.read_until(|member| !member.texts.is_empty()).await;
            assert_eq!(std::mem::take(&mut member.texts), [text]);
            assert!(member.presence.is_empty(), "{:?}", member.presence);
        }
    }

    /// Both nodes refuse requests that need Redis.
    async fn expect_refusals(&self, codes: &[&str]) {
        let requests = [
            ("/message", json!([{"user": "p", "channel": "elsewhere", "message": {}}])),
            ("/connect", json!({"username": "eve", "channels": ["elsewhere"]})),
            ("/user_state", json!({"user": "eve", "user_state": {"a": 1}})),
            ("/info", json!({"info": {"channels": ["elsewhere"]}})),
        ];
        for server in &self.servers {
            for (path, body) in &requests {
                let begun = Instant::now();
                let reply = server.backend().send("POST", path, &[], body.to_string().as_bytes()).await;
                let took = begun.elapsed();
                assert_eq!(reply.status, 503, "{path}: {reply:?}");
                let code = reply.header("x-channelstream-error").expect("a code");
                assert!(codes.contains(&code), "{path}: {code}");
                assert!(took < Duration::from_millis(TIMEOUT_MS) + REFUSED_AFTER, "{path}: {took:?}");
            }
        }
    }

    /// Waits until all nodes report that Redis does not answer: for longer than a node may be silent.
    async fn until_nodes_miss_redis(&self) {
        for server in &self.servers {
            let backend = server.backend();
            let is_ready = async || backend.send("GET", "/health/ready", &[], b"").await.status == 200;
            within(async { while is_ready().await {} }).await;
        }
    }

    /// Everything works again, and nothing was lost but what Redis lost.
    async fn expect_recovery(mut self) {
        self.servers.iter().for_each(TestServer::wait_until_ready);
        until_members(&self.backend, 2, "c", json!([2, 2, ["ann", "bob"]])).await;
        self.publish("after").await;
        let conn_id = self.backend.connect("eve", &["c"]).await;
        self.members[0].read_until(|ann| ann.presence == ["eve joined"]).await;
        self.members[1].read_until(|bob| bob.presence == ["eve joined"]).await;
        self.members.iter_mut().for_each(|member| member.presence.clear());
        until_members(&self.backend, 2, "c", json!([3, 3, ["ann", "bob", "eve"]])).await;
        let mut eve =
            Witness::new(Listener::attach(self.servers[1].address, Transport::Websocket, &conn_id).await);
        self.publish("end").await;
        eve.read_to_end().await;
        assert_eq!(eve.texts, ["end"]);
    }
}

#[actix_web::test]
async fn a_redis_that_stands_still_causes_refusals_and_no_event() {
    let scene = Scene::begin(&[]).await;
    scene.redis.signal("-STOP");
    scene.expect_refusals(&["engine-timeout", "engine-unavailable"]).await;
    scene.until_nodes_miss_redis().await;
    scene.redis.signal("-CONT");
    scene.expect_recovery().await;
}

#[actix_web::test]
async fn a_redis_that_restarts_with_its_data_causes_refusals_and_no_event() {
    let mut scene = Scene::begin(AOF).await;
    scene.redis.kill();
    scene.expect_refusals(&["engine-timeout", "engine-unavailable"]).await;
    scene.until_nodes_miss_redis().await;
    scene.redis.start_again(AOF);
    scene.expect_recovery().await;
}

#[actix_web::test]
async fn a_redis_that_restarts_without_data_is_filled_again() {
    let mut scene = Scene::begin(&[]).await;
    scene.redis.kill();
    scene.expect_refusals(&["engine-timeout", "engine-unavailable"]).await;
    scene.until_nodes_miss_redis().await;
    scene.redis.start_again(&[]);
    scene.expect_recovery().await;
}
