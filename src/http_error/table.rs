//! The table of refusals: status, stable code, text and condition of each.

use super::{MaxBody, OverLimit, Refusal};
use crate::telemetry::limits::Limit;
use actix_web::http::StatusCode;
use serde_json::json;

/// The original's text for every 401 of its framework.
const UNAUTHORIZED: &str = "This server could not verify that you are authorized to access the document you \
    requested.  Either you supplied the wrong credentials (e.g., bad password), or your browser does not understand \
    how to supply the credentials required.";
/// The original's text for every 403.
const FORBIDDEN: &str = "Access was denied to this resource.";
/// The original's text for every 404.
const NOT_FOUND: &str = "The resource could not be found.";

/// One line of the table.
pub(super) struct RefusalRow {
    pub status: StatusCode,
    pub code: &'static str,
    pub text: &'static str,
    /// The condition for it, as text of the OpenAPI document.
    pub when: &'static str,
}

impl Refusal {
    /// The table: status, stable code, text and condition of every refusal.
    pub(super) fn row(&self) -> RefusalRow {
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
                "the token is missing where one is required, or it is expired, revoked or otherwise not valid.",
            ),
            Self::TokenMismatch => (
                S::FORBIDDEN,
                "token-mismatch",
                "The connection belongs to another user.",
                "the token is valid, but for a user other than the connection's.",
            ),
            Self::Blocked => (
                S::FORBIDDEN,
                "blocked",
                "The application has blocked this user.",
                "the application has blocked the user with `/block` or `/end`.",
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
            Self::IdempotencyKeyReused => (
                S::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "This Idempotency-Key was used for another request.",
                "the `Idempotency-Key` was used for a request with another method or body.",
            ),
            Self::IdempotencyInProgress => (
                S::CONFLICT,
                "idempotency-in-progress",
                "The first request with this Idempotency-Key is not answered yet.",
                "the first request with this `Idempotency-Key` is not answered yet.",
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
                "a mailbox, a share of memory or the demo's rate is used up; the same request may pass a moment later.",
            ),
            Self::Draining => {
                (S::SERVICE_UNAVAILABLE, "draining", "The server is stopping.", "the server is stopping.")
            }
            Self::EngineUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "engine-unavailable",
                "The server has no connection to Redis; nothing was done.",
                "the node has no connection to Redis, or too many requests wait for Redis. Nothing was done.",
            ),
            Self::EngineTimeout { was_sent } => (
                S::SERVICE_UNAVAILABLE,
                "engine-timeout",
                if *was_sent {
                    "Redis did not answer in time. The request may have taken effect; send messages, edits and deletions \
                     with an Idempotency-Key, and repeat them with the same one."
                } else {
                    "Redis did not answer in time; nothing was done."
                },
                "Redis does not answer within `engine_timeout_ms`. Nothing was done, unless the answer has the header \
                 `x-channelstream-uncertain: 1`: the request may then have taken effect. Repeat messages, edits and \
                 deletions with the same `Idempotency-Key`.",
            ),
            Self::EngineFull => (
                S::SERVICE_UNAVAILABLE,
                "engine-full",
                "Redis has no memory left; nothing was done.",
                "Redis has no memory left. Nothing was done.",
            ),
            Self::Internal => (
                S::INTERNAL_SERVER_ERROR,
                "internal",
                "The server failed to answer this request.",
                "the server failed; the request is correct.",
            ),
        };
        RefusalRow { status, code, text, when }
    }
    /// One of each kind, in the order of the enumeration.
    pub fn one_of_each() -> Vec<Self> {
        std::iter::successors(Some(Self::AddressNotAllowed), Self::successor).collect()
    }

    /// The next kind in the enumeration. The compiler requires a line here for a new one.
    fn successor(&self) -> Option<Self> {
        Some(match self {
            Self::AddressNotAllowed => Self::OriginNotAllowed,
            Self::OriginNotAllowed => Self::SignatureMissing,
            Self::SignatureMissing => Self::BadSignature,
            Self::BadSignature => Self::WellKnownSecret("came through a proxy"),
            Self::WellKnownSecret(_) => Self::CsrfToken,
            Self::CsrfToken => Self::TooManyTries(30),
            Self::TooManyTries(_) => Self::NotFound("/nowhere".into()),
            Self::NotFound(_) => Self::UnknownConnection,
            Self::UnknownConnection => Self::TokenRefused(json!({ "token": ["Not a valid token."] })),
            Self::TokenRefused(_) => Self::TokenMismatch,
            Self::TokenMismatch => Self::Blocked,
            Self::Blocked => Self::NoSuchSocket,
            Self::NoSuchSocket => Self::Invalid(json!({ "_schema": ["Invalid input type."] })),
            Self::Invalid(_) => Self::IdempotencyKeyReused,
            Self::IdempotencyKeyReused => Self::IdempotencyInProgress,
            Self::IdempotencyInProgress => Self::UnacceptableCallback,
            Self::UnacceptableCallback => Self::BodyTooLarge(MaxBody::OfSettings(8 << 20)),
            Self::BodyTooLarge(_) => Self::BodyEncoded("gzip".into()),
            Self::BodyEncoded(_) => Self::BodyTooSlow,
            Self::BodyTooSlow => Self::Malformed("This is not an HTTP/1.1 request."),
            Self::Malformed(_) => Self::HttpsRequired,
            Self::HttpsRequired => Self::UpgradeRequired,
            Self::UpgradeRequired => Self::OverLimit(OverLimit::of(Limit::Sessions, 10_000)),
            Self::OverLimit(_) => Self::Busy,
            Self::Busy => Self::Draining,
            Self::Draining => Self::EngineUnavailable,
            Self::EngineUnavailable => Self::EngineTimeout { was_sent: true },
            Self::EngineTimeout { .. } => Self::EngineFull,
            Self::EngineFull => Self::Internal,
            Self::Internal => return None,
        })
    }
}
