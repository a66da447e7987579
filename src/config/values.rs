//! The types of settings that are more than a number or a text.

use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// A secret: never prints itself, and is compared with what comes from outside in constant time.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for computing with it; never for printing.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in a time that does not tell how much of the text is right.
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

/// Who may call the signed API, by address of the socket's peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedPeers {
    /// `0.0.0.0` stands in the list: everybody with a good signature.
    Any,
    /// Exactly these addresses; an empty list allows nobody.
    Only(Vec<IpAddr>),
}

/// When demo mode is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DemoSetting {
    /// On for requests of this machine, while nothing suggests a deployment; see [`super::Settings::demo_enabled`].
    Auto,
    /// On, except for a server started from an INI file.
    On,
    /// Never on.
    Off,
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
