//! Closes a connection so that its client can read the last answer: if the server closed while the client still sends, the
//! client would receive a reset and lose that answer.

use super::TimedSocket;
use crate::clock::yield_now;
use socket2::SockRef;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// The most bytes that are read and dropped after an answer; then the connection is reset.
pub(crate) const DROPPED_BYTES: usize = 64 << 20;

impl TimedSocket {
    /// Closes the connection when everything is written and the client had the chance to read it.
    pub(crate) fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(context))?;
        if let Some(dropped) = self.dropped {
            return self.poll_drop_rest(context, dropped);
        }
        if self.is_read(context) {
            return Pin::new(&mut self.socket).poll_shutdown(context);
        }
        self.start_lingering()?;
        self.poll_drop_rest(context, 0)
    }

    /// Closes the sending half. The receiving half must be read to its end; otherwise the kernel would reset the connection
    /// and drop the answer.
    fn start_lingering(&mut self) -> io::Result<()> {
        self.dropped = Some(0);
        self.deadline.start_lingering(self.framing.is_in_body() && !self.is_refused);
        SockRef::from(&self.socket).shutdown(Shutdown::Write)
    }

    /// Reads until the client closes the connection, or has sent too much.
    fn poll_drop_rest(&mut self, context: &mut Context<'_>, mut dropped: usize) -> Poll<io::Result<()>> {
        while dropped <= DROPPED_BYTES {
            if !self.deadline.turn.may_read() {
                yield_now(context);
                return Poll::Pending;
            }
            self.buffered.clear();
            let count = ready!(self.poll_read_buffered(context))?;
            if count == 0 {
                break;
            }
            self.deadline.turn.count_read(count);
            dropped += count;
            self.dropped = Some(dropped);
            if self.framing.is_in_body() && !self.is_refused {
                self.framing.consume(&mut self.buffered, self.deadline.rules());
                if !self.framing.is_in_body() {
                    self.deadline.start_lingering(false);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the client has sent no bytes except requests that are answered.
    fn is_read(&mut self, context: &mut Context<'_>) -> bool {
        if self.is_refused || self.framing.is_in_body() || !self.buffered.is_empty() {
            return false;
        }
        !matches!(self.poll_read_buffered(context), Poll::Ready(Ok(1..)))
    }
}
