//! Which pages may use the server: handshakes on both paths, polls, scripts, disconnecting, CORS.

use crate::support::http::{Reply, Wire};
use crate::support::{TestServer, settings, socket};
use channelstream::config::{AllowedOrigins, Settings};

const OURS: &str = "https://app.example.com";
const BELOW: &str = "https://a.b.example.org";
const FOREIGN: [&str; 5] = [
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

/// A header that sends a handshake along the full path.
const FULL_PATH: (&str, &str) = ("X-Script-Name", "/push");

#[actix_web::test]
async fn server_refuses_handshakes_of_other_pages_on_both_paths() {
    let server = strict();
    for way in [None, Some(FULL_PATH)] {
        for origin in [OURS, BELOW] {
            let conn_id = server.backend().connect("ann", &["c"]).await;
            let headers: Vec<_> = [("origin", origin)].into_iter().chain(way).collect();
            assert!(socket::open(server.address, &format!("/ws?conn_id={conn_id}"), &headers).await.is_ok());
        }
        for origin in FOREIGN {
            let conn_id = server.backend().connect("ann", &["c"]).await;
            let headers: Vec<_> = [("origin", origin)].into_iter().chain(way).collect();
            let target = format!("/ws?conn_id={conn_id}");
            let refused = socket::open(server.address, &target, &headers).await.err().unwrap();
            assert_eq!(code(&refused), REFUSED, "{origin}");
            // The refused handshake attached nothing: a program, which sends no origin, is accepted.
            let program: Vec<_> = way.into_iter().collect();
            assert!(socket::open(server.address, &target, &program).await.is_ok());
        }
        let conn_id = server.backend().connect("ann", &["c"]).await;
        let mut two: Vec<_> = vec![("origin", OURS), ("origin", FOREIGN[0])];
        two.extend(way);
        let refused =
            socket::open(server.address, &format!("/ws?conn_id={conn_id}"), &two).await.err().unwrap();
        assert_eq!(code(&refused), REFUSED);
    }
    let debug = server.backend().send("GET", "/admin/debug", &[], b"").await.text();
    assert!(debug.contains("requests refused, origin not allowed: 12\n"), "{debug}");
}

#[actix_web::test]
async fn server_refuses_polls_and_disconnects_of_other_pages() {
    let server = strict();
    let conn_id = server.backend().connect("ann", &["c"]).await;
    let listen = format!("/listen?conn_id={conn_id}");
    let end = format!("/disconnect?conn_id={conn_id}");
    for origin in FOREIGN {
        for (method, target) in [("GET", &listen), ("GET", &end), ("POST", &end)] {
            let refused = ask(&server, method, target, &[("origin", origin)]).await;
            assert_eq!(code(&refused), REFUSED, "{method} {target} {origin}");
            assert_eq!(refused.header("access-control-allow-origin"), None);
        }
    }
    let reply = ask(&server, "GET", &listen, &[("origin", BELOW)]).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(reply.header("vary"), Some("Origin"));
    // A page of the same host sends no origin, and neither does a program.
    assert_eq!(ask(&server, "GET", &listen, &[]).await.status, 200);
    // A client that signs is not a page.
    let signed = server.backend().send("GET", &end, &[("origin", FOREIGN[0])], b"").await;
    assert_eq!((signed.status, signed.text().as_str()), (200, "true"));
}

/// Browsers send no `Origin` with images, scripts, links and forms that only read.
#[actix_web::test]
async fn server_checks_the_page_of_requests_without_an_origin() {
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
    server.backend().publish_text("c", "for its user").await;
    let events = ask(&server, "GET", &listen, &[]).await.json();
    assert_eq!(events[0]["message"]["text"], "for its user", "a program sends none of the headers");
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

/// Browsers send the origin with every handshake; the server checks one without an origin like a poll, on both paths.
#[actix_web::test]
async fn server_checks_the_page_of_handshakes_without_an_origin() {
    let server = strict();
    for way in [None, Some(FULL_PATH)] {
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
async fn server_ignores_an_empty_callback() {
    for server in [strict(), start(&[])] {
        let conn_id = server.backend().connect("ann", &["c"]).await;
        server.backend().publish_text("c", "hello").await;
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
async fn server_checks_the_referer_of_scripts() {
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
async fn server_accepts_preflights_of_listed_origins() {
    let server = strict();
    for (origin, shared) in [(OURS, Some("*")), (FOREIGN[0], None)] {
        let reply = ask(&server, "OPTIONS", "/disconnect", &[("origin", origin)]).await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, shared), "{origin}");
    }
    // The signed API is not for pages; its answers have the same CORS headers as all others.
    let reply = server.backend().send("POST", "/info", &[("origin", FOREIGN[0])], b"").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, None));
    let body = br#"[{"user": "ann", "channel": "c", "message": {}}]"#;
    let reply = server.backend().send("POST", "/message", &[("origin", OURS)], body).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("*")));
}

#[actix_web::test]
async fn server_accepts_every_origin_without_a_list() {
    let server = start(&[]);
    for origin in FOREIGN {
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
