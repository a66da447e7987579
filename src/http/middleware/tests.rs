//! The cases of the recorded exchanges about signing and routing, and cases that the original did not handle.

use super::*;
use crate::auth::guard::Signed;
use crate::config::Settings;
use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, HttpRequest, HttpResponse};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sends requests through an App with signed and public routes, and one whose handler fails.
async fn send_all(settings: Settings, requests: Vec<TestRequest>) -> Vec<ServiceResponse> {
    let gate = web::Data::new(Gate::new(Arc::new(settings)));
    let app = App::new()
        .app_data(gate)
        .wrap(from_fn(process))
        .route("/info", web::post().to(|_: Signed| async { "info" }))
        .route("/connect", web::post().to(|_: Signed| async { "connect" }))
        .route("/listen", web::get().to(|req: HttpRequest| async move { req.uri().to_string() }))
        .route("/typed", web::get().to(|_: web::Query<BTreeMap<String, u8>>| async { "typed" }))
        .route("/busy", web::get().to(|| async { Err::<HttpResponse, _>(Refusal::Busy) }));
    let app = init_service(app).await;
    let mut answers = Vec::new();
    for request in requests {
        let peer = "127.0.0.1:4711".parse().unwrap();
        answers.push(call_service(&app, request.peer_addr(peer).to_request()).await);
    }
    answers
}

async fn send(request: TestRequest) -> ServiceResponse {
    send_all(Settings::default(), vec![request]).await.remove(0)
}

fn post(uri: &str) -> TestRequest {
    TestRequest::post().uri(uri)
}

fn signature() -> (&'static str, String) {
    (
        crate::auth::guard::SIGNATURE_HEADER,
        Gate::new(Arc::default()).secrets().keys.sign("channelstream", now_unix()),
    )
}

fn header<'a>(answer: &'a ServiceResponse, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn body(answer: ServiceResponse) -> String {
    String::from_utf8(read_body(answer).await.to_vec()).unwrap()
}

#[actix_web::test]
async fn case_signature_missing() {
    let with_accept = |accept| post("/connect").insert_header(("accept", accept));
    let html = send(with_accept("text/html")).await;
    assert_eq!((html.status().as_u16(), header(&html, "content-type")), (403, "text/html; charset=UTF-8"));
    assert!(body(html).await.contains("<title>403 Forbidden</title>"));
    let plain = send(with_accept("text/plain")).await;
    assert_eq!(body(plain).await, "403 Forbidden\n\nAccess was denied to this resource.\n\n\n\n\n");
    let json = send(post("/connect").insert_header(("x-channelstream-secret", ""))).await;
    assert_eq!((json.status().as_u16(), header(&json, "x-channelstream-error")), (403, "signature-missing"));
    assert_eq!(header(&json, "access-control-allow-methods"), "");
    let json: Value = serde_json::from_str(&body(json).await).unwrap();
    assert_eq!(json["code"], "403 Forbidden");
}

#[actix_web::test]
async fn case_signature_bad() {
    let options = TestRequest::default().method(Method::OPTIONS);
    for request in [post("/connect"), TestRequest::get().uri("/listen"), post("/nowhere"), options] {
        let answer = send(request.insert_header(("x-channelstream-secret", "garbage"))).await;
        assert_eq!(answer.status(), 401);
        assert_eq!(header(&answer, "content-type"), "application/json");
        assert_eq!(body(answer).await, r#"{"request":"Bad Signature"}"#);
    }
}

#[actix_web::test]
async fn case_signature_query_parameter() {
    let (_, good) = signature();
    let answer = send(post(&format!("/info?secret={good}"))).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "access-control-allow-origin"), "*");
    assert_eq!(header(&answer, "xdomainrequestallowed"), "1");
}

#[actix_web::test]
async fn case_not_found_and_wrong_method() {
    let get = |uri: &str| TestRequest::get().uri(uri);
    let put = TestRequest::put().uri("/info");
    for request in [get("/"), get("/a/b"), get("/connect"), put, post("/listen"), post("/connect/")] {
        let answer = send(request.insert_header(signature())).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "x-channelstream-error")), (404, "not-found"));
    }
    let answer = send(get("/nowhere").insert_header(("accept", "application/json"))).await;
    let missing: Value = serde_json::from_str(&body(answer).await).unwrap();
    let message = "The resource could not be found.\n\n\n/nowhere\n\n";
    assert_eq!(missing, json!({"message": message, "code": "404 Not Found", "title": "Not Found"}));
}

#[actix_web::test]
async fn case_cors_preflight() {
    for path in ["/connect", "/listen", "/any/path/at/all", "/ws", "/admin"] {
        let request = TestRequest::default().method(Method::OPTIONS).uri(path);
        let answer = send(request.insert_header(("origin", "http://example.com"))).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "content-type"), "text/plain; charset=UTF-8");
        assert_eq!(header(&answer, "access-control-allow-origin"), "*");
        assert_eq!(header(&answer, "access-control-allow-methods"), "GET, POST, OPTIONS, PUT, DELETE, PATCH");
        assert_eq!(header(&answer, "access-control-max-age"), "86400");
        assert!(
            header(&answer, "access-control-allow-headers").starts_with("Content-Type, Depth, User-Agent")
        );
        assert_eq!(body(answer).await, "");
    }
}

#[actix_web::test]
async fn paths_are_rewritten_before_routing() {
    let answer = send(TestRequest::get().uri("//listen?a=//b")).await;
    assert_eq!(body(answer).await, "/listen?a=//b");
    let answer = send(TestRequest::get().uri("/%6c%69st%65n?a=%62")).await;
    assert_eq!(body(answer).await, "/listen?a=%62");
    let behind = |uri: &str| TestRequest::get().uri(uri).insert_header(("x-script-name", "/p"));
    let trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    let requests = ["/p/listen?conn_id=1", "/listen", "/p"].map(behind).into();
    let mut answers = send_all(Settings { trusted_proxies, ..Settings::default() }, requests).await;
    assert_eq!([answers[1].status(), answers[2].status()], [200, 404]);
    assert_eq!(body(answers.remove(0)).await, "/listen?conn_id=1");
    assert_eq!(send(behind("/p/listen?conn_id=1")).await.status(), 404, "the peer is not a trusted proxy");
}

#[actix_web::test]
async fn paths_that_cannot_be_rewritten_are_not_found() {
    let longest = "%".repeat(60_000);
    let answer = send(TestRequest::get().uri(&format!("/{longest}"))).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-channelstream-error")), (404, "not-found"));
}

#[actix_web::test]
async fn connection_upgrade_alone_changes_nothing() {
    let tolerated = TestRequest::get().uri("/listen").insert_header(("connection", "upgrade"));
    assert_eq!(send(tolerated.insert_header(("upgrade", ""))).await.status(), 200);
}

#[actix_web::test]
async fn the_frameworks_400s_become_422s() {
    let answer = send(TestRequest::get().uri("/typed?a=b")).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-channelstream-error")), (422, "invalid"));
    assert!(body(answer).await.starts_with(r#"{"_schema":["#));
}

#[actix_web::test]
async fn refusals_of_handlers_follow_accept() {
    let busy = send(TestRequest::get().uri("/busy").insert_header(("accept", "text/plain"))).await;
    assert_eq!((busy.status().as_u16(), header(&busy, "retry-after")), (503, "1"));
    assert!(body(busy).await.starts_with("503 Service Unavailable\n\n"));
}

#[actix_web::test]
async fn enforce_https_exempts_websockets_and_trusts_proxies() {
    let settings = Settings {
        enforce_https: true,
        trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()],
        ..Settings::default()
    };
    let through = TestRequest::get().uri("/listen").insert_header(("x-forwarded-proto", "https"));
    let scheme = TestRequest::get().uri("/listen").insert_header(("x-scheme", "https"));
    let requests = vec![TestRequest::get().uri("/listen"), scheme, through, TestRequest::get().uri("/ws")];
    let answers = send_all(settings, requests).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(statuses, [406, 406, 200, 404]);
    assert_eq!(header(&answers[0], "x-channelstream-error"), "https-required");
}

#[actix_web::test]
async fn allow_cors_restricts_origins() {
    let settings = Settings { allow_cors: vec!["example.com".into()], ..Settings::default() };
    let from = |origin| TestRequest::get().uri("/listen").insert_header(("origin", origin));
    let answers = send_all(settings, vec![from("http://example.com"), from("http://example.org")]).await;
    assert_eq!(header(&answers[0], "access-control-allow-origin"), "*");
    assert_eq!(header(&answers[1], "access-control-allow-origin"), "");
    assert_eq!(header(&answers[1], "access-control-max-age"), "86400");
}

#[actix_web::test]
async fn pages_of_other_origins_can_read_refusals_of_polls() {
    let listen = |uri| TestRequest::get().uri(uri).insert_header(signature_header("garbage"));
    let answer = send(listen("/listen")).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "access-control-allow-origin")), (401, "*"));
    let answer = send(post("/info")).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "access-control-allow-origin")), (403, ""));
}

fn signature_header(text: &str) -> (&'static str, String) {
    (crate::auth::guard::SIGNATURE_HEADER, text.to_owned())
}
