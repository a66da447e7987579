//! Bodies of senders that have not proven that they have a secret. They have a bound of their own, so that they take
//! nothing from signed requests. At the bound the oldest of them is given up: a sender that sends is done within
//! moments, and one that holds bytes back makes room for it.

use crate::http_error::Refusal;
use crate::telemetry::in_flight::InFlight;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// The bodies of all threads.
#[derive(Debug)]
pub struct Unproven {
    in_flight: Arc<InFlight>,
    bound: usize,
    bodies: Mutex<Bodies>,
}

#[derive(Debug, Default)]
struct Bodies {
    /// By number: the first one is the oldest.
    by_number: BTreeMap<u64, Held>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    bytes: usize,
    given_up: CancellationToken,
}

impl Bodies {
    fn remove(&mut self, number: u64) -> Option<Held> {
        let held = self.by_number.remove(&number)?;
        self.bytes -= held.bytes;
        Some(held)
    }
}

/// One body, from its second piece on. Dropped, it is no longer counted.
#[derive(Debug)]
pub struct UnprovenBody {
    home: Arc<Unproven>,
    number: u64,
    given_up: CancellationToken,
}

impl Unproven {
    /// No body yet; together they have at most `bound` bytes, but for the latest one.
    pub fn new(in_flight: Arc<InFlight>, bound: usize) -> Arc<Self> {
        Arc::new(Self { in_flight, bound, bodies: Mutex::default() })
    }

    /// A further body, without a byte.
    pub fn begin(self: &Arc<Self>) -> UnprovenBody {
        let given_up = CancellationToken::new();
        let mut bodies = self.locked();
        let number = bodies.next;
        bodies.next += 1;
        bodies.by_number.insert(number, Held { bytes: 0, given_up: given_up.clone() });
        UnprovenBody { home: self.clone(), number, given_up }
    }

    /// Changes the bodies, and shows how many bytes they have then.
    fn change<T>(&self, change: impl FnOnce(&mut Bodies) -> T) -> T {
        let mut bodies = self.locked();
        let before = bodies.bytes;
        let result = change(&mut bodies);
        self.in_flight.unproven_bodies.change(before, bodies.bytes);
        result
    }

    fn locked(&self) -> MutexGuard<'_, Bodies> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnprovenBody {
    /// Counts further bytes, and gives up the oldest bodies while all have too many.
    ///
    /// # Errors
    /// `Busy` when this body itself is given up.
    pub fn add(&self, bytes: usize) -> Result<(), Refusal> {
        self.home.change(|bodies| {
            let held = bodies.by_number.get_mut(&self.number).ok_or(Refusal::Busy)?;
            held.bytes += bytes;
            bodies.bytes += bytes;
            while bodies.bytes > self.home.bound {
                let Some(oldest) = bodies.by_number.keys().next().copied() else { break };
                if let Some(held) = bodies.remove(oldest) {
                    held.given_up.cancel();
                }
                if oldest == self.number {
                    return Err(Refusal::Busy);
                }
            }
            Ok(())
        })
    }

    /// Waits until this body is given up for others.
    pub async fn given_up(&self) {
        self.given_up.cancelled().await;
    }
}

impl Drop for UnprovenBody {
    fn drop(&mut self) {
        self.home.change(|bodies| bodies.remove(self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unproven(bound: usize) -> Arc<Unproven> {
        Unproven::new(Arc::new(InFlight::new(1, 1, 1, 1)), bound)
    }

    #[test]
    fn the_oldest_is_given_up_for_the_latest() {
        let unproven = unproven(100);
        let shown = || unproven.in_flight.unproven_bodies.get();
        let (first, second) = (unproven.begin(), unproven.begin());
        assert_eq!((first.add(60), second.add(40), shown()), (Ok(()), Ok(()), 100));
        let third = unproven.begin();
        assert_eq!((third.add(50), shown()), (Ok(()), 90));
        assert!(first.given_up.is_cancelled() && !second.given_up.is_cancelled());
        assert_eq!(first.add(1), Err(Refusal::Busy));
        assert_eq!((second.add(30), shown()), (Err(Refusal::Busy), 50), "the oldest itself is too much");
        drop((first, second));
        assert_eq!(shown(), 50);
        drop(third);
        assert_eq!((shown(), unproven.locked().by_number.len()), (0, 0));
    }

    #[actix_web::test]
    async fn one_that_is_given_up_learns_it() {
        let unproven = unproven(10);
        let (old, new) = (unproven.begin(), unproven.begin());
        assert_eq!((old.add(10), new.add(10)), (Ok(()), Ok(())));
        old.given_up().await;
        assert!(!new.given_up.is_cancelled());
    }
}
