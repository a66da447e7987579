//! Requests as proxies change them, over real sockets: prefixes, doubled slashes, `Connection: upgrade` on everything.

use crate::support::backend::signature;
use crate::support::http::{Reply, Wire};
use crate::support::socket::{self, CLOSE};
use crate::support::{TestServer, settings};
use channelstream::config::Settings;
use serde_json::{Value, json};

/// A server whose clients all connect through a proxy.
fn start() -> TestServer {
    start_behind(&["127.0.0.1/32"], None)
}

fn start_behind(proxies: &[&str], ini: Option<&str>) -> TestServer {
    let trusted_proxies = proxies.iter().map(|network| network.parse().unwrap()).collect();
    let ini = ini.map(Into::into);
    TestServer::start(Settings { poll_wait_ms: 100, trusted_proxies, ini, ..settings() })
}

async fn ask(server: &TestServer, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    server.backend().send(method, target, headers, body.as_bytes()).await
}

/// Connects, polls and opens a websocket, all at paths with this prefix.
async fn assert_works_at(server: &TestServer, root: &str, headers: &[(&str, &str)]) {
    let body = json!({"username": "ann", "channels": ["c"]}).to_string();
    let reply = ask(server, "POST", &format!("{root}/connect"), headers, &body).await;
    assert_eq!(reply.status, 200, "{root} {headers:?}: {reply:?}");
    let conn_id = reply.json()["conn_id"].as_str().unwrap().to_owned();
    server.backend().publish_text("c", "for the poll").await;
    let target = format!("{root}/listen?conn_id={conn_id}");
    let events = Wire::open(server.address).await.ask("GET", &target, headers, b"").await.json();
    assert_eq!(events[0]["message"]["text"], "for the poll", "{root} {headers:?}");
    server.backend().publish_text("c", "for the socket").await;
    let target = format!("{root}/ws?conn_id={conn_id}");
    let (mut incoming, _outgoing) = socket::open(server.address, &target, headers).await.ok().unwrap();
    let frame = incoming.expect_message().await;
    let events: Value = serde_json::from_slice(&frame.payload).unwrap();
    assert_eq!(events[0]["message"]["text"], "for the socket", "{root} {headers:?}");
    let target = format!("{root}/disconnect?conn_id={conn_id}");
    let reply = Wire::open(server.address).await.ask("GET", &target, headers, b"").await;
    assert_eq!(reply.json(), json!(true));
    assert_eq!(incoming.expect_message().await.opcode, CLOSE);
}

#[actix_web::test]
async fn server_removes_prefixes() {
    let server = start();
    for header in ["X-Script-Name", "X-Forwarded-Prefix"] {
        assert_works_at(&server, "/push/live", &[(header, "/push/live")]).await;
        assert_works_at(&server, "", &[(header, "/push/live")]).await;
        assert_works_at(&server, "//push//live/", &[(header, "/push/live/")]).await;
    }
    assert_eq!(ask(&server, "POST", "/push/connect", &[], "{}").await.status, 404);
    assert!(socket::open(server.address, "/push/ws?conn_id=x", &[]).await.is_err_and(|r| r.status == 404));
}

#[actix_web::test]
async fn server_treats_doubled_slashes_as_one() {
    let server = start();
    assert_works_at(&server, "/", &[]).await;
    assert_works_at(&server, "///", &[]).await;
}

/// Some proxies send this header with every request, websocket or not.
#[actix_web::test]
async fn server_accepts_connection_upgrade_on_plain_requests() {
    let server = start();
    let body = json!({"username": "ann", "channels": ["c"]}).to_string();
    let none: &[(&str, &str)] = &[("Connection", "upgrade")];
    let empty: &[(&str, &str)] = &[("Connection", "Upgrade"), ("Upgrade", "")];
    let other: &[(&str, &str)] = &[("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c")];
    for headers in [none, empty, other] {
        let (name, token) = signature();
        let signed = [headers, &[(name, token.as_str())]].concat();
        let ask = async |method: &str, target: &str, body: &str| {
            let mut wire = Wire::open(server.address).await;
            let reply = wire.ask(method, target, &signed, body.as_bytes()).await;
            assert_eq!(reply.status, 200, "{method} {target} {headers:?}: {reply:?}");
            // actix cannot keep such a connection open; it must say `close`, or the proxy reuses the connection.
            assert_eq!((reply.header("connection"), reply.header("upgrade")), (Some("close"), None));
            assert!(wire.is_closed().await);
            reply.json()
        };
        let conn_id = ask("POST", "/connect", &body).await["conn_id"].as_str().unwrap().to_owned();
        let posted = json!([{"user": "p", "channel": "c", "message": {"text": "x"}}]).to_string();
        ask("POST", "/message", &posted).await;
        let target = format!("/listen?conn_id={conn_id}");
        assert_eq!(ask("GET", &target, "").await[0]["message"]["text"], "x", "{headers:?}");
        assert_eq!(ask("GET", &target, "").await, json!([]), "{headers:?}");
    }
}

#[actix_web::test]
async fn server_redirects_to_the_url_of_the_client() {
    let server = start();
    let location = async |headers: &[(&str, &str)]| {
        let reply = Wire::open(server.address).await.ask("GET", "/admin", headers, b"").await;
        assert_eq!(reply.status, 302, "{reply:?}");
        reply.header("location").unwrap().to_owned()
    };
    let host = ("Host", "push.example:81");
    assert_eq!(location(&[host]).await, "http://push.example:81/admin/sign_in");
    for scheme in ["X-Scheme", "X-Url-Scheme", "X-Forwarded-Proto"] {
        assert_eq!(location(&[host, (scheme, "https")]).await, "https://push.example:81/admin/sign_in");
    }
    let prefixed = location(&[host, ("X-Script-Name", "/p"), ("X-Scheme", "https")]).await;
    assert_eq!(prefixed, "https://push.example:81/p/admin/sign_in");
}

#[actix_web::test]
async fn forwarded_addresses_do_not_open_the_api() {
    let server = TestServer::start(Settings {
        allow_posting_from: channelstream::config::AllowedPeers::Only(vec!["192.0.2.1".parse().unwrap()]),
        ..settings()
    });
    for header in ["X-Forwarded-For", "X-Real-IP"] {
        let reply = ask(&server, "POST", "/connect", &[(header, "192.0.2.1")], "{}").await;
        assert_eq!(reply.status, 403);
    }
}

/// Which of the headers count that change the path of a request and the URLs in its answer.
async fn counted_headers(server: &TestServer) -> Vec<&'static str> {
    let mut counted = Vec::new();
    for name in ["X-Script-Name", "X-Forwarded-Prefix"] {
        let prefix = [(name, "/push")];
        let called = ask(server, "POST", "/push/connect", &prefix, r#"{"username": "u"}"#).await.status;
        // Found, and refused because the id is missing; or not found.
        let opened = socket::open(server.address, "/push/ws", &prefix).await.err().unwrap().status;
        let reply = ask(server, "GET", "/admin/sign_out", &prefix, "").await;
        match (called, opened, reply.header("location").unwrap().contains("/push/")) {
            (200, 422, true) => counted.push(name),
            (404, 404, false) => {}
            other => panic!("{name} counts in only some of the cases: {other:?}"),
        }
    }
    for name in ["X-Scheme", "X-Url-Scheme", "X-Forwarded-Proto"] {
        let reply = ask(server, "GET", "/admin/sign_out", &[(name, "https")], "").await;
        let is_secure = reply.header("set-cookie").unwrap().contains("Secure");
        assert_eq!(reply.header("location").unwrap().starts_with("https:"), is_secure, "{name}");
        counted.extend(is_secure.then_some(name));
    }
    counted
}

#[actix_web::test]
async fn server_reads_headers_only_from_trusted_proxies() {
    const ALL: [&str; 5] =
        ["X-Script-Name", "X-Forwarded-Prefix", "X-Scheme", "X-Url-Scheme", "X-Forwarded-Proto"];
    for ini in [None, Some("x.ini")] {
        assert_eq!(counted_headers(&start_behind(&["127.0.0.0/8"], ini)).await, ALL, "{ini:?}");
        assert_eq!(counted_headers(&start_behind(&["192.0.2.1/32"], ini)).await, [""; 0], "{ini:?}");
    }
    assert_eq!(counted_headers(&start_behind(&[], None)).await, [""; 0]);
    // The headers that 0.7.1 reads.
    let original = ["X-Script-Name", "X-Scheme", "X-Url-Scheme"];
    assert_eq!(counted_headers(&start_behind(&[], Some("x.ini"))).await, original);
}

/// A proxy passes only the paths of browsers: no prefix header reaches others, not even a header of 0.7.1.
#[actix_web::test]
async fn prefix_never_reaches_other_than_browser_paths() {
    for server in
        [start_behind(&["192.0.2.1/32"], None), start_behind(&[], None), start_behind(&[], Some("x.ini"))]
    {
        for name in ["X-Script-Name", "X-Forwarded-Prefix"] {
            for way in [
                "/ws",
                "/listen",
                "/disconnect",
                "/static",
                "/static/a",
                "/wsx",
                "/%77s",
                "//static",
                "/WS",
                "/./ws",
                "/a/../ws",
                "/a%2F..%2Fws",
            ] {
                let prefix = [(name, way)];
                let target = format!("{way}/connect");
                let reply = ask(&server, "POST", &target, &prefix, r#"{"username": "u"}"#).await;
                assert_eq!(reply.status, 404, "{name}: {way}");
                for path in ["/admin/sign_in", "/info", "/listen", "/admin/admin.json"] {
                    let reply = ask(&server, "GET", &format!("{way}{path}"), &prefix, "").await;
                    assert_eq!(reply.status, 404, "{name}: {way}{path}");
                }
            }
        }
    }
}

#[actix_web::test]
async fn server_ignores_prefixes_that_begin_like_its_own_paths() {
    let server = start_behind(&[], Some("x.ini"));
    let description = ask(&server, "GET", "/openapi-3.1.json", &[], "").await.json();
    let mut checked = 0;
    for path in description["paths"].as_object().unwrap().keys().filter(|path| path.len() > 1) {
        let first = format!("/{}", path[1..].split('/').next().unwrap());
        let reply = ask(&server, "GET", &format!("{first}/info"), &[("X-Script-Name", &first)], "").await;
        assert_eq!(reply.status, 404, "{path}");
        checked += 1;
    }
    assert!(checked > 20, "{checked} paths are documented");
    assert_eq!(ask(&server, "GET", "/push/info", &[("X-Script-Name", "/push")], "").await.status, 200);
}

/// The server counts wrong passwords by address: a client that could choose its address could guess without a limit.
#[actix_web::test]
async fn client_cannot_choose_its_address() {
    for (proxies, header) in [
        (&["127.0.0.1/32"][..], "X-Real-IP"),
        (&[], "X-Forwarded-For"),
        (&["192.0.2.1/32"], "X-Forwarded-For"),
        (&["192.0.2.1/32"], "X-Real-IP"),
    ] {
        let server = start_behind(proxies, None);
        let guess = async |number: usize| {
            let address = format!("198.51.100.{number}");
            let form = ("content-type", "application/x-www-form-urlencoded");
            let headers = [(header, address.as_str()), form];
            let mut wire = Wire::open(server.address).await;
            wire.ask("POST", "/admin/sign_in", &headers, b"username=admin&password=wrong").await.status
        };
        let statuses = futures_util::future::join_all((0..8).map(guess)).await;
        let stopped = statuses.iter().filter(|status| **status == 429).count();
        assert_eq!(stopped, 3, "{header} behind {proxies:?}: {statuses:?}");
    }
}

/// A proxy appends the address of its client to the header that the client sent, which may be any bytes.
#[actix_web::test]
async fn client_cannot_hide_its_address() {
    let server = start();
    let guess = async |address: &[u8]| {
        let body = b"username=admin&password=wrong";
        let mut request = b"POST /admin/sign_in HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: ".to_vec();
        request.extend_from_slice(address);
        request.extend_from_slice(b"\r\nContent-Type: application/x-www-form-urlencoded\r\n");
        request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        let mut wire = Wire::open(server.address).await;
        wire.write([&request[..], body].concat()).await;
        wire.reply().await.status
    };
    let hidden = b"\xff\xfe, 198.51.100.7";
    let statuses = futures_util::future::join_all((0..5).map(|_| guess(hidden))).await;
    assert_eq!(statuses, [200; 5]);
    assert_eq!(guess(b"198.51.100.7").await, 429, "the same client");
    assert_eq!(guess(b"198.51.100.8").await, 200);
    assert_eq!(guess(b"\xff, 198.51.100.9").await, 200, "another client, which is not the proxy");
}
