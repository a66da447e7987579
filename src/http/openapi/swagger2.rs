//! Converts the description to that of the original, which was Swagger 2.0: the same paths and definitions, within the
//! features of that version.

use serde_json::{Map, Value, json};

/// Paths and methods that the original described.
const PATHS: [(&str, &[&str]); 10] = [
    ("/connect", &["post"]),
    ("/subscribe", &["post"]),
    ("/unsubscribe", &["post"]),
    ("/user_state", &["post"]),
    ("/message", &["post", "patch", "delete"]),
    ("/channel_config", &["post"]),
    ("/info", &["post"]),
    ("/listen", &["get"]),
    ("/disconnect", &["get", "post"]),
    ("/admin/admin.json", &["get", "post"]),
];

/// Bodies that the original named, with the name of each in OpenAPI 3.1.
const DEFINITIONS: [(&str, &str); 12] = [
    ("ConnectBody", "ConnectBody"),
    ("SubscribeBody", "SubscribeBody"),
    ("UnsubscribeBody", "UnsubscribeBody"),
    ("UserStateBody", "UserStateBody"),
    ("MessagesBody", "MessageBody"),
    ("MessageBody", "MessageBody"),
    ("MessageEditBody", "MessageEditBody"),
    ("MessagesDeleteBody", "MessagesDeleteBody"),
    ("DisconnectBody", "DisconnectBody"),
    ("ChannelConfigBody", "ChannelConfigBody"),
    ("ChannelInfoBody", "ChannelInfoBody"),
    ("InfoResolution", "InfoResolution"),
];

/// Bodies whose `conn_id` may be in the query instead. Swagger cannot express that.
const NEED_CONN_ID: [&str; 2] = ["SubscribeBody", "UnsubscribeBody"];

/// Converts a description of OpenAPI 3.1.
pub fn convert(description: &Value, prefix: &str) -> Value {
    let paths: Map<_, _> = PATHS
        .into_iter()
        .map(|(path, methods)| {
            let item = &description["paths"][path];
            let methods =
                methods.iter().map(|method| ((*method).into(), operation(&item[method], description)));
            (path.to_owned(), Value::Object(methods.collect()))
        })
        .collect();
    let definitions: Map<_, _> = DEFINITIONS
        .into_iter()
        .map(|(name, openapi_name)| (name.to_owned(), definition(name, openapi_name, description)))
        .collect();
    let mut swagger = json!({
        "swagger": "2.0.0",
        "info": {
            "title": description["info"]["title"],
            "version": "0.7.0",
            "description": description["info"]["description"],
        },
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": {
            "APIKeyHeader": {"type": "apiKey", "name": "X-Channelstream-Secret", "in": "header"},
        },
    });
    if !prefix.is_empty() {
        swagger["basePath"] = prefix.into();
    }
    swagger
}

fn operation(source: &Value, description: &Value) -> Value {
    let mut parameters: Vec<Value> =
        array(&source["parameters"]).iter().map(|parameter| parameter_of(parameter, description)).collect();
    if let Some(body) = source.get("requestBody") {
        parameters.push(json!({
            "in": "body",
            "name": "body",
            "required": body["required"],
            "description": body["description"],
            "schema": schema(&body["content"]["application/json"]["schema"], description),
        }));
    }
    let responses = source["responses"].as_object().into_iter().flatten().map(|(status, response)| {
        (status.clone(), json!({"description": resolved(response, description)["description"]}))
    });
    let mut operation = json!({
        "summary": source["summary"],
        "description": source["description"],
        "tags": source["tags"],
        "produces": ["application/json"],
        "consumes": ["application/json"],
        "parameters": parameters,
        "responses": responses.collect::<Map<_, _>>(),
    });
    if !array(&source["security"]).is_empty() {
        operation["security"] = json!([{"APIKeyHeader": []}]);
    }
    operation
}

/// A query parameter. Swagger puts the keys of its schema beside its own.
fn parameter_of(source: &Value, description: &Value) -> Value {
    let mut parameter = schema(&source["schema"], description);
    for key in ["name", "in", "required", "description"] {
        parameter[key] = source[key].clone();
    }
    parameter
}

fn definition(name: &str, openapi_name: &str, description: &Value) -> Value {
    let mut definition = schema(&description["components"]["schemas"][openapi_name], description);
    if NEED_CONN_ID.contains(&name) {
        definition["required"] = json!(["channels", "conn_id"]);
    }
    definition
}

/// A schema in Swagger. Of several alternatives it contains the first, which is the usual one.
fn schema(source: &Value, description: &Value) -> Value {
    if let Some(name) = source["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        if DEFINITIONS.iter().any(|(defined, _)| *defined == name) {
            return json!({ "$ref": format!("#/definitions/{name}") });
        }
        return with_local_keys(source, schema(resolved(source, description), description));
    }
    if let Some(first) = source["anyOf"].as_array().and_then(|shapes| shapes.first()) {
        let mut usual = schema(first, description);
        if array(&source["anyOf"]).contains(&json!({"type": "null"})) {
            usual["x-nullable"] = true.into();
        }
        return with_local_keys(source, usual);
    }
    let mut plain = Map::new();
    for (key, value) in source.as_object().into_iter().flatten() {
        match key.as_str() {
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                let properties = properties.map(|(name, source)| (name.clone(), schema(source, description)));
                plain.insert(key.clone(), Value::Object(properties.collect()));
            }
            "items" | "additionalProperties" => {
                plain.insert(key.clone(), schema(value, description));
            }
            // Swagger allows neither several types nor several examples.
            "type" if value.is_array() => {}
            "examples" => {
                plain.insert("example".into(), value[0].clone());
            }
            _ => {
                plain.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(plain)
}

/// Adds the description and the default from the place of use.
fn with_local_keys(source: &Value, mut schema: Value) -> Value {
    for key in ["description", "default"] {
        if let Some(value) = source.get(key).filter(|_| schema.get("$ref").is_none()) {
            schema[key] = value.clone();
        }
    }
    schema
}

fn resolved<'a>(source: &'a Value, description: &'a Value) -> &'a Value {
    let pointer = source["$ref"].as_str().map(|reference| reference.trim_start_matches('#'));
    pointer.and_then(|pointer| description.pointer(pointer)).unwrap_or(source)
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::http::openapi;
    use std::collections::BTreeSet;

    fn under(prefix: &str) -> Value {
        convert(&openapi::description(&Settings::default(), "").unwrap(), prefix)
    }

    fn description() -> Value {
        under("")
    }

    fn keys(value: &Value) -> BTreeSet<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn case_openapi() {
        let description = description();
        assert_eq!(description["swagger"], "2.0.0");
        assert_eq!(description["info"]["title"], "Channelstream API");
        assert_eq!(description["info"]["version"], "0.7.0");
        let paths = [
            ("/connect", "post"),
            ("/subscribe", "post"),
            ("/unsubscribe", "post"),
            ("/user_state", "post"),
            ("/message", "delete patch post"),
            ("/channel_config", "post"),
            ("/info", "post"),
            ("/listen", "get"),
            ("/disconnect", "get post"),
            ("/admin/admin.json", "get post"),
        ];
        assert_eq!(keys(&description["paths"]), paths.iter().map(|(path, _)| *path).collect());
        for (path, methods) in paths {
            assert_eq!(keys(&description["paths"][path]), methods.split(' ').collect(), "{path}");
        }
        let scheme = &description["securityDefinitions"]["APIKeyHeader"];
        assert_eq!((&scheme["type"], &scheme["in"]), (&"apiKey".into(), &"header".into()));
        assert_eq!(scheme["name"], "X-Channelstream-Secret");
    }

    #[test]
    fn case_openapi_definitions() {
        let message = "channel exclude_users message no_history pm_users timestamp user uuid";
        let subscribe = "channel_configs channels conn_id info";
        let connect =
            "channel_configs channels conn_id fresh_user_state info state_public_keys user_state username";
        let config = "broadcast_presence_with_user_lists history_size notify_presence notify_state store_frames \
            store_history";
        let options = "channels exclude_channels include_connections include_history include_users \
            return_public_state";
        let expected = [
            ("InfoResolution", "", options),
            ("ConnectBody", "username", connect),
            ("SubscribeBody", "channels conn_id", subscribe),
            ("UnsubscribeBody", "channels conn_id", subscribe),
            ("UserStateBody", "user", "state_public_keys user user_state"),
            ("MessagesBody", "user", message),
            ("MessageBody", "user", message),
            ("MessageEditBody", "uuid", &format!("{message} edited")),
            ("MessagesDeleteBody", "uuid", "channel exclude_users no_history pm_users uuid"),
            ("DisconnectBody", "conn_id", "conn_id"),
            ("ChannelConfigBody", "", config),
            ("ChannelInfoBody", "info", "info"),
        ];
        let description = description();
        let definitions = &description["definitions"];
        assert_eq!(keys(definitions), expected.iter().map(|(name, ..)| *name).collect());
        for (name, required, properties) in expected {
            let definition = &definitions[name];
            assert_eq!(definition["type"], "object", "{name}");
            assert_eq!(keys(&definition["properties"]), properties.split_whitespace().collect(), "{name}");
            let listed = definition["required"].as_array().map(|names| names.as_slice()).unwrap_or_default();
            let listed: Vec<&str> = listed.iter().filter_map(Value::as_str).collect();
            assert_eq!(listed, required.split_whitespace().collect::<Vec<_>>(), "{name}");
        }
    }

    #[test]
    fn every_reference_has_a_target() {
        fn follow(value: &Value, root: &Value) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(reference)) = map.get("$ref") {
                        assert!(root.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
                    }
                    map.values().for_each(|inner| follow(inner, root));
                }
                Value::Array(list) => list.iter().for_each(|inner| follow(inner, root)),
                _ => {}
            }
        }
        follow(&description(), &description());
    }

    #[test]
    fn a_prefix_becomes_the_base_path() {
        assert_eq!(under("/p")["basePath"], "/p");
        assert_eq!(under("").get("basePath"), None);
    }

    #[test]
    fn schemas_use_only_keywords_of_swagger() {
        let description = description();
        let message = &description["definitions"]["MessageBody"]["properties"];
        let flag = json!({"type": "boolean", "description": "Do not store it in the channel's history.", "default": false});
        assert_eq!(message["no_history"], flag);
        assert_eq!(message["channel"]["x-nullable"], true);
        assert_eq!(
            (&message["timestamp"]["type"], &message["timestamp"]["format"]),
            (&json!("string"), &json!("date-time"))
        );
        let connect = &description["definitions"]["ConnectBody"]["properties"];
        assert_eq!(connect["info"], json!({"$ref": "#/definitions/InfoResolution"}));
        assert_eq!(connect["user_state"]["additionalProperties"].get("type"), None);
        let text = description.to_string();
        for word in ["anyOf", "oneOf", "\"null\"", "examples", "components"] {
            assert!(!text.contains(word), "{word}");
        }
        let listen = &description["paths"]["/listen"]["get"]["parameters"][0];
        assert_eq!(
            (&listen["name"], &listen["type"], &listen["required"]),
            (&json!("conn_id"), &json!("string"), &json!(true))
        );
    }
}
