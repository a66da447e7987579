//! Several nodes on one Redis, as an operator sees them.

use super::operator::{Operator, fast_settings};
use crate::support::TestServer;
use crate::support::listener::{Listener, Transport};
use crate::support::redis::Redis;
use channelstream::config::Settings;
use serde_json::{Value, json};

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
async fn each_node_lists_what_all_have() {
    let redis = Redis::start(&[]);
    let (one, two) = (node(&redis, "one"), node(&redis, "two"));
    one.backend().connect("ada", &["news"]).await;
    let conn_id = two.backend().connect("ada", &["news", "talk"]).await;
    let state = json!({"username": "bob", "channels": ["talk"], "user_state": {"a": 1}});
    two.backend().post("/connect", state).await;
    let _listener = Listener::attach(two.address, Transport::Websocket, &conn_id).await;
    two.backend().configure(&["quiet"], json!({"store_history": true, "history_size": 7})).await;
    two.backend().publish_text("quiet", "kept").await;
    let rows = |list: &Value, fields: &[&str]| -> Value {
        let row = |row: &Value| fields.iter().map(|field| row[*field].clone()).collect::<Value>();
        list["rows"].as_array().unwrap().iter().map(row).collect()
    };
    for server in [&one, &two] {
        let operator = Operator::sign_in(server).await;
        let channels = operator.get("/admin/channels.json").await;
        let figures = rows(&channels, &["name", "connections", "users", "history"]);
        assert_eq!(figures, json!([["news", 2, 1, 0], ["quiet", 0, 0, 1], ["talk", 2, 2, 0]]));
        assert_eq!(
            (&channels["total"], &channels["rows"][1]["settings"]["history_size"]),
            (&json!(3), &json!(7))
        );
        let users = operator.get("/admin/users.json").await;
        assert_eq!(rows(&users, &["name", "connections"]), json!([["ada", 2], ["bob", 1]]));
        assert_eq!((&users["total"], &users["rows"][1]["state"]), (&json!(2), &json!({"a": 1})));
        let found = operator.get("/admin/connections.json?channel=talk&sort=user").await;
        assert_eq!(
            rows(&found, &["user", "node", "transport"]),
            json!([["ada", "two", "websocket"], ["bob", "two", null]])
        );
        assert_eq!((&found["total"], &found["rows"][0]["address"]), (&json!(3), &json!("127.0.0.1")));
        assert!(found["rows"][0]["since"].is_u64() && found["partial"].is_null(), "{found}");
        let ada = operator.get("/admin/user.json?name=ada").await;
        assert_eq!((&ada["total"], ada["connections"].as_array().unwrap().len()), (&json!(2), 2));
        let connection = operator.get(&format!("/admin/connection.json?conn_id={conn_id}")).await;
        let here = std::ptr::eq(server, &two);
        assert_eq!((&connection["node"], &connection["here"]), (&json!("two"), &json!(here)));
        assert_eq!(connection["channel_names"], json!(["news", "talk"]));
        let recorded = operator.command("/admin/record", json!({"conn_id": conn_id, "on": true})).await;
        assert_eq!(recorded.status, if here { 200 } else { 422 }, "{recorded:?}");
        let figures = operator.get("/admin/admin.json").await;
        assert_eq!(figures["users"].as_array().unwrap().len(), 2);
        assert_eq!(figures["channels"]["talk"]["total_users"], 2);
    }
}

#[actix_rt::test]
async fn a_node_that_does_not_answer_is_left_out_of_lists() {
    let redis = Redis::start(&[]);
    let one = node(&redis, "one");
    one.backend().connect("ada", &["news"]).await;
    let operator = Operator::sign_in(&one).await;
    assert!(operator.get("/admin/users.json").await["partial"].is_null());
    drop(redis);
    let shown = operator.until("/admin/users.json", |list| list["partial"] == true).await;
    assert_eq!(shown["rows"][0]["name"], "ada");
    let shown = operator.get("/admin/channels.json").await;
    assert_eq!((&shown["rows"][0]["name"], &shown["partial"]), (&json!("news"), &json!(true)));
    assert_eq!(operator.get("/admin/admin.json").await["total_connections"], 1);
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
