//! Messages that a client receives as catch-up after an absence.

use super::stage::{Stage, fast_settings, pick};
use crate::support::listener::text;
use channelstream::config::Settings;
use serde_json::{Value, json};

on_every_transport!(
    client_receives_messages_sent_before_it_first_attached,
    client_receives_messages_sent_while_it_was_away,
    channel_without_stored_frames_sends_no_catch_up
);
on_every_transport!(with super::small_buffers(); client_receives_no_more_than_the_buffers_hold);

async fn client_receives_messages_sent_before_it_first_attached(stage: Stage) {
    stage.backend.connect("early", &["b", "a"]).await;
    stage.backend.publish_text("a", "too early").await;
    let conn_id = stage.backend.connect("ann", &["b", "ä", "a"]).await;
    stage.backend.publish(json!({"pm_users": ["ann"]}), "private 1").await;
    for (channel, text) in [("ä", "ä1"), ("b", "b1"), ("a", "a1"), ("b", "b2")] {
        stage.backend.publish_text(channel, text).await;
    }
    stage.backend.publish(json!({"pm_users": ["ann"]}), "private 2").await;
    stage.backend.publish(json!({"channel": "a", "exclude_users": ["ann"]}), "not for ann").await;
    stage.backend.publish(json!({"channel": "a", "pm_users": ["early"]}), "for early").await;
    stage.backend.publish(json!({"channel": "a", "pm_users": ["ann"]}), "a2").await;
    let mut listener = stage.attach(&conn_id).await;
    let mut events = Vec::new();
    for _ in 0..7 {
        events.push(listener.event().await);
    }
    // The channels sorted by name, each in its own order, then the private messages.
    let texts: Vec<String> = events.iter().map(text).collect();
    assert_eq!(texts, ["a1", "a2", "b1", "b2", "ä1", "private 1", "private 2"]);
    assert!(events.iter().all(|event| event["catchup"] == true), "{events:?}");
    let nulls: Vec<bool> = events.iter().map(|event| event["channel"].is_null()).collect();
    assert_eq!(nulls, [false, false, false, false, false, true, true]);
    stage.backend.publish_text("b", "end").await;
    assert_eq!(listener.texts(1).await, ["end"]);
}

async fn client_receives_messages_sent_while_it_was_away(stage: Stage) {
    let (conn_id, mut listener) = stage.enter("ann", &["b", "a"]).await;
    stage.backend.publish_text("a", "seen").await;
    assert_eq!(listener.texts(1).await, ["seen"]);
    assert!(listener.leave().await.is_empty());
    stage.backend.publish(json!({"pm_users": ["ann"]}), "private").await;
    stage.backend.publish_text("b", "b").await;
    stage.backend.publish_text("a", "a").await;
    let mut listener = stage.attach(&conn_id).await;
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(listener.event().await);
    }
    let seen: Vec<Value> = events.iter().map(|event| pick(event, &["message", "catchup", "type"])).collect();
    let expected = ["a", "b", "private"].map(|text| json!([{"text": text}, true, "message"]));
    assert_eq!(seen, expected);
    assert!(listener.leave().await.is_empty());
    // There is nothing new, so no message is repeated.
    let mut listener = stage.attach(&conn_id).await;
    stage.backend.publish_text("a", "end").await;
    assert_eq!(listener.texts(1).await, ["end"]);
}

/// A channel may store nothing for absent clients; it still serves those that listen.
async fn channel_without_stored_frames_sends_no_catch_up(stage: Stage) {
    stage.backend.configure(&["c"], json!({"store_frames": false})).await;
    let conn_id = stage.backend.connect("ann", &["c", "marks"]).await;
    stage.backend.publish_text("c", "nobody listens").await;
    stage.backend.publish_text("marks", "stored").await;
    let mut listener = stage.attach(&conn_id).await;
    assert_eq!(listener.texts(1).await, ["stored"]);
    stage.backend.configure(&["c"], json!({})).await;
    stage.backend.publish_text("c", "end").await;
    assert_eq!(listener.texts(1).await, ["end"]);
    assert!(listener.leave().await.is_empty());
    // A later change of the settings removes the messages that were stored before.
    stage.backend.publish_text("c", "forgotten").await;
    stage.backend.configure(&["c"], json!({"store_frames": false})).await;
    let mut listener = stage.attach(&conn_id).await;
    stage.backend.publish_text("marks", "end").await;
    assert_eq!(listener.texts(1).await, ["end"]);
}

fn small_buffers() -> Settings {
    Settings { channel_frames: 5, user_frames: 3, ..fast_settings() }
}

async fn client_receives_no_more_than_the_buffers_hold(stage: Stage) {
    let conn_id = stage.backend.connect("ann", &["c"]).await;
    for number in 0..10 {
        stage.backend.publish_text("c", &number.to_string()).await;
        stage.backend.publish(json!({"pm_users": ["ann"]}), &format!("private {number}")).await;
    }
    let mut listener = stage.attach(&conn_id).await;
    assert_eq!(listener.texts(5).await, ["5", "6", "7", "8", "9"]);
    assert_eq!(listener.texts(3).await, ["private 7", "private 8", "private 9"]);
    stage.backend.publish_text("c", "end").await;
    assert_eq!(listener.texts(1).await, ["end"]);
}
