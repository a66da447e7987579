//! Sending to many sockets in one turn.

#[cfg(target_os = "linux")]
use super::ring::Ring;
use socket2::SockRef;
use std::io;
use std::os::fd::BorrowedFd;

/// Below this, a call of the ring costs as much as the calls that it saves.
#[cfg(target_os = "linux")]
const MIN_RING_BATCH: usize = 2;

/// Bytes to send to a socket.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    /// The socket, in non-blocking mode.
    pub socket: BorrowedFd<'a>,
    pub bytes: &'a [u8],
}

/// Sends to many sockets: with one call through io_uring if it is available, otherwise with one call per socket.
#[derive(Debug, Default)]
pub struct FrameSender {
    #[cfg(target_os = "linux")]
    ring: Option<Ring>,
}

impl FrameSender {
    /// Creates a sender, with a ring if io_uring is available. Must be called on the thread that uses the sender.
    pub fn with_ring() -> Self {
        #[cfg(target_os = "linux")]
        match Ring::new() {
            Ok(ring) => return Self { ring: Some(ring) },
            // The kernel is older than 6.1, or the administrator or a container's filter forbids io_uring.
            Err(error) => log::info!("io_uring is not available, sending to each socket separately: {error}"),
        }
        Self::default()
    }

    /// Sends without waiting, and returns the number of bytes that the kernel accepted of each entry, in order.
    pub fn send(&mut self, batch: &[Sending<'_>]) -> Vec<io::Result<usize>> {
        let mut taken = Vec::with_capacity(batch.len());
        #[cfg(target_os = "linux")]
        if let Some(ring) = &mut self.ring
            && batch.len() >= MIN_RING_BATCH
            && let Err(error) = ring.send(batch, &mut taken)
        {
            log::warn!("io_uring no longer works, sending to each socket separately from now on: {error}");
            self.ring = None;
        }
        let rest = batch.iter().skip(taken.len());
        taken.extend(rest.map(|sending| SockRef::from(&sending.socket).send(sending.bytes)));
        taken
    }
}
