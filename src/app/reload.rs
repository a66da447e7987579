//! SIGHUP: the settings are read again, and the secrets among them taken over.

use crate::gate::Gate;
use crate::settings::{Inputs, Renewed, Settings, SettingsError, renew};
use std::sync::Arc;
use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;

/// Reads the settings again at each signal, for as long as the server runs. What cannot be read, or could not be
/// started with, changes nothing.
///
/// `configured` are the settings as they were read, `host` is where the server listens, which may be what the service
/// manager has chosen.
pub async fn at_each(
    mut hangups: Signal,
    inputs: Inputs,
    mut configured: Settings,
    host: String,
    gate: Arc<Gate>,
) {
    while hangups.recv().await.is_some() {
        let (inputs, before, host) = (inputs.clone(), configured.clone(), host.clone());
        // Files may stand on a disk that takes its time.
        match spawn_blocking(move || renew(&before, &host, &inputs)).await {
            Ok(Ok(renewed)) => configured = take_over(renewed, &gate),
            Ok(Err(error)) => refuse(&error),
            Err(error) => log::error!("SIGHUP: the settings stay as they were: {error}"),
        }
    }
}

fn take_over(renewed: Renewed, gate: &Gate) -> Settings {
    let Renewed { settings, changed, needs_restart, source, warnings } = renewed;
    for warning in warnings {
        log::warn!("{warning}");
    }
    if changed.is_empty() {
        log::info!("SIGHUP: no secret has changed; those that sign requests come from {source}");
    } else {
        gate.exchange_secrets(&settings);
        log::info!("SIGHUP: taken over: {}", changed.join(", "));
    }
    if !needs_restart.is_empty() {
        log::warn!("SIGHUP: changed as well, and takes a restart: {}", needs_restart.join(", "));
    }
    settings
}

fn refuse(error: &SettingsError) {
    for problem in &error.problems {
        log::error!("SIGHUP: the settings stay as they were: {problem}");
    }
}
