//! Sending to many sockets with one system call. The only module with `unsafe`; each use states its invariants.
//!
//! Each hub has its own ring. Only the hub's thread uses it, and only synchronously: [`Ring::send`] returns after the
//! kernel has completed everything. The kernel therefore holds no buffer and no descriptor beyond a call, and ordinary
//! borrows express all lifetimes. Sends never wait (`MSG_DONTWAIT`): a full socket is a result (`EAGAIN`, or fewer
//! bytes), as with send(2).
//!
//! The gain is measured in `docs/reports/benchmarks.md`.
#![allow(
    unsafe_code,
    reason = "the ring's queue takes raw pointers; audited here, see the comments at each use"
)]

use super::Sending;
use io_uring::{IoUring, opcode, types};
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// The most sends per call: a slice of the hub's fan-out.
const ENTRIES: u32 = 128;
const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
/// How long to wait for the completions of started sends after the ring has failed.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(1);

/// See the module's description.
pub struct Ring {
    ring: IoUring,
}

impl Ring {
    /// Creates and tests a ring for the current thread: a system call filter may allow creating a ring but not using
    /// it.
    ///
    /// # Errors
    /// The kernel has no io_uring, is older than 6.1, or forbids its use.
    pub fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .dontfork()
            .build(ENTRIES)?;
        let mut ring = Self { ring };
        ring.test_request()?;
        Ok(ring)
    }

    fn test_request(&mut self) -> io::Result<()> {
        let entry = opcode::Nop::new().build();
        // SAFETY: the entry refers to no memory and to no descriptor.
        unsafe { self.ring.submission().push(&entry) }.map_err(io::Error::other)?;
        while let Err(error) = self.ring.submit_and_wait(1) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        match self.ring.completion().next().map(|completion| completion.result()) {
            Some(0) => Ok(()),
            Some(error) => Err(io::Error::from_raw_os_error(-error)),
            None => Err(io::Error::other("the ring does not complete a request")),
        }
    }

    /// Sends without waiting, and appends to `taken` the number of bytes that the kernel accepted of each entry, in
    /// order.
    ///
    /// # Errors
    /// The ring has failed. Entries missing from `taken` were not started and never will be: the caller sends them in
    /// another way, and drops the ring.
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
                return Err(io::Error::other("the submission queue is full"));
            }
        }
        Ok(())
    }

    /// Queues sends. None is in flight before, and only [`Ring::finish`] starts them. Returns the number of queued
    /// sends: all, because a chunk is never longer than the empty queue.
    fn push(&mut self, chunk: &[Sending<'_>]) -> usize {
        let mut queue = self.ring.submission();
        for (index, sending) in chunk.iter().enumerate() {
            // A longer send is truncated, and the rest waits, as after any short send.
            let length = u32::try_from(sending.bytes.len()).unwrap_or(u32::MAX);
            let socket = types::Fd(sending.socket.as_raw_fd());
            let entry = opcode::Send::new(socket, sending.bytes.as_ptr(), length)
                .flags(FLAGS)
                .build()
                .user_data(index as u64);
            // SAFETY: the caller borrows the bytes and the socket for as long as `send` runs, and `send` does not
            // return before `finish` has received the completion of every entry that the kernel has accepted; the
            // kernel only reads the bytes. The kernel reads an entry that it has not accepted only at a later
            // submission. Such entries can only exist after an error, and then the caller submits nothing more: it
            // drops the ring.
            if unsafe { queue.push(&entry) }.is_err() {
                return index;
            }
        }
        chunk.len()
    }

    /// Starts the queued sends and receives the completions of all that the kernel has accepted. It does not return
    /// earlier, because the kernel holds pointers of this process. Returns the number of accepted sends, from the
    /// front, and the error if the kernel did not accept the rest.
    fn finish(&mut self, taken: &mut [io::Result<usize>]) -> (usize, Option<io::Error>) {
        let mut open = taken.len();
        while open > 0 {
            let submitted = self.ring.submit_and_wait(open);
            open -= self.receive_completions(taken);
            match submitted {
                Ok(_) => {}
                // A signal, a shortage of memory in the kernel, or a full completion queue: all are temporary.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => {}
                Err(error) => {
                    let left = self.ring.submission().len();
                    self.await_completions(open.saturating_sub(left), taken);
                    return (taken.len() - left, Some(error));
                }
            }
        }
        (taken.len(), None)
    }

    /// Receives the available completions. Returns their number.
    fn receive_completions(&mut self, taken: &mut [io::Result<usize>]) -> usize {
        let mut count = 0;
        for completion in self.ring.completion() {
            count += 1;
            if let Some(entry) = taken.get_mut(completion.user_data() as usize) {
                let result = completion.result();
                *entry = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
            }
        }
        count
    }

    /// Waits for this many completions without a system call. A send that does not wait completes during its
    /// submission, so nearly always they are available; but returning while the kernel may still read the bytes would
    /// be unsound.
    fn await_completions(&mut self, mut open: usize, taken: &mut [io::Result<usize>]) {
        let begun = Instant::now();
        while open > 0 {
            open -= self.receive_completions(taken).min(open);
            if open > 0 && begun.elapsed() > COMPLETION_TIMEOUT {
                log::error!("io_uring failed with {open} sends in flight that cannot be cancelled");
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
    use super::super::FrameSender;
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    /// Makes the kernel refuse a system call to the current thread from now on. False if it supports no filters.
    fn refuse(call: libc::c_long) -> bool {
        let line = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
        let mut lines = [
            // Loads the number of the call. Returns EPERM for this call, and allows all others.
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

    /// Runs a test on a new thread, because a filter applies to a thread until it ends.
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

    /// Sends to all sockets, and checks that each receives the bytes once.
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
            assert!(client.read(&mut read).is_err(), "nothing is sent twice");
            client.set_nonblocking(false).unwrap();
        }
    }

    #[test]
    fn a_ring_that_cannot_be_used_is_an_error() {
        on_a_thread(|| {
            if !refuse(libc::SYS_io_uring_enter) {
                return;
            }
            assert!(Ring::new().is_err());
            send_to_all(&mut FrameSender::with_ring(), &mut pairs(5), b"one by one");
        });
    }

    #[test]
    fn when_the_ring_fails_later_nothing_is_lost_or_sent_twice() {
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
