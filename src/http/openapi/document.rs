//! Builds the API description from the files `*.yaml` of this folder, which `build.rs` converts to JSON.
//!
//! The files are OpenAPI 3.1 with a few abbreviations, which this module expands:
//!
//! * `{{name}}` is a value of the settings or of the code: see [`variable`].
//! * `$ref: Name` refers to the schema `Name`.
//! * A schema with `properties` and without `type` is an object with all of them, except for those in `x-optional`.
//! * Keys of an operation that begin with `x-`: see [`super::operation`] and [`super::draft`].

use super::bodies;
use super::operation::Operations;
use crate::api::body::RequestLimits;
use crate::api::fields::flag_words;
use crate::api::token::TOKEN_BODY_BYTES;
use crate::auth::body::{CONN_ID_BYTES, FORM_BYTES};
use crate::auth::signing::MAX_AGE_S;
use crate::config::{self, Settings, ShownSetting};
use crate::console::endpoints::recording::MAX_WAIT_S;
use crate::console::query::MAX_PER_PAGE;
use crate::demo;
use crate::protocol::websocket::close::REASONS;
use crate::telemetry::series::{FIGURES, SPANS};
use crate::transports::long_poll::jsonp;
use serde_json::{Map, Value, json};

const FILES: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// The files with endpoints, in the order of the document.
const GROUPS: [&str; 5] = ["backends", "browsers", "operators", "console", "demo"];

/// The whole description, with the limits of the settings and with paths below `prefix`.
///
/// # Errors
/// The files contain an unknown name. A test prevents that.
pub fn document(settings: &Settings, prefix: &str) -> Result<Value, String> {
    let mut files: Value = serde_json::from_str(FILES).map_err(|error| error.to_string())?;
    let shown = config::shown(settings);
    expand(&mut files, &|name| variable(name, &shown, prefix))?;
    let mut document = files["api"].take();
    let mut schemas = object(files["schemas"].take());
    schemas.extend(bodies::schemas(&RequestLimits::from(settings)));
    let (mut tags, mut paths, mut operations) = (Vec::new(), Map::new(), Operations::new(settings));
    for name in GROUPS.iter().filter(|name| **name != "demo" || settings.demo_enabled()) {
        let mut group = files[*name].take();
        for (path, item) in object(group["paths"].take()) {
            let describe = |(method, operation)| Ok((method, operations.describe(name, object(operation))?));
            let item = object(item).into_iter().map(describe).collect::<Result<Map<_, _>, String>>()?;
            paths.insert(path, Value::Object(item));
        }
        schemas.extend(object(group["schemas"].take()));
        tags.push(group["tag"].take());
    }
    document["paths"] = Value::Object(paths);
    document["components"]["schemas"] =
        schemas.into_iter().filter(|(name, _)| !name.starts_with("x-")).collect();
    document["components"]["responses"] = Value::Object(operations.into_responses());
    document["tags"] = Value::Array(tags);
    Ok(document)
}

/// The members of an object; none of any other value.
pub(super) fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(members) = value { members } else { Map::new() }
}

/// The value behind `{{name}}`: a number of the settings, or a value that the code determines.
fn variable(name: &str, shown: &[ShownSetting], prefix: &str) -> Option<Value> {
    Some(match name {
        "version" => env!("CARGO_PKG_VERSION").into(),
        "server" => if prefix.is_empty() { "/" } else { prefix }.into(),
        "signature_age_s" => MAX_AGE_S.into(),
        "close_codes" => close_codes().into(),
        "callback_pattern" => format!("^$|{}", jsonp::pattern()).into(),
        "callback_length" => jsonp::MAX_LENGTH.into(),
        "conn_id_bytes" => CONN_ID_BYTES.into(),
        "form_bytes" => FORM_BYTES.into(),
        "demo_bytes" => demo::MAX_BODY.into(),
        "push_bytes" => demo::MAX_PUSH.into(),
        "figures" => json!(FIGURES.map(|figure| figure.name)),
        "flag_words" => json!(flag_words()),
        "max_per_page" => MAX_PER_PAGE.into(),
        "max_wait_s" => MAX_WAIT_S.into(),
        "token_body_bytes" => TOKEN_BODY_BYTES.into(),
        "board_name_length" => demo::MAX_NAME.into(),
        "board_channels" => demo::MAX_CHANNELS.into(),
        "steps" => json!(SPANS.map(|(step_s, _)| step_s)),
        _ => {
            let setting = shown.iter().find(|setting| setting.key == name)?;
            setting.value.parse::<u64>().ok()?.into()
        }
    })
}

/// The table of close codes in Markdown.
fn close_codes() -> String {
    let mut table =
        String::from("| close code | text | why | what a client should do |\n| --- | --- | --- | --- |\n");
    for (reason, why, advice) in REASONS {
        let code = reason.code().unwrap_or_default();
        table.push_str(&format!("| {code} | {} | {why} | {advice} |\n", reason.text()));
    }
    table
}

/// Expands the abbreviations in a value.
fn expand(value: &mut Value, variable: &impl Fn(&str) -> Option<Value>) -> Result<(), String> {
    match value {
        Value::String(text) if text.contains("{{") => *value = filled(text, variable)?,
        Value::Array(items) => items.iter_mut().try_for_each(|item| expand(item, variable))?,
        Value::Object(members) => {
            members.values_mut().try_for_each(|member| expand(member, variable))?;
            if let Some(Value::String(name)) = members.get_mut("$ref") {
                *name = format!("#/components/schemas/{name}");
            }
            complete_object(members);
        }
        _ => {}
    }
    Ok(())
}

/// A text with the values of its variables. A text that is one variable becomes its value, of whatever type.
fn filled(text: &str, variable: &impl Fn(&str) -> Option<Value>) -> Result<Value, String> {
    let (mut whole, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, tail) = after.split_once("}}").unwrap_or((after, ""));
        let value = variable(name).ok_or_else(|| format!("there is no variable {name}"))?;
        if before.len() + tail.len() + whole.len() == 0 {
            return Ok(value);
        }
        whole.push_str(before);
        whole.push_str(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        rest = tail;
    }
    whole.push_str(rest);
    Ok(whole.into())
}

/// Adds `type` and `required` to the schema of an object.
fn complete_object(schema: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = schema.get("properties").filter(|_| !schema.contains_key("type"))
    else {
        return;
    };
    let required: Vec<String> = properties.keys().cloned().collect();
    let optional = schema.remove("x-optional").unwrap_or_default();
    let is_required = |name: &String| !optional.as_array().is_some_and(|names| names.contains(&json!(name)));
    schema.insert("type".into(), "object".into());
    schema.insert("required".into(), required.into_iter().filter(is_required).collect());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DemoSetting;
    use std::collections::BTreeSet;

    fn variables(name: &str) -> Option<Value> {
        Some(match name {
            "count" => 7.into(),
            "name" => "ada".into(),
            _ => return None,
        })
    }

    #[test]
    fn abbreviations_are_expanded() {
        let mut value = json!({
            "of": "{{name}} has {{count}}",
            "maximum": "{{count}}",
            "schema": { "$ref": "User" },
            "object": { "x-optional": ["b"], "properties": { "a": {}, "b": {} } },
        });
        expand(&mut value, &variables).unwrap();
        let expected = json!({
            "of": "ada has 7",
            "maximum": 7,
            "schema": { "$ref": "#/components/schemas/User" },
            "object": { "type": "object", "required": ["a"], "properties": { "a": {}, "b": {} } },
        });
        assert_eq!(value, expected);
        let unknown = expand(&mut json!(["{{other}}"]), &variables);
        assert_eq!(unknown, Err("there is no variable other".into()));
    }

    /// The keys of all objects, and the schemas that references name.
    fn walk<'a>(value: &'a Value, keys: &mut BTreeSet<&'a str>, named: &mut BTreeSet<&'a str>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| walk(item, keys, named)),
            Value::Object(members) => {
                let reference = members.get("$ref").and_then(Value::as_str);
                named.extend(reference.and_then(|text| text.strip_prefix("#/components/schemas/")));
                keys.extend(members.keys().map(String::as_str));
                members.values().for_each(|member| walk(member, keys, named));
            }
            _ => {}
        }
    }

    #[test]
    fn no_abbreviation_remains_and_every_schema_is_used() {
        for demo in [DemoSetting::On, DemoSetting::Off] {
            let document = document(&Settings { demo, ..Settings::default() }, "/prefix").unwrap();
            let (mut keys, mut named) = (BTreeSet::new(), BTreeSet::new());
            walk(&document, &mut keys, &mut named);
            let left: Vec<_> = keys
                .iter()
                .filter(|key| key.starts_with("x-") && !key.starts_with("x-channelstream"))
                .collect();
            assert_eq!(left, Vec::<&&str>::new());
            assert!(!document.to_string().contains("{{"));
            let schemas = document["components"]["schemas"].as_object().unwrap();
            assert_eq!(schemas.keys().map(String::as_str).collect::<BTreeSet<_>>(), named);
        }
    }
}
