//! Presence events and the public state of users.

use super::stage::{Stage, fast_settings, pick};
use crate::support::listener::Listener;
use channelstream::config::Settings;
use serde_json::{Value, json};

on_every_transport!(
    with super::short_absence();
    users_join_and_part,
    presence_events_contain_the_list_of_users,
    user_parts_and_joins_again_within_the_grace_time,
    user_parts_after_the_session_ends,
    clients_receive_changes_of_public_state,
);

/// Connections without a session are soon absent.
fn short_absence() -> Settings {
    Settings { unattached_timeout: 1_000, ..fast_settings() }
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

/// Presence is about users: a user joins with the first connection and parts with the last one.
async fn users_join_and_part(stage: Stage) {
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
    // A user receives no event about itself.
    assert_eq!(seen(&ann.event().await), joined("bob"));
    assert_eq!(seen(&ann.event().await), parted("bob"));
    stage.backend.post("/unsubscribe", json!({"conn_id": first, "channels": ["c"]})).await;
    let event = witness.event().await;
    assert_eq!(seen(&event), parted("ann"));
    assert!(event["state"].is_null() && event["timestamp"].is_string());
    let channel = stage.backend.channel("c").await;
    assert_eq!(pick(&channel, &["total_connections", "total_users", "users"]), json!([1, 1, ["witness"]]));
}

async fn presence_events_contain_the_list_of_users(stage: Stage) {
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

async fn user_parts_and_joins_again_within_the_grace_time(stage: Stage) {
    let mut witness = watched(&stage, json!({"notify_presence": true})).await;
    let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
    assert_eq!(seen(&witness.event().await), joined("ann"));
    for round in 0..3 {
        assert!(listener.leave().await.is_empty());
        assert_eq!(seen(&witness.event().await), parted("ann"));
        stage.expect_connections("c", 1).await;
        stage.backend.publish_text("c", &format!("missed {round}")).await;
        assert_eq!(witness.texts(1).await, [format!("missed {round}")]);
        listener = stage.attach(&conn_id).await;
        assert_eq!(listener.texts(1).await, [format!("missed {round}")]);
        assert_eq!(seen(&witness.event().await), joined("ann"));
        stage.expect_connections("c", 2).await;
    }
    // A backend that names an absent connection again also makes its user present again.
    listener.leave().await;
    assert_eq!(seen(&witness.event().await), parted("ann"));
    let again = json!({"username": "ann", "conn_id": conn_id, "channels": ["c"]});
    stage.backend.post("/connect", again).await;
    assert_eq!(seen(&witness.event().await), joined("ann"));
}

/// The user parts whether the client closes in order or drops the connection.
async fn user_parts_after_the_session_ends(stage: Stage) {
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

async fn clients_receive_changes_of_public_state(stage: Stage) {
    let mut witness = watched(&stage, json!({"notify_state": true})).await;
    let (_, mut ann) = stage.enter("ann", &["c", "quiet"]).await;
    let change =
        json!({"user": "ann", "user_state": {"mood": "good", "secret": 1}, "state_public_keys": ["mood"]});
    let answer = stage.backend.post("/user_state", change).await;
    assert_eq!(answer["user_state"], json!({"mood": "good", "secret": 1}));
    assert_eq!(answer["public_keys"], json!(["mood"]));
    stage.backend.post("/user_state", json!({"user": "ann", "user_state": {"secret": 2}})).await;
    // A change of the public keys alone sends no event.
    stage.backend.post("/user_state", json!({"user": "ann", "state_public_keys": []})).await;
    for listener in [&mut witness, &mut ann] {
        let event = listener.event().await;
        let message = json!({"state": {"mood": "good"}, "changed": [{"key": "mood", "value": "good"}]});
        assert_eq!(seen(&event), json!(["user_state_change", "ann", message, "c"]));
        let event = listener.event().await;
        let message = json!({"state": {"mood": "good"}, "changed": []});
        assert_eq!(seen(&event), json!(["user_state_change", "ann", message, "c"]));
    }
    stage.backend.publish_text("c", "end").await;
    assert_eq!(ann.texts(1).await, ["end"]);
    assert_eq!(witness.texts(1).await, ["end"]);
}
