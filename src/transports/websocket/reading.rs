//! Reads a session's socket when data is available.

use super::context::Progress;
use crate::clock;
use crate::protocol::websocket::decoder::DecodeTurn;
use crate::send_queue::SendQueue;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// Maximum number of bytes that a socket's task reads in one turn. [`DecodeTurn`] limits the processing time
/// separately.
const TURN_BYTES: usize = 16 << 10;
/// Maximum number of system calls in one turn: bytes may arrive one by one as fast as they are read.
const MAX_READS: usize = 4;

thread_local! {
    /// The read buffer, one for each thread, so that idle sessions hold none.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; TURN_BYTES]);
}

pub trait SocketReader {
    fn send_queue(&self) -> &Rc<SendQueue>;

    /// Processes the received bytes, or continues with the rest of an earlier turn, within the limits of this turn.
    fn receive(&mut self, bytes: &[u8], turn: &mut DecodeTurn);

    /// Whether received data waits for the next turn.
    fn is_behind(&self) -> bool;

    /// Reads available data within the limits of one turn, then yields to the runtime and all other tasks. Returns
    /// `Done` at the end of the socket, or when the peer has answered the server's close frame.
    ///
    /// # Errors
    /// The socket's errors.
    fn poll_read(&mut self, context: &mut Context<'_>) -> io::Result<Progress> {
        let send_queue = self.send_queue().clone();
        let Some(socket) = send_queue.stream() else { return Ok(Progress::Done) };
        let mut turn = DecodeTurn::default();
        if self.is_behind() {
            self.receive(&[], &mut turn);
        }
        let mut room = TURN_BYTES;
        for _ in 0..MAX_READS {
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

/// The number of bytes read; `None` at the end.
fn read(
    session: &mut (impl SocketReader + ?Sized),
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
        // After the close frame, only the peer's close frame is relevant.
        Ok(count) => Ok((!begins_with_close(&scratch[..count])).then_some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(0)),
        Err(error) => Err(error),
    })
}

/// Whether a read begins with a close frame, the usual answer to the server's. If other data precedes it, the end of
/// the socket or the timeout ends the session.
fn begins_with_close(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x88)
}
