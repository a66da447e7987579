//! How much is under way inside: the bound on every mailbox, checked where a request can still be refused.
//!
//! actix mailboxes are soft: `do_send` ignores their capacity. So each sender counts itself in and each receiver
//! counts it out, and the API refuses with 503 before anything is accepted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Something that fills and empties, with a bound.
#[derive(Debug)]
pub struct BoundedCounter {
    now: AtomicUsize,
    bound: usize,
}

impl BoundedCounter {
    /// An empty gauge.
    pub fn new(bound: usize) -> Self {
        Self { now: AtomicUsize::new(0), bound }
    }

    /// Counts in.
    pub fn add(&self, n: usize) {
        self.now.fetch_add(n, Ordering::Relaxed);
    }

    /// Counts out.
    pub fn sub(&self, n: usize) {
        self.now.fetch_sub(n, Ordering::Relaxed);
    }

    /// Counts what one of many contributes: so much before, so much now.
    pub fn change(&self, before: usize, now: usize) {
        self.add(now.saturating_sub(before));
        self.sub(before.saturating_sub(now));
    }

    /// Counts one in until the guard is dropped.
    pub fn count_in(&self) -> CountedIn<'_> {
        self.add(1);
        CountedIn(self)
    }

    /// What is under way now.
    pub fn get(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// Whether half of the bound is reached.
    pub fn is_half_full(&self) -> bool {
        self.get() >= self.bound / 2
    }

    /// Whether the bound is reached.
    pub fn is_full(&self) -> bool {
        self.get() >= self.bound
    }
}

/// Counts out when dropped, also when the one who waited has hung up.
#[derive(Debug)]
pub struct CountedIn<'a>(&'a BoundedCounter);

impl Drop for CountedIn<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

/// The same without a lifetime.
#[derive(Debug)]
pub struct Counted(Arc<BoundedCounter>);

impl Counted {
    /// Counts one in until this is dropped.
    pub fn new(gauge: Arc<BoundedCounter>) -> Self {
        gauge.add(1);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

/// All gauges.
#[derive(Debug)]
pub struct InFlight {
    /// Requests in the registry's mailbox.
    pub registry: BoundedCounter,
    /// Messages, edits and deletions in the mailboxes of channels.
    pub channels: BoundedCounter,
    /// Sessions whose sockets or polls are open. No bound of its own.
    pub sessions: Arc<BoundedCounter>,
    /// Bytes of frames in the mailboxes and pending lists of hubs, each hub counted.
    pub hub_bytes: BoundedCounter,
    /// Bytes of requests' bodies that came in pieces, from their second piece on until the request is answered.
    pub bodies: BoundedCounter,
    /// The same of senders that have not proven that they have a secret. They have a bound of their own.
    pub unproven_bodies: BoundedCounter,
    /// Bytes of large response bodies that were made for a request and that wait for its client.
    pub responses: BoundedCounter,
    /// Bytes that wait in the send queues of peers who do not take them at once. Each has a bound of its own.
    pub queued_bytes: BoundedCounter,
    /// The frames that these bytes are, or parts of them.
    pub queued_frames: BoundedCounter,
}

impl InFlight {
    /// Gauges with these bounds.
    pub fn new(registry: usize, channels: usize, hub_bytes: usize, bodies: usize) -> Self {
        Self {
            sessions: Arc::new(BoundedCounter::new(usize::MAX)),
            registry: BoundedCounter::new(registry),
            channels: BoundedCounter::new(channels),
            hub_bytes: BoundedCounter::new(hub_bytes),
            bodies: BoundedCounter::new(bodies),
            unproven_bodies: BoundedCounter::new(usize::MAX),
            responses: BoundedCounter::new(usize::MAX),
            queued_bytes: BoundedCounter::new(usize::MAX),
            queued_frames: BoundedCounter::new(usize::MAX),
        }
    }

    /// The same with a bound on large response bodies that wait.
    #[must_use]
    pub fn bounding_responses(self, bytes: usize) -> Self {
        Self { responses: BoundedCounter::new(bytes), ..self }
    }

    /// Whether a request that changes something must be refused now.
    pub fn is_full(&self) -> bool {
        self.registry.is_full() || self.channels.is_full() || self.hub_bytes.is_full()
    }
}
