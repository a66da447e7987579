//! The idempotency keys of recent requests: a repeated request publishes nothing and is answered like the first
//! (draft-ietf-httpapi-idempotency-key-header-06).
//!
//! Of each request the table stores a fingerprint, its time and the positions of its items: the body of the repeated
//! request suffices to write the answer again. A key is stored until its window has passed, and none is removed early.

use crate::broker::requests::{KeyedRequest, Receipts};
use crate::http_error::{OverLimit, Refusal};
use crate::protocol::time::Timestamp;
use crate::telemetry::in_flight::BoundedCounter;
use crate::telemetry::limits::Limit;
use actix_web::http::Method;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The table is locked in parts, so that threads rarely wait for each other.
const SHARDS: usize = 16;

/// The table of keys. A key is identified by half of a MAC that is made with the secret of its request, so keys of
/// different secrets are different.
#[derive(Debug)]
pub struct IdempotencyKeys {
    shards: [Mutex<Shard>; SHARDS],
    /// Each item of a request counts, and each user of a private item: they have positions of their own. A request is
    /// admitted as long as the limit is not reached, however many items it has.
    stored: Arc<BoundedCounter>,
    max: usize,
    window_ms: u64,
    started: Instant,
}

#[derive(Debug, Default)]
struct Shard {
    keys: HashMap<u128, KeyRecord>,
    /// The published keys, and the time in ms at which each ends. Approximately in order of these times.
    ends: VecDeque<(u64, u128)>,
}

#[derive(Debug)]
struct KeyRecord {
    fingerprint: u128,
    first: Timestamp,
    state: KeyState,
    /// Its part of [`IdempotencyKeys::stored`].
    count: usize,
}

#[derive(Debug)]
enum KeyState {
    /// A request with the key may still be refused.
    Claimed,
    /// It is not known whether the items were published. The next request with the key publishes them again, and the
    /// engine recognizes those that it has.
    Uncertain,
    /// The items are published. The request itself may still wait for their receipts.
    Published { receipts: Arc<Receipts>, is_answered: bool },
}

/// The result of [`IdempotencyKeys::claim`].
#[derive(Debug)]
pub enum Claimed<'a> {
    /// The key is new, or it is not known whether its items were published. The request publishes its items.
    New(Claim<'a>),
    /// The items are published.
    Known {
        /// The time of the first request.
        first: Timestamp,
        receipts: Arc<Receipts>,
    },
}

/// The right of a request to publish under a key. Dropping it frees the key unless the items were or may have been
/// published; then the key is stored, and other requests with it are answered or publish the same items again.
#[derive(Debug)]
pub struct Claim<'a> {
    keys: &'a IdempotencyKeys,
    request: KeyedRequest,
    at_ms: u64,
    outcome: PublishOutcome,
    /// What is true of the items if this request publishes nothing.
    before: PublishOutcome,
}

/// What is known about the items of a claim.
#[derive(Clone, Debug)]
enum PublishOutcome {
    NotPublished,
    Uncertain,
    Published(Arc<Receipts>),
}

/// Identifies a request apart from its key.
pub fn fingerprint(method: &Method, body: &[u8]) -> u128 {
    let start = format!("{method} /message\n");
    let digest = Sha256::new().chain_update(start).chain_update(body).finalize();
    digest.first_chunk().map_or(0, |half| u128::from_be_bytes(*half))
}

impl IdempotencyKeys {
    /// Stores keys for `window_ms`, and at most `max` items.
    pub fn new(max: usize, window_ms: u64) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { shards, stored: Arc::new(BoundedCounter::new(max)), max, window_ms, started: Instant::now() }
    }

    /// Counts the stored items.
    pub fn stored(&self) -> &Arc<BoundedCounter> {
        &self.stored
    }

    /// Looks a key up, and claims it if it is new. `now` is the time of the request.
    ///
    /// # Errors
    /// `IdempotencyKeyReused` if the first request was another one, `IdempotencyInProgress` if it is not answered yet,
    /// `OverLimit` if there is no room.
    pub fn claim(&self, key: u128, fingerprint: u128, now: Timestamp) -> Result<Claimed<'_>, Refusal> {
        self.claim_at(key, fingerprint, now, self.now_ms())
    }

    fn claim_at(
        &self,
        key: u128,
        fingerprint: u128,
        first: Timestamp,
        now_ms: u64,
    ) -> Result<Claimed<'_>, Refusal> {
        if self.stored.is_full() {
            self.sweep_at(now_ms);
        }
        let mut shard = self.shard(key);
        shard.remove_ended(now_ms, &self.stored);
        if let Some(known) = shard.keys.get_mut(&key) {
            if let Some(answer) = known.answer(fingerprint)? {
                return Ok(answer);
            }
            known.state = KeyState::Claimed;
            let first = known.first;
            shard.ends.retain(|(_, other)| *other != key);
            let request = KeyedRequest { key, fingerprint, time: first };
            return Ok(Claimed::New(self.new_claim(request, now_ms, PublishOutcome::Uncertain)));
        }
        if !self.stored.try_add(1) {
            drop(shard);
            return Err(self.full(now_ms).into());
        }
        let record = KeyRecord { fingerprint, first, state: KeyState::Claimed, count: 1 };
        shard.keys.insert(key, record);
        let request = KeyedRequest { key, fingerprint, time: first };
        Ok(Claimed::New(self.new_claim(request, now_ms, PublishOutcome::NotPublished)))
    }

    fn new_claim(&self, request: KeyedRequest, at_ms: u64, before: PublishOutcome) -> Claim<'_> {
        Claim { keys: self, request, at_ms, outcome: before.clone(), before }
    }

    /// Removes the keys whose window has passed.
    pub fn sweep(&self) {
        self.sweep_at(self.now_ms());
    }

    fn sweep_at(&self, now_ms: u64) {
        for shard in &self.shards {
            locked(shard).remove_ended(now_ms, &self.stored);
        }
    }

    /// The refusal at the limit, with the time until a key ends.
    fn full(&self, now_ms: u64) -> OverLimit {
        let next = |shard| locked(shard).ends.front().map(|(end_ms, _)| *end_ms);
        let next_ms = self.shards.iter().filter_map(next).min().unwrap_or(now_ms);
        let wait_s = next_ms.saturating_sub(now_ms).div_ceil(1_000).max(1);
        OverLimit { retry_after_s: Some(wait_s), ..OverLimit::of(Limit::IdempotencyKeys, self.max) }
    }

    fn shard(&self, key: u128) -> MutexGuard<'_, Shard> {
        locked(&self.shards[(key % SHARDS as u128) as usize])
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn remove_ended(&mut self, now_ms: u64, stored: &BoundedCounter) {
        while let Some((_, key)) = self.ends.front().filter(|(end_ms, _)| *end_ms <= now_ms).copied() {
            self.ends.pop_front();
            if let Some(record) = self.keys.remove(&key) {
                stored.sub(record.count);
            }
        }
        if self.keys.is_empty() {
            // Frees the memory of earlier keys.
            *self = Self::default();
        }
    }
}

impl KeyRecord {
    /// The answer to another request with the key; `None` if the request publishes the items again.
    fn answer(&self, fingerprint: u128) -> Result<Option<Claimed<'static>>, Refusal> {
        match &self.state {
            _ if self.fingerprint != fingerprint => Err(Refusal::IdempotencyKeyReused),
            KeyState::Published { receipts, is_answered: true } => {
                Ok(Some(Claimed::Known { first: self.first, receipts: receipts.clone() }))
            }
            KeyState::Uncertain => Ok(None),
            _ => Err(Refusal::IdempotencyInProgress),
        }
    }
}

impl Claim<'_> {
    /// The request, with the time of the first one that has the key.
    pub fn request(&self) -> KeyedRequest {
        self.request
    }

    /// States that the items are given to the engine now, for this many streams. Until [`Claim::published`] or
    /// [`Claim::refused`] it is uncertain whether they are published.
    pub fn begin(&mut self, streams: usize) {
        self.outcome = PublishOutcome::Uncertain;
        if let Some(record) = self.keys.shard(self.request.key).keys.get_mut(&self.request.key) {
            let more = streams.saturating_sub(record.count);
            record.count += more;
            self.keys.stored.add(more);
        }
    }

    /// States that the engine has published none of the items for this request.
    pub fn refused(&mut self) {
        self.outcome = self.before.clone();
    }

    /// Stores that the items are published.
    pub fn published(&mut self, receipts: &Arc<Receipts>) {
        let mut shard = self.keys.shard(self.request.key);
        let Some(record) = shard.keys.get_mut(&self.request.key) else { return };
        record.state = KeyState::Published { receipts: receipts.clone(), is_answered: false };
        shard.ends.push_back((self.end_ms(), self.request.key));
        self.outcome = PublishOutcome::Published(receipts.clone());
    }

    fn end_ms(&self) -> u64 {
        self.at_ms.saturating_add(self.keys.window_ms)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut shard = self.keys.shard(self.request.key);
        match &self.outcome {
            PublishOutcome::NotPublished => {
                if let Some(record) = shard.keys.remove(&self.request.key) {
                    self.keys.stored.sub(record.count);
                }
            }
            PublishOutcome::Uncertain => {
                if let Some(record) = shard.keys.get_mut(&self.request.key) {
                    record.state = KeyState::Uncertain;
                    shard.ends.push_back((self.end_ms(), self.request.key));
                }
            }
            PublishOutcome::Published(published) => {
                let Some(record) = shard.keys.get_mut(&self.request.key) else { return };
                // The window may have passed, and another request may have claimed the key.
                if let KeyState::Published { receipts, is_answered } = &mut record.state
                    && Arc::ptr_eq(receipts, published)
                {
                    *is_answered = true;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "idempotency_tests.rs"]
mod tests;
