//! A connection's socket, as the HTTP stack has it: it hands over one request at a time, reports to the connection's watch
//! what happens, and closes so that the client can read its answer.

mod closing;

use super::deadline::ConnectionDeadline;
use super::framing::Framing;
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

/// Bytes that are read at once where the stack has no place for them.
const READ_BYTES: usize = 8 << 10;
/// Bytes of responses that are written together at most.
const JOINED_BYTES: usize = 16 << 10;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connection's socket.
pub struct TimedSocket {
    socket: TcpStream,
    /// How far its connection is.
    pub watch: Rc<ConnectionDeadline>,
    framing: Framing,
    /// What was read and does not belong to the request that the stack has, or only the first `ready` bytes do.
    held: BytesMut,
    ready: usize,
    /// What is to be written before anything else.
    out: BytesMut,
    /// The kernel may have bytes though tokio does not take the socket for readable.
    is_unread: bool,
    /// The task is woken when the client sends or hangs up.
    is_waited_for: bool,
    /// The client has its last answer; what the stack still writes is dropped.
    is_refused: bool,
    /// Bytes of bodies that were dropped behind their answers.
    rest: usize,
    /// The sending half is closed, and so many bytes were dropped since.
    dropped: Option<usize>,
}

/// What reading led to.
enum Read {
    /// The stack has bytes, or the end.
    Given,
    /// Bytes are held. They may be ready.
    Held,
}

impl TimedSocket {
    /// The socket of a connection that has not been read from.
    pub fn new(socket: TcpStream, watch: Rc<ConnectionDeadline>) -> Self {
        Self {
            socket,
            watch,
            framing: Framing::default(),
            held: BytesMut::new(),
            ready: 0,
            out: BytesMut::new(),
            is_unread: false,
            is_waited_for: false,
            is_refused: false,
            rest: 0,
            dropped: None,
        }
    }

    /// The socket, for another protocol, and what was read behind the request that asked for it.
    ///
    /// # Errors
    /// The runtime cannot wait for the socket.
    pub fn into_socket(self) -> io::Result<(TcpStream, Bytes)> {
        let socket = match self.is_unread {
            false => self.socket,
            // As a new socket it is readable again.
            true => TcpStream::from_std(self.socket.into_std()?)?,
        };
        Ok((socket, self.held.freeze()))
    }

    /// Counts what the stack drops of a body behind its answer. Too much is an end.
    fn count_rest(&mut self, into: &mut ReadBuf<'_>) -> io::Result<()> {
        self.rest += into.filled().len();
        if self.rest > DROPPED_BYTES {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Hands over what is ready.
    fn hand_over(&mut self, into: &mut ReadBuf<'_>) {
        let count = self.ready.min(into.remaining());
        into.put_slice(&self.held[..count]);
        self.held.advance(count);
        self.ready -= count;
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        self.watch.turn.took(count);
    }

    /// Takes what belongs to the current request from the front of these bytes.
    fn frame(framing: &mut Framing, watch: &ConnectionDeadline, bytes: &mut [u8]) -> usize {
        let was_in_head = framing.is_in_head();
        let taken = framing.take(bytes, watch.rules());
        if was_in_head && taken > 0 {
            watch.exchange.begin(framing.expects_continue());
        }
        if taken > 0 && framing.is_whole() {
            watch.received();
        }
        taken
    }

    fn poll_give(&mut self, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(words) = self.watch.last_words() {
            self.refuse(&words);
        }
        loop {
            if self.is_refused {
                return Poll::Ready(Ok(()));
            }
            if self.ready > 0 {
                self.hand_over(into);
                return Poll::Ready(Ok(()));
            }
            if let Some(malformed) = self.framing.malformed() {
                let words = self.watch.refuse(malformed);
                self.refuse(&words);
                continue;
            }
            if !self.framing.is_in_head() && !self.framing.is_in_body() {
                // The stack flushes when it has done what it can, and what it waits for is known then.
                return Poll::Pending;
            }
            if !self.watch.turn.may_read() {
                self.watch.turn.go_on();
                return Poll::Pending;
            }
            let is_answered = self.framing.is_in_body() && !self.watch.exchange.is_answering();
            match ready!(self.poll_read_more(context, into))? {
                Read::Given if is_answered => return Poll::Ready(self.count_rest(into)),
                Read::Given => return Poll::Ready(Ok(())),
                Read::Held => {}
            }
        }
    }

    fn poll_read_more(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Read>> {
        if self.held.is_empty() && !self.is_unread {
            return self.poll_read_into(context, into);
        }
        if ready!(self.poll_read_held(context))? == 0 {
            self.watch.exchange.set_half_closed();
            return Poll::Ready(Ok(Read::Given));
        }
        if self.framing.is_in_head() {
            self.watch.heard();
        }
        self.ready = Self::frame(&mut self.framing, &self.watch, &mut self.held);
        Poll::Ready(Ok(Read::Held))
    }

    /// Reads into the stack's buffer. What does not belong to the request is taken out again.
    fn poll_read_into(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Read>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, into))?;
        let came = &mut into.filled_mut()[before..];
        if came.is_empty() {
            self.watch.exchange.set_half_closed();
            return Poll::Ready(Ok(Read::Given));
        }
        if self.framing.is_in_head() {
            self.watch.heard();
        }
        let taken = Self::frame(&mut self.framing, &self.watch, came);
        self.held.extend_from_slice(&came[taken..]);
        into.set_filled(before + taken);
        self.watch.turn.took(taken);
        self.is_waited_for = false;
        Poll::Ready(Ok(if taken == 0 { Read::Held } else { Read::Given }))
    }

    fn poll_read_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.is_waited_for = false;
        if self.is_unread {
            let before = self.held.len();
            self.held.resize(before + READ_BYTES, 0);
            let read = recv(self.socket.as_raw_fd(), &mut self.held[before..], MsgFlags::MSG_DONTWAIT);
            self.held.truncate(before + read.unwrap_or(0));
            self.is_unread = read == Ok(READ_BYTES);
            match read {
                Err(Errno::EAGAIN) => {}
                read => return Poll::Ready(read.map_err(io::Error::from)),
            }
        }
        self.held.reserve(READ_BYTES);
        pin!(self.socket.read_buf(&mut self.held)).poll(context)
    }

    /// The stack has all of a request and nothing to read. Its task is woken when the client sends more or hangs up: a
    /// poll may be waiting.
    fn wait_behind_request(&mut self, context: &mut Context<'_>) {
        if !self.watch.exchange.is_half_closed() && self.poll_half_closed(context).is_ready() {
            self.watch.exchange.set_half_closed();
        }
    }

    fn poll_half_closed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.socket.poll_read_ready(context).is_ready() {
            let readiness = self.socket.ready(Interest::READABLE).now_or_never();
            if !matches!(readiness, Some(Ok(readiness)) if !readiness.is_read_closed()) {
                return Poll::Ready(());
            }
            // Bytes of the next request stay with the kernel. What comes behind them is to wake the task.
            let _ = self
                .socket
                .try_io(Interest::READABLE, || Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock)));
            self.is_unread = true;
        }
        self.is_waited_for = true;
        Poll::Pending
    }

    /// The response is written, or is about to be. Goes on at once if the client has sent more.
    fn turn_to_next(&mut self) {
        self.framing.next_request();
        self.watch.exchange.end();
        if !self.held.is_empty() {
            self.watch.heard();
            self.ready = Self::frame(&mut self.framing, &self.watch, &mut self.held);
        }
        if !self.held.is_empty()
            || self.is_unread
            || !self.is_waited_for
            || self.watch.exchange.is_half_closed()
        {
            self.watch.turn.go_on();
        }
    }

    /// Ends the connection, with these bytes if the current request has no answer yet.
    fn refuse(&mut self, words: &[u8]) {
        if !self.watch.exchange.has_begun() {
            self.out.extend_from_slice(words);
        }
        self.is_refused = true;
        self.held = BytesMut::new();
        self.ready = 0;
    }

    /// Whether the request was read to its end, and the stack has given its whole response.
    fn is_done(&self) -> bool {
        self.framing.is_whole() && !self.watch.exchange.is_answering() && !self.is_refused
    }

    /// Whether a response may wait for those of the next requests, which are there and are served in this turn.
    fn may_join(&self, bytes: usize) -> bool {
        self.has_room(bytes) && self.watch.turn.may_serve()
    }

    /// Whether so many bytes may join those that wait.
    fn has_room(&self, bytes: usize) -> bool {
        self.out.len() + bytes <= JOINED_BYTES
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
        self.get_mut().poll_give(context, into)
    }
}

impl AsyncWrite for TimedSocket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_refused {
            return Poll::Ready(Ok(bytes.len()));
        }
        this.watch.writes();
        let joins_next = this.framing.is_whole() && !this.held.is_empty() && this.may_join(bytes.len());
        // The last response of a turn goes out with those before it: the stack flushes behind it.
        if joins_next || !this.out.is_empty() && this.has_room(bytes.len()) {
            this.out.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(this.poll_write_out(context))?;
        if !this.watch.turn.may_write() {
            yield_now(context);
            return Poll::Pending;
        }
        let count = ready!(Pin::new(&mut this.socket).poll_write(context, bytes))?;
        this.watch.turn.wrote(count);
        Poll::Ready(Ok(count))
    }

    /// The HTTP stack flushes when the socket has taken all there is.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_refused && this.watch.exchange.asks_for_body() {
            this.out.extend_from_slice(CONTINUE);
        }
        if this.is_done() && !this.held.is_empty() && this.may_join(0) {
            this.turn_to_next();
            if this.ready > 0 && this.framing.is_whole() {
                return Poll::Ready(Ok(()));
            }
        }
        ready!(this.poll_write_out(context))?;
        this.watch.is_taken();
        if this.framing.is_whole() {
            this.wait_behind_request(context);
        }
        if this.is_done() {
            this.turn_to_next();
        }
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close(context)
    }
}
