//! What operators see of connection tokens and of recoveries: the expiry of a connection, and the causes of losses.

use super::operator::{Operator, fast_settings, server};
use super::recorder::{recorded_events, start_recording};
use crate::support::TestServer;
use crate::support::backend::now_unix;
use crate::support::http::ask;
use crate::support::socket::{self, CLOSE};
use crate::support::within;
use crate::tokens::{expiring, token};
use channelstream::config::Settings;
use serde_json::{Value, json};
use uuid::Uuid;

async fn open(server: &TestServer, target: &str) -> (socket::Incoming, socket::Outgoing) {
    socket::open(server.address, target, &[]).await.expect("the handshake is accepted")
}

async fn replace(server: &TestServer, conn_id: &str, token: &str) -> u16 {
    let body = json!({"conn_id": conn_id, "token": token}).to_string();
    ask(server.address, "POST", "/token", &[], &body).await.status
}

async fn listen(server: &TestServer, query: &str) -> u16 {
    ask(server.address, "GET", &format!("/listen?{query}"), &[], "").await.status
}

/// The expiry on the page of a connection.
async fn expiry(operator: &Operator, id: &str) -> Value {
    operator.get(&format!("/admin/connection.json?conn_id={id}")).await["token_expires"].clone()
}

#[actix_rt::test]
async fn a_connection_shows_when_its_token_expires() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    let without = backend.connect("bob", &["c"]).await;
    assert_eq!(expiry(&operator, &without).await, Value::Null);
    let (id, expires) = (Uuid::new_v4().to_string(), now_unix() + 600);
    let _socket =
        open(&server, &format!("/ws?token={}&conn_id={id}", token("ann", json!({"exp": expires})))).await;
    assert_eq!(expiry(&operator, &id).await, expires);
    assert_eq!(replace(&server, &id, &token("ann", json!({"exp": expires + 60}))).await, 200);
    assert_eq!(expiry(&operator, &id).await, expires + 60);
    // The application vouches for the connection, which has no token any more.
    backend.post("/connect", json!({"username": "ann", "conn_id": id, "channels": ["c"]})).await;
    assert_eq!(expiry(&operator, &id).await, Value::Null);
}

#[actix_rt::test]
async fn recording_shows_the_life_of_a_token() {
    let server = server();
    let operator = Operator::sign_in(&server).await;
    let (id, expires) = (Uuid::new_v4().to_string(), now_unix() - 1);
    let stale = token("ann", json!({"exp": now_unix() - 60}));
    let mut socket = open(&server, &format!("/ws?token={}&conn_id={id}", token("ann", json!({})))).await;
    start_recording(&operator, json!({"conn_id": id})).await;
    assert_eq!(replace(&server, &id, &stale).await, 401);
    let last = token("ann", json!({"exp": expires}));
    assert_eq!((replace(&server, &id, &last).await, replace(&server, &id, &last).await), (200, 200));
    while within(socket.0.frame()).await.expect("a close frame").opcode != CLOSE {}
    assert_eq!(listen(&server, &format!("conn_id={id}&token={stale}")).await, 401);
    assert_eq!(
        recorded_events(&operator, &id, 7).await,
        [
            "attached websocket",
            "token_refused expired",
            &format!("token_accepted {expires}"),
            "token_expired",
            "closed 4005 token expired",
            "detached",
            "token_refused expired",
        ]
    );
}

#[actix_rt::test]
async fn recording_shows_the_end_of_a_connection_without_a_session() {
    let server = TestServer::start(Settings { poll_wait_ms: 50, ..fast_settings() });
    let operator = Operator::sign_in(&server).await;
    let id = Uuid::new_v4().to_string();
    assert_eq!(listen(&server, &format!("conn_id={id}&token={}", expiring("ann"))).await, 200);
    start_recording(&operator, json!({"conn_id": id})).await;
    assert_eq!(recorded_events(&operator, &id, 1).await, ["token_expired"]);
    assert!(expiry(&operator, &id).await.as_u64().unwrap() < now_unix());
}

#[actix_rt::test]
async fn recording_shows_why_the_application_ended_a_session() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    let id = Uuid::new_v4().to_string();
    let first = token("ann", json!({}));
    let _socket = open(&server, &format!("/ws?token={first}&conn_id={id}")).await;
    start_recording(&operator, json!({"conn_id": id})).await;
    backend.post("/block", json!({"user": "ann", "tokens_before": now_unix() + 60})).await;
    let end = json!({"conn_id": id, "reason": "signed out everywhere", "reconnect": true});
    backend.post("/end", end).await;
    recorded_events(&operator, &id, 3).await;
    assert_eq!(listen(&server, &format!("conn_id={id}&token={first}")).await, 401);
    assert_eq!(
        recorded_events(&operator, &id, 4).await,
        ["attached websocket", "closed 4005 signed out everywhere", "detached", "token_refused revoked"]
    );
}

#[actix_rt::test]
async fn losses_are_counted_and_recorded_with_their_reason() {
    let server = server();
    let (backend, operator) = (server.backend(), Operator::sign_in(&server).await);
    let id = backend.connect("ann", &["a", "b"]).await;
    start_recording(&operator, json!({"conn_id": id})).await;
    // The position in one channel is from another life of the server, the other channel has none.
    let positions = "%7B%22a%22%3A%2200000000.7%22%7D";
    let _socket = open(&server, &format!("/ws?conn_id={id}&resume=1&positions={positions}")).await;
    let counted = |report: &Value| {
        let rows = report["not_recovered"].as_array().unwrap();
        let count =
            |row: &Value| (row["counter"].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap());
        rows.iter().map(count).collect::<Vec<_>>()
    };
    let report = operator.until("/admin/limits.json", |report| report["recovered"] == 2).await;
    let expected = ["evicted", "not_kept", "epoch", "ahead", "joined_later"]
        .map(|reason| (format!("not_recovered_{reason}"), u64::from(reason == "epoch")));
    assert_eq!(counted(&report), expected);
    recorded_events(&operator, &id, 4).await;
    let events = operator.get(&format!("/admin/recording.json?conn_id={id}")).await["events"].clone();
    let reasons: Vec<_> =
        events.as_array().unwrap()[1..4].iter().map(|event| &event["recovery"]["reason"]).collect();
    assert_eq!(reasons, [&json!("epoch"), &Value::Null, &Value::Null]);
}
