//! How connections end, and how they do not.

use crate::stage::{Stage, quick};
use crate::support::listener::{Heard, Transport};
use channelstream::config::Settings;
use serde_json::json;
use std::time::Duration;

on_every_transport!(
    with super::short_lives();
    unknown_after_the_grace_time,
    idle_connections_are_collected,
    sessions_keep_their_connections,
);
on_every_transport!(disconnect_ends_a_session, disconnect_by_every_method, named_twice_in_connect);

/// Idle, absent and ended in little more than a second.
fn short_lives() -> Settings {
    Settings { unattached_timeout: 600, grace_time_ms: 600, poll_wait_ms: 100, ..quick() }
}

impl Stage {
    /// Waits until the server no longer knows a connection.
    async fn until_unknown(&self, conn_id: &str) {
        let body = json!({"conn_id": conn_id, "channels": ["probe"]}).to_string();
        crate::support::within(async {
            // Taking a channel from it that it does not have changes nothing about it.
            while self.backend.send("POST", "/unsubscribe", &[], body.as_bytes()).await.status == 200 {
                actix_rt::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Somebody who comes with an id that nobody knows is told.
    async fn expect_unknown(&self, conn_id: &str) {
        let expected = match self.transport {
            Transport::Websocket => Heard::Closed(Some(1000)),
            Transport::LongPoll | Transport::Jsonp => Heard::Refused(401),
        };
        assert_eq!(self.attach(conn_id).await.next().await, expected);
    }
}

async fn unknown_after_the_grace_time(stage: Stage) {
    let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
    stage.backend.say("c", "there").await;
    assert_eq!(listener.texts(1).await, ["there"]);
    listener.leave().await;
    stage.until_unknown(&conn_id).await;
    stage.expect_unknown(&conn_id).await;
    assert_eq!(stage.backend.channel("c").await["total_connections"], 0);
    assert!(!stage.backend.disconnect(&conn_id).await);
    // The id is free again, and what came before is not its new owner's.
    let again = json!({"username": "bob", "conn_id": conn_id, "channels": ["c"]});
    stage.backend.post("/connect", again).await;
    let mut listener = stage.attach(&conn_id).await;
    stage.backend.say("c", "end").await;
    assert_eq!(listener.texts(1).await, ["end"]);
}

async fn idle_connections_are_collected(stage: Stage) {
    let in_channel = stage.backend.connect("ann", &["c"]).await;
    let in_none = stage.backend.connect("bob", &[]).await;
    for conn_id in [&in_channel, &in_none] {
        stage.until_unknown(conn_id).await;
        stage.expect_unknown(conn_id).await;
    }
    let figures = stage.backend.post("/admin/admin.json", json!({})).await;
    assert_eq!(figures["total_connections"], 0);
    assert_eq!(figures["unique_user_count"], 0);
    assert_eq!(figures["remembered_user_count"], 2);
}

/// Whoever listens lives, for many times the idle time, in a channel or in none.
async fn sessions_keep_their_connections(stage: Stage) {
    let (_, mut listener) = stage.enter("ann", &["c"]).await;
    let (_, mut lonely) = stage.enter("bob", &[]).await;
    for round in 0..10 {
        actix_rt::time::sleep(Duration::from_millis(200)).await;
        stage.backend.say("c", &round.to_string()).await;
        assert_eq!(listener.texts(1).await, [round.to_string()]);
    }
    stage.backend.publish(json!({"pm_users": ["bob"]}), "still there").await;
    assert_eq!(lonely.texts(1).await, ["still there"]);
}

async fn disconnect_ends_a_session(stage: Stage) {
    let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
    stage.backend.say("c", "there").await;
    assert_eq!(listener.texts(1).await, ["there"]);
    assert!(stage.backend.disconnect(&conn_id).await);
    let end = listener.next().await;
    match stage.transport {
        Transport::Websocket => assert_eq!(end, Heard::Closed(Some(1000))),
        // The poll under way ends in order; the next one is refused.
        Transport::LongPoll | Transport::Jsonp => assert_eq!(end, Heard::Refused(401)),
    }
    assert_eq!(stage.backend.channel("c").await["total_connections"], 0);
    stage.expect_unknown(&conn_id).await;
}

async fn disconnect_by_every_method(stage: Stage) {
    for method in ["GET", "DELETE", "PUT", "POST"] {
        let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
        let (target, body) = match method {
            "POST" => ("/disconnect".to_owned(), json!({"conn_id": conn_id}).to_string()),
            _ => (format!("/disconnect?conn_id={conn_id}"), String::new()),
        };
        for known in [true, false] {
            let reply = stage.backend.send(method, &target, &[], body.as_bytes()).await;
            assert_eq!((reply.status, reply.json()), (200, json!(known)), "{method}");
        }
        let end = listener.next().await;
        assert!(matches!(end, Heard::Closed(Some(1000)) | Heard::Refused(401)), "{method}: {end:?}");
    }
    for (method, target) in
        [("GET", "/disconnect"), ("GET", "/disconnect?conn_id=x"), ("POST", "/disconnect")]
    {
        assert_eq!(stage.backend.send(method, target, &[], b"").await.status, 422, "{method} {target}");
    }
}

/// A backend that names a connection again adds to it; it never takes it from whoever listens.
async fn named_twice_in_connect(stage: Stage) {
    let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
    let (_, mut other) = stage.enter("bob", &["c", "d"]).await;
    stage.backend.say("c", "1").await;
    assert_eq!(listener.texts(1).await, ["1"]);
    let again = json!({"username": "ann", "conn_id": conn_id, "channels": ["d"]});
    stage.backend.post("/connect", again).await;
    stage.backend.say("c", "2").await;
    assert_eq!(listener.texts(1).await, ["2"]);
    stage.backend.say("d", "3").await;
    assert_eq!(listener.texts(1).await, ["3"]);
    assert_eq!(stage.backend.channel("c").await["total_connections"], 2);
    let foreign = json!({"username": "eve", "conn_id": conn_id, "channels": ["d"]}).to_string();
    let refused = stage.backend.send("POST", "/connect", &[], foreign.as_bytes()).await;
    assert_eq!(refused.status, 422);
    stage.backend.say("d", "4").await;
    assert_eq!(listener.texts(1).await, ["4"]);
    assert_eq!(other.texts(4).await, ["1", "2", "3", "4"]);
    listener.leave().await;
    stage.backend.say("d", "5").await;
    let mut listener = stage.attach(&conn_id).await;
    assert_eq!(listener.texts(1).await, ["5"]);
}
