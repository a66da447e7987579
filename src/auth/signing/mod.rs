//! Signatures of API requests in the format of `TimestampSigner` of itsdangerous 1.1.
//!
//! A token is `value.timestamp.mac`, split from the right: the value may be empty or contain dots, and is not compared
//! with anything. The timestamp is big-endian Unix seconds without leading zero bytes, the MAC is HMAC-SHA1 over
//! `value.timestamp`, both in URL-safe base64 without padding. The key is derived from the secret as
//! `SHA1("itsdangerous.Signer" + "signer" + secret)`.
//!
//! Decoding is as lenient as Python's: it accepts both base64 alphabets, also mixed, padding or none, and unused bits in
//! the last character. The browser library of the original needs that, because its signer replaces only the first `=`,
//! `+` and `/` of the encoded text.

pub mod request_signature;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};
use sha2::Sha256;

use crate::config::Secret;

/// The greatest age of an accepted signature while `check_signature_age` is on, in seconds, inclusive.
pub const MAX_AGE_S: u64 = 60;

const SALT: &[u8] = b"itsdangerous.Signer";
const SEPARATOR: u8 = b'.';
const MAC_BYTES: usize = 20;
const MAC_CHARS: usize = 27;
/// A timestamp has at most eight bytes, which are eleven characters.
const TIMESTAMP_CHARS: usize = 11;

/// Decodes text in the standard alphabet and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// A valid signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The index of the secret that made it.
    pub secret_index: usize,
    /// Its age in seconds; negative if its time is ahead of the server's.
    pub age_s: i64,
}

/// The reason for which a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSignature {
    /// There is no dot in the token.
    NoSeparator,
    /// The MAC is not base64.
    BadBase64,
    /// The MAC does not have the 20 bytes of SHA-1.
    MacLength { bytes: usize },
    /// None of the secrets makes this MAC.
    WrongMac,
    /// The MAC is valid, but there is no timestamp before it.
    NoTimestamp,
    /// The MAC is valid, but the timestamp is not base64 of at most eight bytes.
    BadTimestamp,
    /// The MAC is valid, but the signature is older than allowed.
    TooOld { age_s: i64, max_age_s: u64 },
}

impl std::fmt::Display for BadSignature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSeparator => f.write_str("there is no dot in it"),
            Self::BadBase64 => f.write_str("its mac is not base64"),
            Self::MacLength { bytes } => write!(f, "its mac has {bytes} bytes instead of {MAC_BYTES}"),
            Self::WrongMac => f.write_str("its mac was made with another secret or for another text"),
            Self::NoTimestamp => f.write_str("it has no timestamp"),
            Self::BadTimestamp => f.write_str("its timestamp cannot be read"),
            Self::TooOld { age_s, max_age_s } => write!(f, "it is {age_s} s old, {max_age_s} s are allowed"),
        }
    }
}

impl std::error::Error for BadSignature {}

/// The keys derived from all active secrets, ready to sign and verify.
#[derive(Clone)]
pub struct Keys {
    /// HMAC states that have already hashed the key: a request clones one instead of hashing the key again.
    keyed: Vec<Hmac<Sha1>>,
    /// The states for signatures that are bound to a request.
    bound: Vec<Hmac<Sha256>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({} secrets)", self.keyed.len())
    }
}

impl Keys {
    /// Derives the keys. All secrets verify, the first one signs. Without secrets, no signature is valid.
    pub fn new(secrets: &[Secret]) -> Self {
        Self {
            keyed: secrets.iter().map(|secret| keyed(secret.expose())).collect(),
            bound: secrets.iter().map(|secret| request_signature::keyed(secret.expose())).collect(),
        }
    }

    /// Signs a value. Without a secret it uses the empty one, which the settings of a server do not allow.
    pub fn sign(&self, value: &str, now_unix: u64) -> String {
        let bytes = now_unix.to_be_bytes();
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let mut token = format!("{value}.");
        URL_SAFE_NO_PAD.encode_string(&bytes[zeros..], &mut token);
        let state = self.keyed.first().cloned().unwrap_or_else(|| keyed(""));
        let mac = state.chain_update(token.as_bytes()).finalize().into_bytes();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(mac, &mut token);
        token
    }

    /// Checks a token. `max_age_s` of `None` switches the age check off. A time ahead of the server's always passes.
    ///
    /// # Errors
    /// The first error of the token; the age is checked only if the MAC is valid.
    pub fn verify(
        &self,
        token: impl AsRef<[u8]>,
        now_unix: u64,
        max_age_s: Option<u64>,
    ) -> Result<Verified, BadSignature> {
        let (signed, mac) = split_last(token.as_ref()).ok_or(BadSignature::NoSeparator)?;
        let mac = decode_mac(mac)?;
        let secret_index = self.signing_secret(signed, &mac).ok_or(BadSignature::WrongMac)?;
        let (_, timestamp) = split_last(signed).ok_or(BadSignature::NoTimestamp)?;
        let signed_at = decode_timestamp(timestamp).ok_or(BadSignature::BadTimestamp)?;
        let age_s = difference(now_unix, signed_at);
        match max_age_s {
            Some(max_age_s) if u64::try_from(age_s).is_ok_and(|age| age > max_age_s) => {
                Err(BadSignature::TooOld { age_s, max_age_s })
            }
            _ => Ok(Verified { secret_index, age_s }),
        }
    }

    fn signing_secret(&self, signed: &[u8], mac: &[u8; MAC_BYTES]) -> Option<usize> {
        self.keyed.iter().position(|state| state.clone().chain_update(signed).verify_slice(mac).is_ok())
    }
}

/// The Unix second at which a token claims to be signed; its MAC is not checked.
pub fn claimed_time(token: &str) -> Option<u64> {
    let (signed, _) = split_last(token.as_bytes())?;
    let (_, timestamp) = split_last(signed)?;
    decode_timestamp(timestamp)
}

fn keyed(secret: &str) -> Hmac<Sha1> {
    let derived = Sha1::new().chain_update(SALT).chain_update(b"signer").chain_update(secret).finalize();
    // HMAC pads a short key with zeros to the block size of the hash. A key that is padded here cannot cause an error.
    let mut block = hmac::digest::Key::<Hmac<Sha1>>::default();
    block[..derived.len()].copy_from_slice(&derived);
    Hmac::new(&block)
}

fn split_last(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = text.iter().rposition(|byte| *byte == SEPARATOR)?;
    Some((&text[..dot], &text[dot + 1..]))
}

fn difference(now_unix: u64, signed_at: u64) -> i64 {
    let seconds = i128::from(now_unix) - i128::from(signed_at);
    i64::try_from(seconds).unwrap_or(if seconds > 0 { i64::MAX } else { i64::MIN })
}

fn decode_mac(text: &[u8]) -> Result<[u8; MAC_BYTES], BadSignature> {
    let text = without_padding(text);
    if text.len() != MAC_CHARS {
        return Err(match text.iter().all(|byte| is_base64(*byte)) && text.len() % 4 != 1 {
            true => BadSignature::MacLength { bytes: text.len() * 3 / 4 },
            false => BadSignature::BadBase64,
        });
    }
    let mut mac = [0; MAC_BYTES];
    decode::<MAC_CHARS>(text, &mut mac).ok_or(BadSignature::BadBase64)?;
    Ok(mac)
}

fn decode_timestamp(text: &[u8]) -> Option<u64> {
    let text = without_padding(text);
    let mut bytes = [0; 8];
    let length = decode::<TIMESTAMP_CHARS>(text, &mut bytes)?;
    Some(bytes[..length].iter().fold(0, |seconds, byte| seconds << 8 | u64::from(*byte)))
}

/// Decodes at most `N` characters into `out`. It runs for every request, so it uses the stack only.
fn decode<const N: usize>(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut standard = [0; N];
    let standard = standard.get_mut(..text.len())?;
    for (to, from) in standard.iter_mut().zip(text) {
        *to = match from {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        };
    }
    LENIENT.decode_slice(standard, out).ok()
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

fn without_padding(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_700_000_000;
    const PLAIN: &str = "channelstream.ZVPxAA.UB9ITnnv9UITu0ka92WJCn1VFsQ";

    fn keys(secrets: &[&str]) -> Keys {
        Keys::new(&secrets.iter().map(|text| Secret::new(*text)).collect::<Vec<_>>())
    }

    fn verify(token: impl AsRef<[u8]>) -> Result<Verified, BadSignature> {
        keys(&["secret"]).verify(token, NOW, Some(MAX_AGE_S))
    }

    #[derive(serde::Deserialize)]
    struct Vectors {
        vectors: Vec<Vector>,
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        name: String,
        secret: String,
        value: String,
        timestamp: Option<u64>,
        now: u64,
        max_age: Option<u64>,
        signature: String,
        valid: bool,
    }

    #[test]
    fn every_reference_vector_passes() {
        let text = include_str!("../../../tests/data/signatures.json");
        let vectors: Vectors = serde_json::from_str(text).unwrap();
        assert!(vectors.vectors.len() > 30);
        for vector in vectors.vectors {
            let keys = keys(&[&vector.secret]);
            let verified = keys.verify(&vector.signature, vector.now, vector.max_age);
            assert_eq!(verified.is_ok(), vector.valid, "{}: {verified:?}", vector.name);
            if let (true, Some(timestamp)) = (vector.valid, vector.timestamp) {
                let signed = keys.sign(&vector.value, timestamp);
                assert!(keys.verify(&signed, vector.now, vector.max_age).is_ok(), "{}", vector.name);
            }
        }
    }

    #[test]
    fn signs_like_itsdangerous() {
        assert_eq!(keys(&["secret"]).sign("channelstream", NOW), PLAIN);
        assert_eq!(keys(&["secret"]).sign("", NOW), ".ZVPxAA.WYsUeUJN4PkBBW_LVSlQ0rYdDtU");
    }

    #[test]
    fn lenient_base64_is_accepted_but_no_other_bytes() {
        let is_valid = |token: &str| verify(token).is_ok();
        assert!(is_valid(&format!("{PLAIN}=")) && is_valid(&format!("{PLAIN}=====")));
        assert!(is_valid(&format!("{}R", &PLAIN[..PLAIN.len() - 1])), "unused bits of the last character");
        for bad in ["\n", " ", "\r\n", "é", "\0", "=x", "\u{a0}"] {
            assert_eq!(verify(format!("{PLAIN}{bad}")), Err(BadSignature::BadBase64), "{bad:?}");
        }
        assert_eq!(verify([PLAIN.as_bytes(), b"\xff"].concat()), Err(BadSignature::BadBase64));
    }

    #[test]
    fn every_refusal_has_its_reason() {
        assert_eq!(verify("garbage"), Err(BadSignature::NoSeparator));
        assert_eq!(verify(""), Err(BadSignature::NoSeparator));
        assert_eq!(verify("a.ZVPxAA."), Err(BadSignature::MacLength { bytes: 0 }));
        assert_eq!(verify(PLAIN.replace("UB9", "UB8")), Err(BadSignature::WrongMac));
        assert_eq!(verify("channelstream.fGFyjyEgd-1SOsY7X_LJ1TB9z1E"), Err(BadSignature::NoTimestamp));
        assert_eq!(verify("channelstream.$$$.cyvLClo8ratPNn9xFGFDR2Rg_9s"), Err(BadSignature::BadTimestamp));
        let late = keys(&["secret"]).verify(PLAIN, NOW + 61, Some(60));
        assert_eq!(late, Err(BadSignature::TooOld { age_s: 61, max_age_s: 60 }));
    }

    #[test]
    fn verifying_returns_age_and_secret() {
        let keys = keys(&["new", "secret"]);
        let verified = keys.verify(PLAIN, NOW + 60, Some(60)).unwrap();
        assert_eq!(verified, Verified { secret_index: 1, age_s: 60 });
        assert_eq!(keys.verify(PLAIN, NOW - 3600, Some(60)).unwrap().age_s, -3600);
        assert!(keys.verify(PLAIN, u64::MAX, None).is_ok());
        assert_eq!(Keys::new(&[]).verify(PLAIN, NOW, None), Err(BadSignature::WrongMac));
        assert_eq!(format!("{keys:?}"), "Keys(2 secrets)");
    }

    #[test]
    fn claimed_times_are_read_without_a_secret() {
        assert_eq!(claimed_time(PLAIN), Some(NOW));
        assert_eq!(claimed_time("a.b"), None);
        assert_eq!(claimed_time("a..mac"), Some(0));
    }

    proptest! {
        #[test]
        fn a_signed_token_is_valid(secret in ".*", value in ".*", now in any::<u64>()) {
            let keys = keys(&[&secret]);
            let token = keys.sign(&value, now);
            prop_assert_eq!(keys.verify(&token, now, Some(0)), Ok(Verified { secret_index: 0, age_s: 0 }));
            prop_assert_eq!(claimed_time(&token), Some(now));
        }

        #[test]
        fn a_changed_token_is_refused(value in "[a-z.]{0,9}", at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let keys = keys(&["secret"]);
            let mut token = keys.sign(&value, NOW).into_bytes();
            // The last character of the MAC has unused bits, and the two alphabets have equivalent characters.
            let at = at.index(token.len() - 1);
            let to_standard = |byte| match byte { b'-' => b'+', b'_' => b'/', other => other };
            prop_assume!(to_standard(token[at]) != to_standard(to));
            token[at] = to;
            prop_assert!(keys.verify(&token, NOW, None).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(token in any::<Vec<u8>>(), now in any::<u64>()) {
            prop_assert!(keys(&["secret"]).verify(&token, now, Some(60)).is_err());
        }
    }
}
