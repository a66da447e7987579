//! Channels whose new members receive what is stored, and channels that store it for a short time.

use super::stage::{Stage, fast_settings};
use channelstream::config::{FileFormat, Settings, parse};
use serde_json::json;
use std::time::Duration;

on_every_transport!(
    with super::settings();
    new_members_receive_the_stored_frames_once,
    old_frames_are_not_received,
);

const PATTERNS: &str = r#"
    [[channels]]
    match = "kept*"
    replay = "members"
    frames = 3
    [[channels]]
    match = "short"
    replay = "members"
    frames_age_s = 1
"#;

fn settings() -> Settings {
    let channels = parse(PATTERNS, FileFormat::Toml, "patterns.toml".as_ref()).unwrap().channels;
    Settings { channels, ..fast_settings() }
}

async fn new_members_receive_the_stored_frames_once(stage: Stage) {
    stage.backend.configure(&["kept-1", "kept-2", "plain"], json!({})).await;
    for n in 0..5 {
        for channel in ["kept-1", "kept-2", "plain"] {
            stage.backend.publish_text(channel, &format!("{channel} {n}")).await;
        }
    }
    let (conn_id, mut listener) = stage.enter("ann", &["kept-1", "plain"]).await;
    for n in 2..5 {
        let event = listener.event().await;
        assert_eq!(
            (&event["message"]["text"], &event["catchup"]),
            (&json!(format!("kept-1 {n}")), &json!(true))
        );
    }
    stage.backend.publish_text("kept-1", "live").await;
    assert_eq!(listener.texts(1).await, ["live"]);
    stage.backend.post("/subscribe", json!({"conn_id": conn_id, "channels": ["kept-2"]})).await;
    assert_eq!(listener.texts(3).await, ["kept-2 2", "kept-2 3", "kept-2 4"]);
    assert!(listener.leave().await.is_empty());
    stage.backend.publish_text("kept-2", "missed").await;
    let mut listener = stage.attach(&conn_id).await;
    assert_eq!(listener.texts(1).await, ["missed"], "what a client has received is not sent again");
}

async fn old_frames_are_not_received(stage: Stage) {
    stage.backend.configure(&["short"], json!({})).await;
    stage.backend.publish_text("short", "old").await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    stage.backend.publish_text("short", "new").await;
    let (_, mut listener) = stage.enter("ann", &["short"]).await;
    assert_eq!(listener.texts(1).await, ["new"]);
}
