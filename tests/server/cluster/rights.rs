//! A node whose user in Redis has the rights that docs/cluster.md names, and no others.

use super::{OUTAGE_LIMIT, publish_surely, spawn_node};
use crate::support::backend::Backend;
use crate::support::listener::{Listener, Transport};
use crate::support::proxy::{Proxy, Target};
use crate::support::redis::{Redis, Sentinel};
use crate::support::wait_until_ready;
use serde_json::json;
use std::time::{Duration, Instant};

/// Makes the user of the documentation, with this password.
fn make_user(redis: &Redis, password: &str) {
    let rule = include_str!("../../../docs/cluster.md").lines().find_map(|line| line.strip_prefix("user "));
    let rule = rule.expect("the page has the rule").replace("PASSWORD", password);
    let words: Vec<_> = ["ACL", "SETUSER"].into_iter().chain(rule.split(' ')).collect();
    let () = redis.ask(&words);
}

#[actix_web::test]
async fn a_node_needs_only_the_rights_that_are_documented() {
    let redis = Redis::on_port(&[]);
    make_user(&redis, "hush");
    let proxy = Proxy::start(Target::Tcp(redis.port()));
    let url = format!("engine_url=redis://channelstream:hush@127.0.0.1:{}", proxy.port());
    let start = || spawn_node(&[&url, "user_idle_timeout_ms=1000", "engine_channel_idle_ms=1000"]);
    let (mut first, second) = (start(), start());
    [&first, &second].iter().for_each(|node| wait_until_ready(node.address));
    let backend = Backend::new(second.address);
    backend.configure(&["c"], json!({"notify_presence": true, "store_history": true})).await;
    backend.configure(&["idle"], json!({"notify_presence": true})).await;
    let [ann, bob] =
        [Backend::new(first.address).connect("ann", &["c"]).await, backend.connect("bob", &["c"]).await];
    let mut listener = Listener::attach(second.address, Transport::Websocket, &bob).await;
    // A connection that moves, a message that is edited and deleted, a state, a block, a key.
    let moved = Listener::attach(second.address, Transport::Websocket, &ann).await;
    let uuid = backend.publish_text("c", "one").await;
    let item = json!([{"uuid": uuid, "channel": "c", "message": {"text": "two"}, "user": "p"}]);
    backend.call("PATCH", "/message", item.clone()).await;
    backend.call("DELETE", "/message", json!([{"uuid": uuid, "channel": "c"}])).await;
    backend.post("/user_state", json!({"user": "ann", "user_state": {"a": 1}})).await;
    backend.post("/block", json!({"user": "eve", "seconds": 60})).await;
    backend.call("DELETE", "/block", json!({"user": "eve"})).await;
    backend.post("/info", json!({"info": {}})).await;
    publish_surely(&backend, "c", "keyed").await;
    // A connection that breaks, a node that dies, things that nothing uses.
    proxy.cut();
    publish_surely(&backend, "c", "after-the-cut").await;
    drop(moved);
    first.signal("-KILL");
    first.ended().await;
    let channels = || redis.ask::<Vec<String>>(&["SMEMBERS", "cs:{0}:channels"]);
    let alive = || redis.ask::<Vec<String>>(&["ZRANGE", "cs:{0}:beats", "0", "-1"]);
    let until = Instant::now() + OUTAGE_LIMIT;
    while channels() != ["cc"] || alive().len() != 1 || redis.ask::<u64>(&["SCARD", "cs:{0}:dead"]) != 0 {
        assert!(Instant::now() < until, "{:?} {:?}", channels(), alive());
        actix_rt::time::sleep(Duration::from_millis(50)).await;
    }
    publish_surely(&backend, "c", "end").await;
    while listener.event().await["message"]["text"] != "end" {}
    let refused: Vec<redis::Value> = redis.ask(&["ACL", "LOG"]);
    assert!(refused.is_empty(), "{refused:?}");
    assert!(second.log().at("Redis refused").is_none(), "{}", second.log().text());
    let text = second.log().text() + &first.log().text();
    assert!(!text.contains("hush"), "{text}");
}

#[actix_web::test]
async fn sentinels_have_the_credentials_of_the_master_or_none() {
    let redis = Redis::on_port(&[]);
    make_user(&redis, "hush");
    let acl = "user sentinel on nopass allcommands allkeys allchannels\nuser default off";
    let lines = format!("{acl}\nuser channelstream on >hush allcommands allkeys allchannels");
    for lines in ["", &lines] {
        let sentinel = Sentinel::start_one(redis.port(), 1, lines);
        let url = sentinel.url().replace("//", "//channelstream:hush@");
        let node = spawn_node(&[&format!("engine_url={url}")]);
        wait_until_ready(node.address);
        Backend::new(node.address).configure(&["c"], json!({"notify_presence": true})).await;
    }
}
