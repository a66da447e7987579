//! The operations of the API description. [`Draft`] expands most of their keys. Two refer to another operation, which
//! comes before:
//!
//! * `x-like` names it. The operation has all its keys, except for those that it gives itself; of `x-body` this
//!   holds for each key.
//! * `x-demo`: users, channels and connections of its examples get names of the live demo.

use super::draft::Draft;
use super::responses;
use crate::config::Settings;
use crate::http_error::{OverLimit, Refusal};
use crate::telemetry::limits::Limit;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The operations described so far, and the responses that they share.
pub(super) struct Operations<'a> {
    settings: &'a Settings,
    by_id: BTreeMap<String, Map<String, Value>>,
    responses: Map<String, Value>,
}

impl<'a> Operations<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        Self { settings, by_id: BTreeMap::new(), responses: Map::new() }
    }

    /// The responses that operations share, by name.
    pub(super) fn into_responses(self) -> Map<String, Value> {
        self.responses
    }

    /// The operation in OpenAPI.
    ///
    /// # Errors
    /// It contains an unknown name.
    pub(super) fn describe(&mut self, tag: &str, mut keys: Map<String, Value>) -> Result<Value, String> {
        if let Some(like) = keys.remove("x-like") {
            let other = like.as_str().and_then(|id| self.by_id.get(id));
            inherit(&mut keys, other.ok_or_else(|| format!("there is no operation {like}"))?);
        }
        if let Some(id) = keys.get("operationId").and_then(Value::as_str) {
            self.by_id.insert(id.to_owned(), keys.clone());
        }
        keys.insert("tags".into(), json!([tag]));
        let draft = Draft::expand(keys, self.settings)?;
        Ok(self.finish(draft))
    }

    fn finish(&mut self, draft: Draft) -> Value {
        let Draft { mut keys, mut responses, refusals, limits } = draft;
        let at_limits = limits.into_iter().map(|limit| Refusal::from(over_limit(limit, self.settings)));
        for (status, refusals) in by_status(refusals.into_iter().chain(at_limits)) {
            let is_own = refusals.iter().any(|refusal| matches!(refusal, Refusal::Invalid(_)));
            let response = match responses.remove(&status) {
                Some(answer) => responses::merged(answer, responses::of(&refusals)),
                None if is_own => responses::of(&refusals),
                None => self.shared(&refusals),
            };
            responses.insert(status, response);
        }
        if keys.remove("x-demo").is_some() {
            keys.get_mut("requestBody").into_iter().chain(responses.values_mut()).for_each(use_demo_names);
        }
        let responses = responses.into_iter().map(|(status, response)| (status.to_string(), response));
        keys.insert("responses".into(), Value::Object(responses.collect()));
        Value::Object(keys)
    }

    /// A reference to a response that several operations share. Its name is made of its refusals.
    fn shared(&mut self, refusals: &[Refusal]) -> Value {
        let name = refusals.iter().map(responses::name).collect::<Vec<_>>().join("_");
        let reference = json!({ "$ref": format!("#/components/responses/{name}") });
        self.responses.entry(name).or_insert_with(|| responses::of(refusals));
        reference
    }
}

/// Adds the keys of another operation that are absent, and those of its body.
fn inherit(keys: &mut Map<String, Value>, other: &Map<String, Value>) {
    for (name, value) in other {
        match keys.get_mut(name) {
            None => _ = keys.insert(name.clone(), value.clone()),
            Some(Value::Object(own)) if name == "x-body" => {
                inherit(own, value.as_object().unwrap_or(&Map::new()));
            }
            Some(_) => {}
        }
    }
}

/// The refusals by status, each once.
fn by_status(refusals: impl Iterator<Item = Refusal>) -> BTreeMap<u16, Vec<Refusal>> {
    let mut by_status: BTreeMap<u16, Vec<Refusal>> = BTreeMap::new();
    for refusal in refusals {
        let same = by_status.entry(refusal.status().as_u16()).or_default();
        if !same.contains(&refusal) {
            same.push(refusal);
        }
    }
    by_status
}

fn over_limit(limit: Limit, settings: &Settings) -> OverLimit {
    OverLimit::of(limit, settings.bound(limit).and_then(|bound| usize::try_from(bound).ok()).unwrap_or(0))
}

/// Replaces the users, the channels and the connection of the examples by those of the live demo: it does not affect
/// those of an application.
fn use_demo_names(part: &mut Value) {
    let contents = part.get_mut("content").and_then(Value::as_object_mut);
    for content in contents.into_iter().flat_map(Map::values_mut) {
        let Some(example) = content.get_mut("example") else { continue };
        let text = ["lobby", "news", "unknown", "ada"].iter().fold(example.to_string(), |text, name| {
            text.replace(&format!("\"{name}\""), &format!("\"demo:{name}\""))
        });
        let text = text.replace("11111111-1111-4111-8111-", "99999999-9999-4999-8999-");
        *example = serde_json::from_str(&text).unwrap_or_default();
    }
}
