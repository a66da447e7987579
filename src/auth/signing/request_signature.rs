//! Signatures that are bound to one request: method, path, query, body and time, and a nonce that makes each of them
//! unique. An attacker that sees such a request cannot use its signature for another one.
//!
//! The header's value is `t=TIMESTAMP,n=NONCE,v1=MAC`. The MAC is HMAC-SHA256 with the secret as key, in hexadecimal
//! digits, over six lines without a newline after the last: `channelstream-signature-v1`, the method, the path with
//! its query, the timestamp, the nonce, and the SHA-256 of the body in hexadecimal digits.

use super::Keys;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The greatest difference between the time of a signature and the server's, in seconds to either side, inclusive.
pub const WINDOW_S: u64 = 60;
/// The longest nonce, in bytes.
pub const MAX_NONCE: usize = 64;

const FIRST_LINE: &str = "channelstream-signature-v1";
const MAC_BYTES: usize = 32;

/// The parts of a request that a signature covers.
#[derive(Clone, Copy, Debug)]
pub struct BoundTo<'a> {
    /// The method as in the request line.
    pub method: &'a str,
    /// The path as the API names it, without a proxy's prefix, and with `?` and the query if there is one.
    pub target: &'a str,
    /// The bytes of the body; empty if there is none.
    pub body: &'a [u8],
}

/// A parsed signature, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundSignature {
    timestamp: u64,
    /// The timestamp as it was sent, which the MAC covers.
    timestamp_text: String,
    nonce: String,
    mac: [u8; MAC_BYTES],
}

/// The reason for which a bound signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBoundSignature {
    /// The header is not of the form `t=…,n=…,v1=…`.
    Unreadable,
    /// Its time is too far from the server's.
    OutsideWindow {
        /// Negative if its time is ahead of the server's.
        age_s: i64,
    },
    /// None of the secrets makes this MAC for this request.
    WrongMac,
}

impl std::fmt::Display for BadBoundSignature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable => f.write_str("it is not t=TIMESTAMP,n=NONCE,v1=MAC"),
            Self::OutsideWindow { age_s } => {
                write!(f, "it is {age_s} s old, {WINDOW_S} s to either side are allowed")
            }
            Self::WrongMac => f.write_str("its mac was made with another secret or for another request"),
        }
    }
}

impl BoundSignature {
    /// Parses the header's value.
    ///
    /// # Errors
    /// `Unreadable`.
    pub fn parse(value: &[u8]) -> Result<Self, BadBoundSignature> {
        std::str::from_utf8(value).ok().and_then(Self::read).ok_or(BadBoundSignature::Unreadable)
    }

    fn read(text: &str) -> Option<Self> {
        let (timestamp, rest) = text.strip_prefix("t=")?.split_once(",n=")?;
        let (nonce, mac) = rest.split_once(",v1=")?;
        let digits = timestamp.bytes().all(|byte| byte.is_ascii_digit());
        (digits && is_nonce(nonce)).then_some(())?;
        Some(Self {
            timestamp: timestamp.parse().ok()?,
            timestamp_text: timestamp.to_owned(),
            nonce: nonce.to_owned(),
            mac: from_hex(mac)?,
        })
    }

    /// The Unix second at which it claims to be made.
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Identifies the signature: half of its MAC, which is long enough to be unique.
    pub fn identity(&self) -> u128 {
        self.mac.first_chunk().map_or(0, |half| u128::from_be_bytes(*half))
    }

    /// Checks that its time is near the server's. This can be done before the body is received.
    ///
    /// # Errors
    /// `OutsideWindow`.
    pub fn check_time(&self, now_unix: u64) -> Result<(), BadBoundSignature> {
        if self.timestamp.abs_diff(now_unix) <= WINDOW_S {
            return Ok(());
        }
        Err(BadBoundSignature::OutsideWindow { age_s: super::difference(now_unix, self.timestamp) })
    }
}

impl Keys {
    /// The header's value for a request. `nonce` consists of 1 to 64 letters, digits, `-` and `_`, and must be unique.
    pub fn sign_bound(&self, request: &BoundTo<'_>, timestamp: u64, nonce: &str) -> String {
        let keyed = self.bound.first().cloned().unwrap_or_else(|| keyed(""));
        let text = text(request, &timestamp.to_string(), nonce);
        let mac = keyed.chain_update(text).finalize().into_bytes();
        format!("t={timestamp},n={nonce},v1={}", hex(&mac))
    }

    /// The index of the secret that made the signature for this request.
    ///
    /// # Errors
    /// `OutsideWindow`, `WrongMac`.
    pub fn verify_bound(
        &self,
        signature: &BoundSignature,
        request: &BoundTo<'_>,
        now_unix: u64,
    ) -> Result<usize, BadBoundSignature> {
        signature.check_time(now_unix)?;
        let text = text(request, &signature.timestamp_text, &signature.nonce);
        let made =
            |keyed: &Hmac<Sha256>| keyed.clone().chain_update(&text).verify_slice(&signature.mac).is_ok();
        self.bound.iter().position(made).ok_or(BadBoundSignature::WrongMac)
    }
}

impl Keys {
    /// Identifies an idempotency key of the secret with this index: half of a MAC, which is long enough to be unique.
    pub fn key_identity(&self, secret_index: usize, key: &str) -> Option<u128> {
        let keyed = self.bound.get(secret_index)?.clone();
        let mac = keyed.chain_update("channelstream-idempotency-key-v1\n").chain_update(key).finalize();
        mac.into_bytes().first_chunk().map(|half| u128::from_be_bytes(*half))
    }
}

/// The HMAC state that has hashed a secret as its key.
pub(super) fn keyed(secret: &str) -> Hmac<Sha256> {
    // The same steps as in HMAC: longer keys are hashed, shorter ones are padded with zeros.
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    match block.get_mut(..secret.len()) {
        Some(front) => front.copy_from_slice(secret.as_bytes()),
        None => block[..MAC_BYTES].copy_from_slice(&Sha256::digest(secret)),
    }
    Hmac::new(&block)
}

fn text(request: &BoundTo<'_>, timestamp: &str, nonce: &str) -> String {
    let BoundTo { method, target, body } = request;
    format!("{FIRST_LINE}\n{method}\n{target}\n{timestamp}\n{nonce}\n{}", hex(&Sha256::digest(body)))
}

fn is_nonce(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_NONCE).contains(&text.len()) && text.bytes().all(allowed)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; MAC_BYTES]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; MAC_BYTES];
    if pairs.len() != MAC_BYTES || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use proptest::prelude::*;

    const NOW: u64 = 1_700_000_000;

    #[derive(serde::Deserialize)]
    struct Vector {
        name: String,
        secret: String,
        method: String,
        target: String,
        body: String,
        now: u64,
        signature: String,
        valid: bool,
    }

    fn keys(secret: &str) -> Keys {
        Keys::new(&[Secret::new(secret)])
    }

    fn request<'a>(target: &'a str, body: &'a [u8]) -> BoundTo<'a> {
        BoundTo { method: "POST", target, body }
    }

    #[test]
    fn every_vector_passes() {
        let text = include_str!("../../../tests/data/bound_signatures.json");
        let vectors: Vec<Vector> = serde_json::from_str(text).unwrap();
        assert!(vectors.len() > 20);
        for vector in vectors {
            let Vector { name, secret, method, target, body, now, signature, valid } = &vector;
            let bound = BoundTo { method, target, body: body.as_bytes() };
            let verified = BoundSignature::parse(signature.as_bytes())
                .and_then(|signature| keys(secret).verify_bound(&signature, &bound, *now));
            assert_eq!(verified.is_ok(), *valid, "{name}: {verified:?}");
            if let (true, Ok(parsed)) = (*valid, BoundSignature::parse(signature.as_bytes())) {
                assert_eq!(
                    keys(secret).sign_bound(&bound, parsed.timestamp, &parsed.nonce),
                    *signature,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn verifying_returns_the_secret_that_signed() {
        let both = Keys::new(&[Secret::new("new"), Secret::new("old")]);
        let signed = keys("old").sign_bound(&request("/info", b"{}"), NOW, "n");
        let parsed = BoundSignature::parse(signed.as_bytes()).unwrap();
        assert_eq!(both.verify_bound(&parsed, &request("/info", b"{}"), NOW), Ok(1));
        assert_eq!(
            keys("new").verify_bound(&parsed, &request("/info", b"{}"), NOW),
            Err(BadBoundSignature::WrongMac)
        );
        let late = both.verify_bound(&parsed, &request("/info", b"{}"), NOW + 61);
        assert_eq!(late, Err(BadBoundSignature::OutsideWindow { age_s: 61 }));
    }

    proptest! {
        #[test]
        fn a_signature_is_valid_for_its_request_only(
            secret in ".*", target in "/[a-z?=&]{0,9}", body in any::<Vec<u8>>(), other in any::<Vec<u8>>(), nonce in "[A-Za-z0-9_-]{1,64}"
        ) {
            let signed = keys(&secret).sign_bound(&request(&target, &body), NOW, &nonce);
            let parsed = BoundSignature::parse(signed.as_bytes()).unwrap();
            let verify = |request: &BoundTo<'_>| keys(&secret).verify_bound(&parsed, request, NOW).is_ok();
            prop_assert!(verify(&request(&target, &body)));
            prop_assert_eq!(verify(&request(&target, &other)), body == other);
            let longer = format!("{target}/");
            prop_assert!(!verify(&request(&longer, &body)));
            let patch = BoundTo { method: "PATCH", ..request(&target, &body) };
            prop_assert!(!verify(&patch));
        }

        #[test]
        fn arbitrary_bytes_never_panic(value in any::<Vec<u8>>()) {
            prop_assert!(BoundSignature::parse(&value).is_err());
        }
    }
}
