//! The socket that the HTTP stack uses for a connection: it passes one request at a time to the stack, reports the progress
//! to the connection's deadline, and closes so that the client can read its answer.

mod closing;

use super::deadline::ConnectionDeadline;
use super::framing::Framing;
use super::peer_timeout::limit_unacknowledged;
use crate::clock::yield_now;
use bytes::{Buf, Bytes, BytesMut};
use closing::DROPPED_BYTES;
use futures_util::FutureExt;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use std::io;
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// The size of a read into `buffered`.
const READ_BYTES: usize = 8 << 10;
/// The most bytes of responses that are written together.
const COMBINED_BYTES: usize = 16 << 10;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connection's socket.
pub struct TimedSocket {
    socket: TcpStream,
    pub deadline: Rc<ConnectionDeadline>,
    framing: Framing,
    /// Bytes that were read and not passed to the HTTP stack. The first `ready` of them belong to its current request.
    buffered: BytesMut,
    ready: usize,
    /// Bytes that must be written before all others.
    out: BytesMut,
    /// The kernel may have bytes although tokio considers the socket not readable.
    is_unread: bool,
    /// The task is woken when the client sends or disconnects.
    is_read_registered: bool,
    /// The client receives its last answer; further bytes of the stack are dropped.
    is_refused: bool,
    /// Bytes of bodies that were dropped after their answers.
    skipped: usize,
    /// The number of bytes that were dropped since the sending half was closed, if it is.
    dropped: Option<usize>,
}

/// The result of a read.
enum Read {
    /// The stack has received bytes, or the end of the stream.
    Passed,
    /// Bytes are buffered. They may be ready for the stack.
    Buffered,
}

impl TimedSocket {
    /// The socket of a connection that has not been read from.
    pub fn new(socket: TcpStream, deadline: Rc<ConnectionDeadline>) -> Self {
        Self {
            socket,
            deadline,
            framing: Framing::default(),
            buffered: BytesMut::new(),
            ready: 0,
            out: BytesMut::new(),
            is_unread: false,
            is_read_registered: false,
            is_refused: false,
            skipped: 0,
            dropped: None,
        }
    }

    /// The socket for another protocol, and the bytes that were read after the upgrade request.
    ///
    /// # Errors
    /// The runtime cannot register the socket.
    pub fn into_socket(self) -> io::Result<(TcpStream, Bytes)> {
        let socket = match self.is_unread {
            false => self.socket,
            // Registering it again makes it readable.
            true => TcpStream::from_std(self.socket.into_std()?)?,
        };
        Ok((socket, self.buffered.freeze()))
    }

    /// Counts the bytes of a body that the stack drops after its answer. Too many of them end the connection.
    fn count_skipped(&mut self, into: &mut ReadBuf<'_>) -> io::Result<()> {
        self.skipped += into.filled().len();
        if self.skipped > DROPPED_BYTES {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Passes the ready bytes to the stack.
    fn pass_ready(&mut self, into: &mut ReadBuf<'_>) {
        let count = self.ready.min(into.remaining());
        into.put_slice(&self.buffered[..count]);
        self.buffered.advance(count);
        self.ready -= count;
        if self.buffered.is_empty() {
            self.buffered = BytesMut::new();
        }
        self.deadline.turn.count_read(count);
    }

    /// Returns how many bytes at the start belong to the current request.
    fn frame(framing: &mut Framing, deadline: &ConnectionDeadline, bytes: &mut [u8]) -> usize {
        let was_in_head = framing.is_in_head();
        let consumed = framing.consume(bytes, deadline.rules());
        if was_in_head && consumed > 0 {
            deadline.exchange.start(framing.expects_continue());
        }
        if consumed > 0 && framing.is_complete() {
            deadline.request_complete();
        }
        consumed
    }

    fn poll_pass(&mut self, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(answer) = self.deadline.take_final_answer() {
            self.end_with(&answer);
        }
        loop {
            if self.is_refused {
                return Poll::Ready(Ok(()));
            }
            if self.ready > 0 {
                self.pass_ready(into);
                return Poll::Ready(Ok(()));
            }
            if let Some(malformed) = self.framing.malformed() {
                let answer = self.deadline.refuse(malformed);
                self.end_with(&answer);
                continue;
            }
            if !self.framing.is_in_head() && !self.framing.is_in_body() {
                // The stack flushes when it has no more work. The flush then decides what to wait for.
                return Poll::Pending;
            }
            if !self.deadline.turn.may_read() {
                self.deadline.turn.set_more();
                return Poll::Pending;
            }
            let is_answered = self.framing.is_in_body() && !self.deadline.exchange.is_answering();
            match ready!(self.poll_read_more(context, into))? {
                Read::Passed if is_answered => return Poll::Ready(self.count_skipped(into)),
                Read::Passed => return Poll::Ready(Ok(())),
                Read::Buffered => {}
            }
        }
    }

    fn poll_read_more(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Read>> {
        if self.buffered.is_empty() && !self.is_unread {
            return self.poll_read_into(context, into);
        }
        if ready!(self.poll_read_buffered(context))? == 0 {
            self.deadline.exchange.set_half_closed();
            return Poll::Ready(Ok(Read::Passed));
        }
        if self.framing.is_in_head() {
            self.deadline.head_arrived();
        }
        self.ready = Self::frame(&mut self.framing, &self.deadline, &mut self.buffered);
        Poll::Ready(Ok(Read::Buffered))
    }

    /// Reads into the stack's buffer. Bytes that do not belong to the request are moved to `buffered`.
    fn poll_read_into(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Read>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, into))?;
        let received = &mut into.filled_mut()[before..];
        if received.is_empty() {
            self.deadline.exchange.set_half_closed();
            return Poll::Ready(Ok(Read::Passed));
        }
        if self.framing.is_in_head() {
            self.deadline.head_arrived();
        }
        let consumed = Self::frame(&mut self.framing, &self.deadline, received);
        self.buffered.extend_from_slice(&received[consumed..]);
        into.set_filled(before + consumed);
        self.deadline.turn.count_read(consumed);
        self.is_read_registered = false;
        Poll::Ready(Ok(if consumed == 0 { Read::Buffered } else { Read::Passed }))
    }

    fn poll_read_buffered(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.is_read_registered = false;
        if self.is_unread {
            let before = self.buffered.len();
            self.buffered.resize(before + READ_BYTES, 0);
            let read = recv(self.socket.as_raw_fd(), &mut self.buffered[before..], MsgFlags::MSG_DONTWAIT);
            self.buffered.truncate(before + read.unwrap_or(0));
            self.is_unread = read == Ok(READ_BYTES);
            match read {
                Err(Errno::EAGAIN) => {}
                read => return Poll::Ready(read.map_err(io::Error::from)),
            }
        }
        self.buffered.reserve(READ_BYTES);
        pin!(self.socket.read_buf(&mut self.buffered)).poll(context)
    }

    /// To be called when the stack has a complete request and nothing to read. Its task is woken when the client sends more
    /// or disconnects, since the request may be a waiting poll.
    fn wait_after_request(&mut self, context: &mut Context<'_>) {
        if !self.deadline.exchange.is_half_closed() && self.poll_half_closed(context).is_ready() {
            self.deadline.exchange.set_half_closed();
        }
    }

    fn poll_half_closed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.socket.poll_read_ready(context).is_ready() {
            let readiness = self.socket.ready(Interest::READABLE).now_or_never();
            if !matches!(readiness, Some(Ok(readiness)) if !readiness.is_read_closed()) {
                return Poll::Ready(());
            }
            // Bytes of the next request stay in the kernel. Bytes or a close after them must wake the task.
            let _ = self
                .socket
                .try_io(Interest::READABLE, || Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock)));
            self.is_unread = true;
        }
        self.is_read_registered = true;
        Poll::Pending
    }

    /// To be called when the response is written, or will be without further work. Continues in this turn if the client
    /// has sent more.
    fn next_request(&mut self) {
        self.framing.next_request();
        self.deadline.exchange.end();
        if !self.buffered.is_empty() {
            self.deadline.head_arrived();
            self.ready = Self::frame(&mut self.framing, &self.deadline, &mut self.buffered);
        }
        if !self.buffered.is_empty()
            || self.is_unread
            || !self.is_read_registered
            || self.deadline.exchange.is_half_closed()
        {
            self.deadline.turn.set_more();
        }
    }

    /// Ends the connection, with this answer if the current request has none yet.
    fn end_with(&mut self, answer: &[u8]) {
        if !self.deadline.exchange.has_begun() {
            self.out.extend_from_slice(answer);
        }
        self.is_refused = true;
        self.buffered = BytesMut::new();
        self.ready = 0;
    }

    /// Whether the request was read to its end, and the stack has written its whole response.
    fn is_done(&self) -> bool {
        self.framing.is_complete() && !self.deadline.exchange.is_answering() && !self.is_refused
    }

    /// Whether a response may wait for those of the next requests, which have arrived and are served in this turn.
    fn may_combine(&self, bytes: usize) -> bool {
        self.has_room(bytes) && self.deadline.turn.may_serve()
    }

    /// Whether this many bytes may be combined with those that wait.
    fn has_room(&self, bytes: usize) -> bool {
        self.out.len() + bytes <= COMBINED_BYTES
    }

    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let count = ready!(Pin::new(&mut self.socket).poll_write(context, &self.out))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(count);
        }
        self.out = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for TimedSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll_pass(context, into)
    }
}

impl AsyncWrite for TimedSocket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_refused {
            return Poll::Ready(Ok(bytes.len()));
        }
        this.deadline.before_write();
        limit_unacknowledged(&this.socket, this.deadline.take_max_silence_ms());
        let waits_for_next =
            this.framing.is_complete() && !this.buffered.is_empty() && this.may_combine(bytes.len());
        // The last response of a turn is combined with those before it, since the stack flushes after it.
        if waits_for_next || !this.out.is_empty() && this.has_room(bytes.len()) {
            this.out.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(this.poll_write_out(context))?;
        if !this.deadline.turn.may_write() {
            yield_now(context);
            return Poll::Pending;
        }
        let count = ready!(Pin::new(&mut this.socket).poll_write(context, bytes))?;
        this.deadline.turn.count_written(count);
        Poll::Ready(Ok(count))
    }

    /// The HTTP stack flushes when it has written all that it has.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_refused && this.deadline.exchange.take_continue() {
            this.out.extend_from_slice(CONTINUE);
        }
        if this.is_done() && !this.buffered.is_empty() && this.may_combine(0) {
            this.next_request();
            if this.ready > 0 && this.framing.is_complete() {
                return Poll::Ready(Ok(()));
            }
        }
        ready!(this.poll_write_out(context))?;
        this.deadline.flushed();
        if this.framing.is_complete() {
            this.wait_after_request(context);
        }
        if this.is_done() {
            this.next_request();
        }
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close(context)
    }
}
