//! Nodes that reach Redis over TLS.

use super::spawn_node;
use crate::support::backend::Backend;
use crate::support::certificates::{Authority, Identity};
use crate::support::process::Process;
use crate::support::redis::{Redis, Sentinel};
use crate::support::wait_until_ready;
use serde_json::json;

const HOST: &str = "127.0.0.1";

fn url(redis: &Redis) -> String {
    format!("engine_url=rediss://{HOST}:{}", redis.port())
}

/// The log line of a node that cannot use Redis for this reason. It does not become ready.
async fn expect_refusal(node: &Process, reason: &str) {
    node.log().wait_for(reason).await;
    assert!(node.log().at(&format!("cannot use Redis: {HOST}:")).is_some(), "{}", node.log().text());
    let reply = Backend::new(node.address).send("GET", "/health/ready", &[], b"").await;
    assert_eq!(reply.status, 503);
}

#[actix_web::test]
async fn a_node_trusts_the_authority_of_the_settings_only() {
    let (authority, other) = (Authority::new(), Authority::new());
    let redis = Redis::with_tls(&authority.sign(HOST), &authority, false);
    let trusting = spawn_node(&[&url(&redis), &format!("engine_ca_file={}", authority.file())]);
    let strict = spawn_node(&[&url(&redis), &format!("engine_ca_file={}", other.file())]);
    let system = spawn_node(&[&url(&redis)]);
    wait_until_ready(trusting.address);
    Backend::new(trusting.address).publish_text("c", "over TLS").await;
    for node in [&strict, &system] {
        expect_refusal(node, "was not signed by an authority that is known").await;
    }
}

#[actix_web::test]
async fn certificates_of_other_names_and_times_are_refused() {
    let authority = Authority::new();
    let ca = format!("engine_ca_file={}", authority.file());
    let named = Redis::with_tls(&authority.sign("redis.example.org"), &authority, false);
    expect_refusal(&spawn_node(&[&url(&named), &ca]), "is for another name").await;
    let late = Redis::with_tls(&authority.sign_expired(HOST), &authority, false);
    expect_refusal(&spawn_node(&[&url(&late), &ca]), "has expired").await;
}

#[actix_web::test]
async fn a_node_shows_its_certificate_and_its_password() {
    let (authority, other) = (Authority::new(), Authority::new());
    let redis = Redis::with_tls(&authority.sign(HOST), &authority, true);
    let () = redis.ask(&["CONFIG", "SET", "requirepass", "hush-hush"]);
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("tls-password");
    std::fs::write(&file, "hush-hush\n").unwrap();
    let common = [
        url(&redis),
        format!("engine_ca_file={}", authority.file()),
        format!("engine_password_file={}", file.display()),
    ];
    let start = |identity: Option<Identity>| {
        let files = identity.map(|identity| {
            [format!("engine_cert_file={}", identity.cert), format!("engine_key_file={}", identity.key)]
        });
        let settings: Vec<_> = common.iter().cloned().chain(files.into_iter().flatten()).collect();
        spawn_node(&settings.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let known = start(Some(authority.sign("a node")));
    let (anonymous, unknown) = (start(None), start(Some(other.sign("a node"))));
    wait_until_ready(known.address);
    Backend::new(known.address).publish_text("c", "signed").await;
    expect_refusal(&anonymous, "the server requires a certificate").await;
    expect_refusal(&unknown, "the server refuses the certificate in engine_cert_file").await;
    for node in [&known, &anonymous, &unknown] {
        assert!(!node.log().text().contains("hush"), "{}", node.log().text());
    }
}

#[actix_web::test]
async fn a_master_is_found_and_reached_over_tls() {
    let (authority, other) = (Authority::new(), Authority::new());
    let identity = authority.sign(HOST);
    let redis = Redis::with_tls(&identity, &authority, false);
    let sentinel = Sentinel::with_tls(redis.port(), &identity, &authority);
    let url = format!("engine_url={}", sentinel.url());
    let node = spawn_node(&[&url, &format!("engine_ca_file={}", authority.file())]);
    wait_until_ready(node.address);
    Backend::new(node.address).configure(&["c"], json!({"notify_presence": true})).await;
    let strict = spawn_node(&[&url, &format!("engine_ca_file={}", other.file())]);
    strict.log().wait_for("cannot use Redis: no Sentinel names the master: ").await;
    assert!(strict.log().at("was not signed by an authority").is_some(), "{}", strict.log().text());
}
