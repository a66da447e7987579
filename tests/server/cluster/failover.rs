//! A master that dies: the nodes follow the Sentinels to the replica that takes its place.

use super::witness::{END, Witness};
use super::{publish_surely, try_publish, until_members};
use crate::support::backend::Backend;
use crate::support::listener::{Listener, Transport};
use crate::support::nodes::Nodes;
use crate::support::page::Page;
use crate::support::proxy::{Proxy, Target};
use crate::support::redis::{Redis, Sentinel, at};
use crate::support::{TestServer, settings, within};
use channelstream::config::Settings;
use serde_json::json;
use std::time::{Duration, Instant};

/// No node is silent for so long.
const LONG_MS: u64 = 15_000;

/// A master behind a proxy, its replicas, three Sentinels, and two nodes. The first node has a member without positions, the
/// second one a member with positions.
struct Scene {
    backend: Backend,
    old: Witness,
    page: Page,
    listener: Listener,
    _servers: [TestServer; 2],
    _sentinels: Vec<Sentinel>,
    _replicas: Vec<Redis>,
    master: Redis,
    /// Between the master and all that connect to it.
    proxy: Proxy,
    /// The connections of the replicas began before this.
    replicas_until: u64,
}

impl Scene {
    async fn begin(replicas: usize, wait_replicas: usize, dead_ms: u64) -> Self {
        let master = Redis::on_port(&[]);
        let proxy = Proxy::start(Target::Tcp(master.port()));
        let followers: Vec<_> = (0..replicas).map(|_| Redis::on_port(&[])).collect();
        followers.iter().for_each(|replica| replica.follow(proxy.port()));
        let replicas_until = proxy.generation();
        let sentinels = Sentinel::start(3, proxy.port(), replicas);
        let urls: Vec<_> = sentinels.iter().map(Sentinel::url).collect();
        let urls: Vec<_> = urls.iter().map(String::as_str).collect();
        let node = || {
            TestServer::start(at(
                &urls,
                Settings {
                    engine_timeout_ms: 5_000,
                    engine_beat_ms: 300,
                    engine_dead_ms: dead_ms,
                    engine_wait_replicas: wait_replicas,
                    channel_frames: 100_000,
                    ..settings()
                },
            ))
        };
        let servers = [node(), node()];
        servers.iter().for_each(TestServer::wait_until_ready);
        let backend = Backend::new(Nodes::in_turn(servers.each_ref().map(|server| server.address)));
        backend.configure(&["c"], json!({"notify_presence": true})).await;
        let [ann, bob] = [backend.connect("ann", &["c"]).await, backend.connect("bob", &["c"]).await];
        let old = Listener::attach(servers[0].address, Transport::Websocket, &ann).await;
        let listener = Listener::resume(servers[1].address, Transport::Websocket, &bob, "").await;
        let mut old = Witness::new(old);
        old.read_until(|ann| ann.presence == ["ann joined", "bob joined"] || ann.presence == ["bob joined"])
            .await;
        old.presence.clear();
        Self {
            backend,
            old,
            page: Page::default(),
            listener,
            _servers: servers,
            _sentinels: sentinels,
            _replicas: followers,
            master,
            proxy,
            replicas_until,
        }
    }

    async fn publish_all(&self, texts: &[String]) {
        for text in texts {
            publish_surely(&self.backend, "c", text).await;
        }
    }

    /// Both members are still there, and no event said otherwise.
    async fn expect_members(&mut self) {
        until_members(&self.backend, 2, "c", json!([2, 2, ["ann", "bob"]])).await;
        assert!(self.old.presence.is_empty(), "{:?}", self.old.presence);
    }

    /// Reads to the last message at both members.
    async fn read_to_end(&mut self) {
        self.old.read_to_end().await;
        while self.page.frames.last().is_none_or(|frame| frame != END) {
            self.page.read(&mut self.listener, 1, false).await;
        }
        self.page.frames.retain(|frame| frame != "presence");
    }
}

fn texts(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

#[actix_web::test]
async fn nodes_follow_a_failover_that_loses_nothing() {
    let mut scene = Scene::begin(1, 0, LONG_MS).await;
    let (before, after) = (texts("before", 20), texts("after", 20));
    scene.publish_all(&before).await;
    actix_rt::time::sleep(Duration::from_millis(500)).await;
    scene.master.kill();
    scene.publish_all(&after).await;
    scene.publish_all(&[END.into()]).await;
    scene.expect_members().await;
    scene.read_to_end().await;
    let all = [before, after, vec![END.into()]].concat();
    assert_eq!((&scene.old.texts, &scene.page.frames), (&all, &all));
    assert!(scene.page.announced.is_empty() && scene.page.repeated == 0, "{:?}", scene.page.announced);
}

#[actix_web::test]
async fn what_a_failover_loses_is_reported() {
    let mut scene = Scene::begin(1, 0, LONG_MS).await;
    let (kept, lost, after) = (texts("kept", 10), texts("lost", 10), texts("after", 10));
    scene.publish_all(&kept).await;
    actix_rt::time::sleep(Duration::from_millis(500)).await;
    scene.proxy.stall_until(scene.replicas_until);
    scene.publish_all(&lost).await;
    // The members receive everything before the master dies.
    scene.old.read_until(|ann| ann.texts.len() == 20).await;
    while scene.page.frames.last().is_none_or(|frame| frame != "lost9") {
        scene.page.read(&mut scene.listener, 1, false).await;
    }
    let (epoch, position) = (scene.page.epochs["c"].clone(), scene.page.positions["c"].clone());
    scene.master.kill();
    scene.publish_all(&after).await;
    scene.publish_all(&[END.into()]).await;
    scene.expect_members().await;
    scene.read_to_end().await;
    let all = [kept.clone(), lost, after.clone(), vec![END.into()]].concat();
    assert_eq!((&scene.old.texts, &scene.page.frames), (&all, &all));
    let announced = &scene.page.announced;
    assert!(
        matches!(&announced[..], [one] if one["recovered"] == false && one["epoch"] != epoch.as_str()),
        "{announced:?}"
    );
    // No position names two messages: the new ones have another epoch.
    let newest = scene.page.positions["c"].clone();
    assert!(!newest.starts_with(&epoch) && position.starts_with(&epoch), "{position} {newest}");
}

#[actix_web::test]
async fn messages_that_replicas_have_survive_a_failover() {
    let mut scene = Scene::begin(2, 1, LONG_MS).await;
    let all = texts("m", 60);
    let (before, after) = all.split_at(30);
    scene.publish_all(before).await;
    // No pause: what was answered is on a replica.
    scene.master.kill();
    scene.publish_all(after).await;
    scene.publish_all(&[END.into()]).await;
    scene.expect_members().await;
    scene.read_to_end().await;
    let published = [&all[..], &[END.to_owned()]].concat();
    assert_eq!((&scene.old.texts, &scene.page.frames), (&published, &published));
    assert!(scene.page.announced.iter().all(|one| one["recovered"] == true), "{:?}", scene.page.announced);
}

#[actix_web::test]
async fn a_change_that_no_replica_has_is_answered_as_uncertain() {
    let mut scene = Scene::begin(1, 1, 5_000).await;
    scene.publish_all(&["replicated".into()]).await;
    scene.proxy.stall_until(scene.replicas_until);
    for text in ["alone", "alone-again"] {
        let begun = Instant::now();
        let reply = try_publish(&scene.backend, "c", text).await;
        assert_eq!(reply.status, 503, "{reply:?}");
        let headers = ["x-channelstream-error", "x-channelstream-uncertain"].map(|name| reply.header(name));
        assert_eq!(headers, [Some("engine-timeout"), Some("1")]);
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
    // Longer than a node may be silent: a beat is not behind all that waits for replicas.
    let until = Instant::now() + Duration::from_secs(6);
    while Instant::now() < until {
        assert_eq!(try_publish(&scene.backend, "c", "alone").await.status, 503);
    }
    scene.expect_members().await;
    scene.proxy.resume();
    // Repeated requests publish nothing twice.
    scene.publish_all(&["alone".into(), "alone-again".into(), END.into()]).await;
    scene.old.read_to_end().await;
    assert_eq!(scene.old.texts, ["replicated", "alone", "alone-again", END]);
    assert!(scene.old.presence.is_empty(), "{:?}", scene.old.presence);
}

#[actix_web::test]
async fn nodes_go_where_sentinels_point() {
    let (first, second) = (Redis::on_port(&[]), Redis::on_port(&[]));
    let sentinel = Sentinel::start_one(first.port(), 1, "");
    // One that does not exist counts, so that two of the three must name the master.
    let sentinels = [sentinel, Sentinel::start_one(first.port(), 1, "")];
    let urls =
        [&sentinels[0].url(), &sentinels[1].url(), "redis+sentinel://127.0.0.1:1/main"].map(str::to_owned);
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let server = TestServer::start(at(&urls, settings()));
    server.wait_until_ready();
    server.backend().configure(&["early"], json!({"notify_presence": true})).await;
    let point = |sentinel: &Sentinel| {
        let () = sentinel.ask(&["SENTINEL", "REMOVE", Sentinel::MASTER]);
        let port = second.port().to_string();
        let () = sentinel.ask(&["SENTINEL", "MONITOR", Sentinel::MASTER, "127.0.0.1", &port, "1"]);
    };
    sentinels.iter().for_each(point);
    let has_node = || second.ask::<u64>(&["HLEN", "cs:{0}:nodes"]) == 1;
    within(async {
        while !has_node() {
            actix_rt::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let configure = async || {
        server
            .backend()
            .send("POST", "/channel_config", &[], br#"{"late": {"notify_presence": true}}"#)
            .await
            .status
    };
    within(async { while configure().await != 200 {} }).await;
    let channels = [&first, &second].map(|redis| redis.ask::<Vec<String>>(&["SMEMBERS", "cs:{0}:channels"]));
    assert_eq!(channels, [vec!["cearly"], vec!["clate"]]);
}
