//! The public keys that verify tokens, from a PEM file and a JSON Web Key Set (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::config::{Settings, SettingsError, algorithm_name, read_named_file};

const PRIVATE: &str = "it is a private key, which the server must not have";
/// The most keys of a set.
const MAX_KEYS: usize = 100;
/// Sizes of RSA moduli that the cryptographic library verifies, in bytes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

#[derive(Debug, Default)]
pub(super) struct PublicKeys(Vec<PublicKey>);

#[derive(Debug)]
struct PublicKey {
    algorithm: Algorithm,
    /// The key's `kid`; the key of a PEM file has none.
    id: Option<String>,
    key: DecodingKey,
}

impl PublicKeys {
    /// Reads the files of the settings, if an accepted algorithm needs them. Also returns warnings about keys that are
    /// ignored.
    ///
    /// # Errors
    /// A file cannot be read or has no usable content, or an accepted algorithm has no key.
    pub fn load(settings: &Settings) -> Result<(Self, Vec<String>), SettingsError> {
        let needed: Vec<_> =
            settings.token_algorithms.iter().filter(|algorithm| **algorithm != Algorithm::HS256).collect();
        let (mut keys, mut warnings) = (Self::default(), Vec::new());
        if needed.is_empty() {
            return Ok((keys, warnings));
        }
        if let Some(file) = &settings.token_public_key {
            let key = from_pem(&read_named_file(file)?);
            let problem = |reason| SettingsError::new(format!("token_public_key: {file}: {reason}"));
            let key = key.and_then(|key| accepted(key, settings)).map_err(problem)?;
            keys.0.push(key);
        }
        if let Some(file) = &settings.token_jwks {
            let problem = |reason| SettingsError::new(format!("token_jwks: {file}: {reason}"));
            for (number, jwk) in (1..).zip(key_set(&read_named_file(file)?).map_err(problem)?) {
                let added =
                    from_value(jwk).and_then(|key| accepted(key, settings)).and_then(|key| keys.add(key));
                if let Err(reason) = added {
                    warnings.push(format!("token_jwks: {file}: key {number} is ignored: {reason}"));
                }
            }
        }
        let without =
            needed.into_iter().filter(|algorithm| !keys.0.iter().any(|key| key.algorithm == **algorithm));
        let problems = without.map(|algorithm| {
            let name = algorithm_name(*algorithm);
            format!("token_algorithms: neither token_public_key nor token_jwks has a key for {name}")
        });
        SettingsError::unless_empty(problems.collect())?;
        Ok((keys, warnings))
    }

    /// The algorithm and the id of each key, sorted.
    pub fn names(&self) -> String {
        let name = |key: &PublicKey| {
            format!("{} {}", algorithm_name(key.algorithm), key.id.as_deref().unwrap_or_default())
        };
        let mut names: Vec<_> = self.0.iter().map(name).collect();
        names.sort_unstable();
        names.join(", ")
    }

    /// The key of this algorithm that a token's `kid` selects: the key with this id, or else the only one without an id. A
    /// token without a `kid` selects the only key of its algorithm. `None` if no key or more than one fits.
    pub fn select(&self, algorithm: Algorithm, kid: Option<&str>) -> Option<&DecodingKey> {
        let of_algorithm = || self.0.iter().filter(|key| key.algorithm == algorithm);
        if let Some(named) = of_algorithm().find(|key| kid.is_some() && key.id.as_deref() == kid) {
            return Some(&named.key);
        }
        let mut fitting = of_algorithm().filter(|key| kid.is_none() || key.id.is_none());
        let first = fitting.next()?;
        fitting.next().is_none().then_some(&first.key)
    }

    fn add(&mut self, key: PublicKey) -> Result<(), String> {
        let is_known = |known: &PublicKey| known.algorithm == key.algorithm && known.id == key.id;
        if key.id.is_some() && self.0.iter().any(is_known) {
            return Err("an earlier key has the same kid".into());
        }
        self.0.push(key);
        Ok(())
    }
}

fn accepted(key: PublicKey, settings: &Settings) -> Result<PublicKey, String> {
    match settings.token_algorithms.contains(&key.algorithm) {
        true => Ok(key),
        false => Err(format!(
            "it is a key for {}, which is not in token_algorithms",
            algorithm_name(key.algorithm)
        )),
    }
}

fn from_pem(pem: &str) -> Result<PublicKey, String> {
    if pem.contains("PRIVATE KEY") {
        return Err(PRIVATE.into());
    }
    let pem = pem.as_bytes();
    let key = DecodingKey::from_rsa_pem(pem).or_else(|_| DecodingKey::from_ec_pem(pem));
    let key =
        key.or_else(|_| DecodingKey::from_ed_pem(pem)).map_err(|_| "it is no public key in PEM format")?;
    // Checked like the keys of a set.
    from_jwk(&Jwk::from_decoding_key(&key, None).map_err(|_| "it is not a key that the server can use")?)
}

fn key_set(text: &str) -> Result<Vec<Value>, String> {
    #[derive(Deserialize)]
    struct KeySet {
        keys: Vec<Value>,
    }
    let set: KeySet =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON Web Key Set: {error}"))?;
    match set.keys.len() {
        ..=MAX_KEYS => Ok(set.keys),
        count => Err(format!("it has {count} keys, more than {MAX_KEYS}")),
    }
}

fn from_value(value: Value) -> Result<PublicKey, String> {
    // The private part of all key types (RFC 7518, sections 6.2.2 and 6.3.2, and RFC 8037, section 2).
    if value.get("d").is_some() {
        return Err(PRIVATE.into());
    }
    from_jwk(&serde_json::from_value(value).map_err(|_| "it is no JSON Web Key")?)
}

fn from_jwk(jwk: &Jwk) -> Result<PublicKey, String> {
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(key) => {
            let bytes = URL_SAFE_NO_PAD.decode(&key.n).map_or(0, |modulus| modulus.len());
            if !RSA_BYTES.contains(&bytes) {
                return Err("an RSA key must have 2048 to 8192 bits".into());
            }
            (Algorithm::RS256, KeyAlgorithm::RS256)
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return Err("it is no key for RS256, ES256 (P-256) or EdDSA (Ed25519)".into()),
    };
    if jwk.common.key_algorithm.is_some_and(|of| of != named) {
        return Err("its alg is not one that the server verifies with such a key".into());
    }
    if matches!(jwk.common.public_key_use, Some(ref of) if *of != PublicKeyUse::Signature) {
        return Err("its use is not sig".into());
    }
    let key = DecodingKey::from_jwk(jwk).map_err(|_| "its parameters are not base64url")?;
    Ok(PublicKey { algorithm, id: jwk.common.key_id.clone(), key })
}
