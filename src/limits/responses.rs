//! Limits the large response bodies that wait for their clients.
//!
//! A body is in memory until its client has received it. Equal bodies are stored once, and the sum of all has a limit.

use crate::http_error::Refusal;
use crate::telemetry::in_flight::InFlight;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Larger bodies, in bytes, are counted. It is also the size of the pieces in which the HTTP stack receives them.
pub const LARGE: usize = 16 << 10;
/// A new body is compared with at most this many waiting bodies of the same length.
const MAX_COMPARED: usize = 4;

/// The large response bodies that wait for their clients, of all threads.
#[derive(Debug)]
pub struct Responses {
    in_flight: Arc<InFlight>,
    /// By length, since equal bodies have equal lengths.
    waiting: Mutex<HashMap<usize, Vec<Weak<WaitingResponses>>>>,
}

/// One body, counted as long as a part of it is in use.
#[derive(Debug)]
struct WaitingResponses {
    bytes: Bytes,
    all: Arc<Responses>,
}

/// A reference to a body, in the form that [`Bytes::from_owner`] requires.
struct SharedResponse(Arc<WaitingResponses>);

impl AsRef<[u8]> for SharedResponse {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Drop for WaitingResponses {
    fn drop(&mut self) {
        let length = self.bytes.len();
        self.all.in_flight.responses.sub(length);
        let mut waiting = self.all.locked();
        if let Some(same) = waiting.get_mut(&length) {
            same.retain(|body| body.strong_count() > 0);
            if same.is_empty() {
                waiting.remove(&length);
            }
        }
    }
}

impl Responses {
    /// Counts the bodies in these counters.
    pub fn new(in_flight: Arc<InFlight>) -> Arc<Self> {
        Arc::new(Self { in_flight, waiting: Mutex::default() })
    }

    /// Refuses a request whose response may be large while the waiting responses are at their limit. To be called before
    /// the request changes anything, and again before its response is written.
    ///
    /// # Errors
    /// `Busy`.
    pub fn admit(&self) -> Result<(), Refusal> {
        if self.in_flight.responses.is_full() { Err(Refusal::Busy) } else { Ok(()) }
    }

    /// Counts a large body for as long as a part of it is referenced. If an equal body waits already, returns a reference
    /// to that one. A body that has other owners is counted by them.
    pub fn share(self: &Arc<Self>, body: Bytes) -> Bytes {
        if body.len() <= LARGE || !body.is_unique() {
            return body;
        }
        // References are compared and dropped without the lock, because dropping the last one takes it.
        let same: Vec<Arc<WaitingResponses>> = match self.locked().get(&body.len()) {
            Some(same) => same.iter().rev().take(MAX_COMPARED).filter_map(Weak::upgrade).collect(),
            None => Vec::new(),
        };
        if let Some(equal) = same.into_iter().find(|waiting| waiting.bytes == body) {
            return Bytes::from_owner(SharedResponse(equal));
        }
        let length = body.len();
        self.in_flight.responses.add(length);
        let waiting = Arc::new(WaitingResponses { bytes: body, all: self.clone() });
        self.locked().entry(length).or_default().push(Arc::downgrade(&waiting));
        Bytes::from_owner(SharedResponse(waiting))
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<usize, Vec<Weak<WaitingResponses>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn responses(limit: usize) -> Arc<Responses> {
        Responses::new(Arc::new(InFlight::new(1, 1, 1, 1).with_response_limit(limit)))
    }

    fn body(byte: u8, length: usize) -> Bytes {
        Bytes::from(vec![byte; length])
    }

    #[test]
    fn equal_bodies_are_stored_once_and_counted_until_the_last_part_is_dropped() {
        let responses = responses(100_000);
        let waiting = || responses.in_flight.responses.get();
        let (one, two) = (responses.share(body(1, 50_000)), responses.share(body(1, 50_000)));
        assert_eq!((one.as_ptr(), waiting()), (two.as_ptr(), 50_000));
        let other = responses.share(body(2, 50_000));
        assert_eq!((&other[..], waiting()), (&[2; 50_000][..], 100_000));
        assert_eq!(responses.admit(), Err(Refusal::Busy));
        let part = one.slice(16..20);
        drop((one, two));
        assert_eq!((&part[..], waiting()), (&[1; 4][..], 100_000));
        drop(part);
        assert_eq!((waiting(), responses.admit()), (50_000, Ok(())));
        drop(other);
        assert_eq!((waiting(), responses.locked().len()), (0, 0));
    }

    #[test]
    fn small_bodies_and_bodies_with_other_owners_are_not_counted() {
        let responses = responses(1);
        let kept = body(1, 50_000);
        let shared = responses.share(kept.clone());
        assert_eq!(shared.as_ptr(), kept.as_ptr());
        let _static = responses.share(Bytes::from_static(&[0; 20_000]));
        let _small = responses.share(body(1, LARGE));
        assert_eq!((responses.in_flight.responses.get(), responses.admit()), (0, Ok(())));
    }
}
