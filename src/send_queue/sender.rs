//! Sending to many sockets in one turn.

#[cfg(target_os = "linux")]
use super::ring::Ring;
use socket2::SockRef;
use std::io;
use std::os::fd::BorrowedFd;

/// Below this a ring's round trip costs as much as the calls that it saves.
#[cfg(target_os = "linux")]
const WORTH_A_RING: usize = 2;

/// Bytes on their way to a socket.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    /// The socket. It does not block.
    pub socket: BorrowedFd<'a>,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Sends to many sockets: by one call through an io_uring where the kernel has one for us, else by one call for each.
#[derive(Debug, Default)]
pub struct FrameSender {
    #[cfg(target_os = "linux")]
    ring: Option<Ring>,
}

impl FrameSender {
    /// A sender with a ring if there can be one. To be made on the thread that uses it.
    pub fn with_ring() -> Self {
        #[cfg(target_os = "linux")]
        match Ring::new() {
            Ok(ring) => return Self { ring: Some(ring) },
            // Older than 6.1, or forbidden by the administrator or a container's filter.
            Err(error) => log::info!("no io_uring here, sending to each socket by itself: {error}"),
        }
        Self::default()
    }

    /// Sends without waiting, and says how many bytes of each the kernel took, in the order given.
    pub fn send(&mut self, batch: &[Sending<'_>]) -> Vec<io::Result<usize>> {
        let mut taken = Vec::with_capacity(batch.len());
        #[cfg(target_os = "linux")]
        if let Some(ring) = &mut self.ring
            && batch.len() >= WORTH_A_RING
            && let Err(error) = ring.send(batch, &mut taken)
        {
            log::warn!("io_uring no longer works, sending to each socket by itself from here on: {error}");
            self.ring = None;
        }
        let rest = batch.iter().skip(taken.len());
        taken.extend(rest.map(|sending| SockRef::from(&sending.socket).send(sending.bytes)));
        taken
    }
}
