//! Which sessions of this thread are recorded, and what is written down about them. Empty, nearly always.

use super::messages::Stamped;
use crate::protocol::ids::{Offset, Stream, UserId};
use crate::send_queue::{PushResult, SendQueue};
use crate::telemetry::recorder::{ConnectionEvent, FrameHead, Outcome, Recorder};
use std::sync::Arc;
use uuid::Uuid;

/// The recorded sessions. A few at most, by their slots.
#[derive(Debug, Default)]
pub struct Tapes {
    recorder: Option<Arc<Recorder>>,
    slots: Vec<(u32, Uuid)>,
}

impl Tapes {
    /// No tapes yet; what will be recorded goes here.
    pub fn new(recorder: Arc<Recorder>) -> Self {
        Self { recorder: Some(recorder), slots: Vec::new() }
    }

    /// Whether no session is recorded.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The slots of the recorded sessions.
    pub fn slots(&self) -> Vec<u32> {
        self.slots.iter().map(|(slot, _)| *slot).collect()
    }

    /// Records a session if its connection is to be recorded; whether it is.
    pub fn begin(&mut self, slot: u32, conn_id: Uuid) -> bool {
        let wanted = self.recorder.as_ref().is_some_and(|recorder| recorder.has_connection(conn_id));
        let known = self.slots.iter().any(|(index, _)| *index == slot);
        if wanted && !known {
            self.slots.push((slot, conn_id));
        }
        wanted && !known
    }

    /// A session is gone.
    pub fn end(&mut self, slot: u32) {
        if !self.is_empty() {
            self.note(slot, || ConnectionEvent::Detached);
            self.slots.retain(|(index, _)| *index != slot);
        }
    }

    /// Writes an event down, if the session is recorded.
    pub fn note(&mut self, slot: u32, event: impl FnOnce() -> ConnectionEvent) {
        let Some(at) = self.slots.iter().position(|(index, _)| *index == slot) else { return };
        let (_, conn_id) = self.slots[at];
        let noted = self.recorder.as_ref().is_some_and(|recorder| recorder.note(conn_id, event()));
        if !noted {
            self.slots.swap_remove(at);
        }
    }

    /// Writes down a frame that came by, and what became of it.
    pub fn note_frame(&mut self, slot: u32, stream: Stream, stamped: &Stamped, outcome: Outcome) {
        self.note(slot, || {
            let frame = &stamped.frame;
            ConnectionEvent::Frame { stream, head: FrameHead::of(frame), bytes: frame.live().len(), outcome }
        });
    }

    /// Writes down what became of live frames that were handed to an send queue together.
    pub fn note_live(&mut self, to: &Receiver<'_>, stream: Stream, frames: &[Stamped], pushed: PushResult) {
        for stamped in frames {
            self.note_frame(to.slot, stream, stamped, to.outcome(stamped, pushed));
        }
    }
}

/// Whom frames were handed to, as it was before.
pub struct Receiver<'a> {
    /// Its slot.
    pub slot: u32,
    /// Whose it is.
    pub user: Option<UserId>,
    /// How far its peer had got.
    pub before: Offset,
    /// The way to its peer.
    pub send_queue: &'a SendQueue,
}

impl Receiver<'_> {
    fn outcome(&self, stamped: &Stamped, pushed: PushResult) -> Outcome {
        if stamped.offset <= self.before {
            return Outcome::HadIt;
        }
        if !self.user.is_some_and(|user| stamped.frame.audience().admits(user)) {
            return Outcome::NotMeant;
        }
        match pushed {
            PushResult::Accepted if !self.send_queue.is_socket() => Outcome::Collected,
            PushResult::Accepted if self.send_queue.is_empty() => Outcome::Sent,
            PushResult::Accepted => Outcome::Queued(self.send_queue.queued_bytes()),
            PushResult::Sealed => Outcome::Sealed,
            PushResult::Overflow => Outcome::TooSlow(self.send_queue.queued_bytes()),
            PushResult::Broken => Outcome::Broken,
        }
    }
}
