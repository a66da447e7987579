//! The API description and the server agree about request bodies, answers and paths.

mod answers;
mod bodies;
mod paths;
mod refusals;

use channelstream::config::Settings;
use channelstream::http::openapi::description;
use channelstream::http_error::Refusal;
use channelstream::protocol::websocket::close::REASONS;
use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// The API description for the default settings.
fn document() -> Value {
    document_for(&Settings::default())
}

fn document_for(settings: &Settings) -> Value {
    description(settings, "").unwrap()
}

/// A validator for a part of the document.
fn validator(document: &Value, schema: &Value) -> Validator {
    let root = json!({"allOf": [schema], "components": document["components"]});
    let read_id = |text: &str| channelstream::api::parse_conn_id(text).is_some();
    let read_time = |text: &str| channelstream::protocol::time::Timestamp::parse(text).is_some();
    let options = jsonschema::options().should_validate_formats(true).should_ignore_unknown_formats(false);
    // The description documents the accepted spellings of these formats in its text.
    let options = options.with_format("uuid", read_id).with_format("date-time", read_time);
    options.with_format("date-time-local", read_time).build(&root).unwrap()
}

/// Every endpoint: its method in upper case, its path and its description, in an order in which a test may call them
/// one after the other.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let known = ["post", "patch", "delete", "get"];
        for method in known.into_iter().filter(|method| item.get(method).is_some()) {
            found.push((method.to_uppercase(), path.clone(), item[method].clone()));
        }
        assert!(keys(item).iter().all(|method| known.contains(method)), "{path}");
    }
    found
}

/// The value that a reference points to, or the value itself.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            document.pointer(reference.trim_start_matches('#')).expect("the reference points to a value")
        }
        None => value,
    }
}

/// The document in which objects have only the documented keys. The real description lets clients expect more keys in
/// the future; here every key must be documented.
fn closed(mut document: Value) -> Value {
    fn close(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(close),
            Value::Object(object) => {
                object.values_mut().for_each(close);
                let has_keys = object
                    .get("properties")
                    .is_some_and(|keys| keys.get("type").is_none_or(Value::is_object));
                if has_keys && object.get("type") == Some(&json!("object")) {
                    object.entry("additionalProperties").or_insert(json!(false));
                }
            }
            _ => {}
        }
    }
    close(&mut document);
    document
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().map(Map::keys).into_iter().flatten().map(String::as_str).collect()
}

#[test]
fn every_reference_points_to_a_value() {
    fn follow(value: &Value, document: &Value) {
        resolved(document, value);
        match value {
            Value::Object(map) => map.values().for_each(|inner| follow(inner, document)),
            Value::Array(list) => list.iter().for_each(|inner| follow(inner, document)),
            _ => {}
        }
    }
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    follow(&document, &document);
}

#[test]
fn every_item_has_a_description() {
    let document = document();
    let mut ids = Vec::new();
    for (method, path, operation) in operations(&document) {
        for key in ["summary", "description", "operationId"] {
            assert!(operation[key].as_str().is_some_and(|text| !text.is_empty()), "{method} {path} {key}");
        }
        ids.push(operation["operationId"].clone());
        for (status, response) in operation["responses"].as_object().unwrap() {
            let text = resolved(&document, response)["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{method} {path} {status}");
        }
    }
    ids.sort_by_key(Value::to_string);
    ids.dedup();
    assert_eq!(ids.len(), operations(&document).len());
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 3), "{name} {key}");
        }
    }
}

/// The documentation of the API.
const PAGE: &str = include_str!("../../../docs/api.md");
/// The documentation of the console.
const CONSOLE: &str = include_str!("../../../docs/console.md");

#[test]
fn documentation_has_all_fields_and_codes() {
    for refusal in Refusal::one_of_each() {
        let row = format!("| {} | `{}` |", refusal.status().as_u16(), refusal.code());
        assert!(PAGE.contains(&row), "{row}");
    }
    for (reason, why, advice) in REASONS {
        let row = format!("| {} | {} | {why} | {advice} |", reason.code().unwrap(), reason.text());
        assert!(PAGE.contains(&row.replace("  ", " ")), "{row}");
    }
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for field in keys(&schema["properties"]).into_iter().filter(|_| name.ends_with("Body")) {
            let is_documented =
                PAGE.contains(&format!("`{field}`")) || CONSOLE.contains(&format!("\"{field}\""));
            assert!(is_documented, "{name} {field}");
        }
    }
}

#[test]
fn description_contains_the_configured_limits() {
    let settings = Settings { max_list_items: 7, max_channels_per_request: 3, ..Settings::default() };
    let document = document_for(&settings);
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["ConnectBody"]["properties"]["channels"]["maxItems"], 3);
    assert_eq!(schemas["ConnectBody"]["properties"]["user_state"]["maxProperties"], 7);
    let body = &document["paths"]["/message"]["post"]["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["maxItems"], 7);
}
