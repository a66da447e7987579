//! Reads the settings again for a running server: it replaces the secrets and reports the other changes.
//!
//! A reload never weakens the server by accident. A file that vanished, was emptied or was cut off gives no value for a
//! setting that it gave before. The reload is then refused instead of falling back to the default.

use super::SettingsError;
use super::file::Accepts;
use super::load::{Loaded, load_from};
use super::table::{KEYS, Settings};

/// The settings that a running server can replace.
const RENEWABLE: [&str; 4] = ["secrets", "admin_user", "admin_secret", "cookie_secret"];

/// The result of reading the settings again.
#[derive(Clone, Debug)]
pub struct RenewedSecrets {
    /// The settings that the server was started with, with the current secrets and the current sources.
    pub loaded: Loaded,
    /// Settings that were replaced.
    pub changed: Vec<&'static str>,
    /// Other settings that changed, and that take effect after a restart.
    pub needs_restart: Vec<&'static str>,
}

/// Reads the settings again from the sources of `before`. `host` is where the server listens. A cookie secret that no
/// source ever gave stays the one that was made at the start.
///
/// # Errors
/// As [`load`](super::load), and: the file is not a regular one, or was cut off; no source gives a setting that had a
/// source before; a well-known secret replaces another one; or [`Settings::validate`] refuses the secrets for the address
/// where the server listens. Nothing changes then.
pub fn renew(before: &Loaded, host: &str) -> Result<RenewedSecrets, SettingsError> {
    let mut loaded = load_from(&before.inputs, Accepts::Files)?;
    loaded.settings.validate()?;
    refuse_losses(before, &loaded)?;
    if !loaded.sources.contains_key("cookie_secret") {
        loaded.settings.cookie_secret = before.settings.cookie_secret.clone();
    }
    let read = &loaded.settings;
    let (changed, needs_restart) = KEYS
        .iter()
        .filter(|key| !key.is_equal(&before.settings, read))
        .map(|key| key.name)
        .partition(|name| RENEWABLE.contains(name));
    let settings = Settings {
        secrets: read.secrets.clone(),
        admin_user: read.admin_user.clone(),
        admin_secret: read.admin_secret.clone(),
        cookie_secret: read.cookie_secret.clone(),
        ..before.settings.clone()
    };
    // The address is the running server's, even if the file names another one now.
    Settings { host: host.into(), ..settings.clone() }.validate()?;
    Ok(RenewedSecrets { loaded: Loaded { settings, ..loaded }, changed, needs_restart })
}

fn refuse_losses(before: &Loaded, now: &Loaded) -> Result<(), SettingsError> {
    if let Some(problem) = lost_file(before, now) {
        return Err(SettingsError::new(problem));
    }
    let lost = RENEWABLE.iter().filter_map(|key| {
        let source = before.sources.get(key).filter(|_| !now.sources.contains_key(key))?;
        Some(format!("{key}: {source} gave a value before, and no source gives one now"))
    });
    let before_known = before.settings.default_secrets();
    let known = now.settings.default_secrets().into_iter();
    let replaced = known.filter(|key| !before_known.contains(key) && now.sources.contains_key(key));
    let weakened = replaced
        .map(|key| format!("{key}: the well-known default is refused as the replacement of your own secret"));
    SettingsError::unless_empty(lost.chain(weakened).collect())
}

/// Why the file as a whole is refused.
fn lost_file(before: &Loaded, now: &Loaded) -> Option<String> {
    let path = before.file.as_ref()?.display();
    let reason = match &now.file {
        None => "the file does not exist any more",
        Some(_) if now.text.is_empty && !before.text.is_empty => "the file is empty, and was not before",
        // TOML has quotes around texts, so a text that is cut off is an error by itself.
        Some(_) if now.settings.ini.is_some() && before.text.ends_its_line && !now.text.ends_its_line => {
            "the file ends in the middle of a line, and did not before"
        }
        Some(_) => return None,
    };
    Some(format!("{path}: {reason}"))
}
