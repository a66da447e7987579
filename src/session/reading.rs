//! Reading from a session's socket, when there is something.

use super::context::Step;
use crate::outbox::Outbox;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// Reads of one socket in one turn at most, so that a flood from one peer leaves the others their turn.
const READS: usize = 8;
const SCRATCH_BYTES: usize = 16 << 10;

thread_local! {
    /// Where sockets are read into: one for the thread, so that idle sessions hold none.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// A session that reads its socket.
pub trait Reads {
    /// Where the socket is.
    fn outbox(&self) -> &Rc<Outbox>;

    /// Takes what the socket gave.
    fn receive(&mut self, bytes: &[u8]);

    /// Reads what is there. Done at the end of the socket, or when the peer has answered our goodbye.
    ///
    /// # Errors
    /// The socket's.
    fn poll_read(&mut self, context: &mut Context<'_>) -> io::Result<Step> {
        let outbox = self.outbox().clone();
        let Some(socket) = outbox.stream() else { return Ok(Step::Done) };
        for _ in 0..READS {
            match socket.poll_read_ready(context) {
                Poll::Pending => return Ok(Step::More),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(())) => {}
            }
            if read(self, socket)? == Step::Done {
                return Ok(Step::Done);
            }
        }
        context.waker().wake_by_ref();
        Ok(Step::More)
    }
}

fn read(session: &mut (impl Reads + ?Sized), socket: &TcpStream) -> io::Result<Step> {
    SCRATCH.with_borrow_mut(|scratch| match socket.try_read(scratch) {
        Ok(0) => Ok(Step::Done),
        Ok(count) if session.outbox().closing().is_none() => {
            session.receive(&scratch[..count]);
            Ok(Step::More)
        }
        // Whatever a peer still says after the goodbye no longer matters, but for its own.
        Ok(count) => Ok(if begins_with_close(&scratch[..count]) { Step::Done } else { Step::More }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::More),
        Err(error) => Err(error),
    })
}

/// Whether a read begins with a close frame: the usual answer to ours. If it is hidden behind something else, the
/// end of the socket or the time limit will do.
fn begins_with_close(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x88)
}
