//! The recorded sessions of this thread and the events recorded about them. Nearly always empty.

use super::messages::Stamped;
use super::table::SessionTable;
use crate::protocol::ids::{ChannelId, Offset, SlotKey, Stream, UserId};
use crate::send_queue::{PushResult, SendQueue};
use crate::telemetry::recorder::{ConnectionEvent, FrameHead, Outcome, Recorder};
use std::sync::Arc;
use uuid::Uuid;

/// The recorded sessions, by their slots. A few at most.
#[derive(Debug, Default)]
pub struct RecordedSessions {
    recorder: Option<Arc<Recorder>>,
    slots: Vec<(u32, Uuid)>,
}

impl RecordedSessions {
    /// Starts without recorded sessions. Events go to `recorder`.
    pub fn new(recorder: Arc<Recorder>) -> Self {
        Self { recorder: Some(recorder), slots: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn slots(&self) -> Vec<u32> {
        self.slots.iter().map(|(slot, _)| *slot).collect()
    }

    /// Starts to record a session, if its connection is to be recorded. True if the recording began now.
    pub fn begin(&mut self, slot: u32, conn_id: Uuid) -> bool {
        let is_requested = self.recorder.as_ref().is_some_and(|recorder| recorder.has_connection(conn_id));
        let is_recorded = self.slots.iter().any(|(index, _)| *index == slot);
        if is_requested && !is_recorded {
            self.slots.push((slot, conn_id));
        }
        is_requested && !is_recorded
    }

    /// Ends the recording of a session that has ended.
    pub fn end(&mut self, slot: u32) {
        if !self.is_empty() {
            self.note(slot, || ConnectionEvent::Detached);
            self.slots.retain(|(index, _)| *index != slot);
        }
    }

    /// Records an event, if the session is recorded.
    pub fn note(&mut self, slot: u32, event: impl FnOnce() -> ConnectionEvent) {
        let Some(at) = self.slots.iter().position(|(index, _)| *index == slot) else { return };
        let (_, conn_id) = self.slots[at];
        let noted = self.recorder.as_ref().is_some_and(|recorder| recorder.note(conn_id, event()));
        if !noted {
            self.slots.swap_remove(at);
        }
    }

    /// Records a frame and its outcome.
    pub fn note_frame(&mut self, slot: u32, stream: Stream, stamped: &Stamped, outcome: Outcome) {
        self.note(slot, || {
            let frame = &stamped.frame;
            ConnectionEvent::Frame { stream, head: FrameHead::of(frame), bytes: frame.live().len(), outcome }
        });
    }

    /// Records the outcomes of live frames that were pushed to a send queue together.
    pub fn note_live(&mut self, to: &Receiver<'_>, stream: Stream, frames: &[Stamped], pushed: PushResult) {
        for stamped in frames {
            self.note_frame(to.slot, stream, stamped, to.outcome(stamped, pushed));
        }
    }
}

/// The events of the sessions in a table.
impl SessionTable {
    /// Starts to record a session, if its connection is to be recorded.
    pub fn begin_recording(&mut self, key: SlotKey) {
        let Some(slot) = self.slots.get(key.index as usize).filter(|slot| slot.generation == key.generation)
        else {
            return;
        };
        if self.recording.begin(key.index, slot.conn_id) {
            let transport = slot.send_queue.transport().name();
            let address = slot.address();
            self.recording.note(key.index, || ConnectionEvent::Attached { transport, address });
        }
    }

    /// Records an event of a session, if the session is recorded.
    pub fn note(&mut self, key: SlotKey, event: impl FnOnce() -> ConnectionEvent) {
        if !self.recording.is_empty() && self.slot(key).is_some() {
            self.recording.note(key.index, event);
        }
    }

    pub(super) fn note_live(
        &mut self,
        key: SlotKey,
        before: Offset,
        stream: Stream,
        stamped: &Stamped,
        pushed: PushResult,
    ) {
        if let Some(slot) = self.slots.get(key.index as usize).filter(|_| !self.recording.is_empty()) {
            let to = Receiver { slot: key.index, user: slot.user, before, send_queue: &slot.send_queue };
            self.recording.note_live(&to, stream, std::slice::from_ref(stamped), pushed);
        }
    }

    /// Records a frame of a channel for the recorded members that are not among its receivers.
    pub fn note_not_meant(&mut self, channel: ChannelId, slots: &[SlotKey], stamped: &Stamped) {
        for index in self.recording.slots() {
            let slot = self.slots.get(index as usize).filter(|slot| slot.index_in(channel).is_some());
            let key = slot.map(|slot| SlotKey { index, generation: slot.generation });
            if key.is_some_and(|key| !slots.contains(&key)) {
                self.recording.note_frame(index, Stream::Channel(channel), stamped, Outcome::NotMeant);
            }
        }
    }
}

/// A receiver of frames, in its state before they were pushed.
pub struct Receiver<'a> {
    /// The session's slot.
    pub slot: u32,
    /// The session's user.
    pub user: Option<UserId>,
    /// The session's cursor.
    pub before: Offset,
    /// The session's send queue.
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
            PushResult::Accepted if self.send_queue.collects() => Outcome::Collected,
            PushResult::Accepted if self.send_queue.is_empty() => Outcome::Sent,
            PushResult::Accepted => Outcome::Queued(self.send_queue.queued_bytes()),
            PushResult::Closed => Outcome::Sealed,
            PushResult::Overflow => Outcome::TooSlow(self.send_queue.queued_bytes()),
            PushResult::Broken => Outcome::Broken,
        }
    }
}
