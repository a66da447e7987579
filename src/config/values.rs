//! Types of settings that are more than a number or a text, and what an address to listen on means.

use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// A secret. It is never printed, and it is compared with received texts in constant time.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for computations; it must not be printed.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in a time that does not reveal how much of the text is right.
    pub fn matches(&self, given: &str) -> bool {
        let digest = |text: &str| Hmac::<Sha1>::new(&Default::default()).chain_update(text);
        digest(given).verify(&digest(&self.0).finalize().into_bytes()).is_ok()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The clients that may call the signed API, by the address of the socket's peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedPeers {
    /// `0.0.0.0` is in the list: every client with a valid signature.
    Any,
    /// Exactly these addresses; an empty list allows none.
    Only(Vec<IpAddr>),
}

/// When demo mode is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DemoSetting {
    /// On for requests from this machine, while no setting suggests a deployment; see [`super::Settings::demo_enabled`].
    Auto,
    /// On, except for a server started from an INI file.
    On,
    /// Never on.
    Off,
}

impl DemoSetting {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// Whether only this machine can reach a host to listen on. The only name that counts is `localhost`.
pub fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared_whole_and_never_printed() {
        let secret = Secret::new("hush");
        assert!(secret.matches("hush") && Secret::new("").matches(""));
        assert!(!secret.matches("hus") && !secret.matches("hush ") && !secret.matches(""));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
