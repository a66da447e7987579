//! The answer to a refused request is documented for the endpoint that was called.

use super::answers::content;
use super::{closed, document, document_for, operations, resolved, validator};
use crate::support::http::{Reply, Wire};
use crate::support::{TestServer, settings, socket};
use channelstream::config::{EngineSetting, Settings};
use channelstream::telemetry::limits::Limit;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[test]
fn examples_of_refusals_have_the_documented_shapes() {
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

/// Compares a refusal with the description of its endpoint.
fn assert_documented(document: &Value, method: &str, path: &str, reply: &Reply, limit: &str) {
    let operation = &document["paths"][path][method];
    let status = reply.status.to_string();
    let documented = resolved(document, &operation["responses"][&status]);
    assert_eq!(reply.header("x-channelstream-limit"), Some(limit), "{method} {path}: {}", reply.text());
    for name in ["x-channelstream-limit", "x-channelstream-error", "retry-after"] {
        let schema = &documented["headers"][name]["schema"];
        let Some(value) = reply.header(name) else { continue };
        let value = if name == "retry-after" { json!(value.parse::<u64>().unwrap()) } else { json!(value) };
        assert!(schema.is_object(), "{method} {path} {status}: {name} is not documented");
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
async fn refusals_at_limits_of_stored_data_are_documented() {
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
    let document = closed(document_for(&settings));
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
        assert_documented(&document, "post", path, &reply, limit);
    }
    // The server has four connections now: two of ada, then two of bob.
    for (more, user, limit) in
        [("ada", "ada", "max_connections_per_user"), ("bob", "carl", "max_connections")]
    {
        backend.connect(more, &[]).await;
        let body = json!({"username": user}).to_string();
        let reply = backend.send("POST", "/connect", &[], body.as_bytes()).await;
        assert_documented(&document, "post", "/connect", &reply, limit);
    }
    let mut seen = BTreeSet::new();
    for (method, name) in [("POST", "post"), ("PATCH", "patch"), ("DELETE", "delete")] {
        // The budget of the second may just have been refilled.
        for _ in 0..20 {
            let reply = backend.send(method, "/message", &[], words.to_string().as_bytes()).await;
            if reply.status == 429 {
                assert_documented(&document, name, "/message", &reply, "publish_rate_per_secret");
                seen.insert(name);
                break;
            }
        }
    }
    assert_eq!(seen.len(), 3);
}

#[actix_web::test]
async fn refusals_at_limits_of_sessions_are_documented() {
    let settings = Settings { max_sessions: 1, ..settings() };
    let document = closed(document_for(&settings));
    let server = TestServer::start(settings);
    let id = server.backend().connect("ada", &["a"]).await;
    let handshake = format!("/ws?conn_id={id}");
    let kept = socket::open(server.address, &handshake, &[]).await;
    assert!(kept.is_ok());
    let reply = socket::open(server.address, &handshake, &[]).await.err().unwrap();
    assert_documented(&document, "get", "/ws", &reply, "max_sessions");
    let polled = format!("/listen?conn_id={id}");
    let reply = Wire::open(server.address).await.ask("GET", &polled, &[], b"").await;
    assert_documented(&document, "get", "/listen", &reply, "max_sessions");
}

#[actix_web::test]
async fn refusals_at_limits_of_sockets_are_documented_for_every_endpoint() {
    let settings = Settings { max_sockets_per_address: 1, ..settings() };
    let document = closed(document_for(&settings));
    let server = TestServer::start(settings);
    let _kept = Wire::open(server.address).await;
    let reply = Wire::open(server.address).await.ask("GET", "/nowhere", &[], b"").await;
    for (method, path, _) in operations(&document) {
        assert_documented(&document, &method.to_lowercase(), &path, &reply, "max_sockets_per_address");
    }
}

/// Two refusals with one status: the form for a client that guesses passwords, JSON for one with too many sockets.
#[actix_web::test]
async fn refusals_of_guessed_passwords_are_documented() {
    let document = closed(document());
    let server = TestServer::start(settings());
    let form = ("content-type", "application/x-www-form-urlencoded");
    let guess = || async move {
        let body = b"username=admin&password=wrong";
        Wire::open(server.address).await.ask("POST", "/admin/sign_in", &[form], body).await
    };
    let replies = futures_util::future::join_all((0..6).map(|_| guess())).await;
    let refused = replies.iter().find(|reply| reply.status == 429).unwrap();
    let documented = resolved(&document, &document["paths"]["/admin/sign_in"]["post"]["responses"]["429"]);
    let codes = validator(&document, &documented["headers"]["x-channelstream-error"]["schema"]);
    let code = refused.header("x-channelstream-error").unwrap();
    assert!(codes.is_valid(&json!(code)) && codes.is_valid(&json!("over-limit")), "{documented}");
    assert!(!codes.is_valid(&json!("busy")), "{documented}");
    assert!(refused.header("content-type").unwrap().starts_with("text/html"));
    for form in ["text/html", "application/json"] {
        assert!(documented["content"][form].is_object(), "{form}: {documented}");
    }
    assert!(documented["description"].as_str().unwrap().contains("wrong passwords"), "{documented}");
}

/// Limits that close a socket without an answer, and limits that are refused with another code.
const ELSEWHERE: [Limit; 6] = [
    Limit::Fields,
    Limit::Body,
    Limit::AnswerTime,
    Limit::QueuedBytes,
    Limit::QueuedFrames,
    Limit::TotalQueuedBytes,
];

#[test]
fn every_limit_is_documented() {
    let document = document();
    let mut documented = BTreeSet::new();
    for (_, _, operation) in operations(&document) {
        for response in operation["responses"].as_object().unwrap().values() {
            let named = &resolved(&document, response)["headers"]["x-channelstream-limit"]["schema"];
            let names = named["enum"].as_array().into_iter().flatten().chain(named.get("const"));
            documented.extend(names.filter_map(Value::as_str).map(str::to_owned));
        }
    }
    for limit in Limit::ALL.iter().filter(|limit| !ELSEWHERE.contains(limit)) {
        assert!(documented.contains(limit.setting()), "{limit:?}: {documented:?}");
    }
}

#[test]
fn description_marks_limits_that_are_off() {
    let document = document();
    let response = &document["paths"]["/connect"]["post"]["responses"]["503"];
    let text = resolved(&document, response)["description"].as_str().unwrap();
    assert!(text.contains("does not occur, because `max_connections` is 0"), "{text}");
}

#[test]
fn refusals_of_redis_are_described_where_a_server_uses_it() {
    let codes = |document: &Value| {
        let response = &document["paths"]["/message"]["post"]["responses"]["503"];
        let headers = &resolved(document, response)["headers"];
        let codes = headers["x-channelstream-error"]["schema"]["enum"].as_array().cloned();
        (codes.unwrap_or_default(), headers["x-channelstream-uncertain"]["schema"].clone())
    };
    let engine = json!("engine-timeout");
    let (embedded, uncertain) = codes(&document());
    assert!(!embedded.contains(&engine) && uncertain.is_null());
    let settings = Settings { engine: EngineSetting::Redis, ..Settings::default() };
    let (redis, uncertain) = codes(&closed(document_for(&settings)));
    assert!(redis.contains(&engine) && uncertain == json!({"const": "1"}));
}

#[test]
fn description_offers_only_accepted_signatures() {
    let document = document();
    assert_eq!(
        document["components"]["securitySchemes"]["boundSignature"]["name"],
        "x-channelstream-signature"
    );
    let security = |document: &Value| document["paths"]["/message"]["post"]["security"].clone();
    let all = json!([{"signature": []}, {"signatureInQuery": []}, {"boundSignature": []}]);
    assert_eq!(security(&document), all);
    let strict = document_for(&Settings { require_bound_signatures: true, ..Settings::default() });
    assert_eq!(security(&strict), json!([{"boundSignature": []}]));
}

/// Requests with wrong queries and bodies whose refusals are examples of the description.
const WRONG: [(&str, &str, &str); 15] = [
    ("GET", "/admin/channels.json?page=0&per_page=x&sort=color", ""),
    ("GET", "/admin/users.json?page=0&per_page=x&sort=color", ""),
    ("GET", "/admin/connections.json?page=0&per_page=x&sort=color", ""),
    ("GET", "/admin/channel.json", ""),
    ("GET", "/admin/user.json", ""),
    ("GET", "/admin/connection.json", ""),
    ("GET", "/admin/recording.json", ""),
    ("GET", "/admin/admin.json?per_page=x", ""),
    ("POST", "/admin/disconnect_user", r#"{"user": "nobody"}"#),
    ("GET", "/ws", ""),
    ("GET", "/listen", ""),
    ("GET", "/listen?conn_id=7", ""),
    ("GET", "/disconnect", ""),
    ("POST", "/demo/message", r#"{"user": "ada", "channel": "lobby"}"#),
    ("POST", "/demo/board/push/news", "{"),
];

#[actix_web::test]
async fn refusals_of_wrong_requests_are_examples() {
    let document = document();
    let server = TestServer::start(settings());
    let backend = server.backend();
    backend.send("GET", "/demo/board/new-channel?id=news", &[], b"").await;
    for (method, target, body) in WRONG {
        let path = target.split('?').next().unwrap().replace("push/news", "push/{id}");
        let reply = match path.as_str() {
            "/ws" => socket::open(server.address, target, &[]).await.err().unwrap(),
            _ => backend.send(method, target, &[], body.as_bytes()).await,
        };
        assert_eq!(reply.status, 422, "{method} {target}: {}", reply.text());
        let operation = &document["paths"][&path][method.to_lowercase()];
        let examples = content(&document, operation, "422")["examples"].as_object().unwrap();
        assert!(
            examples.values().any(|example| example["value"] == reply.json()),
            "{target}: {}",
            reply.text()
        );
    }
}

#[actix_web::test]
async fn lists_accept_the_documented_orders_and_pages() {
    let document = document();
    let server = TestServer::start(settings());
    let backend = server.backend();
    let mut accepted = 0;
    for path in ["/admin/channels.json", "/admin/users.json", "/admin/connections.json"] {
        for parameter in document["paths"][path]["get"]["parameters"].as_array().unwrap() {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let values = schema["enum"].as_array().cloned().unwrap_or_default();
            // Pages of one row, because the product of both is limited, too.
            let other = if name == "page" { "&per_page=1" } else { "" };
            for value in values.iter().chain(schema.get("minimum")).chain(schema.get("maximum")) {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let target = format!("{path}?{name}={value}{other}");
                assert_eq!(backend.send("GET", &target, &[], b"").await.status, 200, "{target}");
                accepted += 1;
            }
            if let Some(above) = schema["maximum"].as_u64().map(|most| most + 1) {
                let target = format!("{path}?{name}={above}{other}");
                assert_eq!(backend.send("GET", &target, &[], b"").await.status, 422, "{target}");
            }
        }
    }
    assert_eq!(accepted, 38);
}

/// Several paths have a smaller limit than `max_body_bytes` for requests without a signature. An example of each has its
/// number.
#[actix_web::test]
async fn refusals_of_large_bodies_name_the_limit_of_the_endpoint() {
    let document = document();
    let server = TestServer::start(settings());
    server.backend().send("GET", "/demo/board/new-channel?id=news", &[], b"").await;
    let body = vec![b'x'; 100_000];
    let mut limits = BTreeSet::new();
    for path in ["/disconnect", "/demo/message", "/admin/sign_in", "/demo/board/push/{id}"] {
        let target = path.replace("{id}", "news");
        let reply = Wire::open(server.address).await.ask("POST", &target, &[], &body).await;
        assert_eq!(reply.status, 413, "{path}: {}", reply.text());
        let examples = &content(&document, &document["paths"][path]["post"], "413")["examples"];
        let mut examples = examples.as_object().unwrap().values();
        assert!(examples.any(|example| example["value"] == reply.json()), "{path}: {}", reply.text());
        limits.insert(reply.json()["message"].to_string());
    }
    assert!(limits.len() > 2, "{limits:?}");
}
