//! Requests that only read: a node does not begin to follow all channels because of them.

use crate::scenarios::fast_settings;
use crate::support::backend::Backend;
use crate::support::nodes::Cluster;
use channelstream::config::Settings;
use serde_json::{Value, json};

const CHANNELS: usize = 30;

/// How many calls of Follow a node has made.
async fn follows(backend: &Backend) -> u64 {
    let text = backend.send("GET", "/admin/debug", &[], b"").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix("engine, calls of Follow: "));
    line.map_or(0, |count| count.parse().unwrap())
}

async fn get(backend: &Backend, target: &str) -> Value {
    let reply = backend.send("GET", target, &[], b"").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// The channels of two users with states, with messages, and one that is empty.
async fn fill(backend: &Backend) {
    let names: Vec<String> = (0..CHANNELS).map(|number| format!("c{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (user, channels) in [("ann", &names[..]), ("bob", &names[..3]), ("eve", &["empty"])] {
        let conn_id = backend.connect(user, channels).await;
        let state =
            json!({"user": user, "user_state": {"mood": user, "age": 7}, "state_public_keys": ["age"]});
        backend.post("/user_state", state).await;
        if user == "eve" {
            assert!(backend.disconnect(&conn_id).await);
        }
    }
    backend.configure(&names[..5], json!({"store_history": true, "history_size": 4})).await;
    for text in ["a", "b", "c", "d", "e"] {
        backend.publish_text(names[1], text).await;
    }
    let id = backend.publish_text(names[2], "old").await;
    backend.call("PATCH", "/message", json!([{"uuid": id, "channel": names[2], "message": {"n": 1}}])).await;
}

#[actix_web::test]
async fn a_node_reads_all_channels_without_following_them() {
    let settings = Settings { max_frame_bytes: 1 << 20, ..fast_settings() };
    let cluster = Cluster::start(2, &settings);
    let [here, there] = [0, 1].map(|node: usize| cluster.servers[node].backend());
    fill(&here).await;
    assert!(follows(&here).await > 0);
    let before = follows(&there).await;
    for options in [
        json!({}),
        json!({"return_public_state": true}),
        json!({"include_users": false}),
        json!({"include_history": false, "exclude_channels": ["c01", "c02"]}),
        json!({"include_users": false, "include_history": false}),
    ] {
        let mut shown = there.post("/info", json!({"info": options})).await;
        // The names of all channels, with which the node that has them answers from its copies.
        let excluded = options["exclude_channels"].as_array().map_or(0, Vec::len);
        let mut named = options.clone();
        named["channels"] = shown["channels"].as_object().unwrap().keys().cloned().collect();
        let mut expected = here.post("/info", json!({"info": named})).await;
        assert_eq!(shown["channels"].as_object().unwrap().len(), CHANNELS + 1 - excluded);
        for answer in [&mut shown, &mut expected] {
            let users = answer["users"].as_array_mut().unwrap();
            users.sort_by_key(Value::to_string);
        }
        assert_eq!(shown, expected, "{options}");
    }
    let shown = get(&there, "/admin/admin.json").await;
    let expected = get(&here, "/admin/admin.json").await;
    assert_eq!(shown["channels"].as_object().unwrap().len(), CHANNELS + 1);
    assert_eq!(shown["channels"], expected["channels"]);
    let page = get(&there, "/admin/admin.json?per_page=10&page=2&search=c").await;
    assert_eq!(page["channels"].as_object().unwrap().len(), 10);
    get(&there, "/admin/channels.json?per_page=10").await;
    assert_eq!(follows(&there).await, before, "the node follows no further channels");
    // What was published directly before is visible.
    here.publish_text("c03", "last").await;
    let shown = there.post("/info", json!({"info": {}})).await;
    assert_eq!(shown["channels"]["c03"]["history"][0]["message"]["text"], "last");
}
