//! The reasons for which a token is refused.

use std::fmt;

use serde_json::json;

use crate::config::MIN_TOKEN_SECRET_BYTES;
use crate::http_error::Refusal;
use crate::telemetry::causes::TokenCause;

/// Why a token is refused. No variant contains a part of the token except the name of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// The server requires a token, and none was sent.
    Missing,
    TooLong {
        max_bytes: usize,
    },
    /// It has not three parts, or a part is not what RFC 7515 and RFC 7519 require.
    Malformed,
    /// The settings do not accept its algorithm.
    Algorithm,
    /// No key, or more than one, fits the header.
    Key,
    /// All secrets are too short for tokens.
    ShortSecret,
    Signature,
    Audience,
    Issuer,
    Expired {
        ago_s: u64,
    },
    NotYetValid {
        ahead_s: u64,
    },
    IssuedAhead {
        ahead_s: u64,
    },
    /// A claim is missing or wrong.
    Claim {
        name: String,
        reason: String,
    },
    /// It was issued before a time that the application has set for the user, or its time of issue is unknown.
    Revoked,
}

impl TokenFault {
    pub fn claim(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Claim { name: name.into(), reason: reason.into() }
    }

    /// What operators act on.
    pub fn cause(&self) -> TokenCause {
        match self {
            Self::Missing => TokenCause::Missing,
            Self::TooLong { .. } | Self::Malformed => TokenCause::Malformed,
            Self::Algorithm | Self::Key | Self::ShortSecret => TokenCause::Key,
            Self::Signature => TokenCause::Signature,
            Self::Audience | Self::Issuer | Self::Claim { .. } => TokenCause::Claims,
            Self::Expired { .. } => TokenCause::Expired,
            Self::NotYetValid { .. } | Self::IssuedAhead { .. } => TokenCause::NotYetValid,
            Self::Revoked => TokenCause::Revoked,
        }
    }

    /// The word for it in answers on an open websocket.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLong { .. } => "too-long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Key | Self::ShortSecret => "key",
            Self::Signature => "signature",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } | Self::IssuedAhead { .. } => "not-yet-valid",
            Self::Claim { .. } => "claims",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("A token is required."),
            Self::TooLong { max_bytes } => write!(f, "It is longer than {max_bytes} bytes."),
            Self::Malformed => f.write_str("It is not a valid JSON Web Token."),
            Self::Algorithm => f.write_str("Its algorithm is not accepted."),
            Self::Key => f.write_str("Its header selects no key of the server."),
            Self::ShortSecret => {
                write!(f, "The server's secrets are shorter than {MIN_TOKEN_SECRET_BYTES} bytes.")
            }
            Self::Signature => f.write_str("Its signature is wrong."),
            Self::Audience => f.write_str("It is for another audience."),
            Self::Issuer => f.write_str("It is from another issuer."),
            Self::Expired { ago_s } => write!(f, "It expired {ago_s} s ago."),
            Self::NotYetValid { ahead_s } => write!(f, "It becomes valid in {ahead_s} s."),
            Self::IssuedAhead { ahead_s } => {
                write!(f, "It was issued {ahead_s} s in the future: the clocks differ.")
            }
            Self::Claim { name, reason } => write!(f, "Its claim `{name}` is refused: {reason}"),
            Self::Revoked => f.write_str("It was revoked."),
        }
    }
}

impl From<TokenFault> for Refusal {
    fn from(fault: TokenFault) -> Self {
        Refusal::TokenRefused(json!({ "token": [fault.to_string()] }))
    }
}
