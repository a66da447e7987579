//! Connection tokens over real sockets: handshakes, polls, refresh, expiry.

use crate::support::backend::{Backend, now_unix};
use crate::support::http::{Reply, ask};
use crate::support::{TestServer, settings, socket, within};
use channelstream::config::{Secret, Settings};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use socket::{CLOSE, Incoming, Outgoing, TEXT};
use std::time::Duration;
use uuid::Uuid;

/// A token of this user, signed with the secret of the test servers. `more` replaces claims.
pub fn token(user: &str, more: Value) -> String {
    let mut claims = json!({"sub": user, "exp": now_unix() + 60, "iat": now_unix()});
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    encode(&Header::default(), &claims, &EncodingKey::from_secret(b"secret").unwrap()).unwrap()
}

/// A token that is accepted for three to four seconds, because of the leeway.
pub fn expiring(user: &str) -> String {
    token(user, json!({"exp": now_unix() - 1}))
}

/// The time after which such a token has expired.
const EXPIRED: Duration = Duration::from_millis(4_500);

fn id() -> String {
    Uuid::new_v4().to_string()
}

async fn open(backend: &Backend, token: &str, conn_id: &str) -> (Incoming, Outgoing) {
    let target = format!("/ws?token={token}&conn_id={conn_id}");
    socket::open(backend.address(), &target, &[]).await.expect("the handshake is accepted")
}

async fn refused(backend: &Backend, target: &str) -> (u16, String, Value) {
    coded(&socket::refused(backend.address(), target, &[]).await)
}

fn coded(reply: &Reply) -> (u16, String, Value) {
    let code = reply.header("x-channelstream-error").unwrap_or_default().to_owned();
    (reply.status, code, reply.json())
}

async fn poll(backend: &Backend, query: &str) -> Reply {
    ask(backend.address(), "GET", &format!("/listen?{query}"), &[], "").await
}

async fn replace(backend: &Backend, conn_id: &str, token: &str) -> Reply {
    let body = json!({"conn_id": conn_id, "token": token}).to_string();
    ask(backend.address(), "POST", "/token", &[("origin", "https://app.example")], &body).await
}

/// The next list of elements that is not a heartbeat.
async fn elements(socket: &mut (Incoming, Outgoing)) -> Value {
    loop {
        let frame = within(socket.0.frame()).await.expect("a frame");
        assert_ne!(frame.opcode, CLOSE, "{frame:?}");
        if frame.opcode == TEXT && frame.payload != b"[]" {
            return serde_json::from_slice(&frame.payload).unwrap();
        }
    }
}

async fn closing_code(socket: &mut (Incoming, Outgoing)) -> Option<u16> {
    loop {
        let frame = within(socket.0.frame()).await.expect("a close frame");
        if frame.opcode == CLOSE {
            return frame.code();
        }
    }
}

#[actix_web::test]
async fn a_websocket_with_a_token_creates_its_connection_and_returns_to_it() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let (conn_id, claims) =
        (id(), json!({"channels": ["news"], "state": {"color": "red"}, "public_keys": ["color"]}));
    let mut first = open(&backend, &token("ann", claims), &conn_id).await;
    backend.publish_text("news", "one").await;
    assert_eq!(elements(&mut first).await[0]["message"], json!({"text": "one"}));
    let info =
        backend.post("/info", json!({"info": {"channels": ["news"], "return_public_state": true}})).await;
    assert_eq!(info["users"], json!([{"user": "ann", "state": {"color": "red"}}]));
    // The same connection again: the later session takes over, and joins what its token adds.
    let mut second = open(&backend, &token("ann", json!({"channels": ["more"]})), &conn_id).await;
    assert_eq!(closing_code(&mut first).await, Some(4001));
    backend.publish_text("more", "two").await;
    assert_eq!(elements(&mut second).await[0]["message"], json!({"text": "two"}));
    assert_eq!(backend.channel("news").await["users"], json!(["ann"]), "channels are only added");
    let info =
        backend.post("/info", json!({"info": {"channels": ["news"], "return_public_state": true}})).await;
    assert_eq!(info["users"][0]["state"], json!({"color": "red"}), "a token without keys leaves them");
    let other = format!("/ws?token={}&conn_id={conn_id}", token("bob", json!({})));
    let (status, code, _) = refused(&backend, &other).await;
    assert_eq!((status, &*code), (403, "token-mismatch"));
    assert_eq!(poll(&backend, &other[4..]).await.status, 403);
}

#[actix_web::test]
async fn the_id_may_come_from_the_token_or_be_left_out() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let conn_id = id();
    let bound = token("ann", json!({"conn_id": conn_id, "channels": ["c"]}));
    let target = format!("/ws?token={bound}");
    let mut first = socket::open(backend.address(), &target, &[]).await.ok().unwrap();
    let _second = socket::open(backend.address(), &target, &[]).await.ok().unwrap();
    assert_eq!(closing_code(&mut first).await, Some(4001));
    let (status, code, body) = refused(&backend, &format!("/ws?token={bound}&conn_id={}", id())).await;
    assert_eq!((status, &*code), (401, "token-refused"));
    assert_eq!(body, json!({"token": ["Its claim `conn_id` is refused: It is for another connection."]}));
    let any = format!("/ws?token={}", token("ann", json!({"channels": ["c"]})));
    let _third = socket::open(backend.address(), &any, &[]).await.ok().unwrap();
    assert_eq!(backend.channel("c").await["total_connections"], 2);
    assert_eq!(refused(&backend, "/ws").await.0, 422);
}

#[actix_web::test]
async fn the_token_may_be_a_subprotocol() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let offered =
        format!("channelstream.v1, channelstream.token.{}", token("ann", json!({"channels": ["c"]})));
    let headers = [("sec-websocket-protocol", &*offered)];
    let (reply, incoming, outgoing) =
        socket::open_with_reply(backend.address(), &format!("/ws?conn_id={}", id()), &headers)
            .await
            .ok()
            .unwrap();
    let mut socket = (incoming, outgoing);
    assert_eq!(reply.header("sec-websocket-protocol"), Some("channelstream.v1"));
    backend.publish_text("c", "hi").await;
    assert_eq!(elements(&mut socket).await[0]["message"], json!({"text": "hi"}));
    let wrong = [("sec-websocket-protocol", "channelstream.v1, channelstream.token.x")];
    let reply = socket::refused(backend.address(), &format!("/ws?conn_id={}", id()), &wrong).await;
    assert_eq!(coded(&reply).1, "token-refused");
}

#[actix_web::test]
async fn a_bad_token_is_refused_with_the_reason_and_changes_nothing() {
    let server = TestServer::start(Settings { max_channels_per_connection: 2, ..settings() });
    let backend = server.backend();
    let old = token("ann", json!({"exp": now_unix() - 12}));
    for (token, text) in [
        (&*old, "It expired 1"),
        ("x", "It is not a valid JSON Web Token."),
        (&*token("", json!({})), "Its claim `sub` is refused: Length must be between 1 and 512."),
        (&*token("ann", json!({"aud": "other"})), "It is for another audience."),
        (&*"x".repeat(9_000), "It is longer than 8192 bytes."),
    ] {
        let query = format!("token={token}&conn_id={}", id());
        for reply in [
            socket::refused(backend.address(), &format!("/ws?{query}"), &[]).await,
            poll(&backend, &query).await,
        ] {
            let (status, code, body) = coded(&reply);
            assert_eq!((status, &*code), (401, "token-refused"), "{body}");
            assert!(body["token"][0].as_str().unwrap().starts_with(text), "{body}");
        }
    }
    let many = token("ann", json!({"channels": ["a", "b", "c"]}));
    let reply = poll(&backend, &format!("token={many}&conn_id={}", id())).await;
    assert_eq!(
        (reply.status, reply.header("x-channelstream-limit")),
        (422, Some("max_channels_per_connection"))
    );
    assert_eq!(backend.debug_value("connections").await, 0);
    let counted = ["expired", "malformed", "claims", "signature"]
        .map(async |cause| backend.debug_value(&format!("tokens refused, {cause}")).await);
    assert_eq!(futures_util::future::join_all(counted).await, [2, 4, 4, 0]);
}

/// Each cause of a refusal has a counter of its own, whichever way the token comes.
#[actix_web::test]
async fn refused_tokens_are_counted_by_cause() {
    let server = TestServer::start(Settings { require_tokens: true, ..settings() });
    let backend = server.backend();
    let conn_id = id();
    let mut socket = open(&backend, &token("ann", json!({})), &conn_id).await;
    backend.post("/block", json!({"user": "bob", "tokens_before": now_unix() + 60})).await;
    let (text, signature) =
        token("ann", json!({})).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.len())).unwrap();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", text.split_once('.').unwrap().1);
    for (cause, token) in [
        ("expired", token("ann", json!({"exp": now_unix() - 60}))),
        ("not yet valid", token("ann", json!({"nbf": now_unix() + 60}))),
        ("signature", format!("{text}.{}", "A".repeat(signature))),
        ("key", unsigned),
        ("claims", token("ann", json!({"aud": "other"}))),
        ("malformed", "undefined".to_owned()),
        ("revoked", token("bob", json!({}))),
    ] {
        let counter = format!("tokens refused, {cause}");
        let (status, code, body) = refused(&backend, &format!("/ws?token={token}&conn_id={}", id())).await;
        assert_eq!((status, &*code), (401, "token-refused"), "{cause}: {body}");
        assert_eq!(backend.debug_value(&counter).await, 1, "a handshake, {cause}: {body}");
        assert_eq!(poll(&backend, &format!("token={token}&conn_id={}", id())).await.status, 401);
        assert_eq!(backend.debug_value(&counter).await, 2, "a poll, {cause}");
        assert_eq!(coded(&replace(&backend, &conn_id, &token).await).1, "token-refused");
        assert_eq!(backend.debug_value(&counter).await, 3, "a request, {cause}");
        socket.1.text(&json!({"type": "token", "token": token}).to_string()).await;
        assert!(elements(&mut socket).await[0]["error"].is_string());
        assert_eq!(backend.debug_value(&counter).await, 4, "a websocket, {cause}");
    }
    assert_eq!(poll(&backend, &format!("conn_id={conn_id}")).await.status, 401);
    assert_eq!(backend.debug_value("tokens refused, missing").await, 1);
    assert_eq!(backend.debug_value("refusals of any kind").await, 7 * 4 + 1);
}

#[actix_web::test]
async fn a_session_is_closed_when_its_token_expires() {
    let server = TestServer::start(Settings { poll_wait_ms: 50, ..settings() });
    let backend = server.backend();
    let conn_id = id();
    let mut socket = open(&backend, &expiring("ann"), &conn_id).await;
    let frame = within(socket.0.closing()).await;
    assert_eq!((frame.code(), &frame.payload[2..]), (Some(4005), &b"token expired"[..]));
    // Without the token, its id alone does not help; with another one the connection continues.
    assert_eq!(poll(&backend, &format!("conn_id={conn_id}")).await.status, 401);
    assert_eq!(
        poll(&backend, &format!("conn_id={conn_id}&token={}", token("ann", json!({})))).await.status,
        200
    );
    assert_eq!(poll(&backend, &format!("conn_id={conn_id}")).await.status, 200);
}

#[actix_web::test]
async fn a_websocket_replaces_its_token() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let conn_id = id();
    let mut socket = open(&backend, &expiring("ann"), &conn_id).await;
    let expires = now_unix() + 600;
    let next = token("ann", json!({"exp": expires, "channels": ["later"]}));
    for (sent, answer) in [
        (
            token("ann", json!({"exp": now_unix() - 60})),
            json!([{"type": "token", "error": "expired", "message": {}}]),
        ),
        (token("bob", json!({})), json!([{"type": "token", "error": "token-mismatch", "message": {}}])),
        (next, json!([{"type": "token", "expires": expires, "message": {}}])),
    ] {
        socket.1.text(&json!({"type": "token", "token": sent}).to_string()).await;
        assert_eq!(elements(&mut socket).await, answer);
    }
    tokio::time::sleep(EXPIRED).await;
    backend.publish_text("later", "still here").await;
    assert_eq!(elements(&mut socket).await[0]["message"], json!({"text": "still here"}));
}

#[actix_web::test]
async fn a_websocket_without_a_token_only_shows_that_it_is_alive() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let conn_id = backend.connect("ann", &["c"]).await;
    let mut socket =
        socket::open(backend.address(), &format!("/ws?conn_id={conn_id}"), &[]).await.ok().unwrap();
    socket.1.text(&json!({"type": "token", "token": token("ann", json!({}))}).to_string()).await;
    backend.publish_text("c", "hi").await;
    assert_eq!(elements(&mut socket).await[0]["message"], json!({"text": "hi"}));
}

#[actix_web::test]
async fn a_poll_replaces_its_token_with_a_request() {
    let server = TestServer::start(Settings { poll_wait_ms: 50, ..settings() });
    let backend = server.backend();
    let (conn_id, expires) = (id(), now_unix() + 600);
    assert_eq!(poll(&backend, &format!("conn_id={conn_id}&token={}", expiring("ann"))).await.status, 200);
    let reply = replace(&backend, &conn_id, &token("ann", json!({"exp": expires}))).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"expires": expires})));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    tokio::time::sleep(EXPIRED).await;
    assert_eq!(poll(&backend, &format!("conn_id={conn_id}")).await.status, 200);
    let unknown = replace(&backend, &id(), &token("ann", json!({}))).await;
    assert_eq!((unknown.status, unknown.header("x-channelstream-error")), (401, Some("unknown-connection")));
    assert_eq!(unknown.header("access-control-allow-origin"), Some("*"));
    assert_eq!(replace(&backend, &conn_id, &token("bob", json!({}))).await.status, 403);
    assert_eq!(coded(&replace(&backend, &conn_id, "x").await).1, "token-refused");
    assert_eq!(ask(backend.address(), "POST", "/token", &[], "{}").await.status, 422);
}

#[actix_web::test]
async fn a_server_may_require_tokens() {
    let server = TestServer::start(Settings { require_tokens: true, ..settings() });
    let backend = server.backend();
    let conn_id = backend.connect("ann", &["c"]).await;
    let bare = format!("conn_id={conn_id}");
    let missing = (401, "token-refused".to_owned(), json!({"token": ["A token is required."]}));
    assert_eq!(refused(&backend, &format!("/ws?{bare}")).await, missing);
    assert_eq!(coded(&poll(&backend, &bare).await), missing);
    let _socket = open(&backend, &token("ann", json!({})), &conn_id).await;
}

#[actix_web::test]
async fn blocked_users_and_revoked_tokens_are_refused() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let conn_id = id();
    let target = |token: String| format!("/ws?token={token}&conn_id={}", id());
    let mut socket = open(&backend, &token("ann", json!({})), &conn_id).await;
    backend.post("/block", json!({"user": "ann", "seconds": 60})).await;
    assert_eq!(closing_code(&mut socket).await, Some(4006));
    let (status, code, _) = refused(&backend, &target(token("ann", json!({})))).await;
    assert_eq!((status, &*code), (403, "blocked"));
    backend.post("/block", json!({"user": "bob", "tokens_before": now_unix()})).await;
    for old in [json!({"iat": now_unix() - 100}), json!({"iat": null})] {
        let (status, code, body) = refused(&backend, &target(token("bob", old))).await;
        assert_eq!((status, &*code, body), (401, "token-refused", json!({"token": ["It was revoked."]})));
    }
    open(&backend, &token("bob", json!({"iat": now_unix() + 1})), &id()).await;
}

#[actix_web::test]
async fn the_well_known_secret_signs_tokens_for_this_machine_only() {
    let server = TestServer::start(Settings { allow_default_secrets: false, ..settings() });
    let backend = server.backend();
    let target = format!("/ws?token={}&conn_id={}", token("ann", json!({})), id());
    let proxied = socket::refused(backend.address(), &target, &[("x-forwarded-for", "192.0.2.1")]).await;
    assert_eq!(coded(&proxied).1, "token-refused");
    let own = Settings { secrets: vec![Secret::new("x".repeat(32))], ..settings() };
    let server = TestServer::start(own);
    let foreign = format!("/ws?token={}&conn_id={}", token("ann", json!({})), id());
    let (_, _, body) = refused(&server.backend(), &foreign).await;
    assert_eq!(body, json!({"token": ["Its signature is wrong."]}));
}
