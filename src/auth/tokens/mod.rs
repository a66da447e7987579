//! Connection tokens: JSON Web Tokens (RFC 7519) that let a browser connect without a request of its backend.
//!
//! The settings pin the algorithms. A token's header only selects among them, and each algorithm has its own keys and its
//! own [`Validation`], so that no key is ever used with another algorithm (RFC 8725, sections 3.1 and 3.2).

mod fault;
mod header;
mod keys;
mod times;
#[cfg(test)]
mod vector_tests;

use std::net::IpAddr;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::value::RawValue;

use super::secrets::Secrets;
use crate::config::{MIN_TOKEN_SECRET_BYTES, Settings, SettingsError};
pub use fault::TokenFault;
use header::TokenHeader;
pub use header::claimed;
use keys::PublicKeys;
use times::Times;

/// The tolerance for clocks that differ, in seconds. It applies to `exp`, `nbf` and `iat`.
pub const LEEWAY_S: u64 = 5;

/// Verifies tokens by the settings that it was made from.
#[derive(Debug)]
pub struct TokenVerifier {
    /// One for each accepted algorithm.
    validations: Vec<(Algorithm, Validation)>,
    public_keys: PublicKeys,
    max_bytes: usize,
    /// Shorter secrets verify no token.
    min_secret_bytes: usize,
}

/// A token whose signature, times, audience and issuer were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// All claims, as the text of a JSON object whose names are unique.
    pub claims: String,
    /// The claim `exp`, in Unix seconds. The token is valid until [`LEEWAY_S`] later.
    pub expires_unix: u64,
    /// The claim `iat`, in Unix seconds.
    pub issued_unix: Option<u64>,
    /// The number of the secret that signed it; `None` for an algorithm with public keys.
    pub secret: Option<usize>,
}

impl TokenVerifier {
    /// A verifier without public keys.
    pub fn without_files(settings: &Settings) -> Self {
        let validation = |algorithm: &Algorithm| (*algorithm, validation(*algorithm, settings));
        Self {
            validations: settings.token_algorithms.iter().map(validation).collect(),
            public_keys: PublicKeys::default(),
            max_bytes: settings.max_token_bytes,
            min_secret_bytes: if settings.listens_on_loopback() { 1 } else { MIN_TOKEN_SECRET_BYTES },
        }
    }

    /// Reads the key files as well. Also returns warnings about keys that it ignores.
    ///
    /// # Errors
    /// A file cannot be read or has no usable content, or an accepted algorithm has no key.
    pub fn load(settings: &Settings) -> Result<(Self, Vec<String>), SettingsError> {
        let (public_keys, warnings) = PublicKeys::load(settings)?;
        Ok((Self { public_keys, ..Self::without_files(settings) }, warnings))
    }

    /// The names of the public keys, sorted.
    pub fn key_names(&self) -> String {
        self.public_keys.names()
    }

    /// Checks a token. `peer` is the sender, for the record of the secret's use.
    ///
    /// # Errors
    /// The first fault that is found. It contains no part of the token except names of claims.
    pub fn verify(
        &self,
        token: &str,
        secrets: &Secrets,
        peer: Option<IpAddr>,
        now_unix: u64,
    ) -> Result<VerifiedToken, TokenFault> {
        if token.len() > self.max_bytes {
            return Err(TokenFault::TooLong { max_bytes: self.max_bytes });
        }
        let header = TokenHeader::read(token)?;
        let accepted = self.validations.iter().find(|(algorithm, _)| header.names(*algorithm));
        let (algorithm, validation) = accepted.ok_or(TokenFault::Algorithm)?;
        let (claims, secret) = match algorithm {
            Algorithm::HS256 => {
                let (claims, index) = self.by_secrets(token, validation, secrets)?;
                (claims, Some(secrets.record(index, peer, now_unix)))
            }
            _ => {
                let key = self.public_keys.select(*algorithm, header.kid.as_deref());
                (checked(token, key.ok_or(TokenFault::Key)?, validation)?, None)
            }
        };
        let times = Times::read(claims.get())?;
        times.check(now_unix)?;
        Ok(VerifiedToken {
            claims: claims.get().to_owned(),
            expires_unix: times.expires_unix,
            issued_unix: times.issued_unix,
            secret,
        })
    }

    /// Tries the secrets in their order. Also returns the index of the one that signed the token.
    fn by_secrets(
        &self,
        token: &str,
        validation: &Validation,
        secrets: &Secrets,
    ) -> Result<(Box<RawValue>, usize), TokenFault> {
        let mut fault = TokenFault::ShortSecret;
        for (index, secret) in secrets.signing().enumerate() {
            let bytes = secret.expose().as_bytes();
            let Some(key) =
                DecodingKey::from_secret(bytes).ok().filter(|_| bytes.len() >= self.min_secret_bytes)
            else {
                continue;
            };
            match checked(token, &key, validation) {
                Ok(claims) => return Ok((claims, index)),
                Err(TokenFault::Signature) => fault = TokenFault::Signature,
                Err(other) => return Err(other),
            }
        }
        Err(fault)
    }
}

/// The crate compares signature, algorithm, audience and issuer. It cannot read times in this build, because serde_json
/// presents numbers as texts (`arbitrary_precision`), and does not check `iat` at all; [`Times`] checks them.
fn validation(algorithm: Algorithm, settings: &Settings) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    validation.set_audience(&[&settings.token_audience]);
    if let Some(issuer) = &settings.token_issuer {
        validation.set_issuer(&[issuer]);
        validation.required_spec_claims.insert("iss".into());
    }
    validation
}

fn checked(token: &str, key: &DecodingKey, validation: &Validation) -> Result<Box<RawValue>, TokenFault> {
    decode::<Box<RawValue>>(token, key, validation).map(|data| data.claims).map_err(|error| {
        match error.kind() {
            ErrorKind::InvalidSignature => TokenFault::Signature,
            ErrorKind::InvalidAudience => TokenFault::Audience,
            ErrorKind::InvalidClaimFormat(claim) if claim == "aud" => TokenFault::Audience,
            ErrorKind::InvalidIssuer
            | ErrorKind::InvalidClaimFormat(_)
            | ErrorKind::MissingRequiredClaim(_) => TokenFault::Issuer,
            _ => TokenFault::Malformed,
        }
    })
}
