//! POST /end and /block: the application ends connections and keeps users away.

use crate::support::backend::{Backend, now_unix};
use crate::support::http::ask;
use crate::support::{TestServer, settings, socket, within};
use channelstream::config::Settings;
use serde_json::{Value, json};
use socket::{CLOSE, Incoming, Outgoing};

async fn open(backend: &Backend, conn_id: &str) -> (Incoming, Outgoing) {
    socket::open(backend.address(), &format!("/ws?conn_id={conn_id}"), &[]).await.ok().unwrap()
}

/// The code and the text of the close frame.
async fn closed(socket: &mut (Incoming, Outgoing)) -> (u16, String) {
    loop {
        let frame = within(socket.0.frame()).await.expect("a close frame");
        if frame.opcode == CLOSE {
            let code = frame.code().unwrap();
            return (code, String::from_utf8(frame.payload[2..].to_vec()).unwrap());
        }
    }
}

async fn poll_status(backend: &Backend, conn_id: &str) -> u16 {
    ask(backend.address(), "GET", &format!("/listen?conn_id={conn_id}"), &[], "").await.status
}

async fn connect_status(backend: &Backend, user: &str) -> (u16, String) {
    let body = json!({"username": user}).to_string();
    let reply = backend.send("POST", "/connect", &[], body.as_bytes()).await;
    (reply.status, reply.header("x-channelstream-error").unwrap_or_default().to_owned())
}

fn text(code: u16, text: &str) -> (u16, String) {
    (code, text.to_owned())
}

#[actix_web::test]
async fn all_connections_of_a_user_end_with_the_reason() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let (one, two, other) = (
        backend.connect("ann", &["c"]).await,
        backend.connect("ann", &["c"]).await,
        backend.connect("bob", &["c"]).await,
    );
    let (mut first, mut bob) = (open(&backend, &one).await, open(&backend, &other).await);
    let ended = backend.post("/end", json!({"user": "ann", "reason": "signed out"})).await;
    assert_eq!(ended, json!({"ended": 2}));
    assert_eq!(closed(&mut first).await, text(4004, "signed out"));
    assert_eq!([poll_status(&backend, &one).await, poll_status(&backend, &two).await], [401, 401]);
    assert_eq!(backend.channel("c").await["users"], json!(["bob"]));
    assert_eq!(backend.post("/end", json!({"conn_id": other, "reconnect": true})).await, json!({"ended": 1}));
    assert_eq!(closed(&mut bob).await, text(4005, "token expired"));
    for nobody in
        [json!({"user": "nobody"}), json!({"conn_id": other}), json!({"conn_id": other, "block_s": 9})]
    {
        assert_eq!(backend.post("/end", nobody).await, json!({"ended": 0}));
    }
    assert_eq!(connect_status(&backend, "ann").await.0, 200);
}

#[actix_web::test]
async fn a_blocked_user_cannot_connect() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let id = backend.connect("ann", &["c"]).await;
    let mut socket = open(&backend, &id).await;
    assert_eq!(
        backend.post("/block", json!({"user": "ann", "seconds": 60, "reason": "spam"})).await,
        json!(true)
    );
    assert_eq!(closed(&mut socket).await, text(4006, "spam"));
    assert_eq!(connect_status(&backend, "ann").await, text(403, "blocked"));
    assert_eq!(connect_status(&backend, "bob").await.0, 200);
    let listed = backend.call("GET", "/block", Value::Null).await;
    let block = &listed["blocks"][0];
    assert_eq!(
        (&block["user"], &block["tokens_before"], &block["reason"]),
        (&json!("ann"), &json!(null), &json!("spam"))
    );
    let until = block["until"].as_u64().unwrap();
    assert!((now_unix() + 50..=now_unix() + 60).contains(&until), "{listed}");
    backend.post("/block", json!({"user": "\"zoë\"", "tokens_before": 7})).await;
    let listed = backend.call("GET", "/block", Value::Null).await;
    let other = json!({"user": "\"zoë\"", "until": null, "tokens_before": 7, "reason": ""});
    assert!(listed["blocks"].as_array().unwrap().contains(&other), "{listed}");
    assert_eq!(listed["blocks"].as_array().unwrap().len(), 2);
    assert_eq!(backend.call("DELETE", "/block", json!({"user": "ann"})).await, json!(true));
    assert_eq!(backend.call("DELETE", "/block", json!({"user": "ann"})).await, json!(false));
    assert_eq!(connect_status(&backend, "ann").await.0, 200);
}

#[actix_web::test]
async fn ending_may_block_and_a_block_ends_by_itself() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let (one, two) = (backend.connect("ann", &[]).await, backend.connect("ann", &[]).await);
    let (mut first, mut second) = (open(&backend, &one).await, open(&backend, &two).await);
    // The block is the user's, so that all connections end.
    assert_eq!(backend.post("/end", json!({"conn_id": one, "block_s": 2})).await, json!({"ended": 2}));
    assert_eq!(closed(&mut first).await, text(4006, "blocked"));
    assert_eq!(closed(&mut second).await, text(4006, "blocked"));
    assert_eq!(connect_status(&backend, "ann").await, text(403, "blocked"));
    within(async {
        while connect_status(&backend, "ann").await.0 != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(backend.call("GET", "/block", Value::Null).await, json!({"blocks": []}));
}

#[actix_web::test]
async fn wrong_requests_change_nothing() {
    let server = TestServer::start(Settings { max_blocks: 1, ..settings() });
    let backend = server.backend();
    let id = backend.connect("ann", &[]).await;
    let long = "é".repeat(61);
    let wrong = [
        ("/end", json!({}), "user"),
        ("/end", json!({"user": "ann", "conn_id": id}), "user"),
        ("/end", json!({"user": "ann", "reason": long}), "reason"),
        ("/end", json!({"user": "ann", "block_s": -1}), "block_s"),
        ("/block", json!({"user": "ann"}), "seconds"),
        ("/block", json!({"seconds": 60}), "user"),
    ];
    for (path, body, field) in wrong {
        let reply = backend.send("POST", path, &[], body.to_string().as_bytes()).await;
        assert_eq!(reply.status, 422, "{path} {body}");
        assert!(reply.json()[field][0].is_string(), "{path} {body}: {}", reply.text());
    }
    assert_eq!(backend.post("/block", json!({"user": "bob", "tokens_before": 7})).await, json!(true));
    for (path, body) in
        [("/block", json!({"user": "ann", "seconds": 60})), ("/end", json!({"user": "ann", "block_s": 9}))]
    {
        let reply = backend.send("POST", path, &[], body.to_string().as_bytes()).await;
        assert_eq!(
            (reply.status, reply.header("x-channelstream-limit")),
            (503, Some("max_blocks")),
            "{path}"
        );
    }
    assert_eq!(backend.hits("max_blocks").await, 2);
    assert!(open(&backend, &id).await.0.frame().await.is_some_and(|frame| frame.opcode != CLOSE));
    for method in ["POST", "GET", "DELETE"] {
        assert_eq!(ask(backend.address(), method, "/block", &[], "{}").await.status, 403);
    }
    assert_eq!(ask(backend.address(), "POST", "/end", &[], "{}").await.status, 403);
}
