//! Signs API requests like the `TimestampSigner` of the Python library itsdangerous 1.1, and connection tokens.
//!
//! The programs in `tools/` call this crate instead of the server's own signer: they are clients, and a mistake of the
//! server is not repeated on their side.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::digest::block_api::BlockSizeUser as _;
use hmac::{Hmac, KeyInit, Mac as _};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

/// Signs a value with the current time.
pub fn sign_now(secret: &str, value: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    sign(secret, value, now)
}

/// Signs a value: `value.timestamp.mac`, both additions in URL-safe base64 without padding.
pub fn sign(secret: &str, value: &str, unix_seconds: u64) -> String {
    let timestamp = unix_seconds.to_be_bytes();
    let zeros = timestamp.iter().take_while(|byte| **byte == 0).count();
    let mut token = format!("{value}.");
    URL_SAFE_NO_PAD.encode_string(&timestamp[zeros..], &mut token);
    let mac = keyed(secret).chain_update(token.as_bytes()).finalize().into_bytes();
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(mac, &mut token);
    token
}

/// A JSON Web Token with these claims, signed with HS256 (RFC 7518, section 3.2).
pub fn hs256(secret: &str, claims: &str) -> String {
    let mut token = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let hashed = Sha256::digest(secret);
    // HMAC hashes keys that are longer than a block.
    let key = if secret.len() > Sha256::block_size() { &hashed[..] } else { secret.as_bytes() };
    let mac = hmac::<Hmac<Sha256>>(key).chain_update(&token).finalize().into_bytes();
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(mac, &mut token);
    token
}

fn keyed(secret: &str) -> Hmac<Sha1> {
    let derived = Sha1::new().chain_update("itsdangerous.Signer").chain_update("signer").chain_update(secret);
    hmac(&derived.finalize())
}

/// The HMAC of a key that is not longer than a block of its hash.
fn hmac<M: KeyInit>(key: &[u8]) -> M {
    // HMAC extends a short key with zeros to the block. With a whole block `new` cannot fail.
    let mut block = hmac::digest::Key::<M>::default();
    block[..key.len()].copy_from_slice(key);
    M::new(&block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_equal_those_of_itsdangerous() {
        let token = |value| sign("secret", value, 1_700_000_000);
        assert_eq!(token("channelstream"), "channelstream.ZVPxAA.UB9ITnnv9UITu0ka92WJCn1VFsQ");
        assert_eq!(token("/connect"), "/connect.ZVPxAA.LGgz2XYmQrtshS37benqptPevTY");
        assert_eq!(token(""), ".ZVPxAA.WYsUeUJN4PkBBW_LVSlQ0rYdDtU");
    }

    #[test]
    fn tokens_equal_those_of_other_libraries() {
        let claims = r#"{"sub":"1234567890","name":"John Doe","iat":1516239022}"#;
        assert_eq!(
            hs256("your-256-bit-secret", claims),
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
             eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.\
             SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
        );
        let long_key = hs256(&"k".repeat(65), "{}");
        assert_eq!(
            long_key,
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.6l9SOGhq_OSrGQ76RMEvZ8TxVfsbbMFr-Dsox3NeVMw"
        );
    }
}
