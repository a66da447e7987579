//! SIGHUP: the settings are read again, and the secrets among them taken over.

use crate::gate::Gate;
use crate::settings::{Loaded, Renewed, SettingsError, renew};
use std::io;
use std::sync::Arc;
use std::thread::Builder;
use tokio::signal::unix::Signal;
use tokio::sync::oneshot;

/// Reads the settings again at each signal, for as long as the server runs. What cannot be read, or could not be
/// started with, changes nothing.
///
/// `loaded` are the settings as they were read, `host` is where the server listens, which may be what the service
/// manager has chosen.
pub async fn at_each(mut hangups: Signal, mut loaded: Loaded, host: String, gate: Arc<Gate>) {
    while hangups.recv().await.is_some() {
        match read_again(loaded.clone(), host.clone()).await {
            Ok(Ok(renewed)) => loaded = take_over(renewed, &gate),
            Ok(Err(error)) => refuse(&error),
            Err(error) => log::error!("SIGHUP: the settings stay as they were: {error}"),
        }
    }
}

/// Reads on a thread that is not joined, because files may stand on a disk that hangs. Reading has a time limit, so this
/// comes to an end.
async fn read_again(before: Loaded, host: String) -> io::Result<Result<Renewed, SettingsError>> {
    let (sender, result) = oneshot::channel();
    let read = move || drop(sender.send(renew(&before, &host)));
    Builder::new().name("cs-reload".into()).spawn(read)?;
    result.await.map_err(io::Error::other)
}

fn take_over(renewed: Renewed, gate: &Gate) -> Loaded {
    let Renewed { loaded, changed, needs_restart } = renewed;
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
