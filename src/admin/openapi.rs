//! GET /openapi.json: the API's description, in the outline of the original's.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value};

use super::session::AdminOrRefused;
use crate::gate::Gate;

const DESCRIPTION: &str = include_str!("openapi.json");

/// Serves the description; behind a proxy's prefix it says so, or tools would call the wrong paths.
pub async fn openapi(_: AdminOrRefused, gate: web::Data<Gate>, req: HttpRequest) -> HttpResponse {
    let base = gate.base_url(req.headers());
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(under(base.prefix()).unwrap_or_else(|| DESCRIPTION.to_owned()))
}

/// The description with a `basePath`; none where there is no prefix.
fn under(prefix: &str) -> Option<String> {
    if prefix.is_empty() {
        return None;
    }
    let mut description: Map<String, Value> = serde_json::from_str(DESCRIPTION).ok()?;
    description.insert("basePath".into(), prefix.into());
    Some(Value::Object(description).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn description() -> Value {
        serde_json::from_str(DESCRIPTION).unwrap()
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
        let wanted = [
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
        assert_eq!(keys(definitions), wanted.iter().map(|(name, ..)| *name).collect());
        for (name, required, properties) in wanted {
            let definition = &definitions[name];
            assert_eq!(definition["type"], "object", "{name}");
            assert_eq!(keys(&definition["properties"]), properties.split_whitespace().collect(), "{name}");
            let listed = definition["required"].as_array().map(|names| names.as_slice()).unwrap_or_default();
            let listed: Vec<&str> = listed.iter().filter_map(Value::as_str).collect();
            assert_eq!(listed, required.split_whitespace().collect::<Vec<_>>(), "{name}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
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
        let description: Value = serde_json::from_str(&under("/p").unwrap()).unwrap();
        assert_eq!(description["basePath"], "/p");
        assert_eq!(description["swagger"], "2.0.0");
        assert_eq!(under(""), None);
    }
}
