//! `/demo/guarded/echo`: the server refuses the handshake before it opens a socket.

use super::common::{ask, open, quiet, refused};
use crate::support::TestServer;
use crate::support::backend::signature;
use serde_json::json;

#[actix_web::test]
async fn server_requires_a_token_for_a_socket() {
    let server = TestServer::start(quiet());
    let missing = refused(&server, "/demo/guarded/echo").await;
    assert_eq!((missing.status, missing.header("x-channelstream-error")), (401, Some("token-refused")));
    assert_eq!(missing.header("content-type"), Some("application/json"));
    assert_eq!(missing.json(), json!({"token": ["Missing data for required field."]}));
    let (_, signature) = signature();
    for token in ["", "nonsense", &signature] {
        let reply = refused(&server, &format!("/demo/guarded/echo?token={token}")).await;
        assert_eq!((reply.status, reply.json()), (401, json!({"token": ["Not a valid token."]})), "{token}");
    }
    let given = ask(&server, "POST", "/demo/guarded/token", "").await;
    assert_eq!((given.status, given.json()["expires_in"].as_u64()), (200, Some(60)));
    let token = given.json()["token"].as_str().unwrap().to_owned();
    let (mut incoming, mut outgoing) = open(&server, &format!("/demo/guarded/echo?token={token}")).await;
    outgoing.text("inside").await;
    assert_eq!(incoming.expect().await.payload, b"inside");
}

/// A token that is issued to browsers is valid only for its demo.
#[actix_web::test]
async fn token_is_not_a_signature() {
    let server = TestServer::start(quiet());
    let given = ask(&server, "POST", "/demo/guarded/token", "").await.json();
    let target = format!("/info?secret={}", given["token"].as_str().unwrap());
    assert_eq!(ask(&server, "POST", &target, "{}").await.status, 401);
}

#[actix_web::test]
async fn server_answers_426_to_plain_http() {
    let server = TestServer::start(quiet());
    let reply = ask(&server, "GET", "/demo/guarded/echo", "").await;
    assert_eq!((reply.status, reply.header("x-channelstream-error")), (426, Some("upgrade-required")));
    assert_eq!(ask(&server, "GET", "/demo/guarded/token", "").await.status, 404);
}
