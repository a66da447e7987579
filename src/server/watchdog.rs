//! Notices a thread that does not take its turn: something blocks it, or the machine has no time for it.

use super::Core;
use crate::clock::{Clock, Tick};
use crate::telemetry::thread_health::{HealthChange, ThreadHeartbeat};
use actix_rt::ArbiterHandle;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Looks within the time after which a thread lags.
const LOOKS: u32 = 4;
/// A look at least so often.
const LONGEST: Duration = Duration::from_secs(1);

/// A thread and what is known of it.
struct WatchedThread {
    pulse: Arc<ThreadHeartbeat>,
    thread: ArbiterHandle,
}

/// Starts to watch these threads, until they end. On a thread of its own, or it could lag with them.
///
/// # Errors
/// The thread cannot be started.
pub fn start(core: &Arc<Core>, threads: Vec<(String, ArbiterHandle)>) -> io::Result<()> {
    let limit = Duration::from_millis(core.settings.watchdog_timeout);
    if limit.is_zero() {
        return Ok(());
    }
    let watched = threads
        .into_iter()
        .map(|(name, thread)| WatchedThread { pulse: Arc::new(ThreadHeartbeat::new(name)), thread });
    let watched: Vec<WatchedThread> = watched.collect();
    core.thread_health.watch(watched.iter().map(|watched| watched.pulse.clone()).collect());
    let core = core.clone();
    std::thread::Builder::new().name("cs-watchdog".into()).spawn(move || {
        let every = (limit / LOOKS).min(LONGEST);
        let (clock, mut tick) = (Clock::start(every), Tick::OnTime);
        // After a pause of the process its threads get the time of one look to answer.
        while tick == Tick::Late || watched.iter().all(|watched| watched.look(&core, limit)) {
            std::thread::sleep(every);
            tick = clock.tick();
        }
    })?;
    Ok(())
}

impl WatchedThread {
    /// Asks the thread, and tells what is new. False: it has ended.
    fn look(&self, core: &Core, limit: Duration) -> bool {
        let (name, now_ms) = (&self.pulse.name, core.started.elapsed().as_millis() as u64);
        match self.pulse.look(now_ms, limit.as_millis() as u64) {
            HealthChange::Same => {}
            HealthChange::Lags(ms) => {
                core.counters.threads_lagged.add(1);
                log::error!(
                    "{name} has not answered for {ms} ms: something blocks it, or the machine is too busy"
                );
            }
            HealthChange::Recovered => log::warn!("{name} answers again"),
        }
        let pulse = self.pulse.clone();
        !self.pulse.ask(now_ms) || self.thread.spawn_fn(move || pulse.answer())
    }
}
