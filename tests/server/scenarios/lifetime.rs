//! When connections end, and when they do not.

use super::stage::{Stage, fast_settings};
use crate::support::listener::{ListenResult, Transport};
use channelstream::config::Settings;
use serde_json::json;
use std::time::Duration;

on_every_transport!(
    with super::short_timeouts();
    server_removes_an_absent_connection_after_the_grace_time,
    server_removes_idle_connections,
    session_keeps_its_connection,
);
on_every_transport!(
    disconnect_ends_the_session,
    backend_disconnects_with_every_method,
    second_connect_adds_channels_to_the_connection
);

/// Unattached and absent connections end after little more than a second.
fn short_timeouts() -> Settings {
    Settings { unattached_timeout: 600, grace_time_ms: 600, poll_wait_ms: 100, ..fast_settings() }
}

impl Stage {
    /// Waits until the server no longer knows a connection.
    async fn until_unknown(&self, conn_id: &str) {
        let body = json!({"conn_id": conn_id, "channels": ["probe"]}).to_string();
        crate::support::within(async {
            // Unsubscribing a connection from a channel that it is not subscribed to changes nothing.
            while self.backend.send("POST", "/unsubscribe", &[], body.as_bytes()).await.status == 200 {
                actix_rt::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// The server refuses a client that attaches with an unknown id.
    async fn expect_unknown(&self, conn_id: &str) {
        let expected = match self.transport {
            Transport::Websocket => ListenResult::Closed(Some(1000)),
            Transport::LongPoll | Transport::Jsonp | Transport::Sse => ListenResult::Refused(401),
        };
        assert_eq!(self.attach(conn_id).await.next().await, expected);
    }
}

async fn server_removes_an_absent_connection_after_the_grace_time(stage: Stage) {
    let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
    stage.backend.publish_text("c", "there").await;
    assert_eq!(listener.texts(1).await, ["there"]);
    listener.leave().await;
    stage.until_unknown(&conn_id).await;
    stage.expect_unknown(&conn_id).await;
    stage.expect_connections("c", 0).await;
    assert!(!stage.backend.disconnect(&conn_id).await);
    // The id is free again, and its new owner does not receive earlier messages.
    let again = json!({"username": "bob", "conn_id": conn_id, "channels": ["c"]});
    stage.backend.post("/connect", again).await;
    let mut listener = stage.attach(&conn_id).await;
    stage.backend.publish_text("c", "end").await;
    assert_eq!(listener.texts(1).await, ["end"]);
}

async fn server_removes_idle_connections(stage: Stage) {
    let in_channel = stage.backend.connect("ann", &["c"]).await;
    let in_none = stage.backend.connect("bob", &[]).await;
    for conn_id in [&in_channel, &in_none] {
        stage.until_unknown(conn_id).await;
        stage.expect_unknown(conn_id).await;
    }
    let figures = stage.backend.post("/admin/admin.json", json!({})).await;
    assert_eq!(figures["total_connections"], 0);
    assert_eq!(figures["unique_user_count"], 0);
    // Each node remembers the users that it had.
    if stage.nodes.count() == 1 {
        assert_eq!(figures["remembered_user_count"], 2);
    }
}

/// A connection with a session lives for many times the idle time, in a channel or in none.
async fn session_keeps_its_connection(stage: Stage) {
    let (_, mut listener) = stage.enter("ann", &["c"]).await;
    let (_, mut lonely) = stage.enter("bob", &[]).await;
    for round in 0..10 {
        actix_rt::time::sleep(Duration::from_millis(200)).await;
        stage.backend.publish_text("c", &round.to_string()).await;
        assert_eq!(listener.texts(1).await, [round.to_string()]);
    }
    stage.backend.publish(json!({"pm_users": ["bob"]}), "still there").await;
    assert_eq!(lonely.texts(1).await, ["still there"]);
}

async fn disconnect_ends_the_session(stage: Stage) {
    let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
    stage.backend.publish_text("c", "there").await;
    assert_eq!(listener.texts(1).await, ["there"]);
    assert!(stage.backend.disconnect(&conn_id).await);
    let end = listener.next().await;
    match stage.transport {
        Transport::Websocket | Transport::Sse => assert_eq!(end, ListenResult::Closed(Some(1000))),
        // The current poll ends in order; the next one is refused.
        Transport::LongPoll | Transport::Jsonp => assert_eq!(end, ListenResult::Refused(401)),
    }
    stage.expect_connections("c", 0).await;
    stage.expect_unknown(&conn_id).await;
}

async fn backend_disconnects_with_every_method(stage: Stage) {
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
        assert!(
            matches!(end, ListenResult::Closed(Some(1000)) | ListenResult::Refused(401)),
            "{method}: {end:?}"
        );
    }
    for (method, target) in
        [("GET", "/disconnect"), ("GET", "/disconnect?conn_id=x"), ("POST", "/disconnect")]
    {
        assert_eq!(stage.backend.send(method, target, &[], b"").await.status, 422, "{method} {target}");
    }
}

/// A backend that names an existing connection in `/connect` adds channels to it; the attached session stays.
async fn second_connect_adds_channels_to_the_connection(stage: Stage) {
    let (conn_id, mut listener) = stage.enter("ann", &["c"]).await;
    let (_, mut other) = stage.enter("bob", &["c", "d"]).await;
    stage.backend.publish_text("c", "1").await;
    assert_eq!(listener.texts(1).await, ["1"]);
    let again = json!({"username": "ann", "conn_id": conn_id, "channels": ["d"]});
    stage.backend.post("/connect", again).await;
    stage.backend.publish_text("c", "2").await;
    assert_eq!(listener.texts(1).await, ["2"]);
    stage.backend.publish_text("d", "3").await;
    assert_eq!(listener.texts(1).await, ["3"]);
    stage.expect_connections("c", 2).await;
    let foreign = json!({"username": "eve", "conn_id": conn_id, "channels": ["d"]}).to_string();
    let refused = stage.backend.send("POST", "/connect", &[], foreign.as_bytes()).await;
    assert_eq!(refused.status, 422);
    stage.backend.publish_text("d", "4").await;
    assert_eq!(listener.texts(1).await, ["4"]);
    assert_eq!(other.texts(4).await, ["1", "2", "3", "4"]);
    listener.leave().await;
    stage.backend.publish_text("d", "5").await;
    let mut listener = stage.attach(&conn_id).await;
    assert_eq!(listener.texts(1).await, ["5"]);
}
