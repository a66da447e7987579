//! A server with well-known secrets on loopback refuses requests from elsewhere on every path.

use crate::support::backend::now_unix;
use crate::support::http::{self, Reply};
use crate::support::{TestServer, socket};
use channelstream::auth::signing::Keys;
use channelstream::auth::signing::request_signature::BoundTo;
use channelstream::config::{DemoSetting, Secret, Settings};
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};

const OWN: &str = "a secret of this server's own";
const WELL_KNOWN: &str = "secret";

/// Headers of requests from this machine.
const FROM_HERE: [&[(&str, &str)]; 9] = [
    &[],
    &[("host", "localhost:8000")],
    &[("host", "app.localhost")],
    &[("host", "[::1]:8000")],
    &[("host", "127.9.9.9")],
    &[("origin", "http://127.0.0.1:8101")],
    &[("origin", "https://app.localhost:3000"), ("sec-fetch-site", "cross-site")],
    &[("sec-fetch-site", "same-origin"), ("referer", "http://localhost/explorer")],
    &[
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "no-cors"),
        ("referer", "http://localhost:3000/page"),
    ],
];

/// Headers that show a proxy, DNS rebinding of a name to this machine, or a page of another site.
const FROM_ELSEWHERE: [&[(&str, &str)]; 22] = [
    &[("host", "evil.example")],
    &[
        ("host", "evil.example:8000"),
        ("origin", "http://evil.example:8000"),
        ("sec-fetch-site", "same-origin"),
    ],
    &[("host", "localhost.evil.example")],
    &[("host", "192.168.1.5:8000")],
    &[("origin", "https://evil.example")],
    &[("origin", "null")],
    &[("origin", "http://localhost"), ("origin", "https://evil.example")],
    &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("referer", "https://evil.example/")],
    &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
    &[("x-forwarded-for", "203.0.113.9")],
    &[("x-forwarded-for", "127.0.0.1")],
    &[("x-forwarded-proto", "https")],
    &[("x-forwarded-host", "localhost")],
    &[("x-forwarded-port", "443")],
    &[("x-real-ip", "203.0.113.9")],
    &[("wl-proxy-client-ip", "203.0.113.9")],
    &[("forwarded", "for=203.0.113.9")],
    &[("via", "1.1 proxy")],
    &[("x-script-name", "/push")],
    &[("x-forwarded-prefix", "/push")],
    &[("x-scheme", "https")],
    &[("x-url-scheme", "https")],
];

fn base() -> Settings {
    Settings { port: 0, workers: 1, ..Settings::default() }
}

fn with(secrets: &[&str], password: &str) -> Settings {
    let secrets = secrets.iter().map(|text| Secret::new(*text)).collect();
    Settings { secrets, admin_secret: Secret::new(password), ..base() }
}

async fn ask(server: &TestServer, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    http::ask(server.address, method, target, headers, body).await
}

/// The ways to send a signature.
#[derive(Clone, Copy, Debug)]
enum Way {
    Header,
    Query,
    Bound,
}

/// Sends a request signed with this secret.
async fn signed(
    server: &TestServer,
    (way, secret): (Way, &str),
    (method, path, body): (&str, &str, &str),
    more: &[(&str, &str)],
) -> Reply {
    static NONCE: AtomicU64 = AtomicU64::new(0);
    let keys = Keys::new(&[Secret::new(secret)]);
    let token = match way {
        Way::Header | Way::Query => keys.sign("x", now_unix()),
        Way::Bound => {
            let request = BoundTo { method, target: path, body: body.as_bytes() };
            keys.sign_bound(&request, now_unix(), &NONCE.fetch_add(1, Ordering::Relaxed).to_string())
        }
    };
    let (target, header) = match way {
        Way::Header => (path.to_owned(), Some("x-channelstream-secret")),
        Way::Bound => (path.to_owned(), Some("x-channelstream-signature")),
        Way::Query => (format!("{path}{}secret={token}", if path.contains('?') { '&' } else { '?' }), None),
    };
    let headers: Vec<_> =
        header.map(|name| (name, token.as_str())).into_iter().chain(more.iter().copied()).collect();
    if path.starts_with("/ws") {
        return match socket::open(server.address, &target, &headers).await {
            Ok(_) => Reply { status: 101, headers: Vec::new(), body: Vec::new() },
            Err(refused) => refused,
        };
    }
    ask(server, method, &target, &headers, body).await
}

/// Calls on the fast path and on the full path, calls of the console, and a handshake.
const CALLS: [(&str, &str, &str); 6] = [
    ("POST", "/message", r#"[{"user": "p", "channel": "c", "message": {}}]"#),
    ("POST", "/connect", r#"{"username": "ann"}"#),
    ("POST", "/info", r#"{"info": {}}"#),
    ("GET", "/admin/admin.json", ""),
    ("POST", "/admin/message", "[]"),
    ("GET", "/ws?conn_id=5b1d5a0e-4c5c-4b7e-9d5e-0c8a8f1f2a3b", ""),
];

fn is_refused(reply: &Reply) -> bool {
    let code = reply.header("x-channelstream-error") == Some("well-known-secret");
    if code {
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (403, None), "{reply:?}");
        let text = reply.text();
        assert!(
            text.contains("secrets and admin_secret") && text.contains("allow_default_secrets = true"),
            "{text}"
        );
    }
    code
}

/// Sends each call with each kind of signature and all headers. `refuses`: the server refuses calls from elsewhere.
async fn assert_calls(server: &TestServer, secret: &str, refuses: bool) {
    for call in CALLS {
        for way in [Way::Header, Way::Query, Way::Bound] {
            for headers in FROM_HERE {
                let reply = signed(server, (way, secret), call, headers).await;
                assert!(matches!(reply.status, 200 | 101), "{call:?} {way:?} {headers:?}: {reply:?}");
            }
            for headers in FROM_ELSEWHERE {
                let reply = signed(server, (way, secret), call, headers).await;
                assert_eq!(is_refused(&reply), refuses, "{call:?} {way:?} {headers:?}: {reply:?}");
                assert!(
                    refuses || matches!(reply.status, 200 | 101),
                    "{call:?} {way:?} {headers:?}: {reply:?}"
                );
            }
        }
    }
}

#[actix_web::test]
async fn server_accepts_the_well_known_secret_only_from_this_machine() {
    assert_calls(&TestServer::start(base()), WELL_KNOWN, true).await;
}

#[actix_web::test]
async fn server_accepts_custom_secrets_from_everywhere() {
    assert_calls(&TestServer::start(with(&[OWN], "own password")), OWN, false).await;
}

#[actix_web::test]
async fn server_accepts_allowed_default_secrets_from_everywhere() {
    let settings = Settings { allow_default_secrets: true, ..base() };
    assert_calls(&TestServer::start(settings), WELL_KNOWN, false).await;
}

/// A target in absolute form also names a host, in every spelling of its path.
#[actix_web::test]
async fn server_checks_the_host_of_a_target_in_absolute_form() {
    let server = TestServer::start(base());
    for path in ["/message", "//message", "/m%65ssage", "/info", "//info"] {
        for (host, refuses) in [("evil.example", true), ("localhost:8000", false)] {
            let target = format!("http://{host}{path}");
            let token = Keys::new(&[Secret::new(WELL_KNOWN)]).sign("x", now_unix());
            let signed = [("x-channelstream-secret", token.as_str())];
            let body = if path.ends_with("info") { r#"{"info": {}}"# } else { "[]" };
            let reply = ask(&server, "POST", &target, &signed, body).await;
            assert_eq!(is_refused(&reply), refuses, "{target}: {reply:?}");
            assert!(refuses || reply.status == 200, "{target}: {reply:?}");
        }
    }
}

/// Clients behind a proxy have the address of this machine, and would use up its tries.
#[actix_web::test]
async fn wrong_passwords_from_elsewhere_do_not_lock_out_this_machine() {
    let server = TestServer::start(base());
    let proxied = [("x-forwarded-for", "203.0.113.9")];
    for password in ["wrong", "admin_secret"].into_iter().cycle().take(12) {
        let (reply, _) = sign_in(&server, password, &proxied).await;
        assert!(is_refused(&reply), "{reply:?}");
    }
    assert_eq!(sign_in(&server, "admin_secret", &[]).await.0.status, 302);
}

/// During a change of secrets, and with an INI file, whose server listens for other machines.
#[actix_web::test]
async fn server_checks_the_secret_that_signed() {
    let server = TestServer::start(with(&[OWN, WELL_KNOWN], "own password"));
    assert_calls(&server, OWN, false).await;
    assert_calls(&server, WELL_KNOWN, true).await;
    let ini = Settings { ini: Some("old.ini".into()), host: "0.0.0.0".into(), ..base() };
    let mut server = TestServer::start(ini);
    server.address.set_ip([127, 0, 0, 1].into());
    let reply = signed(&server, (Way::Header, WELL_KNOWN), CALLS[0], FROM_ELSEWHERE[9]).await;
    assert!(is_refused(&reply), "{reply:?}");
    let reply = signed(&server, (Way::Header, WELL_KNOWN), CALLS[0], &[]).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// Submits the sign-in form; returns the answer and the cookie that it sets.
async fn sign_in(server: &TestServer, password: &str, headers: &[(&str, &str)]) -> (Reply, String) {
    let form = [&[("content-type", "application/x-www-form-urlencoded")], headers].concat();
    let reply =
        ask(server, "POST", "/admin/sign_in", &form, &format!("username=admin&password={password}")).await;
    let cookie = reply.header("set-cookie").unwrap_or_default().split(';').next().unwrap().to_owned();
    (reply, cookie)
}

/// Whether the browser's headers show that a page of another origin sent the form, which the server refuses.
fn is_cross_origin(headers: &[(&str, &str)]) -> bool {
    let value = |wanted| headers.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| *value);
    let host = value("host").next().unwrap_or("localhost");
    let is_own = |page: &str| page.split('/').nth(2) == Some(host);
    match (value("sec-fetch-site").next(), value("origin").next()) {
        (Some(site), _) => !["same-origin", "none"].contains(&site),
        (None, Some(_)) => !value("origin").all(is_own),
        (None, None) => !value("referer").all(is_own),
    }
}

#[actix_web::test]
async fn server_accepts_the_well_known_password_only_from_this_machine() {
    let own = "own+password";
    for (settings, password, refuses) in [
        (base(), "admin_secret", true),
        (with(&[OWN], "admin_secret"), "admin_secret", true),
        (Settings { allow_default_secrets: true, ..base() }, "admin_secret", false),
        (with(&[WELL_KNOWN], "own password"), own, false),
    ] {
        let server = TestServer::start(settings);
        let (reply, cookie) = sign_in(&server, password, &[]).await;
        assert_eq!(reply.status, 302);
        for headers in FROM_HERE {
            let expected = if is_cross_origin(headers) { 403 } else { 302 };
            assert_eq!(sign_in(&server, password, headers).await.0.status, expected, "{headers:?}");
            let all = [&[("cookie", cookie.as_str())], headers].concat();
            assert_eq!(ask(&server, "GET", "/admin/admin.json", &all, "").await.status, 200, "{headers:?}");
        }
        for headers in FROM_ELSEWHERE {
            // A sign-in with the right password from this machine resets the tries, so that none of the next ones must
            // wait.
            sign_in(&server, password, &[]).await;
            let (reply, set) = sign_in(&server, password, headers).await;
            match is_cross_origin(headers) {
                true => assert_eq!((reply.status, set.is_empty()), (403, true), "{headers:?}: {reply:?}"),
                false => {
                    assert_eq!(
                        (is_refused(&reply), set.is_empty()),
                        (refuses, refuses),
                        "{headers:?}: {reply:?}"
                    );
                }
            }
            let all = [&[("cookie", cookie.as_str())], headers].concat();
            for (method, path) in
                [("GET", "/admin"), ("GET", "/admin/admin.json"), ("POST", "/admin/message")]
            {
                let reply = ask(&server, method, path, &all, "[]").await;
                assert_eq!(is_refused(&reply), refuses, "{method} {path} {headers:?}: {reply:?}");
            }
        }
    }
}

const DEMO_ROUTES: [(&str, &str, &str); 16] = [
    ("GET", "/demo", ""),
    ("GET", "/demo/", ""),
    ("GET", "/demo/echo", ""),
    ("GET", "/demo/chat", ""),
    ("GET", "/demo/guarded/", ""),
    ("POST", "/demo/guarded/token", ""),
    ("GET", "/demo/board/", ""),
    ("GET", "/demo/board/new-channel?id=x", ""),
    ("GET", "/demo/state", ""),
    ("POST", "/demo/connect", r#"{"username": "alice"}"#),
    ("POST", "/demo/subscribe", "{}"),
    ("POST", "/demo/unsubscribe", "{}"),
    ("POST", "/demo/user_state", "{}"),
    ("POST", "/demo/message", "[]"),
    ("PATCH", "/demo/message", "[]"),
    ("GET", "/%64emo/%65cho", ""),
];
const DEMO_SOCKETS: [&str; 3] = ["/demo/echo", "/demo/chat", "/demo/board/socket"];

async fn assert_demo(server: &TestServer, headers: &[(&str, &str)], shows: bool) {
    let prefix = headers.iter().any(|(name, _)| matches!(*name, "x-script-name" | "x-forwarded-prefix"));
    for (method, path, body) in DEMO_ROUTES {
        let reply = ask(server, method, path, headers, body).await;
        assert_eq!(reply.status != 404, shows, "{method} {path} {headers:?}: {reply:?}");
    }
    for path in DEMO_SOCKETS {
        let opened = socket::open(server.address, path, headers).await;
        assert_eq!(opened.is_ok(), shows, "{path} {headers:?}");
    }
    if !prefix {
        for (page, mark) in [("/", "data-demo=\"true\""), ("/docs/first-application", "data-demo=\"true\"")] {
            let text = ask(server, "GET", page, headers, "").await.text();
            assert_eq!(text.contains(mark), shows, "{page} {headers:?}");
        }
    }
}

#[actix_web::test]
async fn default_demo_mode_is_visible_only_on_this_machine() {
    let server = TestServer::start(base());
    for headers in FROM_HERE {
        assert_demo(&server, headers, true).await;
    }
    for headers in FROM_ELSEWHERE {
        assert_demo(&server, headers, false).await;
    }
}

/// The settings in docs/deploy.md, with and without a second address, and each of them alone.
#[actix_web::test]
async fn settings_of_a_deployment_turn_the_demo_off() {
    let proxies = || vec!["127.0.0.1/32".parse().unwrap()];
    let documented = || Settings { trusted_proxies: proxies(), ..with(&[OWN], "own password") };
    let internal = || Some("127.0.0.1".into());
    for settings in [
        documented(),
        Settings { internal_host: internal(), internal_port: 0, ..documented() },
        with(&[OWN], "admin_secret"),
        with(&[WELL_KNOWN], "own password"),
        Settings { trusted_proxies: proxies(), ..base() },
        Settings { internal_host: internal(), internal_port: 0, ..base() },
        Settings {
            allowed_origins: channelstream::config::AllowedOrigins(vec!["http://localhost".parse().unwrap()]),
            ..base()
        },
    ] {
        let server = TestServer::start(settings);
        assert_demo(&server, &[], false).await;
        assert_demo(&server, FROM_ELSEWHERE[9], false).await;
    }
}

#[actix_web::test]
async fn configured_demo_mode_is_visible_to_all() {
    for settings in [with(&[OWN], "own password"), base()] {
        let server = TestServer::start(Settings { demo: DemoSetting::On, ..settings });
        assert_demo(&server, FROM_ELSEWHERE[0], true).await;
        assert_demo(&server, FROM_ELSEWHERE[9], true).await;
    }
}

/// Names that an application and the demo may both use.
const NAMES: [&str; 4] = ["alice", "demo", "demo-orders", "demonstration"];

#[actix_web::test]
async fn demo_changes_no_user_and_no_channel_of_an_application() {
    let server = TestServer::start(Settings {
        demo: DemoSetting::On,
        poll_wait_ms: 100,
        ..crate::support::settings()
    });
    let backend = server.backend();
    for name in NAMES {
        let keeps = json!({ name: {"store_history": true, "notify_presence": true, "notify_state": true} });
        let body = json!({
            "username": name, "channels": [name], "channel_configs": keeps, "user_state": {"card": "4111", "color": "red"},
        });
        let conn_id = backend.post("/connect", body).await["conn_id"].as_str().unwrap().to_owned();
        backend.publish_text(name, "for the application").await;
        let listen = format!("/listen?conn_id={conn_id}");
        ask(&server, "GET", &listen, &[], "").await;
        let demo = async |method: &str, path: &str, body: serde_json::Value| {
            ask(&server, method, path, &[], &body.to_string()).await
        };
        let channel = if name.starts_with("demo") { name } else { "demo" };
        let connected = demo("POST", "/demo/connect", json!({"username": name, "channels": [channel]})).await;
        assert_eq!(connected.status, 200, "{connected:?}");
        assert!(
            !connected.text().contains("4111") && !connected.text().contains("application"),
            "{connected:?}"
        );
        let answer = connected.json();
        assert_eq!(answer["username"], format!("demo:{name}"), "{answer}");
        let visitor = answer["conn_id"].as_str().unwrap().to_owned();
        // The demo cannot name the application's connection or its user.
        for (path, body) in [
            ("/demo/subscribe", json!({"conn_id": conn_id, "channels": ["demo-x"]})),
            ("/demo/unsubscribe", json!({"conn_id": conn_id, "channels": [channel]})),
            ("/demo/connect", json!({"conn_id": conn_id, "username": name})),
        ] {
            let refused = demo("POST", path, body).await;
            assert_eq!(
                (refused.status, refused.json()["conn_id"].is_array()),
                (422, true),
                "{path}: {refused:?}"
            );
        }
        let state = demo(
            "POST",
            "/demo/user_state",
            json!({"user": name, "user_state": {"color": "x", "card": "y"}}),
        );
        assert_eq!(state.await.json()["user_state"], json!({"color": "x"}));
        for message in [
            json!({"user": name, "channel": channel, "message": {"text": "of a visitor"}}),
            json!({"user": name, "channel": channel, "pm_users": [name], "message": {"text": "of a visitor"}}),
        ] {
            assert_eq!(demo("POST", "/demo/message", message).await.status, 200);
        }
        backend.publish(json!({"pm_users": [name]}), "private").await;
        let of_application = ask(&server, "GET", &listen, &[], "").await;
        let text = of_application.text();
        assert!(text.contains("private") && !text.contains("visitor") && !text.contains("demo:"), "{text}");
        let of_visitor = ask(&server, "GET", &format!("/listen?conn_id={visitor}"), &[], "").await.text();
        assert!(of_visitor.contains("of a visitor") && !of_visitor.contains("private"), "{of_visitor}");
        let kept = backend.post("/user_state", json!({"user": name})).await;
        assert_eq!(kept["user_state"], json!({"card": "4111", "color": "red"}));
    }
}

#[actix_web::test]
async fn demo_does_not_use_the_limits_of_applications() {
    let bounded =
        Settings { max_channels: 3, max_connections: 3, demo: DemoSetting::On, ..crate::support::settings() };
    let server = TestServer::start(bounded);
    let (mut refused, mut taken) = (0, 0);
    for number in 0..120 {
        let body = json!({"username": format!("u{number}"), "channels": [format!("demo-{number}")]});
        let reply = ask(&server, "POST", "/demo/connect", &[], &body.to_string()).await;
        match reply.status {
            200 => taken += 1,
            // The rate limit of all visitors together.
            503 => {}
            status => {
                refused += 1;
                assert_eq!((status, reply.json()["channels"].is_array()), (422, true), "{reply:?}");
            }
        }
    }
    assert!(taken <= 16 && refused > 0, "{taken} were accepted, {refused} refused");
    for name in ["a", "b", "c"] {
        server.backend().connect(name, &[name]).await;
    }
    let body = json!({"username": "d", "channels": ["d"]}).to_string();
    let over = server.backend().send("POST", "/connect", &[], body.as_bytes()).await;
    assert_eq!(over.status, 503, "the application's own limit: {over:?}");
    let large =
        json!({"user": "u0", "channel": "demo-0", "message": {"text": "x".repeat(20_000)}}).to_string();
    assert_eq!(ask(&server, "POST", "/demo/message", &[], &large).await.status, 413);
}
