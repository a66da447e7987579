//! A second address for backends and operators: the paths that each of the two addresses serves.

use crate::support::backend::signature;
use crate::support::http::{Reply, ask};
use crate::support::{TestServer, settings, socket};
use channelstream::config::{AllowedPeers, DemoSetting, Settings};
use serde_json::json;

fn separate_addresses() -> Settings {
    Settings {
        internal_host: Some("127.0.0.1".into()),
        internal_port: 0,
        poll_wait_ms: 50,
        demo: DemoSetting::On,
        ..settings()
    }
}

/// Every endpoint that browsers must not reach.
const NOT_FOR_BROWSERS: [(&str, &str); 22] = [
    ("POST", "/connect"),
    ("POST", "/subscribe"),
    ("POST", "/unsubscribe"),
    ("POST", "/user_state"),
    ("POST", "/channel_config"),
    ("POST", "/end"),
    ("POST", "/block"),
    ("GET", "/block"),
    ("DELETE", "/block"),
    ("POST", "/message"),
    ("PATCH", "/message"),
    ("DELETE", "/message"),
    ("GET", "/info"),
    ("GET", "/admin"),
    ("GET", "/admin/sign_in"),
    ("POST", "/admin/sign_in"),
    ("GET", "/admin/admin.json"),
    ("GET", "/admin/debug"),
    ("GET", "/admin/secrets.json"),
    ("GET", "/admin/limits.json"),
    ("GET", "/api-explorer"),
    ("GET", "/openapi.json"),
];

fn is_not_found(reply: &Reply) -> bool {
    (reply.status, reply.header("x-channelstream-error")) == (404, Some("not-found"))
}

#[actix_web::test]
async fn public_address_serves_only_paths_of_browsers() {
    let server = TestServer::start(separate_addresses());
    let (name, token) = signature();
    let signed = [(name, token.as_str())];
    for (method, path) in NOT_FOR_BROWSERS {
        for headers in [&[][..], &signed, &[(name, "garbage")]] {
            let ways = [path.to_owned(), format!("/{path}"), format!("{path}?a=b"), format!("/push{path}")];
            for target in &ways {
                let all = [headers, &[("x-script-name", "/push")]].concat();
                for headers in [headers, &all] {
                    let reply = ask(server.address, method, target, headers, "{}").await;
                    assert!(is_not_found(&reply), "{method} {target} {headers:?}: {reply:?}");
                }
            }
        }
        let preflight = ask(server.address, "OPTIONS", path, &[("origin", "https://a.example")], "").await;
        assert!(is_not_found(&preflight), "{path}: {preflight:?}");
        let there = ask(server.internal_address.unwrap(), method, path, &signed, "{}").await;
        assert!(!is_not_found(&there), "{method} {path}: {there:?}");
    }
    for path in ["/", "/static/channelstream/index.js", "/demo", "/docs/first-application"] {
        assert_ne!(ask(server.address, "GET", path, &[], "").await.status, 404, "{path}");
    }
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(ask(server.address, "GET", path, &[], "").await.status, 200, "{path}");
    }
}

#[actix_web::test]
async fn messages_of_backends_reach_browsers_on_the_other_address() {
    for workers in [1, 3] {
        let server = TestServer::start(Settings { workers, ..separate_addresses() });
        let (backend, internal) = (server.backend(), server.internal_address.unwrap());
        assert_ne!(internal, server.address);
        // Several rounds, so that each worker serves both addresses.
        for round in 0..6 {
            let conn_id = backend.connect("ann", &["c"]).await;
            let target = format!("/ws?conn_id={conn_id}");
            let at = if round == 5 { internal } else { server.address };
            let (mut incoming, _outgoing) = socket::open(at, &target, &[]).await.ok().unwrap();
            backend.publish_text("c", "hello").await;
            let frame = incoming.expect_message().await;
            assert!(String::from_utf8_lossy(&frame.payload).contains("hello"));
            let target = format!("/disconnect?conn_id={conn_id}");
            assert_eq!(ask(server.address, "GET", &target, &[], "").await.json(), json!(true));
        }
        let conn_id = backend.connect("bob", &["c"]).await;
        backend.publish_text("c", "for the poll").await;
        let target = format!("/listen?conn_id={conn_id}");
        let events = ask(server.address, "GET", &target, &[], "").await.json();
        assert_eq!(events[0]["message"]["text"], "for the poll");
    }
}

#[actix_web::test]
async fn public_address_ignores_signatures() {
    let server = TestServer::start(separate_addresses());
    let conn_id = server.backend().connect("ann", &["c"]).await;
    let good = signature().1;
    // The answer to a guess is the same whether the guess is right or wrong.
    for guess in ["garbage", good.as_str()] {
        let headers = [("x-channelstream-secret", guess)];
        let target = format!("/ws?conn_id={conn_id}");
        assert!(socket::open(server.address, &target, &headers).await.is_ok());
        let target = format!("/listen?conn_id={conn_id}&secret={guess}");
        assert_eq!(ask(server.address, "GET", &target, &headers, "").await.status, 200);
    }
    let refused =
        ask(server.internal_address.unwrap(), "GET", "/listen", &[("x-channelstream-secret", "x")], "");
    assert_eq!(refused.await.status, 401);
    let secrets = server.backend().send("GET", "/admin/secrets.json", &[], b"").await.json();
    assert_eq!(secrets["secrets"][0]["uses"], 2, "the connect, and this request: {secrets}");
}

#[actix_web::test]
async fn internal_address_refuses_other_client_addresses() {
    let elsewhere = AllowedPeers::Only(vec!["192.0.2.1".parse().unwrap()]);
    let trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    let server = TestServer::start(Settings {
        allow_posting_from: elsewhere,
        trusted_proxies,
        ..separate_addresses()
    });
    let (name, token) = signature();
    let headers = [(name, token.as_str()), ("x-forwarded-for", "192.0.2.1"), ("x-real-ip", "192.0.2.1")];
    let reply = ask(server.internal_address.unwrap(), "POST", "/info", &headers, "").await;
    assert_eq!((reply.status, reply.header("x-channelstream-error")), (403, Some("address-not-allowed")));
}

#[actix_web::test]
async fn single_address_serves_everything() {
    let server = TestServer::start(settings());
    assert_eq!(server.internal_address, None);
    let (name, token) = signature();
    for (method, path) in NOT_FOR_BROWSERS {
        let reply = ask(server.address, method, path, &[(name, &token)], "{}").await;
        assert!(!is_not_found(&reply), "{method} {path}: {reply:?}");
    }
}
