//! The refusals of requests: one table of status, code and text.
//!
//! Callers parse every answer as JSON whatever its status, so JSON is the default form; a request whose `Accept` names HTML
//! or plain text receives that. Only malformed HTTP is answered with 400: old browser libraries treat every status up to
//! it as a success.

pub mod answer_headers;
pub mod openapi;
mod over_limit;

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde_json::{Value, json};

use crate::telemetry::limits::Limit;
pub use over_limit::OverLimit;

/// The header with a refusal's stable code.
pub const CODE_HEADER: &str = "x-channelstream-error";
/// The header with the setting whose limit is reached.
pub const LIMIT_HEADER: &str = "x-channelstream-limit";

/// The most characters of a path that a refusal repeats.
const MAX_PATH_CHARS: usize = 1_000;

/// The original's text for every 401 of its framework.
const UNAUTHORIZED: &str = "This server could not verify that you are authorized to access the document you \
    requested.  Either you supplied the wrong credentials (e.g., bad password), or your browser does not understand \
    how to supply the credentials required.";
/// The original's text for every 403.
const FORBIDDEN: &str = "Access was denied to this resource.";
/// The original's text for every 404.
const NOT_FOUND: &str = "The resource could not be found.";

/// The reason for which a request is refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// The socket's peer is not in `allow_posting_from`.
    AddressNotAllowed,
    /// The request comes from a page whose origin is not in `allowed_origins`.
    OriginNotAllowed,
    /// A signature is required and none was sent.
    SignatureMissing,
    /// The signature is wrong or too old.
    BadSignature,
    /// The request is authenticated by a well-known secret or password, and does not come from the server's machine.
    /// Contains the reason for the latter.
    WellKnownSecret(&'static str),
    /// A command of a signed-in admin without the token of the sign-in: another page may have sent it.
    CsrfToken,
    /// Too many wrong passwords. Contains the seconds until the next attempt is allowed.
    TooManyTries(u64),
    /// The path does not exist, or not with this method. Contains the path for the text.
    NotFound(String),
    /// The conn_id of a poll is unknown.
    UnknownConnection,
    /// A websocket requires a token, and the token is missing or invalid. Contains the whole body of the answer.
    TokenRefused(Value),
    /// There is no websocket at this path, on paths where the original answers that with 403.
    NoSuchSocket,
    /// The request does not validate. Contains the whole body of the answer.
    Invalid(Value),
    /// The JSONP callback is not a plain name.
    UnacceptableCallback,
    /// The body is larger than allowed.
    BodyTooLarge(MaxBody),
    /// The body has this content coding, and must be sent without one.
    BodyEncoded(String),
    /// The body did not arrive in time.
    BodyTooSlow,
    /// The bytes are not an HTTP/1.1 request, or not one that all parsers read in the same way. Contains the reason.
    Malformed(&'static str),
    /// The server requires TLS.
    HttpsRequired,
    /// Plain HTTP on a websocket path.
    UpgradeRequired,
    /// A limit of the server is reached.
    OverLimit(OverLimit),
    /// A mailbox is full; the same request may pass a moment later.
    Busy,
    /// The server is stopping.
    Draining,
    /// The server failed; the request is correct.
    Internal,
}

/// The largest allowed body, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxBody {
    /// The setting `max_body_bytes`.
    OfSettings(usize),
    /// The smaller limit of a public path.
    OfPath(usize),
}

impl MaxBody {
    pub fn bytes(self) -> usize {
        match self {
            Self::OfSettings(bytes) | Self::OfPath(bytes) => bytes,
        }
    }
}

/// One line of the table.
struct RefusalRow {
    status: StatusCode,
    code: &'static str,
    text: &'static str,
    /// The condition for it, as text of the OpenAPI document.
    when: &'static str,
}

impl Refusal {
    /// The table: status, stable code, text and condition of every refusal.
    fn row(&self) -> RefusalRow {
        use StatusCode as S;
        let (status, code, text, when) = match self {
            Self::AddressNotAllowed => {
                (S::FORBIDDEN, "address-not-allowed", FORBIDDEN, "the peer is not in `allow_posting_from`.")
            }
            Self::OriginNotAllowed => (
                S::FORBIDDEN,
                "origin-not-allowed",
                "Pages of this origin may not use this server.",
                "the request comes from a page whose origin is not in `allowed_origins`.",
            ),
            Self::SignatureMissing => {
                (S::FORBIDDEN, "signature-missing", FORBIDDEN, "a signature is required and none was sent.")
            }
            Self::BadSignature => (
                S::UNAUTHORIZED,
                "bad-signature",
                "Bad Signature",
                "a signature was sent, and is wrong or too old.",
            ),
            Self::WellKnownSecret(_) => (
                S::FORBIDDEN,
                "well-known-secret",
                "The server still has a well-known secret or password, which is valid for requests from its own machine only.",
                "a well-known default secret or password was used by a request that does not come from the server's \
                 machine: through a proxy, with a foreign `Host`, or from a page of a foreign `Origin`.",
            ),
            Self::CsrfToken => (
                S::FORBIDDEN,
                "csrf-token",
                "The request lacks the token of this sign-in; load the page again.",
                "a command of a signed-in admin lacks the token of the sign-in, or a page of another site sent it.",
            ),
            Self::TooManyTries(_) => (
                S::TOO_MANY_REQUESTS,
                "too-many-tries",
                "Too many wrong passwords; try again later.",
                "too many wrong passwords came from this address.",
            ),
            Self::NotFound(_) => {
                (S::NOT_FOUND, "not-found", NOT_FOUND, "the path does not exist, or not with this method.")
            }
            Self::UnknownConnection => {
                (S::UNAUTHORIZED, "unknown-connection", UNAUTHORIZED, "the `conn_id` is unknown.")
            }
            Self::TokenRefused(_) => (
                S::UNAUTHORIZED,
                "token-refused",
                UNAUTHORIZED,
                "the websocket requires a token, and the token is missing or invalid.",
            ),
            Self::NoSuchSocket => (
                S::FORBIDDEN,
                "no-such-socket",
                "There is no websocket at this path.",
                "there is no websocket at this path.",
            ),
            Self::Invalid(_) => (
                S::UNPROCESSABLE_ENTITY,
                "invalid",
                "The request does not validate.",
                "the request does not validate. The answer lists all errors, and nothing is changed.",
            ),
            Self::UnacceptableCallback => (
                S::UNPROCESSABLE_ENTITY,
                "unacceptable-callback",
                "The callback must be a plain JavaScript name.",
                "the `callback` is not a plain JavaScript name.",
            ),
            Self::BodyTooLarge(_) => (
                S::PAYLOAD_TOO_LARGE,
                "body-too-large",
                "The body is too large.",
                "the body is larger than `max_body_bytes`, or than the smaller limit of a public path.",
            ),
            Self::BodyEncoded(_) => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "body-encoded",
                "The body is encoded.",
                "`Content-Encoding` names a coding other than `identity`.",
            ),
            Self::BodyTooSlow => (
                S::REQUEST_TIMEOUT,
                "body-too-slow",
                "The body did not arrive in time.",
                "the body does not arrive in time.",
            ),
            Self::Malformed(reason) => {
                (S::BAD_REQUEST, "malformed", *reason, "the request is malformed; the connection is closed.")
            }
            Self::HttpsRequired => (
                S::NOT_ACCEPTABLE,
                "https-required",
                "This server requires HTTPS.",
                "`enforce_https` is on and the request came without TLS.",
            ),
            Self::UpgradeRequired => (
                S::UPGRADE_REQUIRED,
                "upgrade-required",
                "This path is for websocket connections.",
                "the request is not a websocket handshake.",
            ),
            Self::OverLimit(over) => (
                over.status(),
                "over-limit",
                "A limit of the server is reached.",
                "a limit of the server is reached; the header `x-channelstream-limit` names its setting.",
            ),
            Self::Busy => (
                S::SERVICE_UNAVAILABLE,
                "busy",
                "The server is busy; try again in a moment.",
                "a mailbox is full; the same request may pass a moment later.",
            ),
            Self::Draining => {
                (S::SERVICE_UNAVAILABLE, "draining", "The server is stopping.", "the server is stopping.")
            }
            Self::Internal => (
                S::INTERNAL_SERVER_ERROR,
                "internal",
                "The server failed to answer this request.",
                "the server failed; the request is correct.",
            ),
        };
        RefusalRow { status, code, text, when }
    }

    pub fn status(&self) -> StatusCode {
        self.row().status
    }

    /// The stable code in the header `x-channelstream-error`.
    pub fn code(&self) -> &'static str {
        self.row().code
    }

    /// The limit that the request exceeds, if that is the reason.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::OverLimit(over) => Some(over.limit),
            Self::BodyTooLarge(_) => Some(Limit::Body),
            Self::Invalid(_) => Some(Limit::Fields),
            _ => None,
        }
    }

    /// The answer, in the form that the request's `Accept` names; JSON without one.
    pub fn response(&self, accept: Option<&str>) -> HttpResponse<BoxBody> {
        let mut answer = self.in_form(accept);
        answer_headers::complete(answer.headers_mut());
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
        answer
    }

    /// The setting in the header `x-channelstream-limit`.
    fn named_limit(&self) -> Option<&'static str> {
        match self {
            Self::OverLimit(over) => Some(over.limit.setting()),
            Self::BodyTooLarge(MaxBody::OfSettings(_)) => Some(Limit::Body.setting()),
            _ => None,
        }
    }

    /// Seconds after which the same request may pass.
    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Busy | Self::Draining => Some(1),
            Self::TooManyTries(seconds) => Some(*seconds),
            Self::OverLimit(over) => over.retry_after_s,
            _ => None,
        }
    }

    /// A body that does not depend on `Accept`.
    fn own_body(&self) -> Option<String> {
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

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.row().text)
    }
}

impl std::error::Error for Refusal {}

impl From<OverLimit> for Refusal {
    fn from(over: OverLimit) -> Self {
        Self::OverLimit(over)
    }
}

/// Renders JSON; the middleware renders the refusal again if `Accept` names another form.
impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.response(None)
    }
}

/// The request's `Accept`, for [`Refusal::response`].
pub fn accept(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ACCEPT)?.to_str().ok()
}

/// The form of a refusal's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseForm {
    Json,
    Html,
    Plain,
}

impl ResponseForm {
    /// The form with the greatest weight, or the first of several with the same. `*/*` names no form.
    fn named_in(accept: &str) -> Self {
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

#[cfg(test)]
mod tests;
