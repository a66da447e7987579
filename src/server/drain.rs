//! How a server stops: its sessions are sent away while every request is still answered, then nobody is let in any more
//! and who is there gets an answer, and all of it has an end.

use super::Core;
use crate::broker::drain::Stage;
use crate::broker::registry::messages::StartDrain;
use actix_rt::ArbiterHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long those whose connection was taken just before none was any more have for sending their request.
const LATE: Duration = Duration::from_millis(250);
/// Workers report what is queued ten times a second; so long it may be out of date.
const REPORT: Duration = Duration::from_millis(150);
/// How often it is looked whether sessions are gone.
const LOOK: Duration = Duration::from_millis(10);
/// Of the time for a stop, a half at most is for sending sessions away, and three quarters for their goodbyes.
const QUARTERS: u32 = 4;

/// Stops a server.
#[derive(Clone)]
pub struct Stopper {
    core: Arc<Core>,
    threads: Vec<ArbiterHandle>,
    begun: Arc<AtomicBool>,
}

impl Stopper {
    pub(super) fn new(core: Arc<Core>, threads: Vec<ArbiterHandle>) -> Self {
        Self { core, threads, begun: Arc::default() }
    }

    /// Says goodbye to every session, lets requests finish within the limit, and ends. A second call does nothing.
    pub async fn stop(self) {
        if self.begun.swap(true, Ordering::Relaxed) {
            return;
        }
        let begun = Instant::now();
        let limit = Duration::from_millis(self.core.settings.shutdown_timeout_ms);
        self.send_sessions_away(limit);
        // Their peers take a moment to answer; who does not is not waited for longer than a part of the limit.
        let _ = timeout_at(begun + limit * 3 / QUARTERS, self.sessions_are_gone()).await;
        log::info!("no connection is taken any more");
        self.core.drain.advance(Stage::Closed);
        let _ = timeout_at((Instant::now() + LATE).min(begun + limit), self.connections_are_gone()).await;
        self.core.drain.advance(Stage::Ending);
        let _ = timeout_at(begun + limit, self.connections_are_gone()).await;
        let _ = timeout(REPORT, self.queues_are_empty()).await;
        self.summarize(begun.elapsed());
        for thread in self.threads.iter().chain(self.core.registry_thread.get()) {
            thread.stop();
        }
        let _ = self.core.ended.send(Ok(()));
    }

    #[cfg(test)]
    pub(super) fn threads(&self) -> &[ArbiterHandle] {
        &self.threads
    }

    /// Whether it has been told to stop.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Ends at once, whatever is under way.
    ///
    /// The server's end is an error then: sessions and requests were cut off.
    pub fn end_now(&self, why: &str) {
        let left = self.left();
        let _ = self.core.ended.send(Err(std::io::Error::other(format!("{why}, cut off were {left}"))));
    }

    fn send_sessions_away(&self, limit: Duration) {
        let core = &self.core;
        core.drain.advance(Stage::Draining);
        let given = core.settings.shutdown_spread;
        let spread_ms = given.min((limit * 2 / QUARTERS).as_millis() as u64);
        let sessions = core.in_flight.sessions.get();
        log::info!("{sessions} sessions are sent away within {spread_ms} ms, no new ones let in");
        if let Some(registry) = core.registry.get() {
            registry.do_send(StartDrain { spread_ms });
        }
        if let Some(demo) = core.demo.get() {
            demo.close();
        }
    }

    async fn connections_are_gone(&self) {
        while self.num_connections() > 0 {
            sleep(LOOK).await;
        }
    }

    /// Those that are not websockets, or not yet.
    fn num_connections(&self) -> usize {
        self.core.places.saturating_sub(self.core.room.available_permits())
    }

    async fn queues_are_empty(&self) {
        while self.core.in_flight.queued_frames.get() > 0 {
            sleep(LOOK).await;
        }
    }

    async fn sessions_are_gone(&self) {
        while self.core.in_flight.sessions.get() > 0 {
            sleep(LOOK).await;
        }
    }

    /// What is not finished, in words.
    fn left(&self) -> String {
        let in_flight = &self.core.in_flight;
        format!(
            "{} sessions, {} frames ({} bytes) queued for them, {} bytes on their way to workers, {} requests",
            in_flight.sessions.get(),
            in_flight.queued_frames.get(),
            in_flight.queued_bytes.get(),
            in_flight.hub_bytes.get(),
            self.num_connections(),
        )
    }

    fn summarize(&self, took: Duration) {
        let (left, ms) = (self.left(), took.as_millis());
        let clean = self.core.in_flight.sessions.get() == 0 && self.num_connections() == 0;
        let level = if clean { log::Level::Info } else { log::Level::Warn };
        log::log!(level, "stopped after {ms} ms; left over: {left}");
    }
}
