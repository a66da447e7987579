//! Reads the settings again for a server that runs: it takes over the secrets, and reports what else has changed.
//!
//! A reload never makes the server weaker by accident. A file that vanished, was emptied or was cut gives no value for a
//! setting that it gave before; the reload is refused then instead of putting the default in its place.

use super::SettingsError;
use super::key::Key;
use super::load::{Loaded, load_from};
use super::source::Accepts;
use super::table::{KEYS, Settings};

/// What a running server can take over.
const RENEWABLE: [&str; 4] = ["secrets", "admin_user", "admin_secret", "cookie_secret"];

/// What reading the settings again has brought.
#[derive(Clone, Debug)]
pub struct RenewedSecrets {
    /// The settings that the server was started with, with the secrets of now, and the sources of now.
    pub loaded: Loaded,
    /// Settings that were taken over.
    pub changed: Vec<&'static str>,
    /// Settings that changed as well, and count after a restart.
    pub needs_restart: Vec<&'static str>,
}

/// Reads the settings again from where `before` were read. `host` is where the server listens. A cookie secret that no
/// source ever gave stays the one that was made at the start.
///
/// # Errors
/// As [`load`](super::load), and for a file that is not a regular one or is less than it was, for a setting that had a
/// source and has none any more, for a well-known secret in place of an own one, and for what [`Settings::validate`]
/// has against the secrets where the server listens. All stays as it was then.
pub fn renew(before: &Loaded, host: &str) -> Result<RenewedSecrets, SettingsError> {
    let mut loaded = load_from(&before.inputs, Accepts::Files)?;
    loaded.settings.validate()?;
    refuse_losses(before, &loaded)?;
    if !loaded.sources.contains_key("cookie_secret") {
        loaded.settings.cookie_secret = before.settings.cookie_secret.clone();
    }
    let read = &loaded.settings;
    let differs = |key: &&Key| (key.show)(&before.settings) != (key.show)(read);
    let (changed, needs_restart) =
        KEYS.iter().filter(differs).map(|key| key.name).partition(|name| RENEWABLE.contains(name));
    let settings = Settings {
        secrets: read.secrets.clone(),
        admin_user: read.admin_user.clone(),
        admin_secret: read.admin_secret.clone(),
        cookie_secret: read.cookie_secret.clone(),
        ..before.settings.clone()
    };
    // The address is the running server's, whatever the file says by now.
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
    let mut problems = Vec::from_iter(lost);
    let before_known = before.settings.default_secrets();
    let mut known = now.settings.default_secrets();
    known.retain(|key| !before_known.contains(key) && now.sources.contains_key(key));
    problems.extend(
        known.into_iter().map(|key| {
            format!("{key}: the well-known default is refused in the place of a secret of your own")
        }),
    );
    if problems.is_empty() { Ok(()) } else { Err(SettingsError { problems }) }
}

/// What is wrong with the file as a whole.
fn lost_file(before: &Loaded, now: &Loaded) -> Option<String> {
    let path = before.file.as_ref()?.display();
    let reason = match &now.file {
        None => "the file is not there any more",
        Some(_) if now.text.is_empty && !before.text.is_empty => "the file is empty, and was not before",
        // TOML has its texts in quotes, so a cut one is an error by itself.
        Some(_) if now.settings.ini.is_some() && before.text.ends_its_line && !now.text.ends_its_line => {
            "the file ends in the middle of a line, and did not before"
        }
        Some(_) => return None,
    };
    Some(format!("{path}: {reason}"))
}
