//! Checks that apply to every request: the server treats all spellings of a path in the same way, and every answer has
//! the same security headers.

use crate::support::backend::{now_unix, signature};
use crate::support::http::{Reply, Wire, ask};
use crate::support::{TestServer, socket};
use channelstream::auth::signing::Keys;
use channelstream::auth::signing::request_signature::BoundTo;
use channelstream::config::{AllowedOrigins, DemoSetting, Secret, Settings};
use serde_json::json;
use std::net::SocketAddr;

const EVIL: (&str, &str) = ("origin", "https://evil.example");

/// Settings that accept pages of other sites and signatures of the well-known secret.
fn settings() -> Settings {
    Settings { demo: DemoSetting::On, ..crate::support::settings() }
}

/// Spellings of this path: with one letter escaped, with all, in upper and lower hexadecimal digits, with doubled
/// slashes.
fn spellings(path: &str) -> Vec<String> {
    let escaped = |which: &dyn Fn(usize, char) -> bool, upper: bool| -> String {
        let escape = |(at, c): (usize, char)| match (c == '/' || !which(at, c), upper) {
            (true, _) => c.to_string(),
            (false, true) => format!("%{:02X}", c as u32),
            (false, false) => format!("%{:02x}", c as u32),
        };
        path.char_indices().map(escape).collect()
    };
    let last = path.len() - 1;
    let all = escaped(&|_, _| true, false);
    vec![
        path.to_owned(),
        escaped(&|at, _| at == 1, false),
        escaped(&|at, _| at == last, true),
        escaped(&|_, c| !c.is_ascii_alphanumeric(), false),
        all.clone(),
        escaped(&|_, _| true, true),
        path.replace('/', "//"),
        format!("//{all}").replace('/', "//"),
    ]
}

/// Paths that look like this one but are different: with an escaped slash, or with an escape that is escaped.
fn lookalikes(path: &str) -> Vec<String> {
    let rest = &path[1..];
    let (first, tail) = rest.split_at(1);
    let twice = format!("{:02x}", first.as_bytes()[0]);
    vec![
        format!("/%2f{rest}"),
        format!("%2F{rest}").replacen('%', "/%", 1),
        format!("/%25{twice}{tail}"),
        format!("/%%3{}{}{tail}", &twice[..1], &twice[1..]),
        format!("/%2%35{twice}{tail}"),
        format!("/./{rest}"),
        format!("/%2e/{rest}"),
    ]
}

/// The outcome of the checks: status, code, and whether pages of other origins may read the answer.
fn outcome(reply: &Reply) -> (u16, Option<&str>, Option<&str>) {
    (reply.status, reply.header("x-channelstream-error"), reply.header("access-control-allow-origin"))
}

/// Requires the same outcome for every spelling of the path.
async fn assert_all_spellings(
    at: SocketAddr,
    (method, path): (&str, &str),
    query: &str,
    headers: &[(&str, &str)],
    wanted: (u16, Option<&str>, Option<&str>),
) {
    for spelling in spellings(path) {
        let reply = ask(at, method, &format!("{spelling}{query}"), headers, "").await;
        assert_eq!(outcome(&reply), wanted, "{method} {spelling}{query} {headers:?}: {}", reply.text());
    }
}

fn only_app() -> AllowedOrigins {
    AllowedOrigins(vec!["https://app.example".parse().unwrap()])
}

fn signed(token: &str) -> [(&str, &str); 1] {
    [("x-channelstream-secret", token)]
}

#[actix_web::test]
async fn server_checks_origins_in_every_spelling_of_a_path() {
    let server = TestServer::start(Settings { allowed_origins: only_app(), poll_wait_ms: 1, ..settings() });
    let at = server.address;
    let refused = (403, Some("origin-not-allowed"), None);
    for route in [("GET", "/listen"), ("GET", "/disconnect"), ("POST", "/disconnect")] {
        let conn_id = server.backend().connect("ann", &["c"]).await;
        let query = format!("?conn_id={conn_id}");
        assert_all_spellings(at, route, &query, &[EVIL], refused).await;
        let script = format!("{query}&callback=steal");
        assert_all_spellings(at, route, &script, &[("referer", "https://evil.example/")], refused).await;
        assert_all_spellings(at, route, &query, &[("sec-fetch-site", "cross-site")], refused).await;
    }
    let conn_id = server.backend().connect("ann", &["c"]).await;
    let ours = [("origin", "https://app.example")];
    assert_all_spellings(
        at,
        ("GET", "/listen"),
        &format!("?conn_id={conn_id}"),
        &ours,
        (200, None, Some("*")),
    )
    .await;
    for path in lookalikes("/listen") {
        let reply = ask(at, "GET", &format!("{path}?conn_id={conn_id}"), &[EVIL], "").await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (404, None), "{path}");
    }
}

#[actix_web::test]
async fn answers_have_the_same_cors_headers_in_every_spelling() {
    let server = TestServer::start(settings());
    let (token, at) = (signature().1, server.address);
    for path in [
        "/admin",
        "/admin/admin.json",
        "/admin/debug",
        "/admin/secrets.json",
        "/openapi.json",
        "/api-explorer",
    ] {
        assert_all_spellings(
            at,
            ("GET", path),
            "",
            &[&signed(&token)[..], &[EVIL]].concat(),
            (200, None, None),
        )
        .await;
    }
    assert_all_spellings(at, ("GET", "/demo/state"), "", &[EVIL], (200, None, None)).await;
    assert_all_spellings(at, ("GET", "/info"), "", &signed(&token), (200, None, Some("*"))).await;
    assert_all_spellings(at, ("GET", "/admin/sign_in"), "", &[], (200, None, Some("*"))).await;
    // Browsers may read the reason of this refusal, but not of the other one.
    let unknown = "?conn_id=00000000-0000-4000-8000-000000000000";
    assert_all_spellings(
        at,
        ("GET", "/listen"),
        unknown,
        &[EVIL],
        (401, Some("unknown-connection"), Some("*")),
    )
    .await;
    assert_all_spellings(at, ("GET", "/info"), "", &[EVIL], (403, Some("signature-missing"), None)).await;
}

#[actix_web::test]
async fn server_requires_tls_in_every_spelling_of_a_path() {
    let server = TestServer::start(Settings { enforce_https: true, ..settings() });
    let (token, at) = (signature().1, server.address);
    for path in ["/listen", "/info", "/admin", "/static/channelstream/index.js", "/wss", "/health", "/"] {
        let shared = (path == "/listen").then_some("*");
        assert_all_spellings(at, ("GET", path), "", &signed(&token), (406, Some("https-required"), shared))
            .await;
    }
    for spelling in spellings("/demo/echo") {
        let refused = socket::open(at, &spelling, &[]).await.err().unwrap();
        assert_eq!(outcome(&refused), (406, Some("https-required"), None), "{spelling}");
    }
    assert_all_spellings(at, ("GET", "/ws"), "", &[], (426, Some("upgrade-required"), None)).await;
    assert_all_spellings(at, ("GET", "/health/live"), "", &[], (200, None, Some("*"))).await;
}

#[actix_web::test]
async fn public_address_serves_no_internal_path_in_any_spelling() {
    let internal_host = Some("127.0.0.1".into());
    let server =
        TestServer::start(Settings { internal_host, internal_port: 0, poll_wait_ms: 1, ..settings() });
    let token = signature().1;
    let nowhere = (404, Some("not-found"), None);
    for route in [
        ("POST", "/connect"),
        ("POST", "/message"),
        ("GET", "/info"),
        ("GET", "/admin"),
        ("GET", "/admin/sign_in"),
        ("GET", "/admin/admin.json"),
        ("GET", "/openapi.json"),
        ("GET", "/api-explorer"),
    ] {
        assert_all_spellings(server.address, route, "", &signed(&token), nowhere).await;
        for path in lookalikes(route.1) {
            let reply = ask(server.address, route.0, &path, &signed(&token), "").await;
            assert_eq!(outcome(&reply), nowhere, "{path}");
        }
    }
    // The server ignores a signature at this address: it does not refuse a wrong one.
    let conn_id = server.backend().connect("ann", &["c"]).await;
    let query = format!("?conn_id={conn_id}");
    assert_all_spellings(
        server.address,
        ("GET", "/listen"),
        &query,
        &signed("garbage"),
        (200, None, Some("*")),
    )
    .await;
    for path in ["/static/channelstream/index.js", "/demo/state", "/docs/first-application", "/health/ready"]
    {
        for spelling in spellings(path) {
            let reply = ask(server.address, "GET", &spelling, &signed("garbage"), "").await;
            assert_eq!(reply.status, 200, "{spelling}");
        }
    }
    let internal = server.internal_address.unwrap();
    assert_all_spellings(
        internal,
        ("GET", "/listen"),
        &query,
        &signed("garbage"),
        (401, Some("bad-signature"), Some("*")),
    )
    .await;
}

#[actix_web::test]
async fn server_accepts_calls_of_backends_in_every_spelling() {
    let server = TestServer::start(settings());
    let token = signature().1;
    let message = json!([{"user": "a", "channel": "c", "message": {}}]).to_string();
    for (path, body) in [("/connect", r#"{"username": "ann"}"#), ("/message", &message)] {
        for spelling in spellings(path) {
            let reply = ask(server.address, "POST", &spelling, &signed(&token), body).await;
            assert_eq!(outcome(&reply), (200, None, Some("*")), "{spelling}");
            let reply = ask(server.address, "POST", &spelling, &[], body).await;
            assert_eq!(outcome(&reply), (403, Some("signature-missing"), None), "{spelling}");
        }
        for other in lookalikes(path) {
            let reply = ask(server.address, "POST", &other, &signed(&token), body).await;
            assert_eq!(outcome(&reply).0, 404, "{other}");
        }
    }
}

#[actix_web::test]
async fn bound_signature_covers_the_path_as_sent() {
    let server = TestServer::start(Settings { require_bound_signatures: true, ..settings() });
    let now = now_unix();
    const BODY: &str = r#"{"info": {}}"#;
    let keys = Keys::new(&[Secret::new("secret")]);
    let sign = |target: &str, nonce: &str| {
        keys.sign_bound(&BoundTo { method: "POST", target, body: BODY.as_bytes() }, now, nonce)
    };
    for (index, spelling) in spellings("/info").into_iter().enumerate() {
        // Doubled slashes count as one for the signature, too.
        let target = format!("/{}", spelling.trim_start_matches('/'));
        let signature = sign(&target, &format!("sent{index}"));
        let reply =
            ask(server.address, "POST", &spelling, &[("x-channelstream-signature", &signature)], BODY).await;
        assert_eq!(reply.status, 200, "{spelling}: {}", reply.text());
        let signature = sign("/info", &format!("plain{index}"));
        let reply =
            ask(server.address, "POST", &spelling, &[("x-channelstream-signature", &signature)], BODY).await;
        assert_eq!(reply.status, if target == "/info" { 200 } else { 401 }, "{spelling}");
    }
}

#[actix_web::test]
async fn server_checks_handshakes_in_every_spelling_of_a_path() {
    let server = TestServer::start(Settings { allowed_origins: only_app(), ..settings() });
    for path in ["/ws", "/demo/echo", "/demo/chat", "/demo/board/socket"] {
        for spelling in spellings(path) {
            let conn_id = server.backend().connect("ann", &["c"]).await;
            let target = format!("{spelling}?conn_id={conn_id}");
            let refused = socket::open(server.address, &target, &[EVIL]).await.err().unwrap();
            assert_eq!(outcome(&refused), (403, Some("origin-not-allowed"), None), "{spelling}");
            let ours = [("origin", "https://app.example")];
            assert!(socket::open(server.address, &target, &ours).await.is_ok(), "{spelling}");
        }
    }
    for other in lookalikes("/ws") {
        let refused = socket::open(server.address, &other, &[]).await.err().unwrap();
        assert_eq!(refused.status, 404, "{other}");
    }
}

#[actix_web::test]
async fn server_finds_files_by_escaped_names() {
    let server = TestServer::start(settings());
    let text = ask(server.address, "GET", "/static/channelstream/index.js", &[], "").await.text();
    for path in [
        "/static/channelstream/index%2Ejs",
        "/%73tatic/%63hannelstream/index.js",
        "/static/channelstream%2Findex.js",
        "/static//channelstream//index.js",
    ] {
        let reply = ask(server.address, "GET", path, &[], "").await;
        assert_eq!((reply.status, reply.text() == text), (200, true), "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{path}");
    }
    for path in
        ["/static/channelstream/index%252Ejs", "/static/../connect", "/static/%2e%2e/connect", "/static/%ff"]
    {
        assert_eq!(ask(server.address, "GET", path, &[], "").await.status, 404, "{path}");
    }
}

/// Checks the security headers that every answer has, and that no header is repeated.
fn assert_security_headers(reply: &Reply, request: &str) {
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{request}: {:?}", reply.headers);
    let is_html = reply.header("content-type").is_some_and(|form| form.starts_with("text/html"));
    let policy = reply.header("content-security-policy");
    assert_eq!(
        policy.is_some_and(|policy| policy.contains("default-src 'none'")),
        is_html,
        "{request}: {policy:?}"
    );
    let once = |name: &str| reply.headers.iter().filter(|(known, _)| known == name).count() <= 1;
    assert!(once("x-content-type-options") && once("cache-control"), "{request}: {:?}", reply.headers);
}

fn assert_not_stored(reply: &Reply, request: &str) {
    assert_security_headers(reply, request);
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{request}: {:?}", reply.headers);
}

#[actix_web::test]
async fn answers_forbid_sniffing_and_storing() {
    let server = TestServer::start(Settings { poll_wait_ms: 1, ..settings() });
    let conn_id = server.backend().connect("ann", &["c"]).await;
    let token = signature().1;
    let message = json!([{"user": "a", "channel": "c", "message": {}}]).to_string();
    let (listen, script) =
        (format!("/listen?conn_id={conn_id}"), format!("/listen?conn_id={conn_id}&callback=f"));
    for (method, target, body, status) in [
        ("POST", "/connect", r#"{"username": "ann"}"#, 200),
        ("POST", "/connect?a=b", r#"{"username": "ann"}"#, 200),
        ("POST", "/message", &message, 200),
        ("POST", "/message", "[", 422),
        ("PATCH", "/message", "[", 422),
        ("POST", "/info", r#"{"info": {}}"#, 200),
        ("POST", "/user_state", "{}", 422),
        ("GET", &listen, "", 200),
        ("GET", &script, "", 200),
        ("GET", "/listen", "", 422),
        ("GET", "/admin", "", 200),
        ("GET", "/admin/sign_in", "", 200),
        ("GET", "/admin/sign_out", "", 302),
        ("GET", "/admin/debug", "", 200),
        ("GET", "/health/live", "", 200),
        ("GET", "/", "", 200),
        ("GET", "/demo/", "", 200),
        ("GET", "/demo", "", 307),
        ("GET", "/demo/state", "", 200),
        ("GET", "/demo/board/new-channel", "", 400),
        ("GET", "/ws", "", 426),
        ("GET", "/nowhere", "", 404),
        ("OPTIONS", "/nowhere", "", 200),
        ("PUT", "/connect", "", 404),
        ("GET", "/static/nowhere", "", 404),
    ] {
        for accept in ["application/json", "text/html", "text/plain"] {
            let headers = [&signed(&token)[..], &[("accept", accept)]].concat();
            let reply = ask(server.address, method, target, &headers, body).await;
            assert_eq!(reply.status, status, "{method} {target}: {:?}", reply.headers);
            assert_not_stored(&reply, &format!("{method} {target} as {accept}"));
        }
    }
    for accept in ["application/json", "text/html"] {
        let accept = [("accept", accept)];
        let unsigned = ask(server.address, "POST", "/info", &accept, "{}").await;
        assert_not_stored(&unsigned, "/info without a signature");
        assert_not_stored(
            &ask(server.address, "GET", "/admin", &accept, "").await,
            "the redirect to the sign-in",
        );
        let refused = socket::open(server.address, "/nowhere", &accept).await.err().unwrap();
        assert_not_stored(&refused, "a handshake on an unknown path");
        let refused = socket::open(server.address, "/ws?conn_id=x", &accept).await.err().unwrap();
        assert_not_stored(&refused, "a handshake without an id");
    }
    for accept in ["application/json", "text/html"] {
        for path in ["/admin/admin.json", "/admin/channels.json", "/openapi.json", "/openapi-3.1.json"] {
            let headers = [&signed(&token)[..], &[("accept", accept)]].concat();
            let reply = ask(server.address, "GET", path, &headers, "").await;
            assert_eq!(reply.status, 200, "{path}");
            assert_not_stored(&reply, path);
        }
    }
    // Files are public, and clients revalidate them each time.
    let file = ask(server.address, "GET", "/static/channelstream/index.js", &[], "").await;
    assert_security_headers(&file, "a file");
    assert_eq!((file.status, file.header("cache-control")), (200, Some("no-cache")));
    let tag = [("if-none-match", file.header("etag").unwrap())];
    let known = ask(server.address, "GET", "/static/channelstream/index.js", &tag, "").await;
    assert_eq!((known.status, known.header("x-content-type-options")), (304, Some("nosniff")));
}

#[actix_web::test]
async fn refusals_before_http_have_the_same_security_headers() {
    let server = TestServer::start(Settings { max_sockets_per_address: 1, ..settings() });
    let mut kept = Wire::open(server.address).await;
    assert_eq!(kept.ask("GET", "/nowhere", &[], b"").await.status, 404);
    let rejected = Wire::open(server.address).await.ask("GET", "/nowhere", &[], b"").await;
    assert_eq!(rejected.status, 429);
    assert_not_stored(&rejected, "a socket above the limit");
    let server = TestServer::start(Settings { header_timeout_ms: 20, ..settings() });
    let mut slow = Wire::open(server.address).await;
    slow.write("GET / HTTP/1.1\r\n").await;
    let late = slow.reply().await;
    assert_eq!(late.status, 408);
    assert_not_stored(&late, "a head that takes too long");
}
