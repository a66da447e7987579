//! What a send queue accepts: live frames, frames that the client missed, and data outside the streams.

use super::SendQueue;
use super::queue::{Mark, Queued};
use super::transport::WireForm;
use crate::protocol::event_stream;
use crate::protocol::frame::Frame;
use crate::protocol::frame_batch::{FrameBatch, IdBase};
use crate::protocol::ids::{Offset, Stream};
use crate::protocol::position::Cursor;
use crate::protocol::websocket::{Opcode, frame};
use bytes::Bytes;

/// The result of pushing something to a send queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushResult {
    /// The kernel accepted it, or it waits in the queue.
    Accepted,
    /// The client does not read: the queue would exceed its capacity. The caller detaches and aborts the session.
    Overflow,
    /// The socket is broken. The caller detaches the session, which detects the error by itself.
    Broken,
    /// The send queue is closed.
    Closed,
}

/// An element about the streams of a session.
#[derive(Debug)]
pub struct StreamElement {
    /// Its type.
    pub name: &'static str,
    /// Its JSON object.
    pub object: String,
    /// The cursor, if it contains nothing else.
    pub cursor: Option<Cursor>,
}

impl SendQueue {
    /// Sends live frames of one stream together, or collects them one by one.
    pub fn push_live<'a>(
        &self,
        batch: &FrameBatch,
        frames: impl Iterator<Item = (Offset, &'a Frame)> + Clone,
    ) -> PushResult {
        match self.transport.form() {
            WireForm::Frames | WireForm::Events => match self.form(batch, frames.clone()) {
                Some(form) => self.push_batch(form),
                None => {
                    let ids = IdBase { covered: self.covered.get(), ..batch.ids };
                    self.push_batch(&FrameBatch::of_events(batch.stream, ids, frames))
                }
            },
            WireForm::Elements => {
                let mark = |offset| Some(Mark { stream: batch.stream, offset });
                match self.positioned {
                    false => self.collect(
                        frames.map(|(offset, frame)| Queued::new(frame.live_element(), mark(offset))),
                        batch,
                    ),
                    true => {
                        let elements = batch.positioned(frames).elements();
                        self.collect(elements.map(|(offset, bytes)| Queued::new(bytes, mark(offset))), batch)
                    }
                }
            }
        }
    }

    /// The form of these frames for this client: plain or compressed, with or without offsets, or as events. `None` if the
    /// client has a later cursor than the ids of these events: it receives events of its own.
    pub fn form<'a, 'f>(
        &self,
        batch: &'a FrameBatch,
        frames: impl Iterator<Item = (Offset, &'f Frame)> + Clone,
    ) -> Option<&'a FrameBatch> {
        if self.writes_events() {
            return (self.covered.get() <= batch.ids.covered).then(|| batch.events(frames));
        }
        let deflate_from = self.deflate_from.map(|threshold| threshold as usize);
        Some(match (self.positioned, deflate_from) {
            (false, None) => batch,
            (false, Some(threshold)) => batch.deflated(frames, threshold),
            (true, None) => batch.positioned(frames),
            (true, Some(threshold)) => batch.positioned(frames).deflated_frames(threshold),
        })
    }

    /// Queues frames that the client missed, until [`SendQueue::flush_catchup`]. They do not count against the
    /// capacity: a client that is closed for a long catch-up would only return for the same catch-up.
    pub fn push_catchup<'a>(
        &self,
        stream: Stream,
        frames: impl Iterator<Item = (Offset, &'a Frame)>,
    ) -> PushResult {
        if self.sealed.get() {
            return PushResult::Closed;
        }
        let form = self.transport.form();
        let mut queue = self.queue.borrow_mut();
        for (offset, frame) in frames {
            let mark = Some(Mark { stream, offset });
            match form {
                WireForm::Frames if self.positioned => {
                    queue.push_exempt(Queued::new(frame.positioned_catchup(offset), mark));
                }
                WireForm::Frames => queue.push_exempt(Queued::new(frame.catchup().clone(), mark)),
                WireForm::Events => queue.push_exempt(Queued::new(frame.catchup_event(offset), mark)),
                WireForm::Elements => {
                    let [open, tail] = frame.catchup_element(self.positioned.then_some(offset));
                    queue.push_exempt(Queued::new(open, mark));
                    queue.push_exempt(Queued::rest(tail));
                }
            }
        }
        PushResult::Accepted
    }

    /// Sends the frames that [`SendQueue::push_catchup`] has queued, for any number of streams together.
    pub fn flush_catchup(&self) -> PushResult {
        if self.is_empty() {
            return PushResult::Accepted;
        }
        if self.collects() {
            self.wake();
            return PushResult::Accepted;
        }
        if self.try_flush().is_err() {
            return self.refuse(PushResult::Broken);
        }
        self.wake_if_queued();
        PushResult::Accepted
    }

    /// Queues an element about the streams, until [`SendQueue::flush_catchup`]. Like a catch-up it does not count against
    /// the capacity. A response contains it, also one that accepts no more frames.
    pub fn push_element(&self, element: &StreamElement) -> PushResult {
        if self.sealed.get() && !self.collects() {
            return PushResult::Closed;
        }
        self.queue.borrow_mut().push_exempt(Queued::new(self.element(element), None));
        PushResult::Accepted
    }

    /// The form of an element for this client.
    pub fn element(&self, element: &StreamElement) -> Bytes {
        let StreamElement { name, object, cursor } = element;
        match (self.transport.form(), cursor) {
            (WireForm::Frames, _) => frame(Opcode::Text, format!("[{object}]").as_bytes()),
            (WireForm::Events, Some(cursor)) => event_stream::id_only(*cursor),
            (WireForm::Events, None) => event_stream::named(name, object),
            (WireForm::Elements, _) => Bytes::copy_from_slice(object.as_bytes()),
        }
    }

    /// Sends data outside the streams (a control frame, a heartbeat, a reply), in order with all other data. A
    /// response does not contain it.
    pub fn push_control(&self, bytes: &Bytes) -> PushResult {
        match self.collects() {
            true => PushResult::Accepted,
            false if self.sealed.get() => PushResult::Closed,
            false => self.push_one(bytes),
        }
    }

    /// Closes the queue after a refusal: a later frame would advance the cursor beyond the refused one.
    pub(super) fn refuse(&self, why: PushResult) -> PushResult {
        self.sealed.set(true);
        why
    }

    pub(super) fn push_one(&self, bytes: &Bytes) -> PushResult {
        let mut queue = self.queue.borrow_mut();
        if !queue.is_empty() && !queue.has_room(bytes.len()) {
            return self.refuse(PushResult::Overflow);
        }
        queue.push(Queued::new(bytes.clone(), None));
        drop(queue);
        match self.try_flush() {
            Ok(_) => {
                self.wake_if_queued();
                PushResult::Accepted
            }
            Err(_) => self.refuse(PushResult::Broken),
        }
    }

    /// Collects all items or none: a cursor cannot express that only some were accepted.
    fn collect(&self, items: impl Iterator<Item = Queued> + Clone, batch: &FrameBatch) -> PushResult {
        if self.sealed.get() {
            return PushResult::Closed;
        }
        let mut queue = self.queue.borrow_mut();
        let bytes = items.clone().map(|item| item.bytes.len()).sum();
        let full = !queue.is_empty() && !queue.has_room(bytes);
        if full {
            // The poll responds with its queued events; the next poll catches up with the rest.
            self.cover(batch.ids.covered);
            self.sealed.set(true);
        } else {
            items.for_each(|item| queue.push(item));
        }
        drop(queue);
        self.wake();
        if full { PushResult::Closed } else { PushResult::Accepted }
    }
}
