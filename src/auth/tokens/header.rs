//! The header of a token: the algorithm and the key that it names.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::fault::TokenFault;
use crate::config::algorithm_name;

/// The two members of the header that select a key. All others are read where the signature is checked, which refuses
/// critical extensions (RFC 7515, section 4.1.11).
#[derive(Debug, Deserialize)]
pub(super) struct TokenHeader {
    alg: String,
    pub kid: Option<String>,
}

/// The header and the claims of a token whose signature may be wrong, to explain it. `None` for another text.
pub fn claimed(token: &str) -> Option<(Value, Map<String, Value>)> {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let (header, claims) = (parts.next()??, parts.next()??);
    Some((serde_json::from_slice(&header).ok()?, serde_json::from_slice(&claims).ok()?))
}

impl TokenHeader {
    /// Reads the header of a token, whose signature is not checked yet.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn read(token: &str) -> Result<Self, TokenFault> {
        let mut parts = token.split('.');
        let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFault::Malformed);
        };
        let bytes = URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenFault::Malformed)?;
        serde_json::from_slice(&bytes).map_err(|_| TokenFault::Malformed)
    }

    /// Whether it names this algorithm.
    pub fn names(&self, algorithm: Algorithm) -> bool {
        self.alg == algorithm_name(algorithm)
    }
}
