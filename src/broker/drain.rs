//! How far the server's stop has come.

use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// The phases of a stop, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It serves.
    #[default]
    Running,
    /// It sends its sessions away, lets no new ones in, and answers every request.
    Draining,
    /// It takes no connection any more, and answers who is there.
    Closed,
    /// Connections that only wait for a next request shall go.
    Ending,
}

/// The stage, for who asks at each request and for who waits for one.
#[derive(Debug, Default)]
pub struct Drain {
    begun: AtomicBool,
    stage: watch::Sender<Stage>,
}

impl Drain {
    /// Whether the server stops.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// The stage now.
    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Goes on to a stage. Never back.
    pub fn advance(&self, stage: Stage) {
        self.begun.store(true, Ordering::Relaxed);
        self.stage.send_if_modified(|now| {
            let later = stage > *now;
            *now = stage.max(*now);
            later
        });
    }

    /// Waits for a stage, or a later one.
    pub fn reached(&self, stage: Stage) -> impl Future<Output = ()> + use<> {
        let mut receiver = self.stage.subscribe();
        async move {
            // An error says that the sender is gone, and with it the server.
            let _ = receiver.wait_for(|now| *now >= stage).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_stop_goes_forward_only() {
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
