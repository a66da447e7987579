//! Counts the work in flight inside the server: the limit of every mailbox, checked where a request can still be refused.
//!
//! `do_send` ignores the capacity of an actix mailbox. So each sender increments a counter and each receiver decrements
//! it, and the API refuses with 503 before it accepts anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A counter with a limit, which callers check.
#[derive(Debug)]
pub struct BoundedCounter {
    count: AtomicUsize,
    limit: usize,
}

impl BoundedCounter {
    pub fn new(limit: usize) -> Self {
        Self { count: AtomicUsize::new(0), limit }
    }

    pub fn add(&self, n: usize) {
        self.count.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds `n` if the limit is not reached, also if it is then exceeded. Returns whether it added them.
    pub fn try_add(&self, n: usize) -> bool {
        let add = |count: usize| (count < self.limit).then(|| count.saturating_add(n));
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    pub fn sub(&self, n: usize) {
        self.count.fetch_sub(n, Ordering::Relaxed);
    }

    /// Replaces the former contribution of one of several owners by its current one.
    pub fn change(&self, before: usize, now: usize) {
        self.add(now.saturating_sub(before));
        self.sub(before.saturating_sub(now));
    }

    /// Adds one until the guard is dropped.
    pub fn count_in(&self) -> CountGuard<'_> {
        self.add(1);
        CountGuard(self)
    }

    pub fn get(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether half of the limit is reached.
    pub fn is_half_full(&self) -> bool {
        self.get() >= self.limit / 2
    }

    /// Whether the limit is reached.
    pub fn is_full(&self) -> bool {
        self.get() >= self.limit
    }
}

/// Subtracts one when it is dropped, also if the caller that waited has disconnected.
#[derive(Debug)]
pub struct CountGuard<'a>(&'a BoundedCounter);

impl Drop for CountGuard<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

/// A [`CountGuard`] that shares ownership of its counter.
#[derive(Debug)]
pub struct Counted(Arc<BoundedCounter>);

impl Counted {
    /// Adds one until this is dropped.
    pub fn new(counter: Arc<BoundedCounter>) -> Self {
        counter.add(1);
        Self(counter)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

/// The counters of all work in flight.
#[derive(Debug)]
pub struct InFlight {
    /// Requests in the registry's mailbox.
    pub registry: BoundedCounter,
    /// Messages, edits and deletions in the mailboxes of channels.
    pub channels: BoundedCounter,
    /// Sessions with an open socket or poll. Their limit is a setting that is checked elsewhere.
    pub sessions: Arc<BoundedCounter>,
    /// Bytes of frames in the mailboxes and pending lists of hubs, counted for each hub.
    pub hub_bytes: BoundedCounter,
    /// Bytes of request bodies that arrived in pieces, from their second piece on until the request is answered.
    pub bodies: BoundedCounter,
    /// The same for senders that are not authenticated, whose limit is separate.
    pub unauthenticated_bodies: BoundedCounter,
    /// Bytes of large response bodies that wait for their client.
    pub responses: BoundedCounter,
    /// Bytes in the send queues of peers that do not receive them immediately. Each queue has its own limit.
    pub queued_bytes: BoundedCounter,
    /// Frames, or parts of frames, in these send queues.
    pub queued_frames: BoundedCounter,
    /// Items that are stored with idempotency keys. Their limit is checked where they are stored.
    pub idempotency_keys: Arc<BoundedCounter>,
}

impl InFlight {
    /// Counters with these limits.
    pub fn new(registry: usize, channels: usize, hub_bytes: usize, bodies: usize) -> Self {
        Self {
            sessions: Arc::new(BoundedCounter::new(usize::MAX)),
            registry: BoundedCounter::new(registry),
            channels: BoundedCounter::new(channels),
            hub_bytes: BoundedCounter::new(hub_bytes),
            bodies: BoundedCounter::new(bodies),
            unauthenticated_bodies: BoundedCounter::new(usize::MAX),
            responses: BoundedCounter::new(usize::MAX),
            queued_bytes: BoundedCounter::new(usize::MAX),
            queued_frames: BoundedCounter::new(usize::MAX),
            idempotency_keys: Arc::new(BoundedCounter::new(usize::MAX)),
        }
    }

    /// Sets the limit for large response bodies that wait.
    #[must_use]
    pub fn with_response_limit(self, bytes: usize) -> Self {
        Self { responses: BoundedCounter::new(bytes), ..self }
    }

    /// Sets the counter of the items that are stored with idempotency keys.
    #[must_use]
    pub fn with_idempotency_keys(self, stored: Arc<BoundedCounter>) -> Self {
        Self { idempotency_keys: stored, ..self }
    }

    /// Whether a request that changes something must be refused now.
    pub fn is_full(&self) -> bool {
        self.registry.is_full() || self.channels.is_full() || self.hub_bytes.is_full()
    }
}
