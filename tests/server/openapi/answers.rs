//! Answers, refusals and events have the shapes that the API description documents, and no other keys.

use super::{closed, document, operations, resolved, validator};
use crate::support::backend::Backend;
use crate::support::listener::{ListenResult, Listener, Transport};
use crate::support::{TestServer, settings, within};
use channelstream::api::parse_conn_id;
use channelstream::protocol::time::Timestamp;
use serde_json::{Value, json};

/// Every recorded exchange of the original, and every list of frames.
fn recorded() -> Vec<(String, Value)> {
    let cases = include_str!("../../data/transcripts.jsonl").lines();
    let mut steps = Vec::new();
    for line in cases {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["case"].as_str().unwrap_or_default();
        steps.extend(case["steps"].as_array().unwrap().iter().map(|step| (name.to_owned(), step.clone())));
    }
    steps
}

/// The recorded value with real values instead of placeholders.
fn filled(value: &Value) -> Value {
    match value {
        Value::String(text) => match text.split(['-', ' ', '>']).next().unwrap_or_default() {
            "<uuid" => json!("0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9"),
            "<timestamp" => json!("2020-02-22T10:11:12.123456"),
            "<int" => json!(7),
            _ => value.clone(),
        },
        Value::Array(items) => items.iter().map(filled).collect(),
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), filled(value))).collect(),
        _ => value.clone(),
    }
}

pub fn content<'a>(document: &'a Value, operation: &'a Value, status: &str) -> &'a Value {
    let response = &operation["responses"][status];
    assert!(!response.is_null(), "{status} is not documented for {}", operation["operationId"]);
    &resolved(document, response)["content"]["application/json"]
}

/// The operation of a request; where any method does the same, GET stands for undocumented methods.
fn operation<'a>(document: &'a Value, request: &Value) -> Option<&'a Value> {
    let path = request["path"].as_str()?.split('?').next()?;
    let item = document["paths"].get(path)?;
    let any = ["/info", "/disconnect"].contains(&path);
    item.get(request["method"].as_str()?.to_lowercase()).or_else(|| item.get("get").filter(|_| any))
}

#[test]
fn recorded_answers_have_the_documented_shapes() {
    let document = closed(document());
    let mut seen = 0;
    for (case, step) in recorded() {
        let (request, response) = (&step["request"], &step["response"]);
        let (Some(body), Some(operation)) = (response.get("json"), operation(&document, request)) else {
            continue;
        };
        if step.get("original_bug").is_some() {
            continue;
        }
        let status = response["status"].to_string();
        let fits = validator(&document, &content(&document, operation, &status)["schema"]);
        let body = filled(body);
        let errors: Vec<String> = fits.iter_errors(&body).map(|error| format!("{error}")).collect();
        assert!(
            errors.is_empty(),
            "{case}: {} {}: {status} {body}\n{errors:?}",
            request["method"],
            request["path"]
        );
        seen += 1;
    }
    assert!(seen > 300, "{seen}");
}

#[test]
fn recorded_frames_have_the_documented_shapes() {
    let document = closed(document());
    let answer = content(&document, &document["paths"]["/listen"]["get"], "200");
    let fits = validator(&document, &answer["schema"]);
    let mut seen = 0;
    for (case, step) in recorded() {
        for frame in step["frames"].as_array().into_iter().flatten().map(filled) {
            let errors: Vec<String> = fits.iter_errors(&frame).map(|error| format!("{error}")).collect();
            assert!(errors.is_empty(), "{case}: {frame}\n{errors:?}");
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

/// The value with the same text instead of each id and each time.
fn plain(value: &Value) -> Value {
    match value {
        Value::String(text) if parse_conn_id(text).is_some() => json!("id"),
        Value::String(text) if Timestamp::parse(text).is_some() => json!("time"),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        _ => value.clone(),
    }
}

fn target(path: &str, operation: &Value) -> String {
    let examples = operation["parameters"].as_array().into_iter().flatten().filter_map(|parameter| {
        let example = parameter["example"].as_str()?;
        Some(format!("{}={example}", parameter["name"].as_str()?)).filter(|_| parameter["required"] == true)
    });
    format!("{path}?{}", examples.collect::<Vec<_>>().join("&"))
}

#[actix_web::test]
async fn server_answers_examples_as_documented() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let document = closed(document());
    let mut compared = 0;
    for (method, path, operation) in operations(&document) {
        // No token of an example is valid for long, and sessions have no end.
        let is_apart = ["/ws", "/sse", "/token"].contains(&path.as_str());
        if !["backends", "browsers"].contains(&operation["tags"][0].as_str().unwrap()) || is_apart {
            continue;
        }
        if path == "/disconnect" {
            // Both methods of this path end the same connection.
            let again = &document["paths"]["/connect"]["post"]["requestBody"]["content"]["application/json"];
            backend.post("/connect", again["example"].clone()).await;
        }
        let example = &operation["requestBody"]["content"]["application/json"]["example"];
        let body = if example.is_null() { String::new() } else { example.to_string() };
        let reply = backend.send(&method, &target(&path, &operation), &[], body.as_bytes()).await;
        assert_eq!(reply.status, 200, "{method} {path}: {}", reply.text());
        let documented = content(&document, &operation, "200");
        assert!(
            validator(&document, &documented["schema"]).is_valid(&reply.json()),
            "{method} {path}: {}",
            reply.text()
        );
        if let Some(answer) = documented.get("example") {
            assert_eq!(plain(&reply.json()), plain(answer), "{method} {path}");
            compared += 1;
        }
    }
    assert_eq!(compared, 15);
}

#[actix_web::test]
async fn admin_json_has_the_documented_shape() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    backend.configure(&["f"], json!({"store_history": true})).await;
    backend.connect("ada", &["f"]).await;
    backend.publish_text("f", "kept").await;
    let document = closed(document());
    let documented = content(&document, &document["paths"]["/admin/admin.json"]["get"], "200");
    let fits = validator(&document, &documented["schema"]);
    let figures = backend.post("/admin/admin.json", json!({})).await;
    assert_eq!(figures["channels"]["f"]["users"], json!(["ada"]));
    assert!(fits.is_valid(&figures), "{figures}");
    assert!(fits.is_valid(&documented["example"]));
}

/// Returns the console's answer to a request; checks its documented shape and its `ETag`, if that is documented.
async fn checked_answer(
    backend: &Backend,
    document: &Value,
    operation: &Value,
    method: &str,
    target: &str,
) -> Value {
    let example = &operation["requestBody"]["content"]["application/json"]["example"];
    let body = if example.is_null() { String::new() } else { example.to_string() };
    let reply = backend.send(method, target, &[], body.as_bytes()).await;
    assert_eq!(reply.status, 200, "{method} {target}: {}", reply.text());
    let documented = content(document, operation, "200");
    let fits = validator(document, &documented["schema"]);
    let answer = reply.json();
    for value in [&answer, &documented["example"]] {
        let errors: Vec<String> = fits.iter_errors(value).map(|error| format!("{error}")).collect();
        assert!(errors.is_empty(), "{method} {target}: {value}\n{errors:?}");
    }
    if operation["responses"]["304"].is_object() {
        let tag = reply.header("etag").expect("there is a tag").to_owned();
        let again = backend.send(method, target, &[("if-none-match", &tag)], b"").await;
        assert!([200, 304].contains(&again.status), "{method} {target}: {}", again.status);
        assert!(operation["responses"]["200"]["headers"]["etag"].is_object(), "{method} {target}");
    }
    answer
}

#[actix_web::test]
async fn console_answers_have_the_documented_shapes() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let id = "11111111-1111-4111-8111-111111111111";
    let configs = json!({"lobby": {"store_history": true, "notify_presence": true}});
    let ada = json!({"username": "ada", "conn_id": id, "channels": ["lobby"], "channel_configs": configs});
    backend.post("/connect", ada).await;
    let mut listener = Listener::attach(server.address, Transport::Websocket, id).await;
    for record in [json!({"channel": "lobby", "on": true}), json!({"conn_id": id, "on": true})] {
        backend.post("/admin/record", record).await;
    }
    backend.publish_text("lobby", "kept").await;
    assert!(matches!(listener.next().await, ListenResult::Event(_)));
    let document = closed(document());
    let mut asked = 0;
    for (method, path, operation) in operations(&document) {
        if operation["tags"][0] == "console" {
            let mut targets = vec![target(&path, &operation)];
            if path == "/admin/recording.json" {
                targets =
                    vec![format!("{path}?channel=lobby&wait_s=9"), format!("{path}?conn_id={id}&wait_s=9")];
            }
            for target in targets {
                let answer = checked_answer(&backend, &document, &operation, &method, &target).await;
                assert!(answer["events"] != json!([]) && answer["rows"] != json!([]), "{target}: {answer}");
                asked += 1;
            }
        }
    }
    assert_eq!(asked, 15);
}

#[actix_web::test]
async fn parts_of_admin_json_have_the_documented_shape() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    backend.connect("ada", &["f"]).await;
    let document = closed(document());
    let operation = &document["paths"]["/admin/admin.json"]["get"];
    let target = "/admin/admin.json?page=1&per_page=5&since=0&step_s=1&search=A";
    let figures = checked_answer(&backend, &document, operation, "GET", target).await;
    assert_eq!((&figures["matching_users"], &figures["series"]["step_s"]), (&json!(1), &json!(1)));
}

#[actix_web::test]
async fn nodes_have_the_documented_shape() {
    let server = TestServer::start_with_redis(settings());
    let backend = server.backend();
    let document = closed(document());
    let operation = &document["paths"]["/admin/admin.json"]["get"];
    within(async {
        let target = "/admin/admin.json?per_page=0";
        while checked_answer(&backend, &document, operation, "GET", target).await["nodes"] == json!([]) {
            actix_web::rt::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[actix_web::test]
async fn demo_answers_have_the_documented_shapes() {
    let server = TestServer::start(settings());
    let backend = server.backend();
    let document = closed(document());
    let mut asked = 0;
    for (method, path, operation) in operations(&document) {
        if operation["tags"][0] != "demo" {
            continue;
        }
        let example = &operation["requestBody"]["content"]["application/json"]["example"];
        let body = if example.is_null() { String::new() } else { example.to_string() };
        let target = target(&path.replace("{id}", "news"), &operation);
        let reply = backend.send(&method, &target, &[], body.as_bytes()).await;
        let status = reply.status.to_string();
        // The push to the board comes after the deletion of its channel.
        let wanted = if path.starts_with("/demo/board/push") { "400" } else { "200" };
        assert_eq!(status, wanted, "{method} {target}: {}", reply.text());
        let documented = &resolved(&document, &operation["responses"][&status])["content"];
        if documented["text/plain"].is_null() {
            let fits = validator(&document, &documented["application/json"]["schema"]);
            assert!(fits.is_valid(&reply.json()), "{method} {target}: {}", reply.text());
            assert!(fits.is_valid(&documented["application/json"]["example"]), "{method} {target}");
        }
        asked += 1;
    }
    assert_eq!(asked, 12);
}
