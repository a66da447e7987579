//! Who is there, and what they show of themselves.

use crate::stage::{Stage, pick, quick};
use crate::support::listener::Listener;
use channelstream::config::Settings;
use serde_json::{Value, json};

on_every_transport!(
    with super::brief();
    users_come_and_go,
    lists_of_users,
    gone_and_back_within_the_grace_time,
    parted_after_the_end,
    state_changes,
);

/// Connections without session are soon absent.
fn brief() -> Settings {
    Settings { unattached_timeout: 1_000, ..quick() }
}

async fn watched(stage: &Stage, settings: Value) -> Listener {
    stage.backend.configure(&["c"], settings).await;
    stage.enter("witness", &["c"]).await.1
}

fn seen(event: &Value) -> Value {
    pick(event, &["type", "user", "message", "channel"])
}

fn joined(user: &str) -> Value {
    json!(["presence", user, {"action": "joined"}, "c"])
}

fn parted(user: &str) -> Value {
    json!(["presence", user, {"action": "parted"}, "c"])
}

/// Presence is about users: the first connection joins, the last one parts.
async fn users_come_and_go(stage: Stage) {
    let mut witness = watched(&stage, json!({"notify_presence": true})).await;
    let state = json!({"username": "ann", "channels": ["c"], "user_state": {"a": 1, "b": 2},
        "state_public_keys": ["a"]});
    let first = stage.backend.post("/connect", state).await["conn_id"].as_str().unwrap().to_owned();
    let mut ann = stage.attach(&first).await;
    let event = witness.event().await;
    assert_eq!(seen(&event), joined("ann"));
    assert_eq!(pick(&event, &["users", "state"]), json!([[], {"a": 1}]));
    let (second, _ann_elsewhere) = stage.enter("ann", &["c"]).await;
    let (third, _bob) = stage.enter("bob", &["c"]).await;
    assert_eq!(seen(&witness.event().await), joined("bob"));
    assert!(stage.backend.disconnect(&second).await);
    assert!(stage.backend.disconnect(&third).await);
    assert_eq!(seen(&witness.event().await), parted("bob"), "ann is still there");
    // Nobody hears of themselves.
    assert_eq!(seen(&ann.event().await), joined("bob"));
    assert_eq!(seen(&ann.event().await), parted("bob"));
    stage.backend.post("/unsubscribe", json!({"conn_id": first, "channels": ["c"]})).await;
    let event = witness.event().await;
    assert_eq!(seen(&event), parted("ann"));
    assert!(event["state"].is_null() && event["timestamp"].is_string());
    let channel = stage.backend.channel("c").await;
    assert_eq!(pick(&channel, &["total_connections", "total_users", "users"]), json!([1, 1, ["witness"]]));
}

async fn lists_of_users(stage: Stage) {
    let settings = json!({"notify_presence": true, "broadcast_presence_with_user_lists": true});
    let mut witness = watched(&stage, settings).await;
    let (conn_id, _listener) = stage.enter("ann", &["c"]).await;
    let list =
        |names: &[&str]| names.iter().map(|name| json!({"user": name, "state": {}})).collect::<Value>();
    let event = witness.event().await;
    assert_eq!(seen(&event), joined("ann"));
    assert_eq!(event["users"], list(&["ann", "witness"]));
    stage.backend.disconnect(&conn_id).await;
    let event = witness.event().await;
    assert_eq!(seen(&event), parted("ann"));
    assert_eq!(event["users"], list(&["witness"]));
}

async fn gone_and_back_within_the_grace_time(stage: Stage) {
    let mut witness = watched(&stage, json!({"notify_presence": true})).await;
    let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
    assert_eq!(seen(&witness.event().await), joined("ann"));
    for round in 0..3 {
        assert!(listener.leave().await.is_empty());
        assert_eq!(seen(&witness.event().await), parted("ann"));
        assert_eq!(stage.backend.channel("c").await["total_connections"], 1);
        stage.backend.say("c", &format!("missed {round}")).await;
        assert_eq!(witness.texts(1).await, [format!("missed {round}")]);
        listener = stage.attach(&conn_id).await;
        assert_eq!(listener.texts(1).await, [format!("missed {round}")]);
        assert_eq!(seen(&witness.event().await), joined("ann"));
        assert_eq!(stage.backend.channel("c").await["total_connections"], 2);
    }
    // Named again by its backend while it is away, it is back as well.
    listener.leave().await;
    assert_eq!(seen(&witness.event().await), parted("ann"));
    let again = json!({"username": "ann", "conn_id": conn_id, "channels": ["c"]});
    stage.backend.post("/connect", again).await;
    assert_eq!(seen(&witness.event().await), joined("ann"));
}

/// Whether a client says goodbye or is gone without a word.
async fn parted_after_the_end(stage: Stage) {
    let mut witness = watched(&stage, json!({"notify_presence": true})).await;
    for orderly in [true, false] {
        let (_, listener) = stage.enter("ann", &["c"]).await;
        assert_eq!(seen(&witness.event().await), joined("ann"));
        if orderly {
            listener.leave().await;
        } else {
            listener.hang_up().await;
        }
        assert_eq!(seen(&witness.event().await), parted("ann"));
    }
}

async fn state_changes(stage: Stage) {
    let mut witness = watched(&stage, json!({"notify_state": true})).await;
    let (_, mut ann) = stage.enter("ann", &["c", "quiet"]).await;
    let change =
        json!({"user": "ann", "user_state": {"mood": "good", "secret": 1}, "state_public_keys": ["mood"]});
    let answer = stage.backend.post("/user_state", change).await;
    assert_eq!(answer["user_state"], json!({"mood": "good", "secret": 1}));
    assert_eq!(answer["public_keys"], json!(["mood"]));
    stage.backend.post("/user_state", json!({"user": "ann", "user_state": {"secret": 2}})).await;
    // Keys alone are no change that anybody is told.
    stage.backend.post("/user_state", json!({"user": "ann", "state_public_keys": []})).await;
    for listener in [&mut witness, &mut ann] {
        let event = listener.event().await;
        let message = json!({"state": {"mood": "good"}, "changed": [{"key": "mood", "value": "good"}]});
        assert_eq!(seen(&event), json!(["user_state_change", "ann", message, "c"]));
        let event = listener.event().await;
        let message = json!({"state": {"mood": "good"}, "changed": []});
        assert_eq!(seen(&event), json!(["user_state_change", "ann", message, "c"]));
    }
    stage.backend.say("c", "end").await;
    assert_eq!(ann.texts(1).await, ["end"]);
    assert_eq!(witness.texts(1).await, ["end"]);
}
