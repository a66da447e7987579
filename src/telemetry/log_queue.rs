//! The queue between the threads that log and the one thread that writes the log.
//!
//! If a reader of standard error stalls, a disk hangs or a file cannot grow, only the writing thread waits. A full
//! queue drops further lines and counts them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Maximum number of queued lines.
const MAX_LINES: usize = 16_384;
/// Maximum size of the queued lines, in bytes.
const MAX_BYTES: usize = 4 << 20;
/// Number of lines for which an empty queue keeps its memory.
const RESERVED_LINES: usize = 256;
/// Minimum interval between reports of dropped lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How long shutdown and a panic wait for a reader that stalls.
const STALL_TIMEOUT: Duration = Duration::from_millis(250);
/// How long they wait if the machine is busy and the writing thread does not run.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How often they check whether the reader stalls.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The log target of the reports, for filters.
pub const TARGET: &str = "channelstream::log";

/// The queue of the process's log.
pub static LOG_QUEUE: LogQueue = LogQueue::new(stderr_stalls);

/// Whether a write to standard error would wait.
fn stderr_stalls() -> bool {
    let stderr = io::stderr();
    let mut asked = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    !matches!(poll(&mut asked, PollTimeout::ZERO), Ok(1..))
}

/// Log lines that wait to be written.
#[derive(Debug)]
pub struct LogQueue {
    state: Mutex<LogQueueState>,
    /// Notified when there is a line to write.
    filled: Condvar,
    /// Notified when the last line was written.
    emptied: Condvar,
    /// Whether a write would wait.
    stalls: fn() -> bool,
}

#[derive(Debug)]
struct LogQueueState {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// Whether a thread writes the lines.
    is_open: bool,
    /// Whether the writing thread has taken a line that is not written yet.
    is_writing: bool,
    /// Whether the writing thread waits for a line.
    is_waiting: bool,
    /// The thread that writes. It logs only reports of dropped lines, which precede all queued lines.
    writer: Option<ThreadId>,
    /// The thread that reports why the process ends. Its lines also precede the queued ones, and lines of other threads
    /// are dropped.
    last: Option<ThreadId>,
    /// Lines dropped since the start, and the number of them that were reported.
    dropped: u64,
    reported: u64,
}

/// The next task of the writing thread.
enum Task {
    Write(Box<[u8]>),
    /// The number of lines dropped since the last report, and since the start.
    Report(u64, u64),
}

impl LogQueue {
    const fn new(stalls: fn() -> bool) -> Self {
        let state = LogQueueState {
            lines: VecDeque::new(),
            bytes: 0,
            is_open: false,
            is_writing: false,
            is_waiting: false,
            writer: None,
            last: None,
            dropped: 0,
            reported: 0,
        };
        Self { state: Mutex::new(state), filled: Condvar::new(), emptied: Condvar::new(), stalls }
    }

    /// Declares that a thread calls [`LogQueue::write_out`].
    pub fn open(&self) {
        self.lock().is_open = true;
    }

    /// Whether a thread writes the lines.
    pub fn is_open(&self) -> bool {
        self.lock().is_open
    }

    /// Lines dropped since the start, because the queue was full or writing failed.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Queues a line, or drops it if the queue is full. It never waits for the writing thread.
    pub fn push(&self, line: &[u8]) {
        let own = Some(std::thread::current().id());
        let mut state = self.lock();
        let fits = state.lines.len() < MAX_LINES && state.bytes + line.len() <= MAX_BYTES;
        if own == state.writer || own == state.last {
            state.lines.push_front(line.into());
        } else if fits && state.last.is_none() {
            state.lines.push_back(line.into());
        } else {
            state.dropped += 1;
            return;
        }
        state.bytes += line.len();
        if std::mem::take(&mut state.is_waiting) {
            self.filled.notify_one();
        }
    }

    /// From now on accepts only lines of this thread, without a limit and before all queued lines: it reports why the
    /// process ends.
    pub fn accept_only_this_thread(&self) {
        self.lock().last.get_or_insert(std::thread::current().id());
    }

    /// Waits until all lines are written: at most 250 ms for a reader that stalls, and somewhat longer on a busy
    /// machine.
    pub fn drain(&self) {
        let (begun, mut stalled) = (Instant::now(), Duration::ZERO);
        let mut state = self.lock();
        while state.is_open && (state.is_writing || !state.lines.is_empty()) {
            if stalled >= STALL_TIMEOUT || begun.elapsed() >= BUSY_TIMEOUT {
                break;
            }
            let before = Instant::now();
            state = self.emptied.wait_timeout(state, POLL_INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
            if (self.stalls)() {
                stalled += before.elapsed();
            }
        }
    }

    /// Writes lines until the process ends. A line that cannot be written is dropped and counted. After the next
    /// successful write, a report states how many lines are missing.
    pub fn write_out(&self, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> ! {
        self.lock().writer = Some(std::thread::current().id());
        let (mut can_write, mut may_report_at) = (true, Instant::now());
        loop {
            match self.next(can_write.then_some(may_report_at)) {
                Task::Write(line) => {
                    can_write = write(&line).is_ok();
                    self.has_written(can_write);
                }
                Task::Report(count, sum) => {
                    may_report_at = Instant::now() + REPORT_INTERVAL;
                    log::warn!(target: TARGET, "{count} lines of the log were dropped, {sum} since the start");
                }
            }
        }
    }

    fn next(&self, may_report_at: Option<Instant>) -> Task {
        let mut state = self.lock();
        loop {
            let unreported = may_report_at.filter(|_| state.dropped > state.reported);
            let wait = unreported.map(|at| at.saturating_duration_since(Instant::now()));
            if wait.is_some_and(|wait| wait.is_zero()) {
                let count = state.dropped - state.reported;
                state.reported = state.dropped;
                return Task::Report(count, state.dropped);
            }
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.len();
                state.is_writing = true;
                return Task::Write(line);
            }
            state.lines.shrink_to(RESERVED_LINES);
            state.is_waiting = true;
            state = match wait {
                Some(wait) => self.filled.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.is_waiting = false;
        }
    }

    fn has_written(&self, completely: bool) {
        let mut state = self.lock();
        state.is_writing = false;
        state.dropped += u64::from(!completely);
        if state.lines.is_empty() {
            self.emptied.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, LogQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds each record that the logger writes to [`LOG_QUEUE`].
#[derive(Debug)]
pub struct ToLogQueue;

impl io::Write for ToLogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG_QUEUE.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A queue whose lines go to the receiver. Each line waits until the sender has sent the result of its write.
    fn blocking_queue() -> (&'static LogQueue, mpsc::Sender<bool>, mpsc::Receiver<String>) {
        let queue: &LogQueue = Box::leak(Box::new(LogQueue::new(|| true)));
        let ((allow, allowed), (written, lines)) = (mpsc::channel::<bool>(), mpsc::channel());
        queue.open();
        std::thread::spawn(move || {
            queue.write_out(move |line| {
                let verdict = allowed.recv().unwrap_or(true);
                let _ = written.send(String::from_utf8_lossy(line).into_owned());
                if verdict { Ok(()) } else { Err(io::ErrorKind::FileTooLarge.into()) }
            })
        });
        (queue, allow, lines)
    }

    /// Waits until the writing thread has taken a line.
    fn until_taken(queue: &LogQueue) {
        while !queue.lock().is_writing {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts_lines() {
        let (queue, allow, lines) = blocking_queue();
        queue.push(b"first");
        until_taken(queue);
        (0..MAX_LINES).for_each(|_| queue.push(b"x"));
        assert_eq!(queue.dropped(), 0);
        (0..3).for_each(|_| queue.push(b"too many"));
        assert_eq!(queue.dropped(), 3);
        let begun = Instant::now();
        queue.drain();
        assert!((STALL_TIMEOUT..PATIENCE).contains(&begun.elapsed()), "drain gives up");
        drop(allow);
        assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "first");
        (0..MAX_LINES).for_each(|_| assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "x"));
        let state = queue.lock();
        assert_eq!((state.bytes, state.lines.len(), state.reported), (0, 0, 3));
    }

    /// The last lines must not be lost on a busy machine.
    #[test]
    fn drain_waits_for_a_reader_that_does_not_stall() {
        let queue: &LogQueue = Box::leak(Box::new(LogQueue::new(|| false)));
        queue.open();
        queue.push(b"last line");
        let (written, lines) = mpsc::channel();
        std::thread::spawn(move || {
            std::thread::sleep(STALL_TIMEOUT + 5 * POLL_INTERVAL);
            queue.write_out(move |line| {
                written.send(line.to_vec()).unwrap();
                Ok(())
            })
        });
        queue.drain();
        assert_eq!(lines.try_recv().unwrap(), b"last line");
    }

    #[test]
    fn the_queue_limits_bytes() {
        let (queue, _allow, _lines) = blocking_queue();
        queue.push(b"first");
        until_taken(queue);
        let large = vec![b'x'; MAX_BYTES / 4];
        (0..5).for_each(|_| queue.push(&large));
        assert_eq!((queue.dropped(), queue.lock().bytes), (1, MAX_BYTES));
    }

    #[test]
    fn the_last_lines_precede_all_queued_lines() {
        let (queue, allow, lines) = blocking_queue();
        queue.push(b"first");
        until_taken(queue);
        (0..MAX_LINES).for_each(|_| queue.push(b"x"));
        queue.accept_only_this_thread();
        queue.push(b"last line");
        std::thread::spawn(|| queue.push(b"another thread's")).join().unwrap();
        assert_eq!(queue.dropped(), 1);
        drop(allow);
        assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "first");
        assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "last line");
    }

    #[test]
    fn unwritable_lines_are_counted_and_reported_later() {
        let (queue, allow, lines) = blocking_queue();
        for _ in 0..3 {
            queue.push(b"x");
            allow.send(false).unwrap();
            lines.recv_timeout(PATIENCE).unwrap();
        }
        while queue.dropped() < 3 {
            std::thread::yield_now();
        }
        assert_eq!(queue.lock().reported, 0);
        queue.push(b"y");
        allow.send(true).unwrap();
        lines.recv_timeout(PATIENCE).unwrap();
        let begun = Instant::now();
        while queue.lock().reported < 3 {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
    }

    #[test]
    fn drain_returns_immediately_without_a_writing_thread() {
        let queue = LogQueue::new(|| false);
        queue.push(b"x");
        queue.drain();
    }
}
