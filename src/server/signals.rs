//! Signals: which ones stop the server, and which ones do not.
//!
//! SIGTERM and SIGINT stop the server, SIGHUP makes it read its settings again (see [`reload_on_each`]). SIGUSR1 and SIGUSR2,
//! which mean "reopen the log" or "upgrade" to other servers, are logged. SIGXFSZ, which the system sends when a file
//! may not grow, stays blocked: the write fails, and the log counts the line. Rust ignores SIGPIPE. All others keep
//! their default action; the server does not cause them, and SIGQUIT, SIGABRT and SIGALRM are meant to end the process.

use super::threads;
use crate::auth::Gate;
use crate::auth::tokens::TokenVerifier;
use crate::config::{Loaded, RenewedSecrets, Settings, SettingsError, renew};
use nix::sys::signal::{SigSet, Signal as Number};
use std::io;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Blocks signals that would end a process that has not installed its handlers yet. It must be called before any thread
/// is started: threads inherit the mask.
pub fn block_handled() {
    let _ = handled().thread_block();
}

/// Blocks the signal for a file that may not grow, so that the write fails and the caller can clean up. Every command
/// calls it before it starts any thread.
pub fn block_file_size() {
    let _ = SigSet::from(Number::SIGXFSZ).thread_block();
}

fn handled() -> SigSet {
    [Number::SIGHUP, Number::SIGUSR1, Number::SIGUSR2].into_iter().collect()
}

/// The signals of a running server.
pub struct Signals {
    pub stop: StopSignals,
    /// SIGHUP: the server reads its settings again.
    pub hangups: Signal,
    /// SIGUSR1 and SIGUSR2, which have no effect.
    pub user: UserSignals,
}

impl Signals {
    /// Handles the signals that arrive from now on, and those that arrived while they were blocked.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn new() -> io::Result<Self> {
        let signals = Self {
            stop: StopSignals::new()?,
            hangups: signal(SignalKind::hangup())?,
            user: UserSignals::new()?,
        };
        handled().thread_unblock()?;
        Ok(signals)
    }
}

/// The signals that stop the server.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The name of the next signal.
    pub async fn recv(&mut self) -> Option<&'static str> {
        tokio::select! {
            received = self.terminate.recv() => received.map(|()| "SIGTERM"),
            received = self.interrupt.recv() => received.map(|()| "SIGINT"),
        }
    }
}

/// The signals without a predefined meaning. The server uses none of them.
pub struct UserSignals {
    first: Signal,
    second: Signal,
}

impl UserSignals {
    fn new() -> io::Result<Self> {
        let (first, second) = (SignalKind::user_defined1(), SignalKind::user_defined2());
        Ok(Self { first: signal(first)?, second: signal(second)? })
    }

    /// Logs each of these signals, for as long as the server runs.
    pub async fn log_each(mut self) {
        loop {
            let name = tokio::select! {
                Some(()) = self.first.recv() => "SIGUSR1",
                Some(()) = self.second.recv() => "SIGUSR2",
                else => return,
            };
            log::info!("{name} has no effect: SIGHUP reads the settings again, SIGTERM stops the server");
        }
    }
}

/// Reads the settings again on each signal, for as long as the server runs. Settings that cannot be read, or that the
/// server would refuse at its start, change nothing.
///
/// `loaded` are the settings in their last form, `host` is the address that the server listens on, which the service
/// manager may have chosen.
pub async fn reload_on_each(mut hangups: Signal, mut loaded: Loaded, host: String, gate: Arc<Gate>) {
    while hangups.recv().await.is_some() {
        let (before, at) = (loaded.clone(), host.clone());
        // A file may be on a disk that hangs. Reading has a time limit, so this thread ends.
        match threads::run_blocking("cs-reload", move || read_again(&before, &at)).await {
            Ok(Ok((renewed, verifier))) => {
                gate.replace_token_verifier(verifier);
                loaded = apply(renewed, &gate);
            }
            Ok(Err(error)) => refuse(&error),
            Err(error) => log::error!("SIGHUP: the settings are unchanged: {error}"),
        }
    }
}

/// The settings, and the verifier of tokens with the current content of its key files.
fn read_again(before: &Loaded, host: &str) -> Result<(RenewedSecrets, TokenVerifier), SettingsError> {
    let mut renewed = renew(before, host)?;
    let listening = Settings { host: host.into(), ..renewed.loaded.settings.clone() };
    let (verifier, warnings) = TokenVerifier::load(&listening)?;
    renewed.loaded.warnings.extend(warnings);
    Ok((renewed, verifier))
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
