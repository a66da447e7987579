//! The progress of the server's shutdown.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::sync::watch;

/// The longest reconnect delay that is sent to a client, in ms. Clients of the original wait this long after a first
/// failure anyway.
const MAX_RETRY_MS: u64 = 2_000;

/// The reconnect delay that is sent to clients whose sessions are closed within `spread` ms, in ms. It is the same for
/// all, so that they reconnect spread over time as they were closed, after this server has stopped.
pub fn retry_ms(spread: u64) -> u16 {
    spread.min(MAX_RETRY_MS) as u16
}

/// The stages of a shutdown, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The server serves requests.
    #[default]
    Running,
    /// The server closes its sessions, accepts no new ones, and still answers every request.
    Draining,
    /// The server accepts no new connections and answers requests on open ones.
    Closed,
    /// The server closes idle keep-alive connections.
    Ending,
}

/// The current stage. Requests read it; tasks wait for a stage.
#[derive(Debug, Default)]
pub struct Drain {
    begun: AtomicBool,
    retry_ms: AtomicU32,
    stage: watch::Sender<Stage>,
}

impl Drain {
    /// Whether the shutdown has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// The reconnect delay for clients that come during the shutdown, in ms.
    pub fn retry_ms(&self) -> u32 {
        self.retry_ms.load(Ordering::Relaxed)
    }

    /// Sets the reconnect delay, before the shutdown begins.
    pub fn set_retry_ms(&self, ms: u32) {
        self.retry_ms.store(ms, Ordering::Relaxed);
    }

    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Advances to a stage. An earlier stage has no effect.
    pub fn advance(&self, stage: Stage) {
        self.begun.store(true, Ordering::Relaxed);
        self.stage.send_if_modified(|now| {
            let later = stage > *now;
            *now = stage.max(*now);
            later
        });
    }

    /// Waits for a stage or a later one.
    pub fn reached(&self, stage: Stage) -> impl Future<Output = ()> + use<> {
        let mut receiver = self.stage.subscribe();
        async move {
            // An error means that the sender is dropped, and the server with it.
            let _ = receiver.wait_for(|now| *now >= stage).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn the_stage_only_advances() {
        let drain = Drain::default();
        assert!(!drain.has_begun());
        drain.reached(Stage::Running).await;
        let closed = drain.reached(Stage::Closed);
        drain.advance(Stage::Ending);
        closed.await;
        drain.advance(Stage::Draining);
        assert!(drain.has_begun());
        assert_eq!(drain.stage(), Stage::Ending);
    }
}
