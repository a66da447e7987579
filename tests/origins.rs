//! Whose pages may use the server: handshakes on both ways in, polls, scripts, disconnecting, CORS.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

mod support;

use channelstream::config::{AllowedOrigins, Settings};
use support::http::{Reply, Wire};
use support::{TestServer, settings, socket};

const OURS: &str = "https://app.example.com";
const BELOW: &str = "https://a.b.example.org";
const EVIL: [&str; 5] = [
    "https://evil.example",
    "https://app.example.com.evil.example",
    "https://example.org",
    "http://app.example.com",
    "null",
];

fn start(origins: &[&str]) -> TestServer {
    let allowed_origins = AllowedOrigins(origins.iter().map(|origin| origin.parse().unwrap()).collect());
    TestServer::start(Settings { allowed_origins, poll_wait_ms: 50, ..settings() })
}

fn strict() -> TestServer {
    start(&[OURS, "https://*.example.org"])
}

async fn ask(server: &TestServer, method: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
    Wire::open(server.address).await.ask(method, target, headers, b"").await
}

fn code(reply: &Reply) -> (u16, Option<&str>) {
    (reply.status, reply.header("x-channelstream-error"))
}

const REFUSED: (u16, Option<&str>) = (403, Some("origin-not-allowed"));

/// What sends a handshake the long way, beside its being refused.
const LONG_WAY: (&str, &str) = ("X-Script-Name", "/push");

#[actix_web::test]
async fn handshakes_of_other_pages_are_refused_on_both_ways() {
    let server = strict();
    for way in [None, Some(LONG_WAY)] {
        for origin in [OURS, BELOW] {
            let conn_id = server.backend().connect("ann", &["c"]).await;
            let headers: Vec<_> = [("origin", origin)].into_iter().chain(way).collect();
            assert!(socket::open(server.address, &format!("/ws?conn_id={conn_id}"), &headers).await.is_ok());
        }
        for origin in EVIL {
            let conn_id = server.backend().connect("ann", &["c"]).await;
            let headers: Vec<_> = [("origin", origin)].into_iter().chain(way).collect();
            let target = format!("/ws?conn_id={conn_id}");
            let refused = socket::open(server.address, &target, &headers).await.err().unwrap();
            assert_eq!(code(&refused), REFUSED, "{origin}");
            // Nothing was attached: a program, which names no origin, gets in.
            let program: Vec<_> = way.into_iter().collect();
            assert!(socket::open(server.address, &target, &program).await.is_ok());
        }
        let conn_id = server.backend().connect("ann", &["c"]).await;
        let mut two: Vec<_> = vec![("origin", OURS), ("origin", EVIL[0])];
        two.extend(way);
        let refused =
            socket::open(server.address, &format!("/ws?conn_id={conn_id}"), &two).await.err().unwrap();
        assert_eq!(code(&refused), REFUSED);
    }
    let debug = server.backend().send("GET", "/admin/debug", &[], b"").await.text();
    assert!(debug.contains("requests refused, origin not allowed: 12\n"), "{debug}");
}

#[actix_web::test]
async fn polls_and_disconnects_of_other_pages_are_refused() {
    let server = strict();
    let conn_id = server.backend().connect("ann", &["c"]).await;
    let listen = format!("/listen?conn_id={conn_id}");
    let end = format!("/disconnect?conn_id={conn_id}");
    for origin in EVIL {
        for (method, target) in [("GET", &listen), ("GET", &end), ("POST", &end)] {
            let refused = ask(&server, method, target, &[("origin", origin)]).await;
            assert_eq!(code(&refused), REFUSED, "{method} {target} {origin}");
            assert_eq!(refused.header("access-control-allow-origin"), None);
        }
    }
    let reply = ask(&server, "GET", &listen, &[("origin", BELOW)]).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(reply.header("vary"), Some("Origin"));
    // A page of the same host names none, nor does a program.
    assert_eq!(ask(&server, "GET", &listen, &[]).await.status, 200);
    // Whoever signs is no page.
    let signed = server.backend().send("GET", &end, &[("origin", EVIL[0])], b"").await;
    assert_eq!((signed.status, signed.text().as_str()), (200, "true"));
}

/// Browsers send no `Origin` with images, scripts, links and forms that only read.
#[actix_web::test]
async fn requests_without_an_origin_are_judged_by_the_page() {
    let server = strict();
    let conn_id = server.backend().connect("ann", &["c"]).await;
    let listen = format!("/listen?conn_id={conn_id}");
    let end = format!("/disconnect?conn_id={conn_id}");
    let (cross, same) = (("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"));
    let (evil, own) = (("referer", "https://evil.example/"), ("referer", "http://localhost/page"));
    let ours = ("referer", "https://app.example.com/page");
    for headers in [
        &[cross][..],
        &[same],
        &[cross, evil],
        &[evil],
        &[cross, own],
        &[same, ("referer", "https://app.example.com.evil.example/")],
    ] {
        for (method, target) in [("GET", &listen), ("GET", &end), ("POST", &end), ("PUT", &end)] {
            let refused = ask(&server, method, target, headers).await;
            assert_eq!(code(&refused), REFUSED, "{method} {target} {headers:?}");
        }
    }
    server.backend().say("c", "for its user").await;
    let events = ask(&server, "GET", &listen, &[]).await.json();
    assert_eq!(events[0]["message"]["text"], "for its user", "a program, which sends none of the headers");
    for headers in [
        &[cross, ours][..],
        &[ours],
        &[own],
        &[("sec-fetch-site", "same-origin"), own],
        &[("sec-fetch-site", "none")],
    ] {
        assert_eq!(ask(&server, "GET", &listen, headers).await.status, 200, "{headers:?}");
    }
    assert_eq!(ask(&server, "GET", &end, &[("sec-fetch-site", "same-origin")]).await.text(), "true");
}

/// Browsers name the origin with every handshake; one that comes without is judged like a poll, on both ways.
#[actix_web::test]
async fn handshakes_without_an_origin_are_judged_by_the_page() {
    let server = strict();
    for way in [None, Some(LONG_WAY)] {
        let conn_id = server.backend().connect("ann", &["c"]).await;
        let target = format!("/ws?conn_id={conn_id}");
        let (cross, same) = (("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"));
        for page in [&[cross][..], &[same], &[("referer", "https://evil.example/")]] {
            let headers: Vec<_> = page.iter().copied().chain(way).collect();
            let refused = socket::open(server.address, &target, &headers).await.err().unwrap();
            assert_eq!(code(&refused), REFUSED, "{page:?} {way:?}");
        }
        let ours = ("referer", "https://app.example.com/page");
        for page in [&[cross, ours][..], &[("sec-fetch-site", "none")], &[cross, ("origin", OURS)], &[]] {
            let headers: Vec<_> = page.iter().copied().chain(way).collect();
            assert!(socket::open(server.address, &target, &headers).await.is_ok(), "{page:?} {way:?}");
        }
    }
}

#[actix_web::test]
async fn an_empty_callback_is_none() {
    for server in [strict(), start(&[])] {
        let conn_id = server.backend().connect("ann", &["c"]).await;
        server.backend().say("c", "hello").await;
        let reply = ask(&server, "GET", &format!("/listen?conn_id={conn_id}&callback="), &[]).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
        assert_eq!(reply.json()[0]["message"]["text"], "hello");
    }
    let server = strict();
    let conn_id = server.backend().connect("ann", &["c"]).await;
    let image = [("sec-fetch-site", "cross-site")];
    let target = format!("/listen?conn_id={conn_id}&callback=");
    assert_eq!(code(&ask(&server, "GET", &target, &image).await), REFUSED);
}

#[actix_web::test]
async fn scripts_are_judged_by_their_referer() {
    let server = strict();
    let conn_id = server.backend().connect("ann", &["c"]).await;
    let target = format!("/listen?callback=f&conn_id={conn_id}");
    for headers in [&[][..], &[("referer", "https://evil.example/https://app.example.com/")]] {
        assert_eq!(code(&ask(&server, "GET", &target, headers).await), REFUSED, "{headers:?}");
    }
    let reply = ask(&server, "GET", &target, &[("referer", "https://app.example.com/page?a#b")]).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "f([])"));
}

#[actix_web::test]
async fn preflights_let_listed_origins_in() {
    let server = strict();
    for (origin, shared) in [(OURS, Some("*")), (EVIL[0], None)] {
        let reply = ask(&server, "OPTIONS", "/disconnect", &[("origin", origin)]).await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, shared), "{origin}");
    }
    // The signed API is not for pages; its answers are shared like all others.
    let reply = server.backend().send("POST", "/info", &[("origin", EVIL[0])], b"").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, None));
    let body = br#"[{"user": "ann", "channel": "c", "message": {}}]"#;
    let reply = server.backend().send("POST", "/message", &[("origin", OURS)], body).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("*")));
}

#[actix_web::test]
async fn without_a_list_all_are_let_in_as_ever() {
    let server = start(&[]);
    for origin in EVIL {
        let conn_id = server.backend().connect("ann", &["c"]).await;
        let target = format!("/ws?conn_id={conn_id}");
        assert!(socket::open(server.address, &target, &[("origin", origin)]).await.is_ok());
        let conn_id = server.backend().connect("ann", &["c"]).await;
        let target = format!("/listen?callback=f&conn_id={conn_id}");
        let reply = ask(&server, "GET", &target, &[("origin", origin)]).await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("*")));
        assert_eq!(reply.header("vary"), None);
    }
}
