//! The refusals of requests. [`table`] has the status, the code and the text of each, [`render`] writes the response.
//!
//! Callers parse every answer as JSON whatever its status, so JSON is the default form; a request whose `Accept` names HTML
//! or plain text receives that. Only malformed HTTP is answered with 400: old browser libraries treat every status up to
//! it as a success.

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
pub use render::{complete_headers, escape_html, make_private};

/// The header with a refusal's stable code.
pub const CODE_HEADER: &str = "x-channelstream-error";
/// The header with the setting whose limit is reached.
pub const LIMIT_HEADER: &str = "x-channelstream-limit";
/// The header of a refused request that may have taken effect.
pub const UNCERTAIN_HEADER: &str = "x-channelstream-uncertain";

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
    /// A token is missing where one is required, or is not valid. Contains the whole body of the answer.
    TokenRefused(Value),
    /// A connection token is for a user other than the connection's.
    TokenMismatch,
    /// The application has blocked the user.
    Blocked,
    /// There is no websocket at this path, on paths where the original answers that with 403.
    NoSuchSocket,
    /// The request does not validate. Contains the whole body of the answer.
    Invalid(Value),
    /// An idempotency key was used for another request before.
    IdempotencyKeyReused,
    /// The first request with an idempotency key is not answered yet.
    IdempotencyInProgress,
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
    /// The node has no connection to Redis, or too many requests wait for it. Nothing was done.
    EngineUnavailable,
    /// Redis did not answer in time. If the request was sent, it may have taken effect.
    EngineTimeout { was_sent: bool },
    /// Redis has no memory left. Nothing was done.
    EngineFull,
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

    /// Whether the engine is the reason.
    pub fn is_of_engine(&self) -> bool {
        matches!(self, Self::EngineUnavailable | Self::EngineTimeout { .. } | Self::EngineFull)
    }

    /// Whether the request may have taken effect although it is refused.
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Self::EngineTimeout { was_sent: true })
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
mod tests {
    use super::render::ResponseForm;
    use super::*;
    use actix_web::body::MessageBody;
    use serde_json::json;

    fn body(refusal: &Refusal, accept: Option<&str>) -> String {
        let bytes = refusal.response(accept).into_body().try_into_bytes().unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn every_refusal_is_json_with_a_status_above_400_and_a_code() {
        for refusal in Refusal::one_of_each() {
            let answer = refusal.response(Some("*/*"));
            // No library of the original, which treats 400 as a success, sends malformed HTTP.
            let is_malformed = matches!(refusal, Refusal::Malformed(_));
            assert!(answer.status().as_u16() > 400 || is_malformed, "{refusal}");
            assert_eq!(answer.headers().get("content-type").unwrap(), "application/json");
            assert_eq!(answer.headers().get(CODE_HEADER).unwrap(), refusal.code());
            serde_json::from_str::<Value>(&body(&refusal, None)).unwrap();
        }
    }

    #[test]
    fn codes_are_unique() {
        let all = Refusal::one_of_each();
        let codes: std::collections::BTreeSet<_> = all.iter().map(Refusal::code).collect();
        assert_eq!(codes.len(), all.len());
    }

    #[test]
    fn bodies_are_those_of_the_original() {
        let denied: Value =
            serde_json::from_str(&body(&Refusal::SignatureMissing, Some("application/json"))).unwrap();
        let text = "Access was denied to this resource.\n\n\n\n\n";
        assert_eq!(denied, json!({"message": text, "code": "403 Forbidden", "title": "Forbidden"}));
        assert_eq!(body(&Refusal::SignatureMissing, Some("text/plain")), format!("403 Forbidden\n\n{text}"));
        let missing: Value =
            serde_json::from_str(&body(&Refusal::NotFound("/nowhere".into()), None)).unwrap();
        assert_eq!(missing["message"], "The resource could not be found.\n\n\n/nowhere\n\n");
        assert_eq!(body(&Refusal::BadSignature, Some("text/html")), r#"{"request":"Bad Signature"}"#);
    }

    #[test]
    fn a_long_path_is_truncated() {
        let named = |length: usize| {
            body(&Refusal::NotFound("ž".repeat(length)), Some("text/plain")).matches('ž').count()
        };
        assert_eq!([named(999), named(1_000), named(30_000)], [999, 1_000, 1_000]);
    }

    #[test]
    fn html_is_sent_only_if_accepted_and_is_escaped() {
        let page = body(&Refusal::NotFound("/<script>".into()), Some("text/html,*/*;q=0.8"));
        assert!(page.contains("<title>404 Not Found</title>") && page.contains("/&lt;script&gt;"));
        assert_eq!(ResponseForm::named_in("*/*"), ResponseForm::Json);
        assert_eq!(ResponseForm::named_in("application/json, text/plain, */*"), ResponseForm::Json);
        assert_eq!(ResponseForm::named_in("text/html;q=0.2, application/json;q=0.9"), ResponseForm::Json);
        assert_eq!(ResponseForm::named_in("TEXT/HTML; q=0"), ResponseForm::Json);
        assert_eq!(ResponseForm::named_in("text/plain"), ResponseForm::Plain);
    }

    #[test]
    fn only_a_refusal_that_may_have_taken_effect_has_the_header_and_names_the_key() {
        for refusal in Refusal::one_of_each().into_iter().chain([Refusal::EngineTimeout { was_sent: false }])
        {
            let uncertain = refusal == Refusal::EngineTimeout { was_sent: true };
            let header = refusal.response(None).headers().get(UNCERTAIN_HEADER).cloned();
            assert_eq!(
                header.as_ref().map(|value| value.as_bytes()),
                uncertain.then_some(&b"1"[..]),
                "{refusal}"
            );
            if matches!(refusal, Refusal::EngineTimeout { .. }) {
                assert_eq!(body(&refusal, None).contains("Idempotency-Key"), uncertain);
            }
        }
    }

    #[test]
    fn temporary_refusals_have_a_retry_after() {
        let after = |refusal: Refusal| {
            let answer = refusal.response(None);
            answer.headers().get("retry-after").unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(after(Refusal::Busy), "1");
        // An event stream is answered with a time as well, because browsers give up after a refusal.
        for of_engine in
            [Refusal::EngineUnavailable, Refusal::EngineTimeout { was_sent: true }, Refusal::EngineFull]
        {
            assert_eq!(after(of_engine), "1");
        }
        assert_eq!(after(OverLimit::of(Limit::Sessions, 9).into()), "5");
        assert_eq!(after(Refusal::TooManyTries(77)), "77");
    }
}
