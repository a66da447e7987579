//! A client that asks for positions knows whether it missed anything, and receives what it missed once and in order.

use super::stage::{Stage, fast_settings};
use crate::support::nodes::Nodes;
use crate::support::page::{Page, with_positions};
use channelstream::config::Settings;
use serde_json::{Value, json};

on_every_transport!(
    client_that_returns_with_positions_misses_nothing,
    client_that_returns_with_a_cursor_misses_nothing,
    frames_that_were_sent_and_not_read_are_sent_again,
    edits_and_deletions_are_replayed_in_order,
    private_messages_have_positions,
    other_lives_and_later_subscriptions_are_reported,
    channels_are_announced_before_their_frames,
    frames_that_are_not_kept_are_reported,
);
on_every_transport!(
    with super::few_frames();
    displaced_frames_are_reported_as_a_gap,
);

fn few_frames() -> Settings {
    Settings { channel_frames: 3, ..fast_settings() }
}

/// The verdict about a channel without its epoch.
fn verdict(page: &Page, name: &str) -> Value {
    let mut verdict = page.attached["streams"][name].clone();
    verdict.as_object_mut().unwrap_or_else(|| panic!("{}", page.attached)).remove("epoch");
    verdict
}

async fn publish_all(stage: &Stage, channel: &str, texts: &[&str]) {
    for text in texts {
        stage.backend.publish_text(channel, text).await;
    }
}

async fn client_that_returns_with_positions_misses_nothing(stage: Stage) {
    let conn_id = stage.backend.connect("ann", &["c", "d"]).await;
    let (mut page, mut listener) = (Page::default(), stage.resume(&conn_id, "").await);
    publish_all(&stage, "c", &["1", "2"]).await;
    page.read(&mut listener, 2, false).await;
    listener.hang_up().await;
    assert_eq!(page.attached["conn_id"], conn_id.as_str());
    assert_eq!(page.attached["message"], json!({}));
    publish_all(&stage, "c", &["3"]).await;
    publish_all(&stage, "d", &["4"]).await;
    let mut listener = stage.resume(&conn_id, &page.positions()).await;
    publish_all(&stage, "d", &["5"]).await;
    page.read(&mut listener, 3, false).await;
    assert_eq!(page.take_frames(), ["1", "2", "3", "4", "5"]);
    assert_eq!(verdict(&page, "c")["recovered"], true);
    assert_eq!(verdict(&page, "d")["recovered"], true);
    assert_eq!(page.attached["unknown"], json!([]));
    listener.leave().await;
}

async fn client_that_returns_with_a_cursor_misses_nothing(stage: Stage) {
    let conn_id = stage.backend.connect("ann", &["c"]).await;
    publish_all(&stage, "c", &["1"]).await;
    let (mut page, mut listener) = (Page::default(), stage.resume(&conn_id, "").await);
    page.read(&mut listener, 1, true).await;
    listener.hang_up().await;
    publish_all(&stage, "c", &["2", "3"]).await;
    let mut listener = stage.resume(&conn_id, &page.cursor()).await;
    page.read(&mut listener, 2, false).await;
    assert_eq!(page.take_frames(), ["1", "2", "3"]);
    listener.leave().await;
}

async fn frames_that_were_sent_and_not_read_are_sent_again(stage: Stage) {
    let conn_id = stage.backend.connect("ann", &["c"]).await;
    let (mut page, mut listener) = (Page::default(), stage.resume(&conn_id, "").await);
    publish_all(&stage, "c", &["1", "2", "3"]).await;
    page.read(&mut listener, 3, false).await;
    let listener = stage.resume(&conn_id, "").await;
    listener.leave().await;
    // The server has delivered all of them. The page lost the last two.
    page.positions.insert("c".into(), format!("{}.1", page.epochs["c"]));
    let mut listener = stage.resume(&conn_id, &page.positions()).await;
    page.read(&mut listener, 2, false).await;
    assert_eq!(page.take_frames(), ["1", "2", "3", "2", "3"]);
    assert_eq!(verdict(&page, "c"), json!({"from": 1, "offset": 3, "recovered": true}));
    listener.leave().await;
}

async fn edits_and_deletions_are_replayed_in_order(stage: Stage) {
    let conn_id = stage.backend.connect("ann", &["c"]).await;
    let (mut page, mut listener) = (Page::default(), stage.resume(&conn_id, "").await);
    publish_all(&stage, "c", &["0"]).await;
    page.read(&mut listener, 1, false).await;
    listener.hang_up().await;
    let first = stage.backend.publish_text("c", "first").await;
    let second = stage.backend.publish_text("c", "second").await;
    for (uuid, text) in [(&first, "first, edited"), (&second, "secret")] {
        let edit = json!([{"uuid": uuid, "channel": "c", "message": {"text": text}}]);
        stage.backend.call("PATCH", "/message", edit).await;
    }
    let deletion = json!([{"uuid": second, "channel": "c"}]);
    stage.backend.call("DELETE", "/message", deletion).await;
    let mut listener = stage.resume(&conn_id, &page.positions()).await;
    page.read(&mut listener, 3, false).await;
    // A deleted message is never sent again, neither as it was nor in an edit.
    assert_eq!(page.take_frames(), ["0", "first, edited", "message:edit", "message:delete"]);
    listener.leave().await;
}

async fn private_messages_have_positions(stage: Stage) {
    let conn_id = stage.backend.connect("ann", &["c"]).await;
    let (mut page, mut listener) = (Page::default(), stage.resume(&conn_id, "").await);
    for text in ["1", "2"] {
        stage.backend.publish(json!({"pm_users": ["ann"]}), text).await;
    }
    page.read(&mut listener, 2, false).await;
    listener.hang_up().await;
    stage.backend.publish(json!({"pm_users": ["ann"]}), "3").await;
    let mut listener = stage.resume(&conn_id, &page.positions()).await;
    page.read(&mut listener, 1, false).await;
    assert_eq!(page.take_frames(), ["1", "2", "3"]);
    let private = &page.attached["private"];
    assert_eq!(
        [&private["from"], &private["offset"], &private["recovered"]],
        [&json!(2), &json!(3), &json!(true)]
    );
    listener.leave().await;
}

async fn other_lives_and_later_subscriptions_are_reported(stage: Stage) {
    stage.backend.connect("zoe", &["c"]).await;
    publish_all(&stage, "c", &["before"]).await;
    let conn_id = stage.backend.connect("ann", &["c"]).await;
    let (mut page, mut listener) = (Page::default(), stage.resume(&conn_id, "").await);
    publish_all(&stage, "c", &["1"]).await;
    page.read(&mut listener, 1, true).await;
    listener.leave().await;
    let epoch = page.epochs["c"].clone();
    let answers = [
        (
            json!({"c": "00000000.1"}),
            json!({"from": 0, "offset": 2, "recovered": false, "reason": "epoch"}),
            1,
        ),
        (
            json!({"c": format!("{epoch}.7")}),
            json!({"from": 0, "offset": 2, "recovered": false, "reason": "ahead"}),
            1,
        ),
        (
            json!({"c": format!("{epoch}.0"), "gone": format!("{epoch}.0")}),
            json!({"from": 0, "offset": 2, "recovered": false, "reason": "joined-later",
                "gap": {"after": 0, "upto": 1}}),
            1,
        ),
    ];
    for (positions, expected, count) in answers {
        let mut page = Page::default();
        let mut listener = stage.resume(&conn_id, &with_positions(&positions)).await;
        page.read(&mut listener, count, false).await;
        assert_eq!(verdict(&page, "c"), expected);
        assert_eq!(page.take_frames(), ["1"]);
        let unknown = if positions.get("gone").is_some() { json!(["gone"]) } else { json!([]) };
        assert_eq!(page.attached["unknown"], unknown);
        listener.leave().await;
    }
    // A cursor of another life of the server says nothing about any stream.
    let mut listener = stage.resume(&conn_id, "&since=1zzzzzz.1").await;
    let mut page = Page::default();
    page.read(&mut listener, 1, false).await;
    assert_eq!(verdict(&page, "c")["reason"], "epoch");
    assert_eq!(page.attached["private"]["reason"], "epoch");
    listener.leave().await;
}

async fn channels_are_announced_before_their_frames(stage: Stage) {
    let conn_id = stage.backend.connect("ann", &["c"]).await;
    let (mut page, mut listener) = (Page::default(), stage.resume(&conn_id, "").await);
    publish_all(&stage, "c", &["1"]).await;
    page.read(&mut listener, 1, false).await;
    stage.backend.post("/subscribe", json!({"conn_id": conn_id, "channels": ["news"]})).await;
    publish_all(&stage, "news", &["2"]).await;
    page.read(&mut listener, 1, false).await;
    assert_eq!(page.take_frames(), ["1", "2"]);
    let (from, epoch) = match page.announced.first() {
        Some(announced) => (&announced["offset"], &announced["epoch"]),
        None => {
            assert!(
                matches!(stage.nodes, Nodes::InTurn(_)),
                "only a session at another node begins with the channel"
            );
            let begun = &page.attached["streams"]["news"];
            (&begun["from"], &begun["epoch"])
        }
    };
    assert_eq!((from, epoch.as_str()), (&json!(0), Some(page.epochs["news"].as_str())));
    listener.leave().await;
}

async fn frames_that_are_not_kept_are_reported(stage: Stage) {
    let conn_id = stage.backend.connect("ann", &["c"]).await;
    stage.backend.configure(&["c"], json!({"store_frames": false})).await;
    let (mut page, mut listener) = (Page::default(), stage.resume(&conn_id, "").await);
    page.read(&mut listener, 0, true).await;
    listener.leave().await;
    publish_all(&stage, "c", &["1", "2"]).await;
    let mut listener = stage.resume(&conn_id, &page.cursor()).await;
    page.read(&mut listener, 0, true).await;
    let expected = json!({"from": 0, "offset": 2, "recovered": false, "reason": "not-kept",
        "gap": {"after": 0, "upto": 2}});
    assert_eq!(verdict(&page, "c"), expected);
    listener.leave().await;
}

async fn displaced_frames_are_reported_as_a_gap(stage: Stage) {
    let conn_id = stage.backend.connect("ann", &["c"]).await;
    let (mut page, mut listener) = (Page::default(), stage.resume(&conn_id, "").await);
    publish_all(&stage, "c", &["1"]).await;
    page.read(&mut listener, 1, false).await;
    listener.hang_up().await;
    publish_all(&stage, "c", &["2", "3", "4", "5", "6"]).await;
    let mut listener = stage.resume(&conn_id, &page.positions()).await;
    page.read(&mut listener, 3, false).await;
    assert_eq!(page.take_frames(), ["1", "4", "5", "6"]);
    let expected = json!({"from": 1, "offset": 6, "recovered": false, "reason": "evicted",
        "gap": {"after": 1, "upto": 3}});
    assert_eq!(verdict(&page, "c"), expected);
    listener.leave().await;
}
