//! Reads the settings again for a server that runs: it takes over the secrets, and is told what else has changed.

use super::SettingsError;
use super::key::Key;
use super::load::{Inputs, load};
use super::table::{KEYS, Settings};

/// What a running server can take over.
const RENEWABLE: [&str; 4] = ["secrets", "admin_user", "admin_secret", "cookie_secret"];

/// What reading the settings again has brought.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// The settings that the server was started with, and the secrets of now.
    pub settings: Settings,
    /// Settings that were taken over.
    pub changed: Vec<&'static str>,
    /// Settings that changed as well, and count after a restart.
    pub needs_restart: Vec<&'static str>,
    /// Where the secrets that sign requests come from.
    pub source: String,
    /// To be logged, a line each.
    pub warnings: Vec<String>,
}

/// Reads the settings again from where `before` were read. `host` is where the server listens. A cookie secret that is not given stays the one
/// that was made at the start.
///
/// # Errors
/// As [`load`], and what [`Settings::validate`] has against the secrets where the server listens. All is to stay as it
/// was then.
pub fn renew(before: &Settings, host: &str, inputs: &Inputs) -> Result<Renewed, SettingsError> {
    let mut loaded = load(inputs)?;
    loaded.settings.validate()?;
    if !loaded.sources.contains_key("cookie_secret") {
        loaded.settings.cookie_secret = before.cookie_secret.clone();
    }
    let read = loaded.settings;
    let differs = |key: &&Key| (key.show)(before) != (key.show)(&read);
    let (changed, needs_restart) =
        KEYS.iter().filter(differs).map(|key| key.name).partition(|name| RENEWABLE.contains(name));
    let settings = Settings {
        secrets: read.secrets.clone(),
        admin_user: read.admin_user.clone(),
        admin_secret: read.admin_secret.clone(),
        cookie_secret: read.cookie_secret.clone(),
        ..before.clone()
    };
    // The address is the running server's, whatever the file says by now.
    Settings { host: host.into(), ..settings.clone() }.validate()?;
    let source = loaded.sources.get("secrets").map_or("the defaults", String::as_str).to_owned();
    Ok(Renewed { settings, changed, needs_restart, source, warnings: loaded.warnings })
}
