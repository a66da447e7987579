//! One operation of the API description. These keys stand for what depends on settings or code:
//!
//! * `x-access`: the credentials that it requires, one of [`schemes`].
//! * `x-refusals`: its refusals by code, in addition to those of every operation. One that has a value is an object,
//!   such as `invalid: {name: [Unknown user]}`. Status, headers and text come from the table of refusals. `engine` stands
//!   for the refusals of the engine: none if it is embedded.
//! * `x-limits`: the settings whose limits it may reach, in addition to those of every operation.
//! * `x-body`: a JSON body. `reader` names the schema of the fields and the reader, whose answer to the body `wrong`
//!   becomes an example of a refusal. `schema` is another schema, for a body that is not this object itself.
//!   The refusals of bodies follow, and `busy`.
//! * `x-answer`: the answer with status 200, in JSON unless `type` names another type. `x-headers` are its headers.
//! * `x-redirects`: the answer with status 302. Callers without credentials are then redirected instead of refused.
//! * `x-polled`: the answer has an `ETag`, and `busy` refuses it while too many answers are unread.

use super::bodies;
use super::document::object;
use crate::api::body::RequestLimits;
use crate::api::fields::reference;
use crate::config::{EngineSetting, Settings};
use crate::http_error::{MaxBody, Refusal};
use crate::telemetry::limits::Limit;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The refusals of every operation.
const REFUSALS: [&str; 5] = ["malformed", "https-required", "bad-signature", "well-known-secret", "internal"];
/// The refusals of operations that reach Redis.
const ENGINE_REFUSALS: [&str; 3] = ["engine-unavailable", "engine-timeout", "engine-full"];
/// The limits of every operation: they are checked before the path is known.
const LIMITS: [Limit; 4] = [Limit::SocketsPerAddress, Limit::ConnectRate, Limit::HeaderTime, Limit::Head];

/// An operation while its keys are expanded.
pub(super) struct Draft {
    pub(super) keys: Map<String, Value>,
    pub(super) responses: BTreeMap<u16, Value>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) limits: Vec<Limit>,
}

impl Draft {
    /// Expands the keys of an operation.
    ///
    /// # Errors
    /// They contain an unknown name.
    pub(super) fn expand(keys: Map<String, Value>, settings: &Settings) -> Result<Self, String> {
        let mut draft = Self::new(keys)?;
        draft.require(settings)?;
        draft.read_body(settings)?;
        draft.answer();
        draft.redirect();
        draft.poll();
        draft.complete_parameters();
        draft.refuse(settings)?;
        Ok(draft)
    }

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
        let headers = self.keys.remove("x-headers");
        let Some(answer) = self.keys.remove("x-answer") else { return };
        let text = json!({ "type": "string" });
        let (form, schema) = match answer["type"].as_str() {
            Some(form) => (form, &text),
            None => ("application/json", &answer["schema"]),
        };
        let mut content = json!({ "schema": schema });
        if let Some(example) = answer.get("example") {
            content["example"] = example.clone();
        }
        let mut answer = json!({ "description": answer["description"], "content": { form: content } });
        if let Some(headers) = headers.filter(|headers| *headers != json!({})) {
            answer["headers"] = headers;
        }
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
        self.refusals.push(Refusal::Busy);
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
    fn refuse(&mut self, settings: &Settings) -> Result<(), String> {
        for named in self.take_list("x-refusals") {
            match named {
                Value::String(code) if code == "engine" => {
                    if settings.engine == EngineSetting::Redis {
                        let codes = ENGINE_REFUSALS.into_iter().map(known);
                        self.refusals.extend(codes.collect::<Result<Vec<_>, _>>()?);
                    }
                }
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
    json!({
        "description": "Parsed as JSON regardless of the content type, in the charset that it names.",
        "required": body.get("required").unwrap_or(&Value::Bool(true)),
        "content": { "application/json": {
            "schema": body.get("schema").unwrap_or(&reference(reader)),
            "example": body["example"],
        } },
    })
}

/// The refusal with this code.
fn known(code: &str) -> Result<Refusal, String> {
    static BY_CODE: LazyLock<BTreeMap<&str, Refusal>> = LazyLock::new(|| {
        Refusal::one_of_each().into_iter().map(|refusal| (refusal.code(), refusal)).collect()
    });
    BY_CODE.get(code).cloned().ok_or_else(|| unknown_refusal(code))
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
