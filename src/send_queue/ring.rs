//! Sending to many sockets by one system call. The only module with `unsafe`; what it must hold is written at each use.
//!
//! A ring of its own for each hub, used by the hub's thread only, and only synchronously: [`Ring::send`] returns when
//! the kernel has answered everything. So no buffer and no descriptor is lent to the kernel beyond a call, and
//! borrows say all there is to say about lifetimes. Sends never wait (`MSG_DONTWAIT`): a full socket is an answer
//! (`EAGAIN`, or fewer bytes), as with send(2).
//!
//! What it gains is in `docs/reports/benchmarks.md`.
#![allow(
    unsafe_code,
    reason = "the ring's queue takes raw pointers; audited here, see the comments at each use"
)]

use super::sender::Sending;
use io_uring::{IoUring, opcode, types};
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Sends of one call at most: a hub's slice.
const ENTRIES: u32 = 128;
const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
/// How long the answer to a send that the kernel has begun is waited for when the ring no longer works.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// See the module's description.
pub struct Ring {
    ring: IoUring,
}

impl Ring {
    /// A ring for the current thread, which has been tried: a filter of system calls may allow to make one and not to
    /// use it.
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
        let mut ring = Self { ring };
        ring.try_out()?;
        Ok(ring)
    }

    fn try_out(&mut self) -> io::Result<()> {
        let entry = opcode::Nop::new().build();
        // SAFETY: the entry refers to no memory and to no descriptor.
        unsafe { self.ring.submission().push(&entry) }.map_err(io::Error::other)?;
        while let Err(error) = self.ring.submit_and_wait(1) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        match self.ring.completion().next().map(|answer| answer.result()) {
            Some(0) => Ok(()),
            Some(error) => Err(io::Error::from_raw_os_error(-error)),
            None => Err(io::Error::other("the ring does not answer")),
        }
    }

    /// Sends without waiting, and appends to `taken` how many bytes of each the kernel took, in the order given.
    ///
    /// # Errors
    /// The ring no longer works. What is missing in `taken` then has not been begun and never will be: the caller sends
    /// it in another way, and drops the ring.
    pub fn send(&mut self, batch: &[Sending<'_>], taken: &mut Vec<io::Result<usize>>) -> io::Result<()> {
        for chunk in batch.chunks(ENTRIES as usize) {
            let first = taken.len();
            let queued = self.push(chunk);
            taken.resize_with(first + queued, || Ok(0));
            let (begun, error) = self.finish(&mut taken[first..]);
            taken.truncate(first + begun);
            if let Some(error) = error {
                return Err(error);
            }
            if queued < chunk.len() {
                return Err(io::Error::other("the queue of the ring is full"));
            }
        }
        Ok(())
    }

    /// Queues sends; nothing is under way before, and only [`Ring::finish`] starts them. Returns how many are
    /// queued: all, for a chunk is never longer than the empty queue.
    fn push(&mut self, chunk: &[Sending<'_>]) -> usize {
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
            // return before `finish` has seen the kernel's answer to every entry that the kernel has taken; the kernel
            // only reads the bytes. An entry that the kernel has not taken is only looked at by a later submission, and
            // after an error, when there can be such entries, the caller makes none: it drops the ring.
            if unsafe { queue.push(&entry) }.is_err() {
                return index;
            }
        }
        chunk.len()
    }

    /// Starts what is queued and takes the answer to all that the kernel has taken; does not return before, for the
    /// kernel has our pointers. Returns how many it has taken, from the front, and why it did not take the rest.
    fn finish(&mut self, taken: &mut [io::Result<usize>]) -> (usize, Option<io::Error>) {
        let mut open = taken.len();
        while open > 0 {
            let submitted = self.ring.submit_and_wait(open);
            open -= self.take_answers(taken);
            match submitted {
                Ok(_) => {}
                // A signal came; the kernel is short of memory; answers have to be taken first: all pass.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => {}
                Err(error) => {
                    let left = self.ring.submission().len();
                    self.await_answers(open.saturating_sub(left), taken);
                    return (taken.len() - left, Some(error));
                }
            }
        }
        (taken.len(), None)
    }

    /// How many answers there were.
    fn take_answers(&mut self, taken: &mut [io::Result<usize>]) -> usize {
        let mut count = 0;
        for answer in self.ring.completion() {
            count += 1;
            if let Some(place) = taken.get_mut(answer.user_data() as usize) {
                let result = answer.result();
                *place = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
            }
        }
        count
    }

    /// Waits for so many answers without a system call. A send that does not wait is answered while it is submitted, so
    /// they are here nearly always; but to return while the kernel may still read our bytes would be unsound.
    fn await_answers(&mut self, mut open: usize, taken: &mut [io::Result<usize>]) {
        let begun = Instant::now();
        while open > 0 {
            open -= self.take_answers(taken).min(open);
            if open > 0 && begun.elapsed() > LAST_ANSWERS {
                log::error!("io_uring failed, and {open} sends are under way that cannot be taken back");
                std::process::abort();
            }
            std::thread::yield_now();
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ring")
    }
}

#[cfg(test)]
mod tests {
    use super::super::sender::FrameSender;
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    /// Has the kernel refuse a system call to the current thread from here on. False: it takes no filters.
    fn refuse(call: libc::c_long) -> bool {
        let line = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
        let mut lines = [
            // The number of the call; is it this one? Then EPERM, else go on.
            line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            line(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32),
            line(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
            line(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog { len: lines.len() as u16, filter: lines.as_mut_ptr() };
        // SAFETY: the calls read their arguments only; the program and its lines live until they return.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
        }
    }

    /// On a thread of its own: a filter stays with its thread.
    fn on_a_thread(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(test).join().unwrap();
    }

    fn pairs(count: usize) -> Vec<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pair = |_| {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (listener.accept().unwrap().0, client)
        };
        (0..count).map(pair).collect()
    }

    /// Sends to all, and each gets it once.
    fn send_to_all(sender: &mut FrameSender, pairs: &mut [(TcpStream, TcpStream)], bytes: &[u8]) {
        let batch: Vec<Sending<'_>> =
            pairs.iter().map(|(server, _)| Sending { socket: server.as_fd(), bytes }).collect();
        let taken = sender.send(&batch);
        assert_eq!(taken.len(), batch.len());
        assert!(
            taken.iter().all(|taken| taken.as_ref().is_ok_and(|taken| *taken == bytes.len())),
            "{taken:?}"
        );
        for (_, client) in pairs {
            let mut read = vec![0; bytes.len()];
            client.read_exact(&mut read).unwrap();
            assert_eq!(read, bytes);
            client.set_nonblocking(true).unwrap();
            assert!(client.read(&mut read).is_err(), "nothing comes twice");
            client.set_nonblocking(false).unwrap();
        }
    }

    #[test]
    fn a_ring_that_may_be_made_and_not_used_is_none() {
        on_a_thread(|| {
            if !refuse(libc::SYS_io_uring_enter) {
                return;
            }
            assert!(Ring::new().is_err());
            send_to_all(&mut FrameSender::with_ring(), &mut pairs(5), b"one by one");
        });
    }

    #[test]
    fn when_the_ring_fails_later_nothing_is_lost_and_nothing_comes_twice() {
        on_a_thread(|| {
            let (mut sender, mut pairs) = (FrameSender::with_ring(), pairs(300));
            send_to_all(&mut sender, &mut pairs, b"before");
            if refuse(libc::SYS_io_uring_enter) {
                send_to_all(&mut sender, &mut pairs, b"when it fails");
                send_to_all(&mut sender, &mut pairs, b"after that");
            }
        });
    }
}
