//! Presence in channels whose pattern has another form of it than an event for each user.

use super::stage::{Stage, fast_settings, pick};
use crate::support::listener::Listener;
use channelstream::config::{FileFormat, Settings, parse};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

on_every_transport!(
    with super::settings();
    members_receive_the_changes_of_an_interval,
    a_visit_within_an_interval_is_not_reported,
    returning_members_receive_the_diffs_that_they_missed,
    members_receive_numbers_that_changed,
    members_receive_nothing_where_presence_is_off,
);

on_every_transport!(
    with super::short_absence();
    a_user_that_returns_soon_has_not_left,
);

const PATTERNS: &str = r#"
    [[channels]]
    match = "diffs"
    defaults = {notify_presence = true}
    presence = "diffs"
    presence_ms = 100
    [[channels]]
    match = "slow"
    defaults = {notify_presence = true}
    presence = "diffs"
    presence_ms = 3000
    [[channels]]
    match = "counts"
    defaults = {notify_presence = true}
    fixed = ["notify_presence"]
    presence = "counts"
    presence_ms = 100
    [[channels]]
    match = "none"
    defaults = {notify_presence = true}
    presence = "none"
    [[channels]]
    match = "flap"
    defaults = {notify_presence = true}
    flap_ms = 2000
"#;

fn settings() -> Settings {
    let channels = parse(PATTERNS, FileFormat::Toml, "patterns.toml".as_ref()).unwrap().channels;
    Settings { channels, ..fast_settings() }
}

/// Connections without a session are soon absent.
fn short_absence() -> Settings {
    Settings { unattached_timeout: 1_000, ..settings() }
}

/// A page that applies diffs to its list of users.
struct Page {
    listener: Listener,
    users: BTreeSet<String>,
    frames: u32,
}

impl Page {
    async fn apply_next(&mut self) -> Value {
        let event = self.listener.event().await;
        assert_eq!(pick(&event, &["type", "message"]), json!(["presence:diff", {}]), "{event}");
        for name in event["parted"].as_array().unwrap() {
            assert!(self.users.remove(name.as_str().unwrap()), "{event}");
        }
        for user in event["joined"].as_array().unwrap() {
            assert!(self.users.insert(user["user"].as_str().unwrap().to_owned()), "{event}");
        }
        assert_eq!(event["users"], self.users.len(), "{event}");
        self.frames += 1;
        event
    }

    async fn apply_until(&mut self, users: &[&str]) {
        let users: BTreeSet<String> = users.iter().map(|name| (*name).to_owned()).collect();
        while self.users != users {
            self.apply_next().await;
        }
    }
}

async fn members_receive_the_changes_of_an_interval(stage: Stage) {
    let started = Instant::now();
    let (_, listener) = stage.enter("witness", &["diffs"]).await;
    let mut page = Page { listener, users: BTreeSet::new(), frames: 0 };
    page.apply_until(&["witness"]).await;
    let names: Vec<String> = (10..40).map(|number| format!("u{number}")).collect();
    let mut connections = Vec::new();
    for name in &names {
        connections.push(stage.backend.connect(name, &["diffs"]).await);
    }
    let all: Vec<&str> = names.iter().map(String::as_str).chain(["witness"]).collect();
    page.apply_until(&all).await;
    for conn_id in &connections[3..] {
        stage.backend.disconnect(conn_id).await;
    }
    page.apply_until(&["u10", "u11", "u12", "witness"]).await;
    let listed = stage.backend.channel("diffs").await;
    assert_eq!(pick(&listed, &["total_users", "users"]), json!([4, page.users]));
    let intervals = started.elapsed().as_millis() / 100 + 1;
    assert!(u128::from(page.frames) <= intervals, "{} frames in {intervals} intervals", page.frames);
}

async fn a_visit_within_an_interval_is_not_reported(stage: Stage) {
    let (_, listener) = stage.enter("witness", &["slow"]).await;
    let mut page = Page { listener, users: BTreeSet::new(), frames: 0 };
    page.apply_until(&["witness"]).await;
    let visitor = stage.backend.connect("visitor", &["slow"]).await;
    assert!(stage.backend.disconnect(&visitor).await);
    let state = json!({"username": "ann", "channels": ["slow"], "user_state": {"a": 1, "b": 2},
        "state_public_keys": ["a"]});
    stage.backend.post("/connect", state).await;
    stage.backend.publish_text("slow", "now").await;
    assert_eq!(page.listener.texts(1).await, ["now"], "a message does not wait for the diff");
    let event = page.apply_next().await;
    let expected = json!([[{"user": "ann", "state": {"a": 1}}], [], 2, "slow"]);
    assert_eq!(pick(&event, &["joined", "parted", "users", "channel"]), expected);
}

async fn returning_members_receive_the_diffs_that_they_missed(stage: Stage) {
    let (conn_id, listener) = stage.enter("witness", &["diffs"]).await;
    let mut page = Page { listener, users: BTreeSet::new(), frames: 0 };
    page.apply_until(&["witness"]).await;
    let Page { listener, users, frames } = page;
    assert!(listener.leave().await.is_empty());
    stage.backend.connect("ann", &["diffs"]).await;
    // The diff with the user is sent, and so is one without the witness, who is absent now.
    tokio::time::sleep(Duration::from_millis(800)).await;
    let mut page = Page { listener: stage.attach(&conn_id).await, users, frames };
    let event = page.apply_next().await;
    assert_eq!(event["catchup"], true);
    page.apply_until(&["ann", "witness"]).await;
}

async fn members_receive_numbers_that_changed(stage: Stage) {
    let (_, mut witness) = stage.enter("witness", &["counts"]).await;
    // No backend can turn presence off there.
    stage.backend.configure(&["counts"], json!({"notify_presence": false})).await;
    let (mut last, mut connections) = (json!(null), Vec::new());
    for (user, numbers) in [("witness", [1, 2]), ("ann", [2, 3]), ("ann", [2, 4])] {
        connections.push(stage.backend.connect(user, &["counts"]).await);
        while last != json!(numbers) {
            let event = witness.event().await;
            assert_eq!(
                pick(&event, &["type", "channel", "message"]),
                json!(["presence:count", "counts", {}])
            );
            let before = std::mem::replace(&mut last, pick(&event, &["users", "connections"]));
            assert_ne!(before, last);
        }
    }
}

async fn members_receive_nothing_where_presence_is_off(stage: Stage) {
    let (_, mut witness) = stage.enter("witness", &["none"]).await;
    let conn_id = stage.backend.connect("ann", &["none"]).await;
    stage.backend.disconnect(&conn_id).await;
    stage.backend.publish_text("none", "first").await;
    assert_eq!(witness.texts(1).await, ["first"]);
    assert_eq!(stage.backend.channel("none").await["settings"]["notify_presence"], true);
}

async fn a_user_that_returns_soon_has_not_left(stage: Stage) {
    let (_, mut witness) = stage.enter("witness", &["flap"]).await;
    let (conn_id, ann) = stage.enter("ann", &["flap"]).await;
    assert_eq!(witness.event().await["message"], json!({"action": "joined"}));
    assert!(ann.leave().await.is_empty());
    // Longer than the server waits for the client's return.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(stage.backend.channel("flap").await["users"], json!(["ann", "witness"]), "it is still listed");
    let again = stage.attach(&conn_id).await;
    stage.backend.publish_text("flap", "back").await;
    assert_eq!(witness.texts(1).await, ["back"]);
    again.leave().await;
    let left = Instant::now();
    let event = witness.event().await;
    assert_eq!(pick(&event, &["user", "message"]), json!(["ann", {"action": "parted"}]));
    assert!(left.elapsed() >= Duration::from_millis(1_900), "{:?}", left.elapsed());
    assert_eq!(stage.backend.channel("flap").await["users"], json!(["witness"]));
}
