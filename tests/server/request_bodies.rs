//! Request bodies of the recorded exchanges with the original, and generated bodies.

use channelstream::api::answer::Invalid;
use channelstream::api::body::RequestLimits;
use channelstream::api::channel_config::ChannelConfigRequest;
use channelstream::api::connect::ConnectRequest;
use channelstream::api::disconnect::DisconnectRequest;
use channelstream::api::info::InfoRequest;
use channelstream::api::message_delete::{parse_deletes, write_delete_answer};
use channelstream::api::message_patch::{parse_edits, write_edit_answer};
use channelstream::api::message_post::{parse_messages, write_message_answer};
use channelstream::api::subscribe::SubscribeRequest;
use channelstream::api::user_state::parse_user_state;
use channelstream::config::Settings;
use channelstream::protocol::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Reads a body as its endpoint does; returns `Some` answer if the answer depends on the body alone.
fn parse(
    method: &str,
    path: &str,
    body: &[u8],
    limits: &RequestLimits,
) -> Option<Result<Option<Value>, Invalid>> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let conn_id = query.split('&').find_map(|pair| pair.strip_prefix("conn_id="));
    let now = Timestamp::from_unix_micros(1_582_366_272_123_456);
    Some(match (method, path) {
        ("POST", "/message") => {
            parse_messages(body, limits, now).map(|items| written(&items, write_message_answer))
        }
        ("PATCH", "/message") => {
            parse_edits(body, limits, now).map(|items| written(&items, write_edit_answer))
        }
        ("DELETE", "/message") => {
            parse_deletes(body, limits).map(|items| written(&items, write_delete_answer))
        }
        ("POST", "/connect") => ConnectRequest::parse(body, limits).map(|_| None),
        ("POST", "/subscribe" | "/unsubscribe") => {
            SubscribeRequest::parse(body, conn_id, limits).map(|_| None)
        }
        ("POST", "/user_state") => parse_user_state(body, limits).map(|_| None),
        ("POST", "/channel_config") => ChannelConfigRequest::parse(body, limits).map(|_| None),
        (_, "/info") => InfoRequest::parse(body, limits).map(|_| None),
        ("POST", "/disconnect") => DisconnectRequest::parse(body, limits).map(|_| None),
        (_, "/disconnect") => DisconnectRequest::from_query(conn_id).map(|_| None),
        _ => return None,
    })
}

fn written<T>(items: &[T], write: fn(&[T], &mut Vec<u8>)) -> Option<Value> {
    let mut out = Vec::new();
    write(items, &mut out);
    Some(serde_json::from_slice(&out).expect("answers are JSON"))
}

const ENDPOINTS: [(&str, &str); 11] = [
    ("POST", "/message"),
    ("PATCH", "/message"),
    ("DELETE", "/message"),
    ("POST", "/connect"),
    ("POST", "/subscribe"),
    ("POST", "/unsubscribe"),
    ("POST", "/user_state"),
    ("POST", "/channel_config"),
    ("POST", "/info"),
    ("POST", "/disconnect"),
    ("GET", "/disconnect"),
];

fn limits() -> RequestLimits {
    RequestLimits::from(&Settings::default())
}

/// Replaces `<uuid-7>`, `<uuid-7 without dashes>` and `<uuid-7 in upper case>` with ids.
fn filled(text: &str) -> String {
    let mut parts = text.split("<uuid-");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('>').expect("placeholders close");
        let (number, form) = name.split_once(' ').unwrap_or((name, ""));
        let id = format!("0a1b2c3d-4e5f-4071-8293-{:012x}", number.parse::<u64>().expect("a number"));
        filled += &match form {
            "" => id,
            "without dashes" => id.replace('-', ""),
            "in upper case" => id.to_uppercase(),
            _ => panic!("unknown form {form}"),
        };
        filled += rest;
    }
    filled
}

/// Whether an answer equals the recorded one; generated values are placeholders in the record.
fn is_equivalent(recorded: &Value, answer: &Value) -> bool {
    match (recorded, answer) {
        (Value::String(text), Value::String(_)) if text == "<timestamp>" || text.starts_with("<uuid-") => {
            true
        }
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| is_equivalent(one, two))
        }
        (Value::Object(one), Value::Object(two)) => {
            one.keys().eq(two.keys()) && one.iter().zip(two).all(|(one, two)| is_equivalent(one.1, two.1))
        }
        _ => recorded == answer,
    }
}

/// The recorded errors without those that only the handler can detect.
fn without_lookups(errors: &Value) -> Value {
    let mut errors = errors.clone();
    for field in ["conn_id", "user"] {
        if let Some(Value::Array(texts)) = errors.get_mut(field) {
            texts.retain(|text| text != "Unknown connection" && text != "Unknown user");
            if texts.is_empty() {
                errors.as_object_mut().expect("an object").remove(field);
            }
        }
    }
    errors
}

/// Every recorded request with a body that the server reads: name of the case, request, response, whether the original
/// failed.
fn recorded() -> impl Iterator<Item = (String, Value, Value, bool)> {
    include_str!("../data/transcripts.jsonl").lines().flat_map(|line| {
        let case: Value = serde_json::from_str(line).expect("a case");
        let name = case["case"].as_str().unwrap_or_default().to_owned();
        let steps = case["steps"].as_array().cloned().unwrap_or_default();
        steps.into_iter().filter(|step| step.get("request").is_some()).map(move |step| {
            (
                name.clone(),
                step["request"].clone(),
                step["response"].clone(),
                step.get("original_bug").is_some(),
            )
        })
    })
}

fn body_of(request: &Value) -> Vec<u8> {
    let text = match (request.get("json"), request.get("body")) {
        (Some(json), _) => json.to_string(),
        (_, Some(body)) => body.as_str().unwrap_or("null").to_owned(),
        _ => String::new(),
    };
    // The record shows the one byte that was not UTF-8 as its letter in Latin-1.
    let latin = text == "{\"username\":\"ÿ\"}";
    if latin { b"{\"username\":\"\xff\"}".to_vec() } else { filled(&text).into_bytes() }
}

#[test]
fn server_reads_recorded_requests_like_the_original() {
    let mut seen = 0;
    for (case, request, response, original_failed) in recorded() {
        let (method, path) = (request["method"].as_str().unwrap(), filled(request["path"].as_str().unwrap()));
        let status = response["status"].as_u64().unwrap_or_default();
        let body = body_of(&request);
        if !original_failed && status != 200 && status != 422 {
            continue;
        }
        let Some(read) = parse(method, &path, &body, &limits()) else {
            continue;
        };
        let what = format!("{case}: {method} {path} {}", String::from_utf8_lossy(&body));
        seen += 1;
        if original_failed {
            assert!(read.is_err(), "{what}");
        } else if status == 422 {
            let errors = without_lookups(&response["json"]);
            let ours = read.err().map_or_else(|| json!({}), |invalid| invalid.errors);
            assert_eq!(ours, errors, "{what}");
        } else {
            let answer = read.unwrap_or_else(|invalid| panic!("{what}\n{}", invalid.errors));
            let answer = answer.unwrap_or_else(|| response["json"].clone());
            assert!(is_equivalent(&response["json"], &answer), "{what}\n{answer}");
        }
    }
    assert!(seen > 250, "{seen}");
}

#[test]
fn server_refuses_malformed_bodies_with_line_and_column() {
    for (method, path) in &ENDPOINTS[..10] {
        for (body, expected) in [
            (&b"{oops"[..], "Invalid JSON: key must be a string at line 1 column 2."),
            (b"[1,\n", "Invalid JSON: EOF while parsing a value at line 2 column 0."),
            (b"{\"user\":NaN}", "Invalid JSON: expected value at line 1 column 9."),
            (b"[]\n\xff", "Invalid JSON: invalid UTF-8 at line 2 column 1."),
        ] {
            let refused = parse(method, path, body, &limits()).unwrap().unwrap_err();
            assert_eq!(refused.errors, json!({"_schema": [expected]}), "{method} {path}");
        }
        let deep = "[".repeat(100_000);
        let refused = parse(method, path, deep.as_bytes(), &limits()).unwrap().unwrap_err();
        let expected = "Invalid JSON: nested deeper than 64 levels at line 1 column 65.";
        assert_eq!(refused.errors, json!({"_schema": [expected]}), "{method} {path}");
    }
}

#[test]
fn server_refuses_wrong_types_and_empty_bodies() {
    for (method, path) in &ENDPOINTS[..10] {
        let list = *path == "/message";
        for body in ["null", "5", "\"text\"", if list { "{}" } else { "[]" }] {
            let refused = parse(method, path, body.as_bytes(), &limits()).unwrap().unwrap_err();
            let expected = if *path == "/info" { "Invalid type." } else { "Invalid input type." };
            assert_eq!(refused.errors, json!({"_schema": [expected]}), "{method} {path} {body}");
        }
        assert_eq!(parse(method, path, b"", &limits()).unwrap().is_ok(), *path == "/info");
    }
}

#[test]
fn errors_contain_the_names_for_the_handlers_lookups() {
    let id = "0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9";
    let body = format!(r#"{{"conn_id": "{id}", "channels": []}}"#);
    let mut refused = SubscribeRequest::parse(body.as_bytes(), None, &limits()).unwrap_err();
    assert_eq!(refused.conn_id.map(|id| id.to_string()).as_deref(), Some(id));
    refused.add("conn_id", "Unknown connection");
    assert_eq!(
        refused.errors,
        json!({"channels": ["Shorter than minimum length 1."], "conn_id": ["Unknown connection"]})
    );
    let refused = SubscribeRequest::parse(b"{}", Some(id), &limits()).unwrap_err();
    assert_eq!(refused.conn_id.map(|id| id.to_string()).as_deref(), Some(id));
    let mut refused = parse_user_state(br#"{"user": ""}"#, &limits()).unwrap_err();
    assert_eq!(refused.user.as_deref(), Some(""));
    refused.add("user", "Unknown user");
    assert_eq!(refused.errors, json!({"user": ["Length must be between 1 and 512.", "Unknown user"]}));
    assert_eq!(parse_user_state(br#"{"user": 5}"#, &limits()).unwrap_err().user, None);
}

#[test]
fn value_above_a_limit_is_an_error_of_its_field() {
    let limits = RequestLimits { max_list_items: 3, max_channels_per_request: 2, ..limits() };
    let errors =
        |method, path, body: &str| parse(method, path, body.as_bytes(), &limits).unwrap().unwrap_err().errors;
    let two = json!(["Longer than maximum length 2."]);
    let three = json!(["Longer than maximum length 3."]);
    let body =
        r#"{"username": "u", "channels": ["a", "b", "c"], "channel_configs": {"a": {}, "b": {}, "c": {}}}"#;
    assert_eq!(errors("POST", "/connect", body), json!({"channels": two, "channel_configs": two}));
    let body = r#"{"user": "u", "user_state": {"a": 1, "b": 2, "c": 3, "d": 4}, "state_public_keys": ["a", "b", "c", "d"]}"#;
    assert_eq!(errors("POST", "/user_state", body), json!({"user_state": three, "state_public_keys": three}));
    let body = r#"{"info": {"channels": ["a", "b", "c"], "exclude_channels": ["a", "b", "c"]}}"#;
    assert_eq!(errors("POST", "/info", body), json!({"info": {"channels": two, "exclude_channels": two}}));
    assert_eq!(errors("POST", "/channel_config", r#"{"a": {}, "b": {}, "c": {}}"#), json!({"_schema": two}));
    let edit = r#"[{"uuid":"0a1b2c3d4e5f60718293a4b5c6d7e8f9"}]"#;
    let long = format!("[{}]", [edit.trim_matches(['[', ']']); 4].join(","));
    for method in ["PATCH", "DELETE"] {
        assert!(parse(method, "/message", edit.as_bytes(), &limits).unwrap().is_ok());
        assert_eq!(errors(method, "/message", &long), json!({"_schema": three}));
    }
}

#[test]
fn unknown_fields_do_not_count_towards_limits() {
    let unknown: String = (0..20_000).map(|n| format!("\"x{n}\":[{n}],")).collect();
    let body = format!(r#"{{{unknown}"conn_id":"0a1b2c3d4e5f60718293a4b5c6d7e8f9"}}"#);
    assert!(DisconnectRequest::parse(body.as_bytes(), &limits()).is_ok());
}

/// JSON of any shape with the names of the endpoints' fields.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        Just(json!("0a1b2c3d4e5f60718293a4b5c6d7e8f9")),
        Just(json!("2020-02-22T10:11:12Z")),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "username",
            "user",
            "conn_id",
            "uuid",
            "channels",
            "channel",
            "user_state",
            "fresh_user_state",
            "message",
            "state_public_keys",
            "channel_configs",
            "info",
            "pm_users",
            "exclude_users",
            "timestamp",
            "edited",
            "no_history",
            "history_size",
            "notify_presence",
            "exclude_channels",
            "include_users",
        ])
        .prop_map(String::from),
        ".{0,3}",
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn assert_survives(body: &[u8]) {
    for limits in [
        limits(),
        RequestLimits {
            max_json_depth: 3,
            max_list_items: 2,
            max_channels_per_request: 1,
            max_frame_bytes: 9,
            max_channel_name: 4,
            max_user_name: 5,
            max_state_key: 6,
        },
    ] {
        for (method, path) in ENDPOINTS {
            let read = parse(method, path, body, &limits).unwrap();
            assert!(!matches!(read, Err(invalid) if invalid.errors == json!({})), "refused without a reason");
        }
    }
}

proptest! {
    #[test]
    fn parser_survives_any_bytes(body in any::<Vec<u8>>()) {
        assert_survives(&body);
    }

    #[test]
    fn parser_survives_any_json(body in any_json()) {
        assert_survives(body.to_string().as_bytes());
        assert_survives(json!([body]).to_string().as_bytes());
    }

    #[test]
    fn parser_survives_any_query(query in ".*") {
        let _ = DisconnectRequest::from_query(Some(&query));
        let _ = SubscribeRequest::parse(b"{}", Some(&query), &limits());
    }
}

#[test]
fn parser_survives_damaged_recorded_bodies() {
    let bodies: Vec<Vec<u8>> =
        recorded().map(|(_, request, ..)| body_of(&request)).filter(|body| body.len() > 1).collect();
    let damage = (0..bodies.len(), any::<prop::sample::Index>(), any::<u8>(), 0_u8..4);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(2_000));
    runner
        .run(&damage, |(which, place, byte, how)| {
            let mut body = bodies[which].clone();
            let place = place.index(body.len());
            match how {
                0 => body[place] = byte,
                1 => body.truncate(place),
                2 => body.insert(place, byte),
                _ => drop(body.remove(place)),
            }
            assert_survives(&body);
            Ok(())
        })
        .unwrap();
}

/// The results of marshmallow 2.18 with dateutil for times, in each field with a time.
#[test]
fn server_reads_times_like_the_original() {
    let limits = RequestLimits::from(&Settings::default());
    for (given, answered) in [
        (json!("2024-05-01 10:00:00+00"), Some("2024-05-01T10:00:00+00:00")),
        (json!("2024-05-01 10:00:00.123+02"), Some("2024-05-01T10:00:00.123000+02:00")),
        (json!("2024-05-01T10:00-03"), Some("2024-05-01T10:00:00-03:00")),
        (json!("2010-1-2 3:4-05"), Some("2010-01-02T03:04:00-05:00")),
        (json!("2010-01-01T01:01:01-0000"), Some("2010-01-01T01:01:01+00:00")),
        (json!("2010-01-01T01:01Z\n"), Some("2010-01-01T01:01:00+00:00")),
        (json!("2024-05-01T10:00:00.123456789012"), Some("2024-05-01T10:00:00.123456")),
        (json!("2024-05-01T10:00:00+2"), None),
        (json!("2024-05-01T10:00:00+99"), None),
        (json!("2024-05-01"), None),
        (json!(""), None),
        (json!(0), None),
    ] {
        let item = json!({"uuid": "0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9", "user": "p", "channel": "c", "message": {}});
        for (method, field) in [("POST", "timestamp"), ("PATCH", "timestamp"), ("PATCH", "edited")] {
            let mut item = item.clone();
            item[field] = given.clone();
            // The fast parser reads one item; with an unknown field the full parser reads it.
            for unknown in [false, true] {
                if unknown {
                    item["unknown"] = json!({});
                }
                let read = parse(method, "/message", json!([item]).to_string().as_bytes(), &limits).unwrap();
                let written = read.ok().map(|answer| answer.unwrap()[0][field].as_str().unwrap().to_owned());
                assert_eq!(written.as_deref(), answered, "{method} {field} {given}");
            }
        }
    }
}
