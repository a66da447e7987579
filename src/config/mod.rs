//! Everything that can be set, with one default and one sentence each, and where it is read from.
//!
//! [`Settings`] is made from one table (`table`). [`load`] fills it from a TOML file, the environment and the
//! command line, each weightier than the one before, or from an INI file of the original and the command line.

mod values;
mod origin;
mod kind;
mod kind_text;
mod kind_list;
mod key;
mod table;
mod draft;
mod ini;
mod files;
mod environment;
mod source;
mod contradictions;
mod load;
mod renew;
mod write;
mod bounds;

use std::net::IpAddr;

use log::LevelFilter;

pub use bounds::{SettingBound, bounds};
pub use load::{FileFormat, Inputs, Loaded, Override, load, make, parse};
pub use origin::{AllowedOrigins, OriginPattern, PortPattern};
pub use renew::{RenewedSecrets, renew};
pub use table::Settings;
pub use values::{AllowedPeers, DemoSetting, Secret};
pub use write::{ShownSetting, reference_page, shown, to_ini, to_toml};

use table::KEYS;

/// Everything that is wrong with the settings, each problem with the path of its key.
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
    /// The exit code of a command with wrong settings (`EX_CONFIG` of sysexits.h): a service manager need not try again.
    pub const EXIT_CODE: u8 = 78;

    fn new(problem: impl Into<String>) -> Self {
        Self { problems: vec![problem.into()] }
    }
}

impl Settings {
    /// Checks that a server may start with these settings.
    ///
    /// # Errors
    /// Names each key whose value is out of bounds, and the default secrets where they would be reachable from
    /// other machines; a server started from an INI file is only warned of those.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let bad = KEYS.iter().filter_map(|key| Some(format!("{}: {}", key.name, (key.check)(self).err()?)));
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
        if problems.is_empty() { Ok(()) } else { Err(SettingsError { problems }) }
    }

    /// Whether demo mode is on: never with an INI file, otherwise as `demo` says. `auto` turns it on for those who try the
    /// server out; [`crate::auth::Gate::serves_demo`] judges each request.
    pub fn demo_enabled(&self) -> bool {
        match self.demo {
            _ if self.ini.is_some() => false,
            DemoSetting::Auto => !self.suggests_deployment(),
            DemoSetting::On => true,
            DemoSetting::Off => false,
        }
    }

    /// Whether any setting belongs to a server that serves others: an address that they can reach, own secrets, a proxy,
    /// an internal address, origins.
    fn suggests_deployment(&self) -> bool {
        let default = Settings::default();
        !self.listens_on_loopback()
            || self.secrets != default.secrets
            || self.admin_secret != default.admin_secret
            || !self.trusted_proxies.is_empty()
            || self.internal_host.is_some()
            || !self.allowed_origins.is_empty()
    }

    /// Whether only this machine can reach the server, at all its addresses. Of names only `localhost` is believed.
    pub fn listens_on_loopback(&self) -> bool {
        self.exposed_host().is_none()
    }

    /// Host and port of the address that has the signed API.
    pub fn api_address(&self) -> (&str, u16) {
        match &self.internal_host {
            Some(host) => (host, self.internal_port),
            None => (&self.host, self.port),
        }
    }

    /// A host that other machines can reach.
    fn exposed_host(&self) -> Option<&str> {
        let hosts = [Some(self.host.as_str()), self.internal_host.as_deref()];
        hosts.into_iter().flatten().find(|host| !is_loopback(host))
    }

    /// `log_level` and `debug` as the logger wants them.
    pub fn log_filter(&self) -> LevelFilter {
        let level = self.log_level.parse().unwrap_or(LevelFilter::Info);
        if self.debug { level.max(LevelFilter::Debug) } else { level }
    }

    /// Keys that still have the secret everybody knows.
    fn default_secrets(&self) -> Vec<&'static str> {
        let default = Settings::default();
        let secrets = self.secrets.iter().any(|secret| default.secrets.contains(secret));
        let admin = self.admin_secret == default.admin_secret;
        [("secrets", secrets), ("admin_secret", admin)]
            .into_iter()
            .filter_map(|(key, known)| known.then_some(key))
            .collect()
    }

    /// Whether requests may be signed with the secret that everybody knows.
    pub fn accepts_known_secret(&self) -> bool {
        self.default_secrets().contains(&"secrets")
    }

    /// Whether the password that everybody knows signs in.
    pub fn accepts_known_password(&self) -> bool {
        self.default_secrets().contains(&"admin_secret")
    }

    /// Whether everybody knows this secret.
    pub fn is_well_known_secret(secret: &Secret) -> bool {
        Settings::default().secrets.contains(secret)
    }

    /// What is well known, and for whom it counts; none where all secrets are own ones.
    pub fn well_known_note(&self) -> Option<String> {
        let keys = self.default_secrets();
        let reach = match self.allow_default_secrets {
            true => "counts for everybody who reaches the server",
            false => "counts for requests of this machine only, and not through a proxy",
        };
        (!keys.is_empty())
            .then(|| format!("{}: the well-known default is in force; it {reach}", keys.join(" and ")))
    }

    /// A warning about well-known secrets beside own ones: somebody has set one and forgotten the other.
    fn half_default_warning(&self) -> Option<String> {
        let default = Settings::default();
        let all_default = self.secrets == default.secrets && self.admin_secret == default.admin_secret;
        let note = self.well_known_note().filter(|_| !all_default)?;
        Some(format!("{note}. Other secrets are your own: set this one as well"))
    }

    fn exposes_default_secrets(&self) -> bool {
        !self.listens_on_loopback() && !self.default_secrets().is_empty()
    }
}

/// Whether a host to listen on is this machine alone. Of names only `localhost` is believed.
pub fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(host: &str) -> Settings {
        Settings { host: host.into(), ..Settings::default() }
    }

    #[test]
    fn defaults_are_valid_on_loopback_only() {
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
        // Whoever can reach the first one only is kept from the API, but a slip in the settings would change that.
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
    fn demo_needs_loopback_and_no_ini() {
        assert!(on("::1").demo_enabled() && !on("0.0.0.0").demo_enabled());
        assert!(Settings { demo: DemoSetting::On, ..on("0.0.0.0") }.demo_enabled());
        assert!(!Settings { demo: DemoSetting::Off, ..on("::1") }.demo_enabled());
        for demo in [DemoSetting::Auto, DemoSetting::On] {
            assert!(!Settings { demo, ini: Some("x.ini".into()), ..on("::1") }.demo_enabled());
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
    fn a_well_known_secret_beside_an_own_one_is_warned_of() {
        let own = || Secret::new("own");
        let warning = |settings: Settings| settings.half_default_warning().unwrap_or_default();
        let forgotten = Settings { secrets: vec![own()], ..on("::1") };
        assert!(warning(forgotten.clone()).starts_with("admin_secret: the well-known default"));
        assert!(warning(forgotten.clone()).contains("this machine only"));
        assert!(warning(Settings { allow_default_secrets: true, ..forgotten }).contains("everybody"));
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
