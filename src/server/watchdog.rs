//! Detects a thread that does not run its tasks, because something blocks it or the machine is too busy.

use super::core::Core;
use crate::clock::{Clock, Tick};
use crate::telemetry::thread_health::{HealthChange, ThreadHeartbeat};
use actix_rt::ArbiterHandle;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Checks within the time after which a thread lags.
const CHECKS_PER_LIMIT: u32 = 4;
/// The longest interval between two checks.
const MAX_INTERVAL: Duration = Duration::from_secs(1);

/// A thread and its heartbeat.
struct WatchedThread {
    heartbeat: Arc<ThreadHeartbeat>,
    thread: ArbiterHandle,
}

/// Watches these threads until they end. The watchdog has its own thread, otherwise it could lag with them.
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
        .map(|(name, thread)| WatchedThread { heartbeat: Arc::new(ThreadHeartbeat::new(name)), thread });
    let watched: Vec<WatchedThread> = watched.collect();
    core.thread_health.watch(watched.iter().map(|watched| watched.heartbeat.clone()).collect());
    let core = core.clone();
    std::thread::Builder::new().name("cs-watchdog".into()).spawn(move || {
        let interval = (limit / CHECKS_PER_LIMIT).min(MAX_INTERVAL);
        let (clock, mut tick) = (Clock::start(interval), Tick::OnTime);
        // After a pause of the process its threads have one interval to answer.
        while tick == Tick::Late || watched.iter().all(|watched| watched.check(&core, limit)) {
            std::thread::sleep(interval);
            tick = clock.tick();
        }
    })?;
    Ok(())
}

impl WatchedThread {
    /// Logs a change of the thread's health, and sends it the next request to answer. Returns false if the thread has
    /// ended.
    fn check(&self, core: &Core, limit: Duration) -> bool {
        let (name, now_ms) = (&self.heartbeat.name, core.started.elapsed().as_millis() as u64);
        match self.heartbeat.look(now_ms, limit.as_millis() as u64) {
            HealthChange::Same => {}
            HealthChange::Lags(ms) => {
                core.counters.threads_lagged.add(1);
                log::error!(
                    "{name} has not answered for {ms} ms: something blocks it, or the machine is too busy"
                );
            }
            HealthChange::Recovered => log::warn!("{name} answers again"),
        }
        let heartbeat = self.heartbeat.clone();
        !self.heartbeat.ask(now_ms) || self.thread.spawn_fn(move || heartbeat.answer())
    }
}
