//! The response of a refusal: JSON, HTML or plain text, as `Accept` names it; and the headers that all answers have.

use super::{CODE_HEADER, LIMIT_HEADER, MaxBody, Refusal, UNCERTAIN_HEADER};
use crate::telemetry::limits::Limit;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde_json::json;

/// The most characters of a path that a refusal repeats.
const MAX_PATH_CHARS: usize = 1_000;

impl Refusal {
    /// The answer, in the form that the request's `Accept` names; JSON without one.
    pub fn response(&self, accept: Option<&str>) -> HttpResponse<BoxBody> {
        let mut answer = self.in_form(accept);
        complete_headers(answer.headers_mut());
        answer
    }

    fn in_form(&self, accept: Option<&str>) -> HttpResponse<BoxBody> {
        let mut answer = self.head();
        if let Some(body) = self.own_body() {
            return answer.content_type("application/json").body(body);
        }
        answer.insert_header((header::VARY, "Accept"));
        let (status, message) = (self.status().to_string(), self.message());
        match ResponseForm::named_in(accept.unwrap_or_default()) {
            ResponseForm::Json => {
                answer.content_type("application/json").body(json_body(self.status(), &message))
            }
            ResponseForm::Plain => {
                answer.content_type("text/plain; charset=UTF-8").body(format!("{status}\n\n{message}"))
            }
            ResponseForm::Html => {
                answer.content_type("text/html; charset=UTF-8").body(html_body(&status, &message))
            }
        }
    }

    /// Status and headers that do not depend on the form.
    fn head(&self) -> HttpResponseBuilder {
        let row = self.row();
        let mut answer = HttpResponse::build(row.status);
        answer.insert_header((CODE_HEADER, row.code));
        if let Some(seconds) = self.retry_after_s() {
            answer.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Some(setting) = self.named_limit() {
            answer.insert_header((LIMIT_HEADER, setting));
        }
        if self.is_uncertain() {
            answer.insert_header((UNCERTAIN_HEADER, "1"));
        }
        answer
    }

    /// The setting in the header `x-channelstream-limit`.
    pub fn named_limit(&self) -> Option<&'static str> {
        match self {
            Self::OverLimit(over) => Some(over.limit.setting()),
            Self::BodyTooLarge(MaxBody::OfSettings(_)) => Some(Limit::Body.setting()),
            _ => None,
        }
    }

    /// Seconds after which the same request may pass.
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Busy | Self::Draining | Self::IdempotencyInProgress => Some(1),
            Self::EngineUnavailable | Self::EngineTimeout { .. } | Self::EngineFull => Some(1),
            Self::TooManyTries(seconds) => Some(*seconds),
            Self::OverLimit(over) => over.retry_after_s,
            _ => None,
        }
    }

    /// A body that does not depend on `Accept`.
    pub(super) fn own_body(&self) -> Option<String> {
        match self {
            Self::BadSignature => Some(json!({"request": "Bad Signature"}).to_string()),
            Self::OverLimit(over) => Some(over.body().to_string()),
            Self::Invalid(errors) | Self::TokenRefused(errors) => Some(errors.to_string()),
            _ => None,
        }
    }

    /// The text. Texts of the original have its empty lines.
    fn message(&self) -> String {
        let text = self.row().text;
        match self {
            Self::NotFound(path) => format!("{text}\n\n\n{}\n\n", truncated(path)),
            Self::AddressNotAllowed | Self::SignatureMissing | Self::UnknownConnection => {
                format!("{text}\n\n\n\n\n")
            }
            Self::BodyEncoded(coding) => format!(
                "{text} This server does not decode \"{coding}\". Send the body without Content-Encoding."
            ),
            Self::BodyTooLarge(max) => format!("{text} At most {} bytes are allowed.", max.bytes()),
            Self::WellKnownSecret(reason) => format!(
                "{text} This request {reason}. Set your own secrets and admin_secret, or allow_default_secrets = true."
            ),
            _ => text.to_owned(),
        }
    }
}

/// The form of a refusal's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseForm {
    Json,
    Html,
    Plain,
}

impl ResponseForm {
    /// The form with the greatest weight, or the first of several with the same. `*/*` names no form.
    pub(super) fn named_in(accept: &str) -> Self {
        let mut best = (0.0, Self::Json);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/json" => Self::Json,
                "text/html" => Self::Html,
                "text/plain" => Self::Plain,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            if weight > best.0 {
                best = (weight, form);
            }
        }
        best.1
    }
}

/// The start of a path. It is limited because any client can cause many of these texts.
fn truncated(path: &str) -> &str {
    path.char_indices().nth(MAX_PATH_CHARS).map_or(path, |(end, _)| &path[..end])
}

fn json_body(status: StatusCode, message: &str) -> String {
    json!({
        "message": message,
        "code": status.to_string(),
        "title": status.canonical_reason().unwrap_or_default(),
    })
    .to_string()
}

fn html_body(status: &str, message: &str) -> String {
    let lines = escape_html(message.trim_end()).replace('\n', "<br />\n");
    format!(
        "<html>\n <head>\n  <title>{status}</title>\n </head>\n <body>\n  <h1>{status}</h1>\n  {lines}\n </body>\n</html>"
    )
}

/// Escapes text for HTML, in elements and in quoted attributes.
pub fn escape_html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// The policy for HTML without scripts, styles and forms: refusals and redirects.
const BARE_PAGE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Sets the headers of an answer that is only for its receiver and is not a page.
pub fn make_private(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
}

/// Sets the headers of every other answer: those that its handler has not set get strict values.
pub fn complete_headers(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, NO_STORE);
    }
    let is_html =
        headers.get(header::CONTENT_TYPE).is_some_and(|form| form.as_bytes().starts_with(b"text/html"));
    if is_html && !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, BARE_PAGE);
    }
}
