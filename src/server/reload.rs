//! SIGHUP: the settings are read again, and the secrets among them taken over.

use super::threads;
use crate::auth::Gate;
use crate::config::{Loaded, RenewedSecrets, SettingsError, renew};
use std::sync::Arc;
use tokio::signal::unix::Signal;

/// Reads the settings again at each signal, for as long as the server runs. What cannot be read, or could not be
/// started with, changes nothing.
///
/// `loaded` are the settings as they were read, `host` is where the server listens, which may be what the service
/// manager has chosen.
pub async fn at_each(mut hangups: Signal, mut loaded: Loaded, host: String, gate: Arc<Gate>) {
    while hangups.recv().await.is_some() {
        let (before, at) = (loaded.clone(), host.clone());
        // Files may lie on a disk that hangs. Reading has a time limit, so this comes to an end.
        match threads::apart("cs-reload", move || renew(&before, &at)).await {
            Ok(Ok(renewed)) => loaded = take_over(renewed, &gate),
            Ok(Err(error)) => refuse(&error),
            Err(error) => log::error!("SIGHUP: the settings stay as they were: {error}"),
        }
    }
}

fn take_over(renewed: RenewedSecrets, gate: &Gate) -> Loaded {
    let RenewedSecrets { loaded, changed, needs_restart } = renewed;
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    if changed.is_empty() {
        let source = loaded.sources.get("secrets").map_or("the defaults", String::as_str);
        log::info!("SIGHUP: no secret has changed; those that sign requests come from {source}");
    } else {
        gate.exchange_secrets(&loaded.settings);
        log::info!("SIGHUP: taken over: {}", changed.join(", "));
    }
    if !needs_restart.is_empty() {
        log::warn!("SIGHUP: changed as well, and takes a restart: {}", needs_restart.join(", "));
    }
    loaded
}

fn refuse(error: &SettingsError) {
    for problem in &error.problems {
        log::error!("SIGHUP: the settings stay as they were: {problem}");
    }
}
