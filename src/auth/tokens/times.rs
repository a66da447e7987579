//! The times in the claims of a token. Pure: the caller passes the current time.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::Number;

use super::LEEWAY_S;
use super::fault::TokenFault;

/// The latest time that is accepted: the largest integer that JavaScript represents exactly.
const LATEST: f64 = 9_007_199_254_740_991.0;

/// `exp`, `iat` and `nbf`, in Unix seconds. Fractions are cut off.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub expires_unix: u64,
    pub issued_unix: Option<u64>,
    not_before_unix: Option<u64>,
}

#[derive(Deserialize)]
struct TimeClaims {
    exp: Option<Number>,
    iat: Option<Number>,
    nbf: Option<Number>,
}

impl Times {
    /// Reads the times.
    ///
    /// # Errors
    /// `Malformed` if the claims are no object or a name occurs twice (RFC 7519, section 4); `Claim` for a time that is
    /// missing or no number of seconds.
    pub fn read(claims: &str) -> Result<Self, TokenFault> {
        serde_json::from_str::<UniqueNames>(claims).map_err(|_| TokenFault::Malformed)?;
        let times: TimeClaims = serde_json::from_str(claims)
            .map_err(|_| TokenFault::claim("exp", "It and `iat` and `nbf` must be numbers."))?;
        let expires_unix = seconds("exp", times.exp)?;
        Ok(Self {
            expires_unix: expires_unix.ok_or_else(|| TokenFault::claim("exp", "It is missing."))?,
            issued_unix: seconds("iat", times.iat)?,
            not_before_unix: seconds("nbf", times.nbf)?,
        })
    }

    /// Compares the times with the current one.
    ///
    /// # Errors
    /// `Expired`, `NotYetValid`, `IssuedAhead`.
    pub fn check(&self, now_unix: u64) -> Result<(), TokenFault> {
        if now_unix >= self.expires_unix.saturating_add(LEEWAY_S) {
            return Err(TokenFault::Expired { ago_s: now_unix - self.expires_unix });
        }
        let ahead = |time: Option<u64>| time.filter(|time| *time > now_unix + LEEWAY_S);
        if let Some(time) = ahead(self.not_before_unix) {
            return Err(TokenFault::NotYetValid { ahead_s: time - now_unix });
        }
        match ahead(self.issued_unix) {
            Some(time) => Err(TokenFault::IssuedAhead { ahead_s: time - now_unix }),
            None => Ok(()),
        }
    }
}

fn seconds(name: &'static str, number: Option<Number>) -> Result<Option<u64>, TokenFault> {
    let Some(number) = number else { return Ok(None) };
    let seconds = number.as_f64().filter(|seconds| (0.0..=LATEST).contains(seconds));
    // Within these bounds the conversion only cuts off the fraction.
    seconds
        .map(|seconds| Some(seconds as u64))
        .ok_or_else(|| TokenFault::claim(name, "It is no time in Unix seconds."))
}

/// A JSON object in which no name occurs twice.
struct UniqueNames;

impl<'de> Deserialize<'de> for UniqueNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = UniqueNames;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueNames, A::Error> {
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    map.next_value::<IgnoredAny>()?;
                    if !seen.insert(name) {
                        return Err(A::Error::custom("a name occurs twice"));
                    }
                }
                Ok(UniqueNames)
            }
        }
        deserializer.deserialize_map(Names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn checked(claims: &str) -> Result<(), TokenFault> {
        Times::read(claims)?.check(NOW)
    }

    #[test]
    fn each_time_has_the_same_tolerance() {
        let at =
            |claims: &str, offset: i64| checked(&claims.replace('T', &(NOW as i64 + offset).to_string()));
        assert_eq!(at(r#"{"exp": T}"#, -4), Ok(()));
        assert_eq!(at(r#"{"exp": T}"#, -5), Err(TokenFault::Expired { ago_s: 5 }));
        for (name, fault) in
            [("nbf", TokenFault::NotYetValid { ahead_s: 6 }), ("iat", TokenFault::IssuedAhead { ahead_s: 6 })]
        {
            let claims = format!(r#"{{"exp": 9e9, "{name}": T}}"#);
            assert_eq!((at(&claims, 5), at(&claims, 6)), (Ok(()), Err(fault)), "{name}");
        }
    }

    #[test]
    fn times_may_have_fractions_and_exponents() {
        let times = Times::read(r#"{"exp": 1700000000.75, "iat": 1.7e9, "nbf": null}"#).unwrap();
        assert_eq!((times.expires_unix, times.issued_unix, times.not_before_unix), (NOW, Some(NOW), None));
    }

    #[test]
    fn wrong_times_and_repeated_names_are_refused() {
        let wrong = [
            "{}",
            "[]",
            "7",
            r#"{"exp": null}"#,
            r#"{"exp": "1800000000"}"#,
            r#"{"exp": -1}"#,
            r#"{"exp": 1e300}"#,
            r#"{"exp": 9007199254740993}"#,
            r#"{"exp": 1800000000, "iat": true}"#,
            r#"{"exp": 1800000000, "exp": 1900000000}"#,
            r#"{"exp": 1800000000, "sub": "ann", "sub": "bob"}"#,
            r#"{"exp": 1800000000, "channels": [], "\u0063hannels": ["x"]}"#,
        ];
        for claims in wrong {
            assert!(checked(claims).is_err(), "{claims}");
        }
        assert_eq!(checked(r#"{"exp": 9007199254740991, "x": {"exp": 1}}"#), Ok(()));
    }
}
