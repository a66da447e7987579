//! The catch-ups of sessions: the frames that a returning client has missed, a limited number per turn, and the live
//! frames that arrive meanwhile.

use super::messages::Subscription;
use super::slot::{Assembly, CatchUp};
use super::table::SessionTable;
use crate::protocol::ids::{SlotKey, Stream};
use crate::send_queue::PushResult;
use crate::telemetry::recorder::Outcome;

/// The cost of a flush, in frames.
const FLUSH_COST: usize = 16;

impl SessionTable {
    /// Enqueues the catch-up of a stream, or adds it to those of the session's other streams.
    pub(super) fn catch_up(
        &mut self,
        key: SlotKey,
        stream: Stream,
        subscription: Subscription,
    ) -> PushResult {
        let Some(slot) = self.slot(key) else { return PushResult::Accepted };
        let send_queue = slot.send_queue.clone();
        let Some(part) = subscription.part else {
            let announcement = self.announcement(&send_queue, stream, subscription.from);
            let joined = CatchUp { announcement, ..CatchUp::new(stream, subscription) };
            let assembly = self.slot(key).and_then(|slot| slot.assembly.as_mut());
            if let Some(assembly) = assembly.filter(|_| joined.announcement.is_some()) {
                assembly.append(joined);
                return PushResult::Accepted;
            }
            return match self.enqueue_catch_up(key, joined) {
                PushResult::Accepted => send_queue.flush_catchup(),
                other => other,
            };
        };
        send_queue.set_assembling(true);
        let assembly = slot.assembly.get_or_insert_with(|| Box::new(Assembly::new(part.of)));
        if !assembly.add(part, stream, subscription) {
            return PushResult::Accepted;
        }
        self.continue_catch_up(key)
    }

    /// Sets the cost of catch-ups until the next call, in frames and streams. Initially there is no limit. A catch-up
    /// that exceeds it becomes [`SessionTable::unfinished`].
    pub fn set_allowance(&mut self, allowance: usize) {
        self.allowance = allowance;
    }

    /// Removes and returns the next session with an unfinished catch-up, if the allowance is not used up.
    pub fn unfinished(&mut self) -> Option<SlotKey> {
        if self.allowance > 0 { self.unfinished.pop_front() } else { None }
    }

    pub fn has_unfinished(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// Enqueues a complete catch-up and then the live frames that arrived meanwhile, as far as the allowance lasts.
    pub fn continue_catch_up(&mut self, key: SlotKey) -> PushResult {
        let Some(slot) = self.slot(key).filter(|slot| slot.assembly.is_some()) else {
            return PushResult::Accepted;
        };
        let send_queue = slot.send_queue.clone();
        let recoveries = slot.assembly.as_mut().map(|assembly| assembly.take_recoveries());
        self.answer_return(key, &recoveries.unwrap_or_default());
        let enqueued = self.enqueue_parts(key);
        if enqueued == Ok(true) {
            self.finish_return(key);
        }
        let pushed = match (enqueued, send_queue.flush_catchup()) {
            (Ok(true), PushResult::Accepted) => self.enqueue_live(key),
            (Ok(false), PushResult::Accepted) => Ok(false),
            (Ok(_), pushed) | (Err(pushed), _) => Err(pushed),
        };
        self.allowance = self.allowance.saturating_sub(FLUSH_COST);
        if pushed == Ok(false) {
            self.unfinished.push_back(key);
            return PushResult::Accepted;
        }
        send_queue.set_assembling(false);
        if let Some(slot) = self.slot(key) {
            slot.assembly = None;
        }
        pushed.err().unwrap_or(PushResult::Accepted)
    }

    /// True when all parts are enqueued.
    fn enqueue_parts(&mut self, key: SlotKey) -> Result<bool, PushResult> {
        while self.allowance > 0 {
            let allowance = self.allowance;
            let assembly = self.slot(key).and_then(|slot| slot.assembly.as_mut());
            let Some(part) = assembly.and_then(|assembly| assembly.next(allowance)) else { return Ok(true) };
            self.allowance = allowance.saturating_sub(part.frames.len() + 1);
            match self.enqueue_catch_up(key, part) {
                PushResult::Accepted => {}
                other => return Err(other),
            }
        }
        Ok(false)
    }

    /// True when all live frames are enqueued.
    fn enqueue_live(&mut self, key: SlotKey) -> Result<bool, PushResult> {
        while self.allowance > 0 {
            let assembly = self.slot(key).and_then(|slot| slot.assembly.as_mut());
            let Some((stream, stamped)) = assembly.and_then(|assembly| assembly.live.pop_front()) else {
                return Ok(true);
            };
            self.allowance -= 1;
            match self.push_one(key, stream, &stamped) {
                PushResult::Accepted => {}
                other => return Err(other),
            }
        }
        Ok(false)
    }

    fn enqueue_catch_up(&mut self, key: SlotKey, part: CatchUp) -> PushResult {
        let Some(slot) = self.slot(key) else { return PushResult::Accepted };
        if let Some(announcement) = &part.announcement {
            // A queue that refuses it also refuses the frames behind it.
            let _ = slot.send_queue.push_element(announcement);
        }
        let frames = part.frames.iter().map(|stamped| (stamped.offset, &*stamped.frame));
        let pushed = if part.frames.is_empty() {
            PushResult::Accepted
        } else {
            slot.send_queue.push_catchup(part.stream, frames)
        };
        self.note_catchup(key, &part, pushed);
        if pushed == PushResult::Accepted
            && let Some(cursor) = self.cursor(key, part.stream)
        {
            *cursor = part.through.max(*cursor);
        }
        pushed
    }

    fn note_catchup(&mut self, key: SlotKey, part: &CatchUp, pushed: PushResult) {
        if self.recording.is_empty() {
            return;
        }
        let outcome = match pushed {
            PushResult::Accepted => Outcome::CaughtUp,
            PushResult::Closed => Outcome::Sealed,
            PushResult::Overflow | PushResult::Broken => Outcome::Broken,
        };
        for stamped in &part.frames {
            self.recording.note_frame(key.index, part.stream, stamped, outcome);
        }
    }
}
