//! Request bodies of senders that are not authenticated (yet). They have a separate limit, so that they do not use the
//! memory of signed requests. At the limit the oldest body is evicted: a sender that sends its body without pauses
//! finishes within moments, and one that holds bytes back loses its place.

use crate::http_error::Refusal;
use crate::telemetry::in_flight::InFlight;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// The bodies of all threads.
#[derive(Debug)]
pub struct UnauthenticatedBodies {
    in_flight: Arc<InFlight>,
    max_bytes: usize,
    bodies: Mutex<Bodies>,
}

#[derive(Debug, Default)]
struct Bodies {
    /// By number; the first one is the oldest.
    by_number: BTreeMap<u64, BodyEntry>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct BodyEntry {
    bytes: usize,
    evicted: CancellationToken,
}

impl Bodies {
    fn remove(&mut self, number: u64) -> Option<BodyEntry> {
        let entry = self.by_number.remove(&number)?;
        self.bytes -= entry.bytes;
        Some(entry)
    }
}

/// One body, from its second piece on. It is counted until it is dropped.
#[derive(Debug)]
pub struct UnauthenticatedBody {
    all: Arc<UnauthenticatedBodies>,
    number: u64,
    evicted: CancellationToken,
}

impl UnauthenticatedBodies {
    /// All bodies together have at most `max_bytes`, apart from the piece that is being added.
    pub fn new(in_flight: Arc<InFlight>, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { in_flight, max_bytes, bodies: Mutex::default() })
    }

    /// Adds an empty body.
    pub fn start(self: &Arc<Self>) -> UnauthenticatedBody {
        let evicted = CancellationToken::new();
        let mut bodies = self.locked();
        let number = bodies.next;
        bodies.next += 1;
        bodies.by_number.insert(number, BodyEntry { bytes: 0, evicted: evicted.clone() });
        UnauthenticatedBody { all: self.clone(), number, evicted }
    }

    /// Changes the bodies, and updates the counter of their bytes.
    fn change<T>(&self, change: impl FnOnce(&mut Bodies) -> T) -> T {
        let mut bodies = self.locked();
        let before = bodies.bytes;
        let result = change(&mut bodies);
        self.in_flight.unauthenticated_bodies.change(before, bodies.bytes);
        result
    }

    fn locked(&self) -> MutexGuard<'_, Bodies> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnauthenticatedBody {
    /// Counts more bytes, and evicts the oldest bodies while all together are over the limit.
    ///
    /// # Errors
    /// `Busy` if this body itself is evicted.
    pub fn add(&self, bytes: usize) -> Result<(), Refusal> {
        self.all.change(|bodies| {
            let entry = bodies.by_number.get_mut(&self.number).ok_or(Refusal::Busy)?;
            entry.bytes += bytes;
            bodies.bytes += bytes;
            while bodies.bytes > self.all.max_bytes {
                let Some(oldest) = bodies.by_number.keys().next().copied() else { break };
                if let Some(entry) = bodies.remove(oldest) {
                    entry.evicted.cancel();
                }
                if oldest == self.number {
                    return Err(Refusal::Busy);
                }
            }
            Ok(())
        })
    }

    /// Waits until this body is evicted.
    pub async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for UnauthenticatedBody {
    fn drop(&mut self) {
        self.all.change(|bodies| bodies.remove(self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(max_bytes: usize) -> Arc<UnauthenticatedBodies> {
        UnauthenticatedBodies::new(Arc::new(InFlight::new(1, 1, 1, 1)), max_bytes)
    }

    #[test]
    fn the_oldest_body_is_evicted_for_the_newest() {
        let all = bodies(100);
        let counted = || all.in_flight.unauthenticated_bodies.get();
        let (first, second) = (all.start(), all.start());
        assert_eq!((first.add(60), second.add(40), counted()), (Ok(()), Ok(()), 100));
        let third = all.start();
        assert_eq!((third.add(50), counted()), (Ok(()), 90));
        assert!(first.evicted.is_cancelled() && !second.evicted.is_cancelled());
        assert_eq!(first.add(1), Err(Refusal::Busy));
        assert_eq!(
            (second.add(30), counted()),
            (Err(Refusal::Busy), 50),
            "the oldest body itself is over the limit"
        );
        drop((first, second));
        assert_eq!(counted(), 50);
        drop(third);
        assert_eq!((counted(), all.locked().by_number.len()), (0, 0));
    }

    #[actix_web::test]
    async fn an_evicted_body_is_notified() {
        let all = bodies(10);
        let (old, new) = (all.start(), all.start());
        assert_eq!((old.add(10), new.add(10)), (Ok(()), Ok(())));
        old.evicted().await;
        assert!(!new.evicted.is_cancelled());
    }
}
