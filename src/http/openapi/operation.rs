//! The operations of the API description. These keys of an operation stand for what depends on settings or code:
//!
//! * `x-access`: the credentials that it requires, one of [`schemes`].
//! * `x-refusals`: its refusals by code, in addition to those of every operation. One that has a value is an object,
//!   such as `invalid: {name: [Unknown user]}`. Status, headers and text come from the table of refusals.
//! * `x-limits`: the settings whose limits it may reach, in addition to those of every operation.
//! * `x-body`: a JSON body. `reader` names the schema of the fields and the reader, whose answer to the body `wrong`
//!   becomes an example of a refusal. `schema` is another schema, for a body that is not this object itself.
//!   The refusals of bodies follow, and `busy`.
//! * `x-answer`: the answer with status 200, in JSON unless `type` names another type.
//! * `x-redirects`: the answer with status 302. Callers without credentials are then redirected instead of refused.
//! * `x-polled`: the answer has an `ETag`.
//! * `x-like`: another operation, from which it has all keys that it lacks.
//! * `x-demo`: the examples of the other operation get names of the live demo.

use super::document::object;
use super::{bodies, responses};
use crate::api::limits::RequestLimits;
use crate::config::Settings;
use crate::http_error::{MaxBody, OverLimit, Refusal};
use crate::telemetry::limits::Limit;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The refusals of every operation.
const REFUSALS: [&str; 5] = ["malformed", "https-required", "bad-signature", "well-known-secret", "internal"];
/// The limits of every operation: they are checked before the path is known.
const LIMITS: [Limit; 4] = [Limit::SocketsPerAddress, Limit::ConnectRate, Limit::HeaderTime, Limit::Head];

/// The operations described so far, and the responses that they share.
pub(super) struct Operations<'a> {
    settings: &'a Settings,
    by_id: BTreeMap<String, Map<String, Value>>,
    responses: Map<String, Value>,
}

/// An operation while its keys are expanded.
struct Draft {
    keys: Map<String, Value>,
    responses: BTreeMap<u16, Value>,
    refusals: Vec<Refusal>,
    limits: Vec<Limit>,
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
        let mut draft = Draft::new(keys)?;
        draft.require(self.settings)?;
        draft.read_body(self.settings)?;
        draft.answer();
        draft.redirect();
        draft.poll();
        draft.complete_parameters();
        draft.refuse()?;
        Ok(self.finish(draft))
    }

    fn finish(&mut self, draft: Draft) -> Value {
        let Draft { mut keys, mut responses, refusals, limits } = draft;
        let at_limits = limits.into_iter().map(|limit| Refusal::from(over_limit(limit, self.settings)));
        for (status, refusals) in by_status(refusals.into_iter().chain(at_limits)) {
            let refused = responses::of(&refusals);
            let is_own = refusals.iter().any(|refusal| matches!(refusal, Refusal::Invalid(_)));
            let response = match responses.remove(&status) {
                Some(answer) => responses::merged(answer, refused),
                None if is_own => refused,
                None => self.shared(&refusals, refused),
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
    fn shared(&mut self, refusals: &[Refusal], response: Value) -> Value {
        let name = refusals.iter().map(responses::name).collect::<Vec<_>>().join("_");
        let reference = json!({ "$ref": format!("#/components/responses/{name}") });
        self.responses.entry(name).or_insert(response);
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

impl Draft {
    fn new(mut keys: Map<String, Value>) -> Result<Self, String> {
        let mut responses = BTreeMap::new();
        for (status, response) in object(keys.remove("responses").unwrap_or_default()) {
            responses.insert(status.parse().map_err(|_| format!("{status} is no status"))?, response);
        }
        let refusals = REFUSALS.into_iter().map(known).collect::<Result<_, _>>()?;
        Ok(Self { keys, responses, refusals, limits: LIMITS.to_vec() })
    }

    /// The credentials that it requires, and the refusals of a caller without them.
    fn require(&mut self, settings: &Settings) -> Result<(), String> {
        let access = self.keys.remove("x-access").unwrap_or_default();
        let access = access.as_str().unwrap_or_default();
        let schemes = schemes(access, settings).ok_or_else(|| format!("there is no access {access:?}"))?;
        let requirement = |names: &&[&str]| -> Value {
            names.iter().map(|name| ((*name).to_owned(), json!([]))).collect::<Map<_, _>>().into()
        };
        // An empty list means that no credentials are required. Without the list the document would not say so.
        self.keys.insert("security".into(), schemes.iter().map(requirement).collect());
        let refusals: &[&str] = match access {
            "signed" => &["signature-missing", "address-not-allowed"],
            "command" => &["signature-missing", "csrf-token"],
            "signed-or-admin" if !self.keys.contains_key("x-redirects") => &["signature-missing"],
            _ => &[],
        };
        for code in refusals {
            self.refusals.push(known(code)?);
        }
        Ok(())
    }

    /// The body, and the refusals of requests with a body.
    fn read_body(&mut self, settings: &Settings) -> Result<(), String> {
        let body = self.keys.remove("x-body");
        if let Some(body) = &body {
            self.keys.insert("requestBody".into(), request_body(body));
        }
        if self.keys.contains_key("requestBody") {
            self.refusals.extend([known("body-encoded")?, known("body-too-slow")?]);
            self.limits.push(Limit::BodyTime);
        }
        let Some(body) = body else { return Ok(()) };
        let too_large = Refusal::BodyTooLarge(MaxBody::OfSettings(settings.max_body_bytes));
        // The total size of bodies being read is limited, too.
        self.refusals.extend([too_large, Refusal::Busy]);
        if let (Some(reader), Some(wrong)) = (body["reader"].as_str(), body.get("wrong")) {
            let limits = RequestLimits::from(settings);
            let refusal = bodies::refusal(reader, wrong.to_string().as_bytes(), &limits);
            self.refusals.push(refusal.ok_or_else(|| format!("{reader} does not refuse {wrong}"))?);
        }
        Ok(())
    }

    /// The answer with status 200.
    fn answer(&mut self) {
        let Some(answer) = self.keys.remove("x-answer") else { return };
        let text = json!({ "type": "string" });
        let (form, schema) = match answer["type"].as_str() {
            Some(form) => (form, answer.get("schema").unwrap_or(&text)),
            None => ("application/json", &answer["schema"]),
        };
        let mut content = json!({ "schema": schema });
        if let Some(example) = answer.get("example") {
            content["example"] = example.clone();
        }
        let answer = json!({ "description": answer["description"], "content": { form: content } });
        self.responses.insert(200, answer);
    }

    /// The answer with status 302.
    fn redirect(&mut self) {
        let Some(text) = self.keys.remove("x-redirects") else { return };
        let location = json!({ "description": "The target.", "schema": { "type": "string" } });
        let content = json!({ "text/html": { "schema": { "type": "string" } } });
        let answer = json!({ "description": text, "headers": { "location": location }, "content": content });
        self.responses.insert(302, answer);
    }

    /// The `ETag`, and the answer with status 304 to a client that has it.
    fn poll(&mut self) {
        if self.keys.remove("x-polled").is_none() {
            return;
        }
        let about = "Identifies the answer; unchanged as long as the answer is.";
        let headers = json!({ "etag": { "description": about, "schema": { "type": "string" } } });
        if let Some(answer) = self.responses.get_mut(&200) {
            answer["headers"] = headers.clone();
        }
        let about = "The client already has the current answer.";
        self.responses.insert(304, json!({ "description": about, "headers": headers }));
        let known = json!({
            "name": "If-None-Match",
            "in": "header",
            "description": "The `ETag` of the answer that the client has, or several.",
            "schema": { "type": "string" },
        });
        if let Value::Array(parameters) = self.keys.entry("parameters").or_insert_with(|| json!([])) {
            parameters.push(known);
        }
    }

    /// Completes the parameters, which need not be required.
    fn complete_parameters(&mut self) {
        let mut parameters = self.take_list("parameters");
        for parameter in parameters.iter_mut().filter_map(Value::as_object_mut) {
            parameter.entry("required").or_insert(false.into());
        }
        if !parameters.is_empty() {
            self.keys.insert("parameters".into(), parameters.into());
        }
    }

    /// The refusals and limits that it names.
    fn refuse(&mut self) -> Result<(), String> {
        for named in self.take_list("x-refusals") {
            match named {
                Value::String(code) => self.refusals.push(known(&code)?),
                named => {
                    for (code, value) in object(named) {
                        self.refusals.push(with(&code, value).ok_or_else(|| unknown_refusal(&code))?);
                    }
                }
            }
        }
        for setting in self.take_list("x-limits") {
            let limit = setting.as_str().and_then(Limit::of);
            self.limits.push(limit.ok_or_else(|| format!("there is no limit {setting}"))?);
        }
        Ok(())
    }

    fn take_list(&mut self, key: &str) -> Vec<Value> {
        if let Some(Value::Array(items)) = self.keys.remove(key) { items } else { Vec::new() }
    }
}

/// A JSON body, with the schema that it names or that of its reader.
fn request_body(body: &Value) -> Value {
    let reader = body["reader"].as_str().unwrap_or_default();
    let of_reader = json!({ "$ref": format!("#/components/schemas/{reader}") });
    json!({
        "description": "Parsed as JSON regardless of the content type, in the charset that it names.",
        "required": body.get("required").unwrap_or(&Value::Bool(true)),
        "content": { "application/json": {
            "schema": body.get("schema").unwrap_or(&of_reader),
            "example": body["example"],
        } },
    })
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

/// The refusal with this code.
fn known(code: &str) -> Result<Refusal, String> {
    let found = Refusal::one_of_each().into_iter().find(|refusal| refusal.code() == code);
    found.ok_or_else(|| unknown_refusal(code))
}

/// The refusal with this code and this value.
fn with(code: &str, value: Value) -> Option<Refusal> {
    Some(match code {
        "invalid" => Refusal::Invalid(value),
        "not-found" => Refusal::NotFound(value.as_str()?.to_owned()),
        "body-too-large" => Refusal::BodyTooLarge(MaxBody::OfPath(usize::try_from(value.as_u64()?).ok()?)),
        _ => return None,
    })
}

fn unknown_refusal(code: &str) -> String {
    format!("there is no refusal {code}")
}

fn over_limit(limit: Limit, settings: &Settings) -> OverLimit {
    OverLimit::of(limit, settings.bound(limit).and_then(|bound| usize::try_from(bound).ok()).unwrap_or(0))
}

/// The security schemes of an access. One entry is sufficient; an entry with several schemes requires all of them.
fn schemes(access: &str, settings: &Settings) -> Option<Vec<&'static [&'static str]>> {
    let admin: &[&[&str]] = match access {
        // A signature that is present must still be valid.
        "open" => return Some(Vec::new()),
        "signed" => &[],
        "signed-or-admin" => &[&["adminCookie"]],
        "command" => &[&["adminCookie", "csrfToken"]],
        _ => return None,
    };
    let for_any_request: &[&[&str]] =
        if settings.require_bound_signatures { &[] } else { &[&["signature"], &["signatureInQuery"]] };
    Some([for_any_request, &[&["boundSignature"]], admin].concat())
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
