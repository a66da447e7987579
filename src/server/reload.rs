//! SIGHUP: the server reads its settings again and applies changed secrets.

use super::threads;
use crate::auth::Gate;
use crate::config::{Loaded, RenewedSecrets, SettingsError, renew};
use std::sync::Arc;
use tokio::signal::unix::Signal;

/// Reads the settings again on each signal, for as long as the server runs. Settings that cannot be read, or that the
/// server would refuse at its start, change nothing.
///
/// `loaded` are the settings in their last form, `host` is the address that the server listens on, which the service
/// manager may have chosen.
pub async fn on_each_signal(mut hangups: Signal, mut loaded: Loaded, host: String, gate: Arc<Gate>) {
    while hangups.recv().await.is_some() {
        let (before, at) = (loaded.clone(), host.clone());
        // A file may be on a disk that hangs. Reading has a time limit, so this thread ends.
        match threads::run_blocking("cs-reload", move || renew(&before, &at)).await {
            Ok(Ok(renewed)) => loaded = apply(renewed, &gate),
            Ok(Err(error)) => refuse(&error),
            Err(error) => log::error!("SIGHUP: the settings are unchanged: {error}"),
        }
    }
}

fn apply(renewed: RenewedSecrets, gate: &Gate) -> Loaded {
    let RenewedSecrets { loaded, changed, needs_restart } = renewed;
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    if changed.is_empty() {
        let source = loaded.sources.get("secrets").map_or("the defaults", String::as_str);
        log::info!("SIGHUP: no secret has changed; the secrets that sign requests come from {source}");
    } else {
        gate.replace_secrets(&loaded.settings);
        log::info!("SIGHUP: applied: {}", changed.join(", "));
    }
    if !needs_restart.is_empty() {
        log::warn!("SIGHUP: also changed, but requires a restart: {}", needs_restart.join(", "));
    }
    loaded
}

fn refuse(error: &SettingsError) {
    for problem in &error.problems {
        log::error!("SIGHUP: the settings are unchanged: {problem}");
    }
}
