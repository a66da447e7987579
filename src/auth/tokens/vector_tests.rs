//! Tokens of PyJWT and jose, attacks on their verification (`tests/data/tokens/make.py`), and random input.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::auth::secrets::Fingerprints;
use crate::config::Secret;

static VECTORS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../tests/data/tokens.json")).unwrap());

fn now() -> u64 {
    VECTORS["now"].as_u64().unwrap()
}

/// A file in the temporary folder, removed at the end of the test.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("channelstream-keys-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn name(&self) -> Option<String> {
        self.0.to_str().map(str::to_owned)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn settings(algorithms: &[Algorithm]) -> Settings {
    let secrets = VECTORS["secrets"].as_array().unwrap().iter();
    Settings {
        token_algorithms: algorithms.to_vec(),
        secrets: secrets.map(|secret| Secret::new(secret.as_str().unwrap())).collect(),
        ..Settings::default()
    }
}

fn secrets(settings: &Settings) -> Secrets {
    Secrets::new(settings, &Secret::new("random"), &Fingerprints::default(), None, now())
}

const ALL: [Algorithm; 4] = [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

fn algorithm(name: &str) -> Algorithm {
    name.parse().unwrap()
}

/// The verifier with the keys of this name in the vectors.
fn verifier(keys: &str) -> (TokenVerifier, Settings) {
    let with = match keys {
        "jwks" => {
            let file = TemporaryFile::new("jwks", &VECTORS["jwks"].to_string());
            let settings = Settings { token_jwks: file.name(), ..settings(&ALL) };
            return (TokenVerifier::load(&settings).unwrap().0, settings);
        }
        "issuer" => {
            Settings { token_issuer: Some("https://app.example".into()), ..settings(&[Algorithm::HS256]) }
        }
        name => {
            let file = TemporaryFile::new(name, VECTORS["pem"][name].as_str().unwrap());
            let settings = Settings { token_public_key: file.name(), ..settings(&[algorithm(name)]) };
            return (TokenVerifier::load(&settings).unwrap().0, settings);
        }
    };
    (TokenVerifier::without_files(&with), with)
}

#[test]
fn tokens_of_other_libraries_are_accepted_and_attacks_are_refused() {
    let verifiers = ["jwks", "issuer", "RS256", "ES256", "EdDSA"].map(|keys| (keys, verifier(keys)));
    for vector in VECTORS["tokens"].as_array().unwrap() {
        let (_, (verifier, settings)) = verifiers.iter().find(|(keys, _)| vector["keys"] == *keys).unwrap();
        let token = vector["token"].as_str().unwrap();
        let verified = verifier.verify(token, &secrets(settings), None, now());
        assert_eq!(verified.as_ref().err().map(TokenFault::word), vector["fault"].as_str(), "{vector}");
        if let Ok(verified) = verified {
            let claims: Value = serde_json::from_str(&verified.claims).unwrap();
            assert_eq!(claims["sub"], "ann", "{vector}");
        }
    }
}

#[test]
fn the_secret_that_signed_is_known_and_counted() {
    let (verifier, settings) = verifier("jwks");
    let secrets = secrets(&settings);
    let named = |name: &str| {
        let vector =
            VECTORS["tokens"].as_array().unwrap().iter().find(|vector| vector["name"] == name).unwrap();
        let peer = Some(IpAddr::from([192, 0, 2, 1]));
        verifier.verify(vector["token"].as_str().unwrap(), &secrets, peer, now()).unwrap().secret
    };
    assert_eq!(named("HS256 with the second secret"), Some(1));
    assert_eq!(named("RS256 with a kid"), None);
    let uses: Vec<_> = secrets.in_use().iter().map(|secret| secret.used.uses).collect();
    assert_eq!(uses, [0, 1]);
}

#[test]
fn a_short_secret_verifies_tokens_on_loopback_only() {
    let on = |host: &str| Settings {
        host: host.into(),
        secrets: vec![Secret::new("fifteen bytes..")],
        ..Settings::default()
    };
    let key = jsonwebtoken::EncodingKey::from_secret(b"fifteen bytes..").unwrap();
    let claims = serde_json::json!({ "sub": "ann", "exp": now() + 60 });
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    let verify = |settings: Settings| {
        TokenVerifier::without_files(&settings).verify(&token, &secrets(&settings), None, now()).map(|_| ())
    };
    assert_eq!(verify(on("::1")), Ok(()));
    assert_eq!(verify(on("0.0.0.0")), Err(TokenFault::ShortSecret));
}

#[track_caller]
fn refused(settings: Settings, why: &str) {
    let problems = TokenVerifier::load(&settings).unwrap_err().problems;
    assert!(problems.iter().any(|problem| problem.contains(why)), "{problems:?}");
}

#[test]
fn key_files_without_a_usable_key_are_refused() {
    let pem = |text: &str| {
        let file = TemporaryFile::new("wrong", text);
        let with = Settings { token_public_key: file.name(), ..settings(&[Algorithm::ES256]) };
        (file, with)
    };
    let rs256 = VECTORS["pem"]["RS256"].as_str().unwrap();
    for (text, why) in [
        ("", "no public key in PEM format"),
        ("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", "private key"),
        (rs256, "a key for RS256, which is not in token_algorithms"),
    ] {
        let (_file, with) = pem(text);
        refused(with, why);
    }
    refused(
        Settings { token_jwks: Some("/nowhere/keys".into()), ..settings(&ALL) },
        "/nowhere/keys: cannot be read",
    );
    for (text, why) in [
        ("{}".to_owned(), "no JSON Web Key Set"),
        (r#"{"keys": []}"#.into(), "nor token_jwks has a key for RS256"),
        (
            serde_json::json!({ "keys": vec![VECTORS["jwks"]["keys"][0].clone(); 101] }).to_string(),
            "101 keys",
        ),
    ] {
        let file = TemporaryFile::new("wrong-set", &text);
        refused(Settings { token_jwks: file.name(), ..settings(&ALL) }, why);
    }
}

#[test]
fn keys_that_the_server_cannot_use_are_ignored_with_a_warning() {
    let mut set = VECTORS["jwks"].clone();
    let keys = set["keys"].as_array_mut().unwrap();
    let changed = |name: &str, value: &str| {
        let mut key = VECTORS["jwks"]["keys"][1].clone();
        key[name] = value.into();
        key
    };
    let mut private = changed("kid", "private");
    private["d"] = "AQAB".into();
    keys.extend([
        changed("crv", "P-384"),
        changed("alg", "ES384"),
        changed("use", "enc"),
        changed("x", "!"),
        changed("kty", "new"),
        private,
        VECTORS["jwks"]["keys"][1].clone(),
        serde_json::json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "h" }),
        serde_json::json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "r" }),
        Value::from(7),
    ]);
    let file = TemporaryFile::new("mixed", &set.to_string());
    let (verifier, warnings) =
        TokenVerifier::load(&Settings { token_jwks: file.name(), ..settings(&ALL) }).unwrap();
    assert_eq!(warnings.len(), 10, "{warnings:?}");
    assert!(
        warnings[0].starts_with("token_jwks: ") && warnings[0].contains(": key 7 is ignored: "),
        "{warnings:?}"
    );
    assert!(verifier.public_keys.select(Algorithm::ES256, Some("ES256-1")).is_some());
    assert!(verifier.public_keys.select(Algorithm::ES256, Some("h")).is_none());
    assert!(verifier.public_keys.select(Algorithm::ES256, Some("private")).is_none());
}

static RANDOM: LazyLock<(TokenVerifier, Secrets)> = LazyLock::new(|| {
    let (verifier, settings) = verifier("jwks");
    (verifier, secrets(&settings))
});

proptest! {
    #[test]
    fn no_text_makes_the_verifier_panic(token in any::<String>()) {
        prop_assert!(RANDOM.0.verify(&token, &RANDOM.1, None, now()).is_err());
    }

    /// A token with one character replaced is never accepted with other claims.
    #[test]
    fn no_change_of_a_token_is_accepted(vector in 0..100_usize, at in any::<prop::sample::Index>(), with in any::<char>()) {
        let tokens = VECTORS["tokens"].as_array().unwrap();
        let token = tokens[vector % tokens.len()]["token"].as_str().unwrap();
        let mut chars: Vec<char> = token.chars().collect();
        prop_assume!(!chars.is_empty());
        let at = at.index(chars.len());
        prop_assume!(chars[at] != with);
        chars[at] = with;
        let changed = chars.into_iter().collect::<String>();
        prop_assert!(RANDOM.0.verify(&changed, &RANDOM.1, None, now()).is_err());
    }

    /// Signed claims of any JSON: the times and the names are read without a panic.
    #[test]
    fn no_claims_make_the_verifier_panic(name in "exp|iat|nbf|aud|iss|sub|x", value in "[0-9.eE+\\-\\[\\]{}\",:a-z]{0,20}") {
        let claims = format!(r#"{{"{name}": {value}}}"#);
        let _ = Times::read(&claims).map(|times| times.check(now()));
    }
}
