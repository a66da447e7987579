//! What a refused request is told stands in the description of what it asked for.

use super::answers::content;
use super::support::http::{Reply, Wire};
use super::support::{TestServer, settings, socket};
use super::{closed, document, of, operations, resolved, validator};
use channelstream::config::Settings;
use channelstream::telemetry::limits::Limit;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[test]
fn examples_of_refusals_have_the_shapes_that_are_told() {
    let document = closed(document());
    let mut seen = 0;
    for (method, path, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let content = &resolved(&document, response)["content"]["application/json"];
            for (name, example) in content["examples"].as_object().into_iter().flatten() {
                let fits = validator(&document, &content["schema"]);
                assert!(fits.is_valid(&example["value"]), "{method} {path} {status} {name}");
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

/// Compares a refusal with what the description of its request tells.
fn assert_told(document: &Value, method: &str, path: &str, reply: &Reply, limit: &str) {
    let operation = &document["paths"][path][method];
    let status = reply.status.to_string();
    let told = resolved(document, &operation["responses"][&status]);
    assert_eq!(reply.header("x-channelstream-limit"), Some(limit), "{method} {path}: {}", reply.text());
    for name in ["x-channelstream-limit", "x-channelstream-error", "retry-after"] {
        let schema = &told["headers"][name]["schema"];
        let Some(value) = reply.header(name) else { continue };
        let value = if name == "retry-after" { json!(value.parse::<u64>().unwrap()) } else { json!(value) };
        assert!(schema.is_object(), "{method} {path} {status}: {name} is not told");
        assert!(validator(document, schema).is_valid(&value), "{method} {path}: {name}: {value}");
    }
    let content = content(document, operation, &status);
    assert!(
        validator(document, &content["schema"]).is_valid(&reply.json()),
        "{method} {path}: {}",
        reply.text()
    );
    let example = content["examples"].as_object().unwrap().iter().find(|(name, _)| name.contains(limit));
    let (_, example) = example.unwrap_or_else(|| panic!("{method} {path} {status}: no example of {limit}"));
    assert_eq!(example["value"], reply.json(), "{method} {path}");
}

#[actix_web::test]
async fn what_is_said_at_limits_of_what_is_kept_is_told() {
    let settings = Settings {
        max_connections: 4,
        max_connections_per_user: 2,
        max_channels_per_connection: 3,
        max_channels: 5,
        max_user_state_keys: 2,
        max_user_state_bytes: 20,
        publish_rate_per_secret: 1,
        ..settings()
    };
    let document = closed(of(&settings));
    let server = TestServer::start(settings);
    let backend = server.backend();
    let id = backend.connect("ada", &["a", "b", "c"]).await;
    backend.connect("bob", &["d"]).await;
    let more = json!({"username": "ada", "conn_id": id});
    let with = |key: &str, value: Value| {
        let mut body = more.clone();
        body[key] = value;
        body
    };
    let config = json!({"notify_presence": true});
    let long = json!({"k": "0123456789012345678901234567890"});
    let keys = json!({"k": 1, "l": 2, "m": 3});
    let words = json!([{"user": "ada", "channel": "a", "message": {}, "uuid": id}]);
    let refused = [
        ("/connect", with("channels", json!(["d"])), "max_channels_per_connection"),
        ("/connect", json!({"username": "carl", "channels": ["x", "y"]}), "max_channels"),
        ("/connect", with("user_state", keys.clone()), "max_user_state_keys"),
        ("/connect", with("user_state", long.clone()), "max_user_state_bytes"),
        ("/subscribe", json!({"conn_id": id, "channels": ["d"]}), "max_channels_per_connection"),
        ("/subscribe", json!({"conn_id": id, "channels": ["x", "y"]}), "max_channels"),
        ("/user_state", json!({"user": "ada", "user_state": keys}), "max_user_state_keys"),
        ("/user_state", json!({"user": "ada", "user_state": long}), "max_user_state_bytes"),
        ("/channel_config", json!({"x": config, "y": config}), "max_channels"),
    ];
    for (path, body, limit) in refused {
        let reply = backend.send("POST", path, &[], body.to_string().as_bytes()).await;
        assert_told(&document, "post", path, &reply, limit);
    }
    // Four are kept, two of them ada's, then two of them bob's.
    for (more, user, limit) in
        [("ada", "ada", "max_connections_per_user"), ("bob", "carl", "max_connections")]
    {
        backend.connect(more, &[]).await;
        let body = json!({"username": user}).to_string();
        let reply = backend.send("POST", "/connect", &[], body.as_bytes()).await;
        assert_told(&document, "post", "/connect", &reply, limit);
    }
    let mut seen = BTreeSet::new();
    for (method, name) in [("POST", "post"), ("PATCH", "patch"), ("DELETE", "delete")] {
        // The second's messages may just have been given back.
        for _ in 0..20 {
            let reply = backend.send(method, "/message", &[], words.to_string().as_bytes()).await;
            if reply.status == 429 {
                assert_told(&document, name, "/message", &reply, "publish_rate_per_secret");
                seen.insert(name);
                break;
            }
        }
    }
    assert_eq!(seen.len(), 3);
}

#[actix_web::test]
async fn what_is_said_at_limits_of_sessions_is_told() {
    let settings = Settings { max_sessions: 1, ..settings() };
    let document = closed(of(&settings));
    let server = TestServer::start(settings);
    let id = server.backend().connect("ada", &["a"]).await;
    let handshake = format!("/ws?conn_id={id}");
    let kept = socket::open(server.address, &handshake, &[]).await;
    assert!(kept.is_ok());
    let reply = socket::open(server.address, &handshake, &[]).await.err().unwrap();
    assert_told(&document, "get", "/ws", &reply, "max_sessions");
    let polled = format!("/listen?conn_id={id}");
    let reply = Wire::open(server.address).await.ask("GET", &polled, &[], b"").await;
    assert_told(&document, "get", "/listen", &reply, "max_sessions");
}

#[actix_web::test]
async fn what_is_said_at_limits_of_sockets_is_told_everywhere() {
    let settings = Settings { max_sockets_per_address: 1, ..settings() };
    let document = closed(of(&settings));
    let server = TestServer::start(settings);
    let _kept = Wire::open(server.address).await;
    let reply = Wire::open(server.address).await.ask("GET", "/nowhere", &[], b"").await;
    for (method, path, _) in operations(&document) {
        assert_told(&document, &method.to_lowercase(), &path, &reply, "max_sockets_per_address");
    }
}

/// Two refusals with one status: the form for who guesses, JSON for who has too many sockets.
#[actix_web::test]
async fn what_who_guesses_passwords_is_said_is_told() {
    let document = closed(document());
    let server = TestServer::start(settings());
    let form = ("content-type", "application/x-www-form-urlencoded");
    let guess = || async move {
        let body = b"username=admin&password=wrong";
        Wire::open(server.address).await.ask("POST", "/admin/sign_in", &[form], body).await
    };
    let replies = futures_util::future::join_all((0..6).map(|_| guess())).await;
    let refused = replies.iter().find(|reply| reply.status == 429).unwrap();
    let told = resolved(&document, &document["paths"]["/admin/sign_in"]["post"]["responses"]["429"]);
    let codes = validator(&document, &told["headers"]["x-channelstream-error"]["schema"]);
    let code = refused.header("x-channelstream-error").unwrap();
    assert!(codes.is_valid(&json!(code)) && codes.is_valid(&json!("over-limit")), "{told}");
    assert!(!codes.is_valid(&json!("busy")), "{told}");
    assert!(refused.header("content-type").unwrap().starts_with("text/html"));
    for form in ["text/html", "application/json"] {
        assert!(told["content"][form].is_object(), "{form}: {told}");
    }
    assert!(told["description"].as_str().unwrap().contains("wrong passwords"), "{told}");
}

/// Those that are not answered, but end a socket, and those that stand under another code.
const ELSEWHERE: [Limit; 6] = [
    Limit::Fields,
    Limit::Body,
    Limit::AnswerTime,
    Limit::QueuedBytes,
    Limit::QueuedFrames,
    Limit::TotalQueuedBytes,
];

#[test]
fn every_limit_is_told_somewhere() {
    let document = document();
    let mut told = BTreeSet::new();
    for (_, _, operation) in operations(&document) {
        for response in operation["responses"].as_object().unwrap().values() {
            let named = &resolved(&document, response)["headers"]["x-channelstream-limit"]["schema"];
            let names = named["enum"].as_array().into_iter().flatten().chain(named.get("const"));
            told.extend(names.filter_map(Value::as_str).map(str::to_owned));
        }
    }
    for limit in Limit::ALL.iter().filter(|limit| !ELSEWHERE.contains(limit)) {
        assert!(told.contains(limit.setting()), "{limit:?}: {told:?}");
    }
}

#[test]
fn limits_that_are_off_are_said_to_be() {
    let document = document();
    let response = &document["paths"]["/connect"]["post"]["responses"]["503"];
    let text = resolved(&document, response)["description"].as_str().unwrap();
    assert!(text.contains("does not occur, because `max_connections` is 0"), "{text}");
}

#[test]
fn signatures_that_are_not_taken_are_not_offered() {
    let document = document();
    assert_eq!(
        document["components"]["securitySchemes"]["boundSignature"]["name"],
        "x-channelstream-signature"
    );
    let security = |document: &Value| document["paths"]["/message"]["post"]["security"].clone();
    let all = json!([{"signature": []}, {"signatureInQuery": []}, {"boundSignature": []}]);
    assert_eq!(security(&document), all);
    let strict = of(&Settings { require_bound_signatures: true, ..Settings::default() });
    assert_eq!(security(&strict), json!([{"boundSignature": []}]));
}
