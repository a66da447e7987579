//! The refusals of requests. [`table`] has the status, the code and the text of each, [`render`] writes the response.
//!
//! Callers parse every answer as JSON whatever its status, so JSON is the default form; a request whose `Accept` names HTML
//! or plain text receives that. Only malformed HTTP is answered with 400: old browser libraries treat every status up to
//! it as a success.

pub(crate) mod answer_headers;
mod over_limit;
mod render;
mod table;

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpResponse, ResponseError};
use serde_json::Value;

use crate::telemetry::limits::Limit;
pub use over_limit::OverLimit;
pub use render::escape_html;

/// The header with a refusal's stable code.
pub const CODE_HEADER: &str = "x-channelstream-error";
/// The header with the setting whose limit is reached.
pub const LIMIT_HEADER: &str = "x-channelstream-limit";

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

impl Refusal {
    pub fn status(&self) -> StatusCode {
        self.row().status
    }

    /// The stable code in the header `x-channelstream-error`.
    pub fn code(&self) -> &'static str {
        self.row().code
    }

    /// The condition for it, as text of the API description.
    pub fn condition(&self) -> &'static str {
        self.row().when
    }

    /// The title of its example in the API description.
    pub fn summary(&self) -> String {
        match self {
            Self::OverLimit(over) => over.message(),
            _ => self.row().text.to_owned(),
        }
    }

    /// Whether its body is JSON with every `Accept`.
    pub fn is_json_only(&self) -> bool {
        self.own_body().is_some()
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

#[cfg(test)]
mod tests;
