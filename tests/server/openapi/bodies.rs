//! The readers of request bodies accept exactly what the description documents.

use super::{document, keys, resolved, validator};
use channelstream::api::block::{parse_block, parse_unblock};
use channelstream::api::body::RequestLimits;
use channelstream::api::channel_config::ChannelConfigRequest;
use channelstream::api::connect::ConnectRequest;
use channelstream::api::disconnect::DisconnectRequest;
use channelstream::api::end::EndRequest;
use channelstream::api::info::InfoRequest;
use channelstream::api::message_delete::parse_deletes;
use channelstream::api::message_patch::parse_edits;
use channelstream::api::message_post::parse_messages;
use channelstream::api::subscribe::SubscribeRequest;
use channelstream::api::token::parse_refresh;
use channelstream::api::user_state::parse_user_state;
use channelstream::config::Settings;
use channelstream::console::endpoints::commands::DisconnectUserRequest;
use channelstream::console::endpoints::record::RecordRequest;
use channelstream::protocol::time::Timestamp;
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::fmt::Debug;

/// A connection that the query names, so that a body does not need to name one.
const CONN_ID: &str = "0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9";

/// Reads a body as an endpoint does, and returns what it read as text.
type Reader = fn(&[u8], &RequestLimits) -> Result<String, String>;

const BODIES: [(&str, &str, Reader); 19] = [
    ("post", "/connect", |body, limits| debug_text(ConnectRequest::parse(body, limits))),
    ("post", "/subscribe", |body, limits| debug_text(SubscribeRequest::parse(body, Some(CONN_ID), limits))),
    ("post", "/unsubscribe", |body, limits| debug_text(SubscribeRequest::parse(body, Some(CONN_ID), limits))),
    ("post", "/user_state", |body, limits| debug_text(parse_user_state(body, limits))),
    ("post", "/message", |body, limits| debug_text(parse_messages(body, limits, now()))),
    ("patch", "/message", |body, limits| debug_text(parse_edits(body, limits, now()))),
    ("delete", "/message", |body, limits| debug_text(parse_deletes(body, limits))),
    ("post", "/channel_config", |body, limits| debug_text(ChannelConfigRequest::parse(body, limits))),
    ("post", "/info", |body, limits| debug_text(InfoRequest::parse(body, limits))),
    ("post", "/end", |body, limits| debug_text(EndRequest::parse(body, limits))),
    ("post", "/block", |body, limits| debug_text(parse_block(body, limits))),
    ("delete", "/block", |body, limits| debug_text(parse_unblock(body, limits))),
    ("post", "/disconnect", |body, limits| debug_text(DisconnectRequest::parse(body, limits))),
    ("post", "/token", |body, limits| debug_text(parse_refresh(body, limits))),
    ("post", "/admin/message", |body, limits| debug_text(parse_messages(body, limits, now()))),
    ("post", "/admin/channel_config", |body, limits| debug_text(ChannelConfigRequest::parse(body, limits))),
    ("post", "/admin/disconnect", |body, limits| debug_text(DisconnectRequest::parse(body, limits))),
    ("post", "/admin/disconnect_user", |body, limits| debug_text(DisconnectUserRequest::parse(body, limits))),
    ("post", "/admin/record", |body, limits| debug_text(RecordRequest::parse(body, limits))),
];

fn now() -> Timestamp {
    Timestamp::from_unix_micros(1_582_366_272_123_456)
}

fn debug_text<T: Debug, E: Debug>(read: Result<T, E>) -> Result<String, String> {
    read.map(|value| format!("{value:?}")).map_err(|error| format!("{error:?}"))
}

/// Reads a body as this endpoint does.
fn read(method: &str, path: &str, body: &Value) -> Result<String, String> {
    let reader = BODIES.iter().find(|(of, at, _)| (*of, *at) == (method, path));
    let (_, _, reader) = reader.unwrap_or_else(|| panic!("no reader of {method} {path}"));
    reader(body.to_string().as_bytes(), &RequestLimits::from(&Settings::default()))
}

fn content<'a>(document: &'a Value, method: &str, path: &str) -> &'a Value {
    &document["paths"][path][method]["requestBody"]["content"]["application/json"]
}

struct Endpoint {
    method: &'static str,
    path: &'static str,
    fits: Validator,
}

fn endpoints() -> Vec<Endpoint> {
    let document = document();
    let schema = |method, path| &content(&document, method, path)["schema"];
    let endpoint =
        |(method, path, _)| Endpoint { method, path, fits: validator(&document, schema(method, path)) };
    BODIES.into_iter().map(endpoint).collect()
}

#[test]
fn tests_cover_every_endpoint_with_a_body() {
    let document = document();
    let with_json: Vec<_> = super::operations(&document)
        .into_iter()
        // Demo mode uses the same readers and then applies rules of its own.
        .filter(|(_, path, _)| !path.starts_with("/demo"))
        .filter(|(method, path, _)| !content(&document, &method.to_lowercase(), path).is_null())
        .map(|(method, path, _)| (method.to_lowercase(), path))
        .collect();
    assert_eq!(with_json, BODIES.map(|(method, path, _)| (method.to_owned(), path.to_owned())));
}

/// RFC 3339 has no offsets in whole hours, so the description documents them with a pattern.
#[test]
fn description_documents_offsets_in_whole_hours() {
    let document = document();
    let options =
        jsonschema::options().should_validate_formats(true).with_format("date-time-local", |_| false);
    let fits = options.build(&document["components"]["schemas"]["Time"]).unwrap();
    for (text, known) in [
        ("2024-05-01 10:00:00+00", true),
        ("2024-12-31T23:59:59.123-03", true),
        ("2024-05-01T10:00+23", true),
        ("2024-05-01T10:00+24", false),
        ("2024-04-31T10:00+02", false),
        ("0000-05-01T10:00+02", false),
        ("2024-05-01T10:00:00+2", false),
    ] {
        assert_eq!(fits.is_valid(&json!(text)), known, "{text}");
        assert_eq!(Timestamp::parse(text).is_some(), known, "{text}");
    }
}

#[test]
fn readers_accept_the_examples() {
    let document = document();
    for endpoint in endpoints() {
        let example = &content(&document, endpoint.method, endpoint.path)["example"];
        assert!(endpoint.fits.is_valid(example), "{} {}", endpoint.method, endpoint.path);
        read(endpoint.method, endpoint.path, example).unwrap();
    }
}

/// Single values, each valid in some places and invalid in others.
fn leaf() -> impl Strategy<Value = Value> {
    let chosen = prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(2.5),
        json!(-0.5),
        json!(1e300),
        json!("1"),
        json!("t"),
        json!("yes"),
        json!(" 7 "),
        json!("-0"),
        json!("007"),
        json!("1__0"),
        json!(""),
        json!("a"),
        json!("x".repeat(256)),
        json!("é".repeat(257)),
        json!("x".repeat(513)),
        json!(CONN_ID),
        json!("0A1B2C3D4E5F40718293A4B5C6D7E8F9"),
        json!("2020-02-22T10:11:12.123456"),
        json!("2020-02-22T10:11:12Z"),
        json!("2020-02-30T10:11"),
        json!("2020-02-22"),
        json!([]),
        json!({}),
    ]);
    prop_oneof![3 => chosen, 1 => ".{0,4}".prop_map(Value::from), 1 => any::<i64>().prop_map(Value::from)]
}

fn tree() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-c]{0,2}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A value that may fit a schema: the schema's own properties, with values that mostly fit.
fn near(document: &Value, schema: &Value, depth: usize) -> BoxedStrategy<Value> {
    let schema = resolved(document, schema);
    if depth == 0 {
        return tree().boxed();
    }
    if let Some(shapes) = schema["anyOf"].as_array() {
        let first = near(document, &shapes[0], depth);
        return prop_oneof![4 => first, 1 => tree()].boxed();
    }
    if let Some(parts) = schema["allOf"].as_array() {
        // The first part has the properties, the others only restrict them.
        return near(document, &parts[0], depth);
    }
    let guess = match schema["type"].as_str() {
        Some("object") => object(document, schema, depth),
        Some("array") => prop::collection::vec(near(document, &schema["items"], depth - 1), 0..3)
            .prop_map(Value::from)
            .boxed(),
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("integer") => (0_u64..20).prop_map(Value::from).boxed(),
        Some("string") if schema["format"] == "uuid" => Just(json!(CONN_ID)).boxed(),
        Some("string") if schema["format"].is_string() => Just(json!("2020-02-22T10:11:12Z")).boxed(),
        Some("string") => "[a-c]{1,3}".prop_map(Value::from).boxed(),
        _ => leaf().boxed(),
    };
    prop_oneof![12 => guess, 1 => tree()].boxed()
}

fn object(document: &Value, schema: &Value, depth: usize) -> BoxedStrategy<Value> {
    let mut members = prop::collection::vec(("[a-c]{1,2}", Just(Value::Null).boxed()), 0..1).boxed();
    if let Some(values) = schema.get("additionalProperties") {
        let values = near(document, values, depth - 1);
        members = prop::collection::vec(("[a-c]{0,2}", values.boxed()), 0..3).boxed();
    }
    let mut all = members.prop_map(|members| members.into_iter().collect::<Map<_, _>>()).boxed();
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let value = near(document, property, depth - 1);
        let likely = if required.contains(&json!(name)) { 0.95 } else { 0.3 };
        let name = name.clone();
        all = (all, prop::option::weighted(likely, value))
            .prop_map(move |(mut all, value)| {
                value.map(|value| all.insert(name.clone(), value));
                all
            })
            .boxed();
    }
    all.prop_map(Value::Object).boxed()
}

#[test]
fn readers_accept_exactly_the_bodies_that_fit_the_schema() {
    let document = document();
    for endpoint in endpoints() {
        let Endpoint { method, path, fits } = endpoint;
        let schema = &content(&document, method, path)["schema"];
        let bodies = prop_oneof![9 => near(&document, schema, 5), 1 => tree()];
        let (taken, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(1_500));
        let ran = runner.run(&bodies, |body| {
            let read = read(method, path, &body);
            let counter = if read.is_ok() { &taken } else { &refused };
            counter.set(counter.get() + 1);
            prop_assert_eq!(read.is_ok(), fits.is_valid(&body), "{} is read as {:?}", body, read);
            Ok(())
        });
        ran.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert!(
            taken.get() > 150 && refused.get() > 150,
            "{method} {path}: {taken:?} taken, {refused:?} refused"
        );
    }
}

/// A named schema, a body that contains it, and a value of the schema without any of the fields in question.
type Holder = (&'static str, (&'static str, &'static str), fn(Value) -> Value, fn() -> Value);

const HOLDERS: [Holder; 9] = [
    ("ConnectBody", ("post", "/connect"), |it| it, || json!({"username": "u"})),
    ("SubscribeBody", ("post", "/subscribe"), |it| it, || json!({"channels": ["c"]})),
    ("UnsubscribeBody", ("post", "/unsubscribe"), |it| it, || json!({"channels": ["c"]})),
    ("UserStateBody", ("post", "/user_state"), |it| it, || json!({"user": "u"})),
    (
        "MessageBody",
        ("post", "/message"),
        |it| json!([it]),
        || json!({"user": "u", "uuid": CONN_ID, "pm_users": ["u"]}),
    ),
    ("MessageEditBody", ("patch", "/message"), |it| json!([it]), || json!({"uuid": CONN_ID})),
    ("MessagesDeleteBody", ("delete", "/message"), |it| json!([it]), || json!({"uuid": CONN_ID})),
    ("EndBody", ("post", "/end"), |it| it, || json!({"user": "u"})),
    ("InfoResolution", ("post", "/info"), |it| json!({"info": it}), || json!({})),
];

#[test]
fn missing_field_has_its_default() {
    let document = document();
    let mut with_defaults = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for key in keys(&schema["properties"]) {
            let Some(default) = schema["properties"][key].get("default") else { continue };
            with_defaults.push(name.as_str());
            let holder = HOLDERS.iter().find(|(held, ..)| held == name);
            let (_, (method, path), hold, bare) = holder.unwrap_or_else(|| panic!("no body contains {name}"));
            let mut given = bare();
            // The recipients of a private message must always be named.
            given.as_object_mut().unwrap().entry(key).or_insert(default.clone());
            assert_eq!(read(method, path, &hold(given)), read(method, path, &hold(bare())), "{name} {key}");
        }
    }
    with_defaults.dedup();
    assert_eq!(with_defaults.len(), HOLDERS.len());
}
