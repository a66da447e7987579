//! Writing what waits to a socket.

use super::Outbox;
use std::io::{self, IoSlice};
use tokio::net::TcpStream;

/// Frames given to the kernel in one call at most.
const SLICES: usize = 64;

impl Outbox {
    /// Writes until nothing waits (true) or the socket takes no more (false).
    pub(super) fn try_flush(&self, socket: &TcpStream) -> io::Result<bool> {
        let mut queue = self.queue.borrow_mut();
        while !queue.is_empty() {
            let taken = {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let used = queue.fill(&mut slices);
                socket.try_write_vectored(&slices[..used])
            };
            match taken {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => queue.advance(taken),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
