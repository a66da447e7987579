//! Reading from a session's socket, when there is something.

use super::context::Progress;
use crate::clock;
use crate::protocol::websocket::decoder::DecodeTurn;
use crate::send_queue::SendQueue;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// Bytes that a socket's task reads in one turn, at most. What they cost is bounded apart, by [`DecodeTurn`].
const TURN_BYTES: usize = 16 << 10;
/// Calls of the system in one turn, at most: bytes may come one by one as fast as they are read.
const READS: usize = 4;

thread_local! {
    /// Where sockets are read into: one for the thread, so that idle sessions hold none.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; TURN_BYTES]);
}

/// A session that reads its socket.
pub trait Reads {
    /// Where the socket is.
    fn send_queue(&self) -> &Rc<SendQueue>;

    /// Takes what the socket gave, or goes on with what an earlier turn left. Does no more of it than the turn allows.
    fn receive(&mut self, bytes: &[u8], turn: &mut DecodeTurn);

    /// Whether something that was read waits for the next turn.
    fn is_behind(&self) -> bool;

    /// Reads what is there, as far as the turn lasts; then it is the turn of the runtime and of all other tasks. Done at
    /// the end of the socket, or when the peer has answered our goodbye.
    ///
    /// # Errors
    /// The socket's.
    fn poll_read(&mut self, context: &mut Context<'_>) -> io::Result<Progress> {
        let send_queue = self.send_queue().clone();
        let Some(socket) = send_queue.stream() else { return Ok(Progress::Done) };
        let mut turn = DecodeTurn::default();
        if self.is_behind() {
            self.receive(&[], &mut turn);
        }
        let mut room = TURN_BYTES;
        for _ in 0..READS {
            if room == 0 || self.is_behind() {
                break;
            }
            match socket.poll_read_ready(context) {
                Poll::Pending => return Ok(Progress::More),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(())) => {}
            }
            match read(self, socket, room, &mut turn)? {
                Some(count) => room -= count,
                None => return Ok(Progress::Done),
            }
        }
        clock::yield_now(context);
        Ok(Progress::More)
    }
}

/// How many bytes came; none at the end.
fn read(
    session: &mut (impl Reads + ?Sized),
    socket: &TcpStream,
    room: usize,
    turn: &mut DecodeTurn,
) -> io::Result<Option<usize>> {
    SCRATCH.with_borrow_mut(|scratch| match socket.try_read(&mut scratch[..room]) {
        Ok(0) => Ok(None),
        Ok(count) if session.send_queue().closing().is_none() => {
            session.receive(&scratch[..count], turn);
            Ok(Some(count))
        }
        // Whatever a peer still says after the goodbye no longer matters, but for its own.
        Ok(count) => Ok((!begins_with_close(&scratch[..count])).then_some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(0)),
        Err(error) => Err(error),
    })
}

/// Whether a read begins with a close frame: the usual answer to ours. If it is hidden behind something else, the
/// end of the socket or the time limit will do.
fn begins_with_close(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x88)
}
