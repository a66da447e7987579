//! The current secrets. They can be replaced while the server runs: each request is checked against one set from its
//! start to its end, and takes no lock for it.

use super::signing::request_signature::{BadBoundSignature, BoundSignature, BoundTo};
use super::signing::{BadSignature, Keys};
use super::usage::{Usage, Used};
use crate::config::{Secret, Settings};
use hmac::{Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

const FINGERPRINT_CHARS: usize = 8;

/// All secrets of a server, with the keys derived from them.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Checks the signatures of API requests.
    pub keys: Keys,
    /// Signs and checks the admin cookie.
    pub cookie_keys: Keys,
    /// The setting; empty if there is none.
    cookie_secret: Secret,
    /// The name for the sign-in to the admin pages.
    pub admin_user: String,
    /// The password for the sign-in to the admin pages.
    pub admin_secret: Secret,
    /// Requests may be signed with the well-known default secret.
    pub accept_known_secret: bool,
    /// The admin's password is the well-known default.
    pub well_known_password: bool,
    /// In the order of the setting, like `keys`.
    known: Vec<KnownSecret>,
}

/// A secret that signs requests, and its use.
#[derive(Clone, Debug)]
struct KnownSecret {
    secret: Secret,
    is_well_known: bool,
    /// Unique in its set, and unchanged as long as new sets contain the secret.
    number: usize,
    fingerprint: String,
    since_unix: u64,
    /// Shared with new sets that contain the secret.
    usage: Arc<Usage>,
}

/// The public description of a secret that signs requests.
#[derive(Clone, Debug)]
pub struct SecretInUse {
    /// Identifies the secret as long as the process runs; see [`Fingerprints`].
    pub fingerprint: String,
    /// The time since which this process accepts it, in Unix seconds.
    pub since_unix: u64,
    /// Its use since then.
    pub used: Used,
}

impl Secrets {
    /// Derives the keys. Secrets that `before` contains keep their number and usage. `random` replaces a `cookie_secret`
    /// that is not set.
    pub fn new(
        settings: &Settings,
        random: &Secret,
        fingerprints: &Fingerprints,
        before: Option<&Self>,
        now_unix: u64,
    ) -> Self {
        let mut numbers = Numbers::besides(settings, before);
        let known = settings.secrets.iter().map(|secret| {
            let kept = before.and_then(|before| before.known.iter().find(|known| known.secret == *secret));
            KnownSecret {
                secret: secret.clone(),
                is_well_known: Settings::is_well_known_secret(secret),
                number: kept.map_or_else(|| numbers.next(), |kept| kept.number),
                fingerprint: fingerprints.of(secret),
                since_unix: kept.map_or(now_unix, |kept| kept.since_unix),
                usage: kept.map(|kept| kept.usage.clone()).unwrap_or_default(),
            }
        });
        Self {
            keys: Keys::new(&settings.secrets),
            cookie_keys: cookie_keys(
                &settings.cookie_secret,
                random,
                &settings.admin_user,
                &settings.admin_secret,
            ),
            cookie_secret: settings.cookie_secret.clone(),
            admin_user: settings.admin_user.clone(),
            admin_secret: settings.admin_secret.clone(),
            accept_known_secret: settings.accepts_known_secret(),
            well_known_password: settings.accepts_known_password(),
            known: known.collect(),
        }
    }

    /// The same secrets, with another replacement of a `cookie_secret` that is not set.
    #[must_use]
    pub fn with_cookie_secret(&self, random: &Secret) -> Self {
        let cookie_keys = cookie_keys(&self.cookie_secret, random, &self.admin_user, &self.admin_secret);
        Self { cookie_keys, ..self.clone() }
    }

    /// What shows whether other nodes have the same secrets, by setting.
    pub fn shared_fingerprints(&self) -> BTreeMap<String, String> {
        let admin = [self.admin_user.as_str(), self.admin_secret.expose()];
        let fingerprints = [
            ("secrets", shared_fingerprint("secrets", self.signing().map(Secret::expose))),
            ("admin_secret", shared_fingerprint("admin_secret", admin.into_iter())),
            (
                "cookie_secret",
                shared_fingerprint("cookie_secret", std::iter::once(self.cookie_secret.expose())),
            ),
        ];
        fingerprints.into_iter().map(|(name, fingerprint)| (name.to_owned(), fingerprint)).collect()
    }

    /// Checks the signature of an allowed peer, and records the use of its secret. Returns the secret's number.
    ///
    /// # Errors
    /// As [`Keys::verify`].
    pub fn verify(
        &self,
        token: &[u8],
        peer: Option<IpAddr>,
        now_unix: u64,
        max_age_s: Option<u64>,
    ) -> Result<usize, BadSignature> {
        let verified = self.keys.verify(token, now_unix, max_age_s)?;
        Ok(self.record(verified.secret_index, peer, now_unix))
    }

    /// Does the same for a signature that is bound to a request.
    ///
    /// # Errors
    /// As [`Keys::verify_bound`].
    pub fn verify_bound(
        &self,
        signature: &BoundSignature,
        request: &BoundTo<'_>,
        peer: Option<IpAddr>,
        now_unix: u64,
    ) -> Result<usize, BadBoundSignature> {
        let secret_index = self.keys.verify_bound(signature, request, now_unix)?;
        Ok(self.record(secret_index, peer, now_unix))
    }

    /// The secrets that sign requests, in the order of the setting.
    pub(super) fn signing(&self) -> impl Iterator<Item = &Secret> {
        self.known.iter().map(|known| &known.secret)
    }

    /// Records the use of the secret at this index. Returns its number.
    pub(super) fn record(&self, secret_index: usize, peer: Option<IpAddr>, now_unix: u64) -> usize {
        let Some(known) = self.known.get(secret_index) else { return secret_index };
        if let Some(peer) = peer {
            known.usage.record(peer, now_unix);
        }
        known.number
    }

    /// Identifies an idempotency key of the secret with this number. `None` if the secret has been removed.
    pub fn key_identity(&self, number: usize, key: &str) -> Option<u128> {
        let index = self.known.iter().position(|known| known.number == number)?;
        self.keys.key_identity(index, key)
    }

    pub fn is_well_known(&self, number: usize) -> bool {
        self.known.iter().any(|known| known.number == number && known.is_well_known)
    }

    /// Whether all secrets that sign requests are well-known.
    pub fn are_well_known(&self) -> bool {
        self.known.iter().all(|known| known.is_well_known)
    }

    /// The secrets that sign requests, in the order of the setting.
    pub fn in_use(&self) -> Vec<SecretInUse> {
        let in_use = self.known.iter().map(|known| SecretInUse {
            fingerprint: known.fingerprint.clone(),
            since_unix: known.since_unix,
            used: known.usage.read(),
        });
        in_use.collect()
    }
}

/// Assigns numbers to new secrets: the smallest ones that no kept secret has.
struct Numbers(Vec<usize>);

impl Numbers {
    fn besides(settings: &Settings, before: Option<&Secrets>) -> Self {
        let known = before.iter().flat_map(|before| &before.known);
        Self(
            known
                .filter(|known| settings.secrets.contains(&known.secret))
                .map(|known| known.number)
                .collect(),
        )
    }

    fn next(&mut self) -> usize {
        let free = (0..).find(|number| !self.0.contains(number)).unwrap_or_default();
        self.0.push(free);
        free
    }
}

/// Derives names for secrets that can be displayed. Their key is random for each process and never leaves it, so that a
/// name cannot be used to test guesses of the secret.
pub struct Fingerprints(Hmac<Sha1>);

impl Default for Fingerprints {
    fn default() -> Self {
        let mut key = hmac::digest::Key::<Hmac<Sha1>>::default();
        key.iter_mut().for_each(|byte| *byte = rand::random());
        Self(Hmac::new(&key))
    }
}

impl Fingerprints {
    fn of(&self, secret: &Secret) -> String {
        let mac = self.0.clone().chain_update(secret.expose()).finalize().into_bytes();
        mac.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..FINGERPRINT_CHARS].to_owned()
    }
}

impl std::fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprints(…)")
    }
}

/// The cookie's key includes the admin's name and password, so that a change of them ends all admin sessions. Its first
/// word prevents a cookie from being a valid API signature if both secrets are equal. `random` replaces a secret that is not
/// given.
fn cookie_keys(given: &Secret, random: &Secret, admin_user: &str, admin_secret: &Secret) -> Keys {
    let secret = if given.expose().is_empty() { random } else { given };
    let (secret, password) = (secret.expose(), admin_secret.expose());
    Keys::new(&[Secret::new(format!("auth_tkt\n{secret}\n{admin_user}\n{password}"))])
}

/// A fingerprint of some secrets, of which it shows nothing else: the start of a MAC of a fixed text. It is the same in all
/// processes.
fn shared_fingerprint<'a>(label: &str, secrets: impl Iterator<Item = &'a str>) -> String {
    let mut secrets: Vec<&str> = secrets.collect();
    secrets.sort_unstable();
    // The lengths keep two lists apart that have the same text.
    let key = secrets.iter().map(|secret| format!("{}:{secret}", secret.len())).collect::<String>();
    let block: [u8; 20] = Sha1::digest(key).into();
    let mac = Hmac::<Sha1>::new_from_slice(&block).map(|mac| {
        mac.chain_update("channelstream fingerprint ").chain_update(label).finalize().into_bytes()
    });
    mac.map_or_else(|_| String::new(), |mac| mac.iter().take(4).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    #[test]
    fn shared_fingerprints_differ_where_the_secrets_do() {
        let prints = |settings: &Settings| {
            let (random, own) = (Secret::random(), Fingerprints::default());
            Secrets::new(settings, &random, &own, None, NOW).shared_fingerprints()
        };
        let base = || settings(&["one", "two"]);
        let known = prints(&base());
        assert_eq!(known, prints(&settings(&["two", "one"])), "the order and the process do not matter");
        assert!(known.values().all(|print| print.len() == 8));
        for (changed, setting) in [
            (settings(&["one"]), "secrets"),
            (settings(&["onetwo"]), "secrets"),
            (Settings { admin_secret: Secret::new("x"), ..base() }, "admin_secret"),
            (Settings { cookie_secret: Secret::new("x"), ..base() }, "cookie_secret"),
        ] {
            let other = prints(&changed);
            let differing: Vec<_> = known.keys().filter(|name| known[*name] != other[*name]).collect();
            assert_eq!(differing, [setting]);
        }
    }

    fn settings(secrets: &[&str]) -> Settings {
        Settings { secrets: secrets.iter().map(|text| Secret::new(*text)).collect(), ..Settings::default() }
    }

    fn build(secrets: &[&str], prints: &Fingerprints, before: Option<&Secrets>, now: u64) -> Secrets {
        Secrets::new(&settings(secrets), &Secret::new("random"), prints, before, now)
    }

    #[test]
    fn a_use_is_recorded_for_the_secret_that_signed() {
        let secrets = build(&["new", "old"], &Fingerprints::default(), None, NOW);
        let token = Keys::new(&[Secret::new("old")]).sign("/info", NOW);
        let peer = Some(IpAddr::from([192, 0, 2, 1]));
        assert_eq!(secrets.verify(token.as_bytes(), peer, NOW + 1, Some(60)), Ok(1));
        assert!(secrets.verify(b"garbage", peer, NOW + 2, Some(60)).is_err());
        assert!(secrets.verify(token.as_bytes(), peer, NOW + 61, Some(60)).is_err());
        let used: Vec<_> = secrets.in_use().into_iter().map(|secret| secret.used).collect();
        assert_eq!((used[0].uses, used[1].uses, used[1].from[0].last_unix), (0, 1, NOW + 1));
    }

    #[test]
    fn a_secret_keeps_its_usage_at_another_position() {
        let prints = Fingerprints::default();
        let before = build(&["old"], &prints, None, NOW);
        before.record(0, Some(IpAddr::from([192, 0, 2, 1])), NOW);
        let after = build(&["new", "old"], &prints, Some(&before), NOW + 5);
        let (old, new) = (&before.in_use()[0], &after.in_use()[0]);
        let moved = &after.in_use()[1];
        assert_eq!((&moved.fingerprint, moved.since_unix, moved.used.uses), (&old.fingerprint, NOW, 1));
        assert_eq!((new.since_unix, new.used.uses), (NOW + 5, 0));
        assert_ne!(new.fingerprint, old.fingerprint);
        // A request that still uses the former set is counted as well.
        before.record(0, Some(IpAddr::from([192, 0, 2, 1])), NOW);
        assert_eq!(after.in_use()[1].used.uses, 2);
    }

    #[test]
    fn a_secret_keeps_its_number_as_long_as_it_is_accepted() {
        let prints = Fingerprints::default();
        let numbers = |secrets: &Secrets| secrets.known.iter().map(|known| known.number).collect::<Vec<_>>();
        let first = build(&["a", "b"], &prints, None, NOW);
        let second = build(&["c", "b", "d"], &prints, Some(&first), NOW);
        assert_eq!((numbers(&first), numbers(&second)), (vec![0, 1], vec![0, 1, 2]));
        assert_eq!(numbers(&build(&["d", "e"], &prints, Some(&second), NOW)), [2, 0]);
    }

    #[test]
    fn idempotency_keys_belong_to_a_secret_wherever_it_is_listed() {
        let prints = Fingerprints::default();
        let first = build(&["a", "b"], &prints, None, NOW);
        let second = build(&["c", "b"], &prints, Some(&first), NOW);
        let of_b = first.key_identity(1, "key");
        assert!(of_b.is_some() && of_b == second.key_identity(1, "key"));
        assert_eq!(first.key_identity(7, "key"), None);
        let others =
            [first.key_identity(0, "key"), second.key_identity(0, "key"), first.key_identity(1, "key2")];
        assert!(others.iter().all(|other| other.is_some() && *other != of_b));
        assert_ne!(others[0], others[1], "another secret with the same number");
    }

    #[test]
    fn fingerprints_differ_between_processes() {
        let of = |prints: &Fingerprints| prints.of(&Secret::new("secret"));
        let prints = Fingerprints::default();
        assert_eq!((of(&prints).len(), of(&prints) == of(&prints)), (FINGERPRINT_CHARS, true));
        assert_ne!(of(&prints), of(&Fingerprints::default()));
    }
}
