//! Signals: which ones stop the server, and which ones must not.
//!
//! SIGTERM and SIGINT stop the server, SIGHUP makes it read its settings again (see [`super::reload`]). SIGUSR1 and SIGUSR2,
//! which other servers take for "open the log again" or "upgrade", are logged. SIGXFSZ, which the system sends where a file
//! may not grow, is held back for good: the write fails, and the log counts the line. Rust ignores SIGPIPE. All others keep
//! the meaning that the system gives them; nothing here causes them, and who sends SIGQUIT, SIGABRT or SIGALRM wants the
//! process to end.

use nix::sys::signal::{SigSet, Signal as Number};
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Holds back signals that would end a process that has not installed its handlers yet. The caller does so before it
/// starts any thread: threads inherit the mask.
pub fn hold_back() {
    let _ = own().thread_block();
}

/// Holds back the signal of a file that may not grow, so that the write fails and the caller can clean up. Every command
/// does so before it starts any thread.
pub fn hold_back_file_size() {
    let _ = SigSet::from(Number::SIGXFSZ).thread_block();
}

fn own() -> SigSet {
    [Number::SIGHUP, Number::SIGUSR1, Number::SIGUSR2].into_iter().collect()
}

/// The signals of a running server.
pub struct Signals {
    /// Those that stop it.
    pub stop: StopSignals,
    /// Those that make it read its settings again.
    pub hangups: Signal,
    /// Those that mean nothing to it.
    pub user: UserSignals,
}

impl Signals {
    /// Handles those that come from now on, and those that were held back.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn new() -> io::Result<Self> {
        let signals = Self {
            stop: StopSignals::new()?,
            hangups: signal(SignalKind::hangup())?,
            user: UserSignals::new()?,
        };
        own().thread_unblock()?;
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

    /// The name of the next one.
    pub async fn recv(&mut self) -> Option<&'static str> {
        tokio::select! {
            received = self.terminate.recv() => received.map(|()| "SIGTERM"),
            received = self.interrupt.recv() => received.map(|()| "SIGINT"),
        }
    }
}

/// The signals that programs may use as they like. We use none of them.
pub struct UserSignals {
    first: Signal,
    second: Signal,
}

impl UserSignals {
    fn new() -> io::Result<Self> {
        let (first, second) = (SignalKind::user_defined1(), SignalKind::user_defined2());
        Ok(Self { first: signal(first)?, second: signal(second)? })
    }

    /// Logs each one, for as long as the server runs.
    pub async fn log_each(mut self) {
        loop {
            let name = tokio::select! {
                Some(()) = self.first.recv() => "SIGUSR1",
                Some(()) = self.second.recv() => "SIGUSR2",
                else => return,
            };
            log::info!("{name} changes nothing: SIGHUP reads the settings again, SIGTERM stops the server");
        }
    }
}
