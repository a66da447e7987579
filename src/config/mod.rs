//! All settings, each with one default and one sentence, and the sources that they are read from.
//!
//! [`Settings`] is made from one table (`table`). [`load`] fills it from a TOML file, the environment and the command line,
//! where later sources override earlier ones, or from an INI file of the original and the command line.

mod channel_docs;
mod channel_rules;
mod origin;
mod kind;
mod kind_text;
mod kind_list;
mod table;
mod draft;
mod engine;
mod engine_url;
mod ini;
mod sources;
mod warnings;
mod load;
mod write;

use std::path::Path;

use jsonwebtoken::Algorithm;
use log::LevelFilter;

pub use channel_rules::{ChannelPatterns, ChannelRules, PresenceMode, Replay};
pub use engine::EngineSetting;
pub use engine_url::EngineUrl;
pub use ini::to_ini;
pub use kind_list::{AllowedPeers, algorithm_name};
pub use kind_text::{DemoSetting, Secret, is_loopback};
pub use load::{Inputs, Loaded, Override, RenewedSecrets, load, make, parse, renew};
pub use origin::AllowedOrigins;
pub use sources::FileFormat;
pub use table::Settings;
pub use write::{SettingBound, ShownSetting, bounds, reference_page, shown, to_toml};

use table::KEYS;

/// The shortest secret that verifies connection tokens where other machines can reach the server, in bytes. RFC 7518
/// requires 32.
pub(crate) const MIN_TOKEN_SECRET_BYTES: usize = 16;

/// All problems of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// `key: reason (from source)`, at least one.
    pub problems: Vec<String>,
}

impl std::fmt::Display for SettingsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for SettingsError {}

impl SettingsError {
    /// The exit code of a command with wrong settings (`EX_CONFIG` of sysexits.h): another try would fail too.
    pub const EXIT_CODE: u8 = 78;

    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self { problems: vec![problem.into()] }
    }

    pub(crate) fn unless_empty(problems: Vec<String>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }
}

/// The text of a file that a setting names, relative to the working directory.
///
/// # Errors
/// Nothing has this name, or it cannot be read within 5 s as UTF-8 text of at most 1 MiB.
pub(crate) fn read_named_file(name: &str) -> Result<String, SettingsError> {
    let text = sources::read_file(Path::new(""), Path::new(name), sources::Accepts::Files)?;
    text.ok_or_else(|| SettingsError::new(format!("{name}: cannot be read: it does not exist")))
}

impl Settings {
    /// Checks that a server may start with these settings.
    ///
    /// # Errors
    /// Names each key whose value is out of bounds, and the default secrets where other machines can reach the server. With
    /// an INI file there is only a warning about those.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let bad = KEYS.iter().filter_map(|key| Some(format!("{}: {}", key.name, key.check(self).err()?)));
        let mut problems: Vec<_> = bad.collect();
        if self.exposes_default_secrets() && !self.allow_default_secrets && self.ini.is_none() {
            problems.extend(self.default_secrets().into_iter().map(|key| {
                let host = self.exposed_host().unwrap_or(&self.host);
                format!(
                    "{key}: the well-known default is refused on {host}, which other machines can reach; set another \
                     one, or allow_default_secrets = true"
                )
            }));
        }
        let needs_file = self.token_algorithms.iter().find(|algorithm| **algorithm != Algorithm::HS256);
        if let Some(algorithm) =
            needs_file.filter(|_| self.token_public_key.is_none() && self.token_jwks.is_none())
        {
            let name = algorithm_name(*algorithm);
            problems.push(format!("token_algorithms: {name} needs token_public_key or token_jwks"));
        }
        problems.extend(self.engine_problems());
        SettingsError::unless_empty(problems)
    }

    /// Whether demo mode is on: never with an INI file or several nodes, otherwise as `demo` says. `auto` turns it on for a
    /// trial on one machine; [`crate::auth::Gate::serves_demo`] decides about each request.
    pub fn demo_enabled(&self) -> bool {
        match self.demo {
            _ if self.ini.is_some() || self.engine == EngineSetting::Redis => false,
            DemoSetting::Auto => !self.suggests_deployment(),
            DemoSetting::On => true,
            DemoSetting::Off => false,
        }
    }

    /// Whether any setting belongs to a server that serves other machines: an address that they can reach, other secrets than
    /// the defaults, a proxy, an internal address, origins.
    fn suggests_deployment(&self) -> bool {
        let default = Settings::default();
        !self.listens_on_loopback()
            || self.secrets != default.secrets
            || self.admin_secret != default.admin_secret
            || !self.trusted_proxies.is_empty()
            || self.internal_host.is_some()
            || !self.allowed_origins.is_empty()
    }

    /// Whether only this machine can reach the server, at all its addresses. The only name that counts is `localhost`.
    pub fn listens_on_loopback(&self) -> bool {
        self.exposed_host().is_none()
    }

    /// Host and port of the address that serves the signed API.
    pub fn api_address(&self) -> (&str, u16) {
        match &self.internal_host {
            Some(host) => (host, self.internal_port),
            None => (&self.host, self.port),
        }
    }

    /// A host that other machines can reach.
    fn exposed_host(&self) -> Option<&str> {
        self.hosts().find(|host| !is_loopback(host))
    }

    /// The hosts that the server listens on.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        [Some(self.host.as_str()), self.internal_host.as_deref()].into_iter().flatten()
    }

    /// `log_level` and `debug` in the logger's type.
    pub fn log_filter(&self) -> LevelFilter {
        let level = self.log_level.parse().unwrap_or(LevelFilter::Info);
        if self.debug { level.max(LevelFilter::Debug) } else { level }
    }

    /// Keys that still have the well-known secret.
    fn default_secrets(&self) -> Vec<&'static str> {
        let default = Settings::default();
        let secrets = self.secrets.iter().any(|secret| default.secrets.contains(secret)).then_some("secrets");
        let admin = (self.admin_secret == default.admin_secret).then_some("admin_secret");
        secrets.into_iter().chain(admin).collect()
    }

    /// Whether requests may be signed with the well-known secret.
    pub fn accepts_known_secret(&self) -> bool {
        self.default_secrets().contains(&"secrets")
    }

    /// Whether the well-known password signs in.
    pub fn accepts_known_password(&self) -> bool {
        self.default_secrets().contains(&"admin_secret")
    }

    /// Whether this secret is the well-known one.
    pub fn is_well_known_secret(secret: &Secret) -> bool {
        Settings::default().secrets.contains(secret)
    }

    /// Names the well-known secrets in use and the requests in which they are accepted; none where no secret is the default.
    pub fn well_known_note(&self) -> Option<String> {
        let keys = self.default_secrets();
        let reach = match self.allow_default_secrets {
            true => "is accepted from every client that reaches the server",
            false => "is accepted in requests from this machine only, and not through a proxy",
        };
        (!keys.is_empty())
            .then(|| format!("{}: the well-known default is in force; it {reach}", keys.join(" and ")))
    }

    /// A warning about a well-known secret beside one that was set: the operator probably forgot it.
    fn half_default_warning(&self) -> Option<String> {
        let default = Settings::default();
        let all_default = self.secrets == default.secrets && self.admin_secret == default.admin_secret;
        let note = self.well_known_note().filter(|_| !all_default)?;
        Some(format!("{note}. You have set other secrets: set this one as well"))
    }

    fn exposes_default_secrets(&self) -> bool {
        !self.listens_on_loopback() && !self.default_secrets().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(host: &str) -> Settings {
        Settings { host: host.into(), ..Settings::default() }
    }

    #[test]
    fn the_defaults_are_valid_on_loopback_only() {
        for host in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "localhost", "LocalHost."] {
            assert_eq!(on(host).validate(), Ok(()), "{host}");
        }
        for host in ["0.0.0.0", "::", "10.0.0.1", "push.example.org", "localhost.example.org"] {
            let problems = on(host).validate().unwrap_err().problems;
            assert!(
                problems[0].starts_with("secrets: ") && problems[1].starts_with("admin_secret: "),
                "{host}"
            );
        }
    }

    #[test]
    fn default_secrets_can_be_allowed_or_replaced() {
        assert!(Settings { allow_default_secrets: true, ..on("0.0.0.0") }.validate().is_ok());
        assert!(Settings { ini: Some("x.ini".into()), ..on("0.0.0.0") }.validate().is_ok());
        let own = || Secret::new("own");
        assert!(Settings { secrets: vec![own()], admin_secret: own(), ..on("::") }.validate().is_ok());
        let old = Settings { secrets: vec![own(), Secret::new("secret")], admin_secret: own(), ..on("::") };
        assert!(old.validate().is_err(), "a default secret in second place is accepted too");
    }

    #[test]
    fn a_second_address_exposes_default_secrets_as_well() {
        let beside = |internal: &str| Settings { internal_host: Some(internal.into()), ..on("127.0.0.1") };
        assert!(beside("::1").validate().is_ok());
        let problems = beside("10.0.0.1").validate().unwrap_err().problems;
        assert!(
            problems[0].starts_with("secrets: the well-known default is refused on 10.0.0.1,"),
            "{problems:?}"
        );
        assert!(!beside("10.0.0.1").demo_enabled());
        // Clients that reach only the first address cannot reach the API, but a mistake in the settings would change that.
        let public = Settings { internal_host: Some("127.0.0.1".into()), ..on("0.0.0.0") };
        assert!(public.validate().unwrap_err().problems[0].contains("refused on 0.0.0.0,"));
        assert_eq!((public.api_address(), on("::1").api_address()), (("127.0.0.1", 8001), ("::1", 8000)));
        assert!(
            beside("a b").validate().unwrap_err().problems[0]
                .starts_with("internal_host: \"a b\" is neither")
        );
    }

    #[test]
    fn every_bad_value_is_named() {
        let bad = Settings { workers: 5_000, log_level: "loud".into(), secrets: Vec::new(), ..on("a b") };
        let problems = bad.validate().unwrap_err().problems;
        for key in ["host: ", "workers: 5000 is not a number (0-1024)", "log_level: ", "secrets: "] {
            assert!(problems.iter().any(|problem| problem.starts_with(key)), "{key} in {problems:?}");
        }
    }

    #[test]
    fn an_asymmetric_algorithm_needs_a_file_with_keys() {
        let token_algorithms = vec![Algorithm::HS256, Algorithm::ES256];
        let without = Settings { token_algorithms, ..on("::1") };
        let problems = without.validate().unwrap_err().problems;
        assert_eq!(problems, ["token_algorithms: ES256 needs token_public_key or token_jwks"]);
        assert!(Settings { token_jwks: Some("keys.json".into()), ..without }.validate().is_ok());
    }

    #[test]
    fn demo_needs_loopback_and_neither_ini_nor_redis() {
        assert!(on("::1").demo_enabled() && !on("0.0.0.0").demo_enabled());
        assert!(Settings { demo: DemoSetting::On, ..on("0.0.0.0") }.demo_enabled());
        assert!(!Settings { demo: DemoSetting::Off, ..on("::1") }.demo_enabled());
        for demo in [DemoSetting::Auto, DemoSetting::On] {
            assert!(!Settings { demo, ini: Some("x.ini".into()), ..on("::1") }.demo_enabled());
            assert!(!Settings { demo, engine: EngineSetting::Redis, ..on("::1") }.demo_enabled());
        }
    }

    #[test]
    fn demo_is_off_where_anything_suggests_a_deployment() {
        let own = || Secret::new("own");
        let suggestions = [
            Settings { secrets: vec![own()], ..on("::1") },
            Settings { secrets: vec![own(), Secret::new("secret")], ..on("::1") },
            Settings { admin_secret: own(), ..on("::1") },
            Settings { trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()], ..on("::1") },
            Settings { internal_host: Some("::1".into()), ..on("::1") },
            Settings { allowed_origins: AllowedOrigins(vec!["null".parse().unwrap()]), ..on("::1") },
        ];
        for settings in suggestions {
            assert!(!settings.demo_enabled(), "{settings:?}");
            assert!(Settings { demo: DemoSetting::On, ..settings }.demo_enabled());
        }
    }

    #[test]
    fn a_well_known_secret_beside_another_one_causes_a_warning() {
        let own = || Secret::new("own");
        let warning = |settings: Settings| settings.half_default_warning().unwrap_or_default();
        let forgotten = Settings { secrets: vec![own()], ..on("::1") };
        assert!(warning(forgotten.clone()).starts_with("admin_secret: the well-known default"));
        assert!(warning(forgotten.clone()).contains("this machine only"));
        assert!(warning(Settings { allow_default_secrets: true, ..forgotten }).contains("every client"));
        assert!(on("::1").well_known_note().unwrap().starts_with("secrets and admin_secret: "));
        assert!(warning(Settings { admin_secret: own(), ..on("::1") }).starts_with("secrets: "));
        let rotated =
            Settings { secrets: vec![own(), Secret::new("secret")], admin_secret: own(), ..on("::1") };
        assert!(warning(rotated).starts_with("secrets: "));
        assert_eq!(warning(on("::1")), "", "a server to try out has nothing forgotten");
        assert_eq!(warning(Settings { secrets: vec![own()], admin_secret: own(), ..on("::1") }), "");
    }

    #[test]
    fn debug_raises_the_log_level() {
        let level = |text: &str, debug| Settings { log_level: text.into(), debug, ..on("::1") }.log_filter();
        assert_eq!(level("warn", false), LevelFilter::Warn);
        assert_eq!(level("warn", true), LevelFilter::Debug);
        assert_eq!(level("trace", true), LevelFilter::Trace);
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let settings = Settings { cookie_secret: Secret::new("hush"), ..on("::1") };
        let text = format!("{settings:?}");
        assert!(!text.contains("hush") && !text.contains("admin_secret\""));
    }
}
