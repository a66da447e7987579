//! The only place that enqueues data for a client, and that handles clients that do not read.
//!
//! A send queue belongs to a session, which shares it with the hub of the same thread. The hub writes directly to the
//! socket. Bytes that the kernel does not accept wait here as shared, bounded buffers, and the session flushes them
//! when the socket is writable again. The send queue of a long-poll only collects events until the session sends the
//! response.

mod push;
mod queue;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(test)]
#[path = "sender_model_tests.rs"]
mod sender_model_tests;
#[cfg(test)]
#[path = "sender_tests.rs"]
mod sender_tests;
#[cfg(test)]
pub mod simulated;
mod socket;
mod transport;

use crate::protocol::ids::{Offset, Stamp, Stream};
use crate::protocol::websocket::close::CloseReason;
use bytes::Bytes;
pub use push::PushResult;
use queue::Queue;
pub use queue::{QueueCapacity, frames_here, queued_here};
use rustc_hash::FxHashMap;
pub use socket::{FrameSender, Sending};
use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};
use tokio::net::TcpStream;
use transport::WireForm;
pub use transport::{Transport, WithoutSession};

/// A part of the response to a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponsePart {
    /// The bytes, shared.
    pub bytes: Bytes,
    /// Whether it continues the element of the previous part.
    pub is_rest: bool,
}

enum Sink {
    Socket(TcpStream),
    /// The session sends what was collected.
    Response,
    /// The simulator's socket, which accepts a configured number of bytes.
    #[cfg(test)]
    Simulated(std::rc::Rc<simulated::Socket>),
}

/// See the module's description.
pub struct SendQueue {
    sink: Sink,
    transport: Transport,
    queue: RefCell<Queue>,
    waker: RefCell<Option<Waker>>,
    /// Frames of at least this many bytes are compressed. `None` if the client does not accept compressed messages.
    deflate_from: Option<u32>,
    /// Every frame up to this stamp was sent or waits here. 0 before the first catch-up, and for clients that did not ask
    /// for positions.
    covered: Cell<Stamp>,
    closing: Cell<Option<CloseReason>>,
    /// Whether the client asked for positions.
    positioned: bool,
    sealed: Cell<bool>,
    assembling: Cell<bool>,
    answering: Cell<bool>,
    /// A send of [`SendQueue::ready`] whose result is not known yet is in progress.
    sending: Cell<bool>,
    last_received: Cell<u64>,
}

impl SendQueue {
    /// The send queue of a websocket. Its capacity is `max_queued`, plus one frame or catch-up.
    pub fn socket(socket: TcpStream, max_queued: QueueCapacity, now_ms: u64) -> Self {
        Self::new(Transport::Websocket, Sink::Socket(socket), max_queued, now_ms)
    }

    /// Sets the minimum length of compressed frames. `None` if the client does not accept compressed messages.
    pub fn compressing(mut self, deflate_from: Option<usize>) -> Self {
        self.deflate_from = deflate_from.map(|bytes| bytes.try_into().unwrap_or(u32::MAX));
        self
    }

    /// Sets whether frames contain their offsets.
    pub fn positioned(mut self, positioned: bool) -> Self {
        self.positioned = positioned;
        self
    }

    /// The send queue of a long-poll.
    pub fn poll(max_queued: QueueCapacity, now_ms: u64) -> Self {
        Self::new(Transport::LongPoll, Sink::Response, max_queued, now_ms)
    }

    fn new(transport: Transport, sink: Sink, max_queued: QueueCapacity, now_ms: u64) -> Self {
        Self {
            sink,
            transport,
            queue: RefCell::new(Queue::new(max_queued)),
            waker: RefCell::new(None),
            deflate_from: None,
            covered: Cell::default(),
            positioned: false,
            closing: Cell::new(None),
            sealed: Cell::new(false),
            assembling: Cell::new(false),
            answering: Cell::new(false),
            sending: Cell::new(false),
            last_received: Cell::new(now_ms),
        }
    }

    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether frames wait here for the response of the session.
    pub fn collects(&self) -> bool {
        self.transport.form() == WireForm::Elements
    }

    /// Whether the client accepts compressed messages.
    pub fn is_compressing(&self) -> bool {
        self.deflate_from.is_some()
    }

    /// Whether the client asked for positions.
    pub fn is_positioned(&self) -> bool {
        self.positioned
    }

    /// The stamp up to which everything was sent or waits here, if it is known. `elsewhere` is the stamp of the last
    /// finished round of the hub.
    pub fn covered(&self, elsewhere: Stamp) -> Option<Stamp> {
        let covered = self.covered.get();
        let is_known = covered > Stamp::default() && !self.assembling.get();
        is_known.then(|| if self.sealed.get() { covered } else { covered.max(elsewhere) })
    }

    /// Records that everything up to this stamp was sent or waits here.
    pub fn cover(&self, stamp: Stamp) {
        if self.positioned {
            self.covered.set(stamp.max(self.covered.get()));
        }
    }

    /// Returns the stamp for a new cursor if more is covered than at the last one.
    pub fn cover_more(&self, elsewhere: Stamp) -> Option<Stamp> {
        let before = self.covered.get();
        let more = self.covered(elsewhere).filter(|covered| *covered > before);
        self.covered.set(more.unwrap_or(before));
        more
    }

    /// When the client last sent something, on the hub's clock.
    pub fn last_received_ms(&self) -> u64 {
        self.last_received.get()
    }

    /// Sets when the client last sent something.
    pub fn set_last_received(&self, now_ms: u64) {
        self.last_received.set(now_ms);
    }

    /// Whether live frames must wait until a catch-up is complete.
    pub fn is_assembling(&self) -> bool {
        self.assembling.get()
    }

    /// Sets whether live frames must wait until a catch-up is complete.
    pub fn set_assembling(&self, assembling: bool) {
        self.assembling.set(assembling);
    }

    /// The number of waiting bytes.
    pub fn queued_bytes(&self) -> usize {
        self.queue.borrow().bytes()
    }

    /// Whether the maximum number of frames is waiting.
    pub fn has_max_frames(&self) -> bool {
        self.queue.borrow().has_max_frames()
    }

    /// For each stream with waiting frames, the offset before the first one: the client has received the stream up to
    /// there.
    pub fn delivered_before(&self) -> FxHashMap<Stream, Offset> {
        let first = self.queue.borrow().first_offsets();
        first.into_iter().map(|(stream, offset)| (stream, offset.saturating_sub(1))).collect()
    }

    /// Accepts nothing more. The cursors of the streams no longer advance.
    pub fn seal(&self) {
        self.sealed.set(true);
        self.wake();
    }

    /// Whether the queue accepts nothing more.
    pub fn is_sealed(&self) -> bool {
        self.sealed.get()
    }

    /// Ends the session after everything queued.
    pub fn close(&self, reason: CloseReason) {
        self.close_with(reason, None);
    }

    /// Does the same. `text` replaces the text of the reason.
    pub fn close_with(&self, reason: CloseReason, text: Option<&str>) {
        if self.closing.get().is_some() {
            return;
        }
        if let Some(bytes) = self.transport.close(reason, text) {
            self.push_one(&bytes);
        }
        self.closing.set(Some(reason));
        self.seal();
    }

    /// Drops everything queued and sends the close frame: the client does not read, and its memory is needed.
    pub fn abort(&self, reason: CloseReason) {
        let clean = self.queue.borrow_mut().clear();
        if clean {
            return self.close(reason);
        }
        // Part of a frame was already sent, so no valid frame can follow.
        self.closing.set(Some(reason));
        self.seal();
    }

    /// Counts a partly sent frame as delivered; see [`SendQueue::close_after_partial`].
    pub fn count_partial_as_delivered(&self) {
        self.queue.borrow_mut().count_partial_as_delivered();
    }

    /// Sends the close frame after the rest of a partly sent frame, because no valid frame could follow a part of it.
    /// The next session delivers everything else that is queued.
    pub fn close_after_partial(&self, reason: CloseReason, text: Option<&str>) {
        self.queue.borrow_mut().keep_partial();
        self.close_with(reason, text);
    }

    /// The close reason, once the send queue is closed.
    pub fn closing(&self) -> Option<CloseReason> {
        self.closing.get()
    }

    /// Begins the response of a poll and returns its number of parts. The parts stay queued, and count, for
    /// [`SendQueue::delivered_before`], until [`SendQueue::clear`].
    pub fn begin_answer(&self) -> usize {
        let parts = self.queue.borrow().len();
        self.answering.set(parts > 0);
        parts
    }

    /// A part of a poll's response: an element of its list, or the rest of the previous element. `None` if the send
    /// queue was aborted meanwhile.
    pub fn part(&self, index: usize) -> Option<ResponsePart> {
        let queue = self.queue.borrow();
        queue.get(index).map(|item| ResponsePart { bytes: item.bytes.clone(), is_rest: item.is_rest })
    }

    /// Begins the response of a poll, and returns the elements of its list.
    #[cfg(test)]
    pub fn batch(&self) -> Vec<Bytes> {
        let mut elements: Vec<Vec<u8>> = Vec::new();
        for part in (0..self.begin_answer()).filter_map(|index| self.part(index)) {
            match elements.last_mut() {
                Some(element) if part.is_rest && self.collects() => element.extend_from_slice(&part.bytes),
                _ => elements.push(part.bytes.to_vec()),
            }
        }
        elements.into_iter().map(Bytes::from).collect()
    }

    /// Whether the response of a poll is in flight, so that the client's cursor is unknown.
    pub fn is_answering(&self) -> bool {
        self.answering.get()
    }

    /// Whether frames of a stream are waiting.
    pub fn has_frames(&self) -> bool {
        self.queue.borrow().has_frames()
    }

    /// Whether nothing is waiting.
    pub fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Removes everything queued, because the client has received it in the response of a poll.
    pub fn clear(&self) {
        self.queue.borrow_mut().clear();
    }

    fn wake_if_queued(&self) {
        if !self.queue.borrow().is_empty() {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Registers the session's task to be woken when something changes.
    pub fn register(&self, context: &Context<'_>) {
        let mut slot = self.waker.borrow_mut();
        match &*slot {
            Some(waker) if waker.will_wake(context.waker()) => {}
            _ => *slot = Some(context.waker().clone()),
        }
    }
}
