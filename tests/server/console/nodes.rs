//! Several nodes on one Redis, as an operator sees them.

use super::operator::{Operator, fast_settings};
use crate::support::TestServer;
use crate::support::redis::Redis;
use channelstream::config::Settings;
use serde_json::Value;

fn node(redis: &Redis, name: &str) -> TestServer {
    let settings = Settings { node_name: Some(name.into()), ..fast_settings() };
    let server = TestServer::start(redis.settings(settings));
    server.wait_until_ready();
    server
}

/// Name, whether it is the one that answers, and number of connections of each node.
fn by_name(figures: &Value) -> Vec<(String, bool, u64)> {
    let shown = |node: &Value| {
        let (this, connections) = (node["this"].as_bool().unwrap(), node["connections"].as_u64().unwrap());
        (node["name"].as_str().unwrap().to_owned(), this, connections)
    };
    figures["nodes"].as_array().unwrap().iter().map(shown).collect()
}

#[actix_rt::test]
async fn each_node_lists_all_nodes_with_their_figures() {
    let redis = Redis::start(&[]);
    let (one, two) = (node(&redis, "one"), node(&redis, "two"));
    two.backend().connect("ada", &["news"]).await;
    for (server, is_one) in [(&one, true), (&two, false)] {
        let operator = Operator::sign_in(server).await;
        let figures = operator
            .until("/admin/admin.json?per_page=0", |figures| {
                // On a busy machine a beat may be late.
                let is_serving = |node: &Value| node["state"] == "serving";
                figures["nodes"].as_array().unwrap().iter().all(is_serving)
                    && figures["stale"] == false
                    && by_name(figures) == [("one".into(), is_one, 0), ("two".into(), !is_one, 1)]
            })
            .await;
        for node in figures["nodes"].as_array().unwrap() {
            assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
            assert!(node["number"].as_u64().unwrap() > 0 && node["last_beat_ms"].is_u64(), "{node}");
        }
    }
}

#[actix_rt::test]
async fn without_redis_the_list_remains_and_is_marked() {
    let redis = Redis::start(&[]);
    let server = node(&redis, "one");
    let operator = Operator::sign_in(&server).await;
    let path = "/admin/admin.json?per_page=0";
    operator.until(path, |figures| by_name(figures) == [("one".into(), true, 0)]).await;
    drop(redis);
    let figures = operator.until(path, |figures| figures["stale"] == true).await;
    assert_eq!(by_name(&figures), [("one".into(), true, 0)]);
}

#[actix_rt::test]
async fn the_debug_page_has_the_figures_of_the_link() {
    let redis = Redis::start(&[]);
    let server = node(&redis, "one");
    server.backend().connect("ada", &["news"]).await;
    let operator = Operator::sign_in(&server).await;
    let text = operator.ask("GET", "/admin/debug", &[], "").await.text();
    let has = |start: &str| text.lines().any(|line| line.starts_with(start));
    assert!(has("engine, connected to Redis: 1") && has("engine, term of Redis: 1"), "{text}");
    assert!(has("engine, calls of Set: ") && has("engine, microseconds of 99 % of Set, at most: "), "{text}");
    let alone = super::operator::server();
    let text = Operator::sign_in(&alone).await.ask("GET", "/admin/debug", &[], "").await.text();
    assert!(!text.contains("engine, "), "{text}");
}
