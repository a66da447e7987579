//! Closing a connection so that its client can read the last answer: as long as the client sends, its kernel would drop that
//! answer for a reset.

use super::TimedSocket;
use crate::clock::yield_now;
use socket2::SockRef;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Bytes that are read and dropped behind an answer at most; then the connection is reset.
pub(crate) const DROPPED_BYTES: usize = 64 << 20;

impl TimedSocket {
    /// Closes the connection when everything is written and the client can have read it.
    pub(crate) fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(context))?;
        if let Some(dropped) = self.dropped {
            return self.poll_drop_rest(context, dropped);
        }
        if self.is_read(context) {
            return Pin::new(&mut self.socket).poll_shutdown(context);
        }
        self.begin_lingering()?;
        self.poll_drop_rest(context, 0)
    }

    /// Closes the sending half. The other one must be read to its end, or the kernel would reset the connection, and take
    /// the answer back.
    fn begin_lingering(&mut self) -> io::Result<()> {
        self.dropped = Some(0);
        self.watch.lingers(self.framing.is_in_body() && !self.is_refused);
        SockRef::from(&self.socket).shutdown(Shutdown::Write)
    }

    /// Reads until the client hangs up, or has sent too much.
    fn poll_drop_rest(&mut self, context: &mut Context<'_>, mut dropped: usize) -> Poll<io::Result<()>> {
        while dropped <= DROPPED_BYTES {
            if !self.watch.turn.may_read() {
                yield_now(context);
                return Poll::Pending;
            }
            self.held.clear();
            let count = ready!(self.poll_read_held(context))?;
            if count == 0 {
                break;
            }
            self.watch.turn.took(count);
            dropped += count;
            self.dropped = Some(dropped);
            if self.framing.is_in_body() && !self.is_refused {
                self.framing.take(&mut self.held, self.watch.rules());
                if !self.framing.is_in_body() {
                    self.watch.lingers(false);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the client has sent nothing but requests that are answered.
    fn is_read(&mut self, context: &mut Context<'_>) -> bool {
        if self.is_refused || self.framing.is_in_body() || !self.held.is_empty() {
            return false;
        }
        !matches!(self.poll_read_held(context), Poll::Ready(Ok(1..)))
    }
}
