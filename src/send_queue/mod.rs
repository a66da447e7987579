//! The one place that enqueues to a connection, and that decides about peers who do not read.
//!
//! An send queue belongs to a session and is shared, on one thread, with the hub. The hub writes straight to the
//! socket; what the kernel does not take at once waits here as shared bytes, bounded, and the session flushes it
//! when the socket is writable again. A long-poll's send queue only collects, until the session takes the batch.

mod frame_batch;
mod queue;
#[cfg(target_os = "linux")]
mod ring;
mod sender;
#[cfg(test)]
#[path = "sender_model_tests.rs"]
mod sender_model_tests;
#[cfg(test)]
#[path = "sender_tests.rs"]
mod sender_tests;
#[cfg(test)]
pub mod simulated;
mod socket;

use crate::clock;
use crate::protocol::frame::Frame;
use crate::protocol::ids::{Offset, Stream};
use crate::protocol::websocket::close::CloseReason;
use bytes::Bytes;
pub use frame_batch::FrameBatch;
use queue::{Mark, Queue, Queued};
pub use queue::{QueueCapacity, frames_here, queued_here};
use rustc_hash::FxHashMap;
pub use sender::{FrameSender, Sending};
use socket::Flushed;
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Shutdown};
use std::task::{Context, Poll, Waker};
use tokio::net::TcpStream;

/// What became of something given to an send queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushResult {
    /// The kernel has it, or it waits in the queue.
    Accepted,
    /// The peer does not read: the queue would grow over its bound. The caller detaches and aborts.
    Overflow,
    /// The socket is broken. The caller detaches; the session finds out by itself.
    Broken,
    /// The send queue takes nothing any more.
    Sealed,
}

/// A part of a poll's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponsePart {
    /// Its bytes, shared.
    pub bytes: Bytes,
    /// Whether it goes on with the element that the part before it began.
    pub is_rest: bool,
}

enum Sink {
    /// A taken-over socket: bytes are websocket frames.
    Socket(TcpStream),
    /// A long-poll: bytes are elements of its list.
    Poll,
    /// The simulator's socket, which takes as much as it is told to.
    #[cfg(test)]
    Simulated(std::rc::Rc<simulated::Socket>),
}

/// See the module's description.
pub struct SendQueue {
    sink: Sink,
    queue: RefCell<Queue>,
    waker: RefCell<Option<Waker>>,
    /// The peer takes compressed messages; frames from this length on are sent so.
    deflate_from: Option<usize>,
    closing: Cell<Option<CloseReason>>,
    sealed: Cell<bool>,
    assembling: Cell<bool>,
    answering: Cell<bool>,
    /// Something was taken from [`SendQueue::ready`], and what came of it is not known yet.
    sending: Cell<bool>,
    heard: Cell<u64>,
}

impl SendQueue {
    /// The send queue of a websocket. At most `max_queued` waits in it, apart from one whole frame or catch-up.
    pub fn socket(socket: TcpStream, max_queued: QueueCapacity, now_ms: u64) -> Self {
        Self::new(Sink::Socket(socket), max_queued, now_ms)
    }

    /// The peer takes compressed messages: frames of at least this many bytes are sent so.
    pub fn compressing(mut self, deflate_from: Option<usize>) -> Self {
        self.deflate_from = deflate_from;
        self
    }

    /// The send queue of a long-poll.
    pub fn poll(max_queued: QueueCapacity, now_ms: u64) -> Self {
        Self::new(Sink::Poll, max_queued, now_ms)
    }

    fn new(sink: Sink, max_queued: QueueCapacity, now_ms: u64) -> Self {
        Self {
            sink,
            queue: RefCell::new(Queue::new(max_queued)),
            waker: RefCell::new(None),
            deflate_from: None,
            closing: Cell::new(None),
            sealed: Cell::new(false),
            assembling: Cell::new(false),
            answering: Cell::new(false),
            sending: Cell::new(false),
            heard: Cell::new(now_ms),
        }
    }

    /// Whether this is a websocket's.
    pub fn is_socket(&self) -> bool {
        !matches!(self.sink, Sink::Poll)
    }

    /// Whether the peer takes compressed messages.
    pub fn is_compressing(&self) -> bool {
        self.deflate_from.is_some()
    }

    /// The address of the socket's peer; none for a poll.
    pub fn peer(&self) -> Option<IpAddr> {
        self.stream()?.peer_addr().ok().map(|peer| peer.ip().to_canonical())
    }

    /// When the peer was last heard, on the hub's clock.
    pub fn heard_ms(&self) -> u64 {
        self.heard.get()
    }

    /// Notes that the peer was heard.
    pub fn hear(&self, now_ms: u64) {
        self.heard.set(now_ms);
    }

    /// Whether live frames must wait for the rest of a catch-up.
    pub fn is_assembling(&self) -> bool {
        self.assembling.get()
    }

    /// Notes whether live frames must wait for the rest of a catch-up.
    pub fn set_assembling(&self, assembling: bool) {
        self.assembling.set(assembling);
    }

    /// Bytes waiting.
    pub fn queued_bytes(&self) -> usize {
        self.queue.borrow().bytes()
    }

    /// Whether as many frames wait as may.
    pub fn has_all_frames(&self) -> bool {
        self.queue.borrow().has_all_frames()
    }

    /// Delivers live frames of one stream to a websocket, or collects them one by one for a poll.
    pub fn push_live<'a>(
        &self,
        joined: &FrameBatch,
        frames: impl Iterator<Item = (Offset, &'a Frame)> + Clone,
    ) -> PushResult {
        if self.is_socket() {
            return self.push_joined(self.form(joined, frames));
        }
        self.collect(frames.map(|(offset, frame)| {
            let mark = Some(Mark { stream: joined.stream, offset });
            Queued { bytes: frame.live_element(), mark, begun: false }
        }))
    }

    /// The form of these frames that a websocket takes: plain or compressed.
    pub fn form<'a, 'f>(
        &self,
        joined: &'a FrameBatch,
        frames: impl Iterator<Item = (Offset, &'f Frame)> + Clone,
    ) -> &'a FrameBatch {
        match self.deflate_from {
            None => joined,
            Some(threshold) => joined.deflated(frames, threshold),
        }
    }

    /// Queues frames that the peer missed, until [`SendQueue::flush_catchup`]. They do not count against the bound: it may
    /// be the peer's whole absence, and closing it for that would only bring it back for the same.
    pub fn push_catchup<'a>(
        &self,
        stream: Stream,
        frames: impl Iterator<Item = (Offset, &'a Frame)>,
    ) -> PushResult {
        if self.sealed.get() {
            return PushResult::Sealed;
        }
        let socket = self.is_socket();
        let mut queue = self.queue.borrow_mut();
        for (offset, frame) in frames {
            let mark = Some(Mark { stream, offset });
            if socket {
                queue.push_free(Queued { bytes: frame.catchup().clone(), mark, begun: false });
            } else {
                let [open, tail] = frame.catchup_element();
                queue.push_free(Queued { bytes: open, mark, begun: false });
                queue.push_free(Queued { bytes: tail, mark: None, begun: false });
            }
        }
        PushResult::Accepted
    }

    /// Sends what [`SendQueue::push_catchup`] has queued, that of many streams at once.
    pub fn flush_catchup(&self) -> PushResult {
        if self.is_empty() {
            return PushResult::Accepted;
        }
        if !self.is_socket() {
            self.wake();
            return PushResult::Accepted;
        }
        if self.try_flush().is_err() {
            return self.refuse(PushResult::Broken);
        }
        self.wake_if_queued();
        PushResult::Accepted
    }

    /// Sends what belongs to no stream (a control frame, a heartbeat, a reply), in order with everything else. A poll
    /// needs none.
    pub fn push_control(&self, bytes: &Bytes) -> PushResult {
        match self.is_socket() {
            true if self.sealed.get() => PushResult::Sealed,
            true => self.push_one(bytes),
            false => PushResult::Accepted,
        }
    }

    /// Nothing follows what was refused: a cursor that moved on would step over it.
    fn refuse(&self, why: PushResult) -> PushResult {
        self.sealed.set(true);
        why
    }

    fn push_one(&self, bytes: &Bytes) -> PushResult {
        let mut queue = self.queue.borrow_mut();
        if !queue.is_empty() && !queue.has_room(bytes.len()) {
            return self.refuse(PushResult::Overflow);
        }
        queue.push(Queued { bytes: bytes.clone(), mark: None, begun: false });
        drop(queue);
        match self.try_flush() {
            Ok(_) => {
                self.wake_if_queued();
                PushResult::Accepted
            }
            Err(_) => self.refuse(PushResult::Broken),
        }
    }

    /// All of them or none: a cursor cannot say that only some were taken.
    fn collect(&self, items: impl Iterator<Item = Queued> + Clone) -> PushResult {
        if self.sealed.get() {
            return PushResult::Sealed;
        }
        let mut queue = self.queue.borrow_mut();
        let bytes = items.clone().map(|item| item.bytes.len()).sum();
        let full = !queue.is_empty() && !queue.has_room(bytes);
        if full {
            // The poll answers with what it has, the next one catches up with the rest.
            self.sealed.set(true);
        } else {
            items.for_each(|item| queue.push(item));
        }
        drop(queue);
        self.wake();
        if full { PushResult::Sealed } else { PushResult::Accepted }
    }

    /// For each stream of which something waits here, the offset before its first waiting frame: that far the peer got.
    pub fn delivered_before(&self) -> FxHashMap<Stream, Offset> {
        let first = self.queue.borrow().first_offsets();
        first.into_iter().map(|(stream, offset)| (stream, offset.saturating_sub(1))).collect()
    }

    /// Takes nothing more. Cursors of the streams stand still from here on.
    pub fn seal(&self) {
        self.sealed.set(true);
        self.wake();
    }

    /// Takes nothing more.
    pub fn is_sealed(&self) -> bool {
        self.sealed.get()
    }

    /// Says goodbye after what is queued.
    pub fn close(&self, reason: CloseReason) {
        if self.closing.get().is_some() {
            return;
        }
        if self.is_socket() {
            self.push_one(&reason.frame());
        }
        self.closing.set(Some(reason));
        self.seal();
    }

    /// Says goodbye instead of what is queued: the peer does not read, its memory is wanted back.
    pub fn abort(&self, reason: CloseReason) {
        let clean = self.queue.borrow_mut().clear();
        if clean {
            return self.close(reason);
        }
        // Half a frame is out already; nothing sensible can follow it.
        self.closing.set(Some(reason));
        self.seal();
    }

    /// Counts a frame that is half out as delivered: see [`SendQueue::close_after_begun`].
    pub fn count_begun(&self) {
        self.queue.borrow_mut().count_begun();
    }

    /// Says goodbye after a frame that is half out, for nothing sensible could follow its half; all else that is
    /// queued is left to a successor.
    pub fn close_after_begun(&self, reason: CloseReason) {
        self.queue.borrow_mut().keep_begun();
        self.close(reason);
    }

    /// Why the send queue was closed, once it was.
    pub fn closing(&self) -> Option<CloseReason> {
        self.closing.get()
    }

    /// What a poll has collected is on its way to its peer from here on, in this many parts. They stay queued for
    /// [`SendQueue::delivered_before`], and count, until they are forgotten.
    pub fn begin_answer(&self) -> usize {
        let parts = self.queue.borrow().len();
        self.answering.set(parts > 0);
        parts
    }

    /// A part of a poll's answer: an element of its list, or the rest of the element before it. `None` when the send queue
    /// was aborted meanwhile.
    pub fn part(&self, index: usize) -> Option<ResponsePart> {
        let queue = self.queue.borrow();
        queue.get(index).map(|item| ResponsePart { bytes: item.bytes.clone(), is_rest: item.mark.is_none() })
    }

    /// Begins the answer of a poll, and returns the elements of its list.
    #[cfg(test)]
    pub fn batch(&self) -> Vec<Bytes> {
        let mut elements: Vec<Vec<u8>> = Vec::new();
        for part in (0..self.begin_answer()).filter_map(|index| self.part(index)) {
            match elements.last_mut() {
                Some(element) if part.is_rest && !self.is_socket() => element.extend_from_slice(&part.bytes),
                _ => elements.push(part.bytes.to_vec()),
            }
        }
        elements.into_iter().map(Bytes::from).collect()
    }

    /// Whether a poll's answer is on its way, so that nobody can say how far its peer got.
    pub fn is_answering(&self) -> bool {
        self.answering.get()
    }

    /// Whether anything waits.
    pub fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Forgets what is queued: it has reached the peer by another way (a poll's answer).
    pub fn forget(&self) {
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

    /// Registers the session to be woken when something changes.
    pub fn register(&self, context: &Context<'_>) {
        let mut slot = self.waker.borrow_mut();
        match &*slot {
            Some(waker) if waker.will_wake(context.waker()) => {}
            _ => *slot = Some(context.waker().clone()),
        }
    }

    /// Flushes as far as the socket takes it. Ready when nothing waits.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = self.stream() else { return Poll::Ready(Ok(())) };
        loop {
            match self.try_flush()? {
                Flushed::All => return Poll::Ready(Ok(())),
                Flushed::Full => {}
                Flushed::Turn => {
                    clock::yield_now(context);
                    return Poll::Pending;
                }
            }
            match socket.poll_write_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Nothing more will be sent: the peer sees the end of the stream behind what was. Reading goes on.
    pub fn hang_up(&self) {
        if let Sink::Socket(socket) = &self.sink {
            // Fails when the peer is gone, which reading tells as well.
            let _ = SockRef::from(socket).shutdown(Shutdown::Write);
        }
    }

    /// The socket, for reading; none for a poll.
    pub fn stream(&self) -> Option<&TcpStream> {
        match &self.sink {
            Sink::Socket(socket) => Some(socket),
            _ => None,
        }
    }
}
