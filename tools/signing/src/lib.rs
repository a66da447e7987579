//! Signs API requests like the `TimestampSigner` of the Python library itsdangerous 1.1.
//!
//! The programs in `tools/` call this crate instead of the server's own signer: they are clients, and a mistake of the
//! server is not repeated on their side.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::{Digest as _, Sha1};

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

fn keyed(secret: &str) -> Hmac<Sha1> {
    let derived = Sha1::new().chain_update("itsdangerous.Signer").chain_update("signer").chain_update(secret);
    // HMAC extends a short key with zeros to the block of the hash. With a whole block `new` cannot fail.
    let mut block = hmac::digest::Key::<Hmac<Sha1>>::default();
    let derived = derived.finalize();
    block[..derived.len()].copy_from_slice(&derived);
    Hmac::new(&block)
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
}
