//! Sending to many sockets by one system call. The only module with `unsafe`; what it must hold is written at each use.
//!
//! A ring of its own for each hub, used by the hub's thread only, and only synchronously: [`Ring::send`] returns when
//! the kernel has answered everything. So no buffer and no descriptor is lent to the kernel beyond a call, and
//! borrows say all there is to say about lifetimes. Sends never wait (`MSG_DONTWAIT`): a full socket is an answer
//! (`EAGAIN`, or fewer bytes), as with send(2).
//!
//! What it gains is in `docs/benchmarks.md`.
#![allow(
    unsafe_code,
    reason = "the ring's queue takes raw pointers; audited here, see the comments at each use"
)]

use super::sender::Sending;
use io_uring::{IoUring, opcode, types};
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;

/// Sends of one call at most: a hub's slice.
const ENTRIES: u32 = 128;
const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// See the module's description.
pub struct Ring {
    ring: IoUring,
}

impl Ring {
    /// A ring for the current thread.
    ///
    /// # Errors
    /// The kernel has no io_uring, an older one than 6.1, or does not let us use it.
    pub fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .dontfork()
            .build(ENTRIES)?;
        Ok(Self { ring })
    }

    /// Sends without waiting, and says how many bytes of each the kernel took, in the order given.
    pub fn send(&mut self, batch: &[Sending<'_>]) -> Vec<io::Result<usize>> {
        let mut taken = Vec::with_capacity(batch.len());
        for chunk in batch.chunks(ENTRIES as usize) {
            self.push(chunk);
            let first = taken.len();
            taken.resize_with(first + chunk.len(), || Ok(0));
            self.finish(&mut taken[first..]);
        }
        taken
    }

    /// Queues sends; nothing is under way before, and nobody but [`Ring::finish`] starts them.
    fn push(&mut self, chunk: &[Sending<'_>]) {
        let mut queue = self.ring.submission();
        for (index, sending) in chunk.iter().enumerate() {
            // A longer one is cut, and the rest waits, as after any short send.
            let length = u32::try_from(sending.bytes.len()).unwrap_or(u32::MAX);
            let socket = types::Fd(sending.socket.as_raw_fd());
            let entry = opcode::Send::new(socket, sending.bytes.as_ptr(), length)
                .flags(FLAGS)
                .build()
                .user_data(index as u64);
            // SAFETY: the bytes and the socket are borrowed by our caller for as long as `send` runs, and `send` does not
            // return before `finish` has seen the kernel's answer to every entry; the kernel only reads the bytes.
            let pushed = unsafe { queue.push(&entry) };
            // An entry that was not taken would be one whose answer never comes.
            assert!(pushed.is_ok(), "a chunk is never longer than the empty queue");
        }
    }

    /// Starts what is queued and takes every answer. Does not return before, for the kernel has our pointers.
    fn finish(&mut self, taken: &mut [io::Result<usize>]) {
        let mut open = taken.len();
        while open > 0 {
            if let Err(error) = self.ring.submit_and_wait(open)
                // A signal came; the kernel is short of memory; answers have to be taken first: all pass.
                && !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
            {
                log::error!("io_uring failed with sends under way: {error}");
                std::process::abort();
            }
            for answer in self.ring.completion() {
                open -= 1;
                if let Some(place) = taken.get_mut(answer.user_data() as usize) {
                    let result = answer.result();
                    *place = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
                }
            }
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ring")
    }
}
