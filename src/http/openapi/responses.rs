//! The responses of refusals: by status, with codes, bodies and examples.

use crate::api::fields::reference;
use crate::http_error::{CODE_HEADER, LIMIT_HEADER, MaxBody, Refusal, UNCERTAIN_HEADER};
use actix_web::body::MessageBody;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The name of a refusal in the document: for a limit its setting, for a limit of a path its value, otherwise its code.
/// Refusals with one name share their text.
pub(super) fn name(refusal: &Refusal) -> String {
    match refusal {
        Refusal::BodyTooLarge(MaxBody::OfPath(bytes)) => format!("{}-{bytes}", refusal.code()),
        Refusal::OverLimit(over) => over.limit.setting().to_owned(),
        _ => refusal.code().to_owned(),
    }
}

/// The response for one status and the refusals that have it.
pub(super) fn of(refusals: &[Refusal]) -> Value {
    let mut content = json!({ "application/json": { "schema": body(refusals) } });
    let examples = examples(refusals);
    if !examples.is_empty() {
        content["application/json"]["examples"] = json!(examples);
    }
    if !refusals.iter().all(Refusal::is_json_only) {
        for form in ["text/plain", "text/html"] {
            content[form] = json!({ "schema": { "type": "string" } });
        }
    }
    json!({ "description": description(refusals), "headers": headers(refusals), "content": content })
}

fn headers(refusals: &[Refusal]) -> Value {
    let header = |about: &str, schema: Value| json!({ "description": about, "schema": schema });
    let codes: BTreeSet<&str> = refusals.iter().map(Refusal::code).collect();
    let mut headers =
        json!({ CODE_HEADER: header("The stable code of the refusal.", json!({ "enum": codes })) });
    if refusals.iter().any(|refusal| refusal.retry_after_s().is_some()) {
        let seconds = json!({ "type": "integer", "minimum": 0 });
        headers["retry-after"] = header("Seconds to wait before the next attempt.", seconds);
    }
    if refusals.iter().any(Refusal::is_uncertain) {
        let about = "Present if the request may have taken effect.";
        headers[UNCERTAIN_HEADER] = header(about, json!({ "const": "1" }));
    }
    let settings: BTreeSet<&str> = refusals.iter().filter_map(Refusal::named_limit).collect();
    if !settings.is_empty() {
        let about = "The setting of the limit that is reached, if any.";
        headers[LIMIT_HEADER] = header(about, json!({ "enum": settings }));
    }
    headers
}

/// The schema of the JSON bodies.
fn body(refusals: &[Refusal]) -> Value {
    let mut schemas: Vec<Value> = Vec::new();
    for refusal in refusals {
        let schema = match refusal {
            Refusal::Invalid(Value::Array(_)) => json!({ "type": "array", "items": { "type": "string" } }),
            _ => reference(body_name(refusal)),
        };
        if !schemas.contains(&schema) {
            schemas.push(schema);
        }
    }
    if schemas.len() == 1 { schemas.remove(0) } else { json!({ "anyOf": schemas }) }
}

fn body_name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::BadSignature => "BadSignature",
        Refusal::Invalid(_) | Refusal::TokenRefused(_) => "Errors",
        Refusal::OverLimit(over) if over.names_field() => "Errors",
        Refusal::OverLimit(_) => "LimitReached",
        _ => "Problem",
    }
}

/// One example of each refusal, by name.
fn examples(refusals: &[Refusal]) -> BTreeMap<String, Value> {
    let happens = refusals.iter().enumerate().filter(|(_, refusal)| !is_off(refusal));
    let example = |(index, refusal): (usize, &Refusal)| {
        let body = refusal.response(None).into_body().try_into_bytes().unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let name = if index == 0 { name(refusal) } else { format!("{}-{index}", name(refusal)) };
        (name, json!({ "summary": refusal.summary(), "value": body }))
    };
    happens.map(example).collect()
}

/// Whether it is for a limit that is switched off.
fn is_off(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::OverLimit(over) if over.bound == 0)
}

/// The codes, and the reason for each.
fn description(refusals: &[Refusal]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for refusal in refusals {
        let reason = match refusal {
            Refusal::OverLimit(over) if is_off(refusal) => {
                format!("does not occur, because `{}` is 0.", over.limit.setting())
            }
            Refusal::OverLimit(over) => over.message(),
            _ => refusal.condition().to_owned(),
        };
        let line = format!("`{}`: {reason}", refusal.code());
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("\n\n")
}

/// One response for two of the same status: an answer of the operation, and that of its refusals.
pub(super) fn merged(mut answer: Value, refused: Value) -> Value {
    let text = |response: &Value| response["description"].as_str().unwrap_or_default().to_owned();
    answer["description"] = format!("{}\n\n{}", text(&answer), text(&refused)).into();
    for (name, header) in refused["headers"].as_object().into_iter().flatten() {
        match answer["headers"].get_mut(name) {
            None => answer["headers"][name] = header.clone(),
            Some(own) => add_values(own, header),
        }
    }
    for (form, content) in refused["content"].as_object().into_iter().flatten() {
        if answer["content"].get(form).is_none() {
            answer["content"][form] = content.clone();
        }
    }
    answer
}

/// Adds the allowed values of a header to those of another.
fn add_values(header: &mut Value, other: &Value) {
    let values = header.pointer_mut("/schema/enum");
    if let (Some(Value::Array(values)), Some(more)) = (values, other["schema"]["enum"].as_array()) {
        values.extend(more.iter().cloned());
    }
}
