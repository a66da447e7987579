//! The outline of an API description: its paths with their methods, its definitions with their properties.

use serde_json::{Map, Value, json};

use crate::report::{Mismatch, compact};

/// The document must describe everything that was recorded. It may describe more.
pub(crate) fn compare(expected: &Value, document: &Value) -> Vec<Mismatch> {
    let mut found = Vec::new();
    covers("", expected, &outline(document), &mut found);
    found
}

fn covers(path: &str, expected: &Value, got: &Value, found: &mut Vec<Mismatch>) {
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            for (key, value) in expected {
                covers(&format!("{path}/{key}"), value, got.get(key).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(expected), Value::Array(got)) if expected.iter().all(|item| got.contains(item)) => {}
        _ if expected == got => {}
        _ => found.push(Mismatch::new(format!("outline {path}"), compact(expected), compact(got))),
    }
}

fn outline(document: &Value) -> Value {
    let info = &document["info"];
    json!({
        "swagger": document["swagger"],
        "info": { "title": info["title"], "version": info["version"] },
        "paths": map_members(&document["paths"], sorted_keys),
        "definitions": map_members(&document["definitions"], |definition| json!({
            "type": definition["type"],
            "required": sorted(&definition["required"]),
            "properties": sorted_keys(&definition["properties"]),
        })),
        "securityDefinitions": document["securityDefinitions"],
    })
}

fn map_members(value: &Value, outline: impl Fn(&Value) -> Value) -> Value {
    let members = value.as_object().into_iter().flatten();
    Value::Object(members.map(|(key, value)| (key.clone(), outline(value))).collect::<Map<_, _>>())
}

fn sorted_keys(value: &Value) -> Value {
    let mut keys: Vec<&String> = value.as_object().into_iter().flat_map(Map::keys).collect();
    keys.sort();
    json!(keys)
}

fn sorted(value: &Value) -> Value {
    let Some(items) = value.as_array() else {
        return value.clone();
    };
    let mut texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
    texts.sort_unstable();
    json!(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_may_describe_more_than_was_recorded_but_not_less() {
        let document = json!({
            "swagger": "2.0.0",
            "paths": {"/a": {"post": {}, "get": {}}, "/b": {"get": {}}},
            "definitions": {"A": {"type": "object", "required": ["y", "x"], "properties": {"y": {}, "x": {}}}},
        });
        let expected = json!({
            "swagger": "2.0.0",
            "paths": {"/a": ["get", "post"]},
            "definitions": {"A": {"type": "object", "required": ["x", "y"], "properties": ["x"]}},
        });
        assert!(compare(&expected, &document).is_empty());
        let more = json!({"paths": {"/c": ["get"]}, "swagger": "3"});
        let paths: Vec<String> = compare(&more, &document).into_iter().map(|found| found.path).collect();
        assert_eq!(paths, ["outline /paths//c", "outline /swagger"]);
    }
}
