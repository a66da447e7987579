//! How a server stops. It first closes its sessions and still answers every request. Then it accepts no connection any
//! more and finishes the open requests. Each of these phases has a time limit.

use super::core::Core;
use crate::broker::drain::{Stage, retry_ms};
use crate::broker::registry::Registry;
use crate::broker::registry::messages::{Ask, StartDrain};
use actix_rt::ArbiterHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long clients whose connection was accepted last have for sending their request.
const LAST_REQUESTS: Duration = Duration::from_millis(250);
/// Workers report their queued frames ten times a second, so a report may be this old.
const REPORT_AGE: Duration = Duration::from_millis(150);
/// The interval at which the stop checks whether sessions and connections have ended.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// At most two quarters of the shutdown timeout are for starting to close the sessions, and three until all are closed.
const QUARTERS: u32 = 4;

/// Stops a server.
#[derive(Clone)]
pub struct Stopper {
    core: Arc<Core>,
    threads: Vec<ArbiterHandle>,
    started: Arc<AtomicBool>,
}

impl Stopper {
    pub(super) fn new(core: Arc<Core>, threads: Vec<ArbiterHandle>) -> Self {
        Self { core, threads, started: Arc::default() }
    }

    /// Closes every session, lets requests finish within the limit, and ends the server. A second call does nothing.
    pub async fn stop(self) {
        if self.started.swap(true, Ordering::Relaxed) {
            return;
        }
        let started = Instant::now();
        let limit = Duration::from_millis(self.core.settings.shutdown_timeout_ms);
        self.close_sessions(limit);
        // Peers take a moment to answer the close. For those that do not, the wait ends after a part of the limit.
        let _ = timeout_at(started + limit * 3 / QUARTERS, self.sessions_are_gone()).await;
        log::info!("no connections are accepted any more");
        self.core.drain.advance(Stage::Closed);
        let _ =
            timeout_at((Instant::now() + LAST_REQUESTS).min(started + limit), self.connections_are_gone())
                .await;
        self.core.drain.advance(Stage::Ending);
        let _ = timeout_at(started + limit, self.connections_are_gone()).await;
        let _ = timeout(REPORT_AGE, self.queues_are_empty()).await;
        if let Some(nodes) = &self.core.nodes {
            // What it has counted since the last time.
            nodes.tally().await;
        }
        if let Some(link) = &self.core.link_handle {
            // Other nodes continue where the clients are now.
            if let Some(registry) = self.core.registry.get() {
                let stored = registry.send(Ask(|registry: &mut Registry, _: &mut _| registry.store_rows()));
                let _ = timeout_at(started + limit, stored).await;
            }
            // It ends within the time that a call may take.
            link.leave().await;
        }
        self.summarize(started.elapsed());
        for thread in self.threads.iter().chain(self.core.registry_thread.get()) {
            thread.stop();
        }
        let _ = self.core.ended.send(Ok(()));
    }

    #[cfg(test)]
    pub(super) fn threads(&self) -> &[ArbiterHandle] {
        &self.threads
    }

    pub fn has_started(&self) -> bool {
        self.started.load(Ordering::Relaxed)
    }

    /// Ends the server immediately and with an error, since open sessions and requests are aborted.
    pub fn end_now(&self, why: &str) {
        let left = self.unfinished();
        let _ = self.core.ended.send(Err(std::io::Error::other(format!("{why}, aborted: {left}"))));
    }

    fn close_sessions(&self, limit: Duration) {
        let core = &self.core;
        let given = core.settings.shutdown_spread;
        let spread_ms = given.min((limit * 2 / QUARTERS).as_millis() as u64);
        core.drain.set_retry_ms(retry_ms(spread_ms).into());
        core.drain.advance(Stage::Draining);
        let sessions = core.in_flight.sessions.get();
        log::info!("closing {sessions} sessions within {spread_ms} ms, no new ones are accepted");
        if let Some(registry) = core.registry.get() {
            registry.do_send(StartDrain { spread_ms });
        }
        if let Some(demo) = core.demo.get() {
            demo.close();
        }
    }

    async fn connections_are_gone(&self) {
        while self.num_connections() > 0 {
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Counts the connections that are not websockets (yet).
    fn num_connections(&self) -> usize {
        self.core.num_http_permits.saturating_sub(self.core.http_permits.available_permits())
    }

    async fn queues_are_empty(&self) {
        while self.core.in_flight.queued_frames.get() > 0 {
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn sessions_are_gone(&self) {
        while self.core.in_flight.sessions.get() > 0 {
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Describes the unfinished work for the log.
    fn unfinished(&self) -> String {
        let in_flight = &self.core.in_flight;
        format!(
            "{} sessions, {} frames ({} bytes) queued for them, {} bytes in flight to workers, {} requests",
            in_flight.sessions.get(),
            in_flight.queued_frames.get(),
            in_flight.queued_bytes.get(),
            in_flight.hub_bytes.get(),
            self.num_connections(),
        )
    }

    fn summarize(&self, took: Duration) {
        let (left, ms) = (self.unfinished(), took.as_millis());
        let clean = self.core.in_flight.sessions.get() == 0 && self.num_connections() == 0;
        let level = if clean { log::Level::Info } else { log::Level::Warn };
        log::log!(level, "stopped after {ms} ms; unfinished: {left}");
    }
}
