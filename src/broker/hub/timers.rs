//! The timers of a hub: heartbeats, pings, silent clients, and the queues to close before memory runs out. The wheel and
//! the choice of queues are pure.

use super::slot::SessionSlot;
use super::{HubShared, TICK_MS};
use crate::clock::Tick;
use crate::protocol::ids::SlotKey;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::{PushResult, frames_here, queued_here};
use crate::telemetry::limits::Limit;
use std::cmp::Reverse;

/// Sessions per turn whose heartbeat, ping or timeout is handled: each may cost a system call.
const TIMERS_PER_TURN: usize = 256;

impl HubShared {
    /// Adds the queued bytes and frames of this thread to the server's totals.
    fn report_queued(&self) {
        let (bytes, frames) = (queued_here(), frames_here());
        let (bytes_before, frames_before) = self.queued.replace((bytes, frames));
        self.in_flight.queued_bytes.change(bytes_before, bytes);
        self.in_flight.queued_frames.change(frames_before, frames);
    }

    /// Closes the sessions with the longest queues while all queues of the server together exceed the limit.
    fn shed(&self) {
        let (max, all) = (self.settings.max_total_queued_bytes, self.in_flight.queued_bytes.get());
        if max == 0 || all <= max {
            return;
        }
        let queues = self.table.borrow().queues();
        for key in longest_queues(queues, target(self.queued.get().0, all, max)) {
            self.counters.limits.count(Limit::TotalQueuedBytes);
            self.close(key, CloseReason::TooSlow);
        }
    }

    /// Finds the sessions whose heartbeat, ping or timeout is due.
    pub(super) fn tick(&self) {
        let tick = self.clock.tick();
        if tick == Tick::Repeated {
            return;
        }
        self.report_queued();
        self.shed();
        if tick == Tick::Late {
            return;
        }
        let due = self.wheel.borrow_mut().advance(self.clock.ticked_ms() / TICK_MS);
        if !due.is_empty() {
            self.due.borrow_mut().extend(due);
            self.work.notify_one();
        }
    }

    pub(super) fn handle_due(&self) {
        let now_ms = self.clock.ticked_ms();
        for _ in 0..TIMERS_PER_TURN {
            let Some(key) = self.due.borrow_mut().pop_front() else { return };
            self.handle_timers(key, now_ms);
        }
    }

    fn handle_timers(&self, key: SlotKey, now_ms: u64) {
        let settings = &self.settings;
        let mut table = self.table.borrow_mut();
        let Some(slot) = table.slot(key) else { return };
        let send_queue = slot.send_queue.clone();
        if send_queue.is_answering() {
            // The client does not read the response. The successor stops waiting and receives all of it again, so the
            // rest of the response is dropped.
            let detached = table.detach(key);
            send_queue.abort(CloseReason::TakenOver);
            return self.report(detached);
        }
        let Some(keep_alive) = send_queue.transport().keep_alive() else { return };
        if now_ms >= slot.silent_at(settings.pong_timeout) {
            drop(table);
            return self.close(key, CloseReason::Silent);
        }
        let mut pushed = PushResult::Accepted;
        if now_ms >= slot.heartbeat_at {
            slot.heartbeat_at = now_ms + slot.heartbeat_ms(settings);
            let cursor = table.cursor_heartbeat(&send_queue);
            pushed = send_queue.push_control(cursor.as_ref().unwrap_or(keep_alive.heartbeat));
        }
        let Some(slot) = table.slot(key) else { return };
        if let Some(ping) = keep_alive.ping
            && now_ms >= slot.ping_at
            && pushed == PushResult::Accepted
        {
            slot.ping_at = now_ms + settings.ping_interval_ms;
            pushed = send_queue.push_control(ping);
        }
        self.schedule(key, slot);
        drop(table);
        self.apply_result(key, pushed);
    }

    /// Adds the earliest timer of a session to the wheel, if it has any.
    pub(super) fn schedule(&self, key: SlotKey, slot: &SessionSlot) {
        let next = slot.heartbeat_at.min(slot.ping_at).min(slot.silent_at(self.settings.pong_timeout));
        if next < u64::MAX {
            self.wheel.borrow_mut().insert(next.div_ceil(TICK_MS), key);
        }
    }
}

/// A timer wheel: thousands of deadlines with one periodic tick. Each deadline, in ticks, has an entry.
#[derive(Debug)]
pub struct Wheel<T> {
    buckets: Vec<Vec<(u64, T)>>,
    now: u64,
}

impl<T> Wheel<T> {
    /// Creates a wheel with this many buckets, at tick `now`.
    pub fn new(buckets: usize, now: u64) -> Self {
        Self { buckets: (0..buckets.max(1)).map(|_| Vec::new()).collect(), now }
    }

    /// Adds an entry that is due at tick `at`. An overdue entry is returned with the next tick.
    pub fn insert(&mut self, at: u64, entry: T) {
        let at = at.max(self.now + 1);
        let bucket = (at % self.buckets.len() as u64) as usize;
        self.buckets[bucket].push((at, entry));
    }

    /// Advances to tick `now` and returns the due entries. Visits each bucket at most once.
    pub fn advance(&mut self, now: u64) -> Vec<T> {
        let mut due = Vec::new();
        let count = self.buckets.len() as u64;
        let steps = now.saturating_sub(self.now).min(count);
        for step in 1..=steps {
            let bucket = &mut self.buckets[((now - steps + step) % count) as usize];
            let mut index = 0;
            while index < bucket.len() {
                if bucket[index].0 <= now {
                    due.push(bucket.swap_remove(index).1);
                } else {
                    index += 1;
                }
            }
            if bucket.is_empty() && bucket.capacity() > 1024 {
                *bucket = Vec::new();
            }
        }
        self.now = self.now.max(now);
        due
    }
}

/// The bytes to which this thread's queues are reduced, when those of all threads hold `all` and may hold `max`: the
/// thread's share, less an eighth, so that the next frame does not exceed the limit again.
fn target(here: usize, all: usize, max: usize) -> usize {
    let part = here as u128 * max as u128 / all.max(1) as u128;
    usize::try_from(part - part / 8).unwrap_or(usize::MAX)
}

/// Selects the sessions to close: the longest queues first, until the rest hold at most `target` bytes.
fn longest_queues(mut queues: Vec<(usize, SlotKey)>, target: usize) -> Vec<SlotKey> {
    let mut left: usize = queues.iter().map(|(bytes, _)| bytes).sum();
    queues.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
    let mut chosen = Vec::new();
    for (bytes, key) in queues {
        if left <= target || bytes == 0 {
            break;
        }
        left -= bytes;
        chosen.push(key);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_thread_reduces_its_share() {
        assert_eq!([target(1_000, 1_000, 800), target(250, 1_000, 800), target(0, 0, 800)], [700, 175, 0]);
    }

    #[test]
    fn the_longest_queues_are_closed_first_and_empty_ones_never() {
        let chosen = |target| {
            let queues = [(0, 0), (10, 1), (50, 2), (90, 3)];
            let key = |index| SlotKey { index, generation: 1 };
            let queues = queues.map(|(bytes, index)| (bytes, key(index)));
            let chosen = longest_queues(queues.into(), target).into_iter();
            chosen.map(|key| key.index).collect::<Vec<_>>()
        };
        assert_eq!(chosen(150), Vec::<u32>::new());
        assert_eq!(chosen(149), [3]);
        assert_eq!(chosen(59), [3, 2]);
        assert_eq!(chosen(0), [3, 2, 1]);
    }

    proptest! {
        #[test]
        fn each_entry_is_returned_once_and_in_its_tick(
            deadlines in proptest::collection::vec(0u64..500, 0..100),
            jumps in proptest::collection::vec(1u64..90, 1..60),
        ) {
            let mut wheel = Wheel::new(32, 0);
            for at in &deadlines {
                wheel.insert(*at, *at);
            }
            let mut now = 0;
            let mut seen = Vec::new();
            for jump in jumps {
                let before = now;
                now += jump;
                for at in wheel.advance(now) {
                    prop_assert!(at <= now && (at > before || at == 0));
                    seen.push(at);
                }
            }
            let mut expected: Vec<_> = deadlines.into_iter().filter(|at| *at <= now).collect();
            expected.sort();
            seen.sort();
            prop_assert_eq!(seen, expected);
        }
    }
}
