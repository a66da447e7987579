//! The replay engine against a small server made for the purpose: its report when all responses are as recorded, and
//! when they are not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::http::Method;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use channelstream_replay::{Deliberate, Options, Report, Target, play_file, read_cases};

const CASES: &str = concat!(
    r#"{"case": "echo", "topic": "t", "steps": ["#,
    r#"{"request": {"method": "DELETE", "path": "/echo?id=<uuid-1>", "headers": {"X-Signed": "<valid signature>"}, "#,
    r#""json": {"a": 1}}, "#,
    r#""response": {"status": 200, "headers": {"content-type": "application/json"}, "#,
    r#""json": {"method": "DELETE", "query": "id=<uuid-1>", "body": "{\"a\":1}"}}}]}"#,
    "\n",
    r#"{"case": "slow", "topic": "t", "steps": ["#,
    r#"{"meanwhile": 0.1, "request": {"method": "GET", "path": "/echo"}}, "#,
    r#"{"request": {"method": "GET", "path": "/slow"}, "response": {"status": 200, "json": true, "seconds": 0.3}}]}"#,
    "\n",
);

async fn echo(request: HttpRequest, body: String) -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({
        "method": request.method().as_str(),
        "query": request.query_string(),
        "body": body,
    }))
}

async fn slow() -> HttpResponse {
    actix_web::rt::time::sleep(Duration::from_millis(300)).await;
    HttpResponse::Ok().json(true)
}

/// Starts the small server. It runs as long as the test's own runtime.
fn serve() -> Target {
    let app = || {
        let any = [Method::GET, Method::DELETE].map(|method| web::method(method).to(echo));
        let [get, delete] = any;
        App::new()
            .service(web::resource("/echo").route(get).route(delete))
            .route("/slow", web::get().to(slow))
    };
    let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    actix_web::rt::spawn(server.run());
    Target::new(format!("http://{address}/"))
}

fn cases_file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("replay-engine-{}-{name}.jsonl", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

async fn replay(name: &str, text: &str, options: Options) -> Report {
    let file = cases_file(name, text);
    let report = play_file(&file, &serve(), &options).await;
    std::fs::remove_file(file).unwrap();
    report
}

fn with_differences(list: &str) -> Options {
    Options { deliberate: Deliberate::read(list).unwrap(), ..Options::default() }
}

#[actix_web::test]
async fn a_server_that_answers_as_recorded_is_clean() {
    let report = replay("clean", CASES, Options::default()).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.num_cases, report.num_steps), (2, 3));
}

#[actix_web::test]
async fn a_difference_is_reported_with_its_place() {
    let report = replay("differs", &CASES.replace(r#"\"a\":1"#, r#"\"a\":2"#), Options::default()).await;
    assert_eq!(report.differences.len(), 1, "{report}");
    let difference = &report.differences[0];
    assert_eq!((difference.case.as_str(), difference.step), ("echo", 0));
    assert_eq!(difference.mismatches[0].path, "body");
    assert!(report.to_string().contains(r#"got      "{\"a\":1}""#), "{report}");
}

#[actix_web::test]
async fn an_answer_that_arrives_too_early_differs() {
    let options = Options { early: 0.05, ..Options::default() };
    let report = replay("early", &CASES.replace("0.3}", "0.9}"), options).await;
    assert_eq!(report.differences[0].mismatches[0].path, "seconds", "{report}");
}

#[actix_web::test]
async fn a_listed_difference_must_hold() {
    let list =
        "[[difference]]\nid = \"d\"\ncase = \"slow\"\nsteps = [1]\nwhy = \"because\"\njson = \"false\"";
    let report = replay("listed", CASES, with_differences(list)).await;
    let shown = report.to_string();
    assert!(shown.contains("expected by the deliberate difference \"d\""), "{shown}");
    assert!(shown.contains("exactly what was recorded"), "{shown}");
}

#[actix_web::test]
async fn an_unnecessary_listed_difference_is_reported() {
    let list = "[[difference]]\nid = \"d\"\ncase = \"slow\"\nsteps = [1]\nwhy = \"because\"\njson = \"true\"";
    let report = replay("unnecessary", CASES, with_differences(list)).await;
    assert!(report.to_string().contains("the entry is unnecessary"), "{report}");
}

#[actix_web::test]
async fn a_replay_that_cannot_run_is_not_clean() {
    let missing =
        play_file(Path::new("/nonexistent"), &Target::new("http://127.0.0.1:1"), &Options::default()).await;
    assert!(!missing.is_clean());
    let unknown = Options { cases: vec!["no such case".to_owned()], ..Options::default() };
    assert!(!replay("unknown", CASES, unknown).await.is_clean());
    let target = Target::new("http://127.0.0.1:1");
    let file = cases_file("refused", CASES);
    let refused = play_file(&file, &target, &Options::default()).await;
    std::fs::remove_file(file).unwrap();
    assert_eq!(refused.differences[0].mismatches[0].path, "the connection");
}

#[test]
fn the_list_of_differences_names_existing_steps() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let cases = read_cases(&std::fs::read_to_string(data.join("transcripts.jsonl")).unwrap()).unwrap();
    let list = Deliberate::read(&std::fs::read_to_string(data.join("differences.toml")).unwrap()).unwrap();
    assert_eq!(cases.len(), 77);
    assert_eq!(list.unmatched(&cases), Vec::<String>::new());
}
