//! The queue between the threads that log and the one thread that writes the log.
//!
//! A reader of standard error that stalls, a disk that hangs or a file that may not grow holds up the writing thread
//! and no other. At its bound the queue drops further lines and counts them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Most lines that wait to be written.
const MAX_LINES: usize = 16_384;
/// Most bytes of lines that wait to be written.
const MAX_BYTES: usize = 4 << 20;
/// An empty queue keeps room for so many lines.
const KEPT_LINES: usize = 256;
/// Dropped lines are reported at most this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How long the end of the process and a panic wait for a reader that stalls.
const STALLED: Duration = Duration::from_millis(250);
/// How long they wait where the writing thread gets no turn.
const BUSY: Duration = Duration::from_secs(2);
/// How often they look whether the reader stalls.
const LOOK: Duration = Duration::from_millis(10);
/// The target of the reports, for filters.
pub const TARGET: &str = "channelstream::log";

/// The process has one log and one queue for it.
pub static LOG_QUEUE: LogQueue = LogQueue::new(stderr_stalls);

/// Whether a write to standard error would wait.
fn stderr_stalls() -> bool {
    let stderr = io::stderr();
    let mut asked = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    !matches!(poll(&mut asked, PollTimeout::ZERO), Ok(1..))
}

/// Lines of the log that wait to be written.
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
    /// A thread writes the lines.
    is_open: bool,
    /// The writing thread has taken a line that is not written yet.
    is_writing: bool,
    /// The writing thread waits for a line.
    is_waiting: bool,
    /// The thread that writes. It logs reports of dropped lines only, which go before all that waits.
    writer: Option<ThreadId>,
    /// The thread that reports why the process ends. Its lines go first, too, and no others are taken.
    last: Option<ThreadId>,
    /// Lines dropped since the start, and how many of them were reported.
    dropped: u64,
    reported: u64,
}

/// What the writing thread does next.
enum Task {
    Write(Box<[u8]>),
    /// So many lines were dropped since the last report, so many since the start.
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

    /// Lines dropped since the start: they found no room, or could not be written.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Queues a line, or drops it where there is no room. Never waits for the writing thread.
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

    /// Takes lines of this thread only from now on, without a bound and before all that wait: it reports why the process
    /// ends.
    pub fn take_last_words(&self) {
        self.lock().last.get_or_insert(std::thread::current().id());
    }

    /// Waits until all lines are written: 250 ms at most for a reader that stalls, and somewhat longer for a machine that is
    /// busy.
    pub fn drain(&self) {
        let (begun, mut stalled) = (Instant::now(), Duration::ZERO);
        let mut state = self.lock();
        while state.is_open && (state.is_writing || !state.lines.is_empty()) {
            if stalled >= STALLED || begun.elapsed() >= BUSY {
                break;
            }
            let before = Instant::now();
            state = self.emptied.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            if (self.stalls)() {
                stalled += before.elapsed();
            }
        }
    }

    /// Writes lines for as long as the process runs. A line whose writing fails is dropped and counted. As soon as a line can
    /// be written again, the next one reports how many are missing.
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
                    may_report_at = Instant::now() + REPORT_EVERY;
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
            state.lines.shrink_to(KEPT_LINES);
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

/// Puts each record that the logger writes into [`LOG_QUEUE`].
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

    /// A queue whose lines go to the receiver; each line waits until the sender has sent a verdict on its writing.
    fn held() -> (&'static LogQueue, mpsc::Sender<bool>, mpsc::Receiver<String>) {
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
    fn a_queue_whose_lines_are_not_written_drops_and_counts() {
        let (queue, allow, lines) = held();
        queue.push(b"first");
        until_taken(queue);
        (0..MAX_LINES).for_each(|_| queue.push(b"x"));
        assert_eq!(queue.dropped(), 0);
        (0..3).for_each(|_| queue.push(b"too many"));
        assert_eq!(queue.dropped(), 3);
        let begun = Instant::now();
        queue.drain();
        assert!((STALLED..PATIENCE).contains(&begun.elapsed()), "drain gives up");
        drop(allow);
        assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "first");
        (0..MAX_LINES).for_each(|_| assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "x"));
        let state = queue.lock();
        assert_eq!((state.bytes, state.lines.len(), state.reported), (0, 0, 3));
    }

    /// A busy machine is no reason to lose the last lines.
    #[test]
    fn a_reader_that_does_not_stall_is_waited_for() {
        let queue: &LogQueue = Box::leak(Box::new(LogQueue::new(|| false)));
        queue.open();
        queue.push(b"last words");
        let (written, lines) = mpsc::channel();
        std::thread::spawn(move || {
            std::thread::sleep(STALLED + 5 * LOOK);
            queue.write_out(move |line| {
                written.send(line.to_vec()).unwrap();
                Ok(())
            })
        });
        queue.drain();
        assert_eq!(lines.try_recv().unwrap(), b"last words");
    }

    #[test]
    fn bytes_have_a_bound_too() {
        let (queue, _allow, _lines) = held();
        queue.push(b"first");
        until_taken(queue);
        let large = vec![b'x'; MAX_BYTES / 4];
        (0..5).for_each(|_| queue.push(&large));
        assert_eq!((queue.dropped(), queue.lock().bytes), (1, MAX_BYTES));
    }

    #[test]
    fn last_words_go_before_all_that_waits() {
        let (queue, allow, lines) = held();
        queue.push(b"first");
        until_taken(queue);
        (0..MAX_LINES).for_each(|_| queue.push(b"x"));
        queue.take_last_words();
        queue.push(b"last words");
        std::thread::spawn(|| queue.push(b"another thread's")).join().unwrap();
        assert_eq!(queue.dropped(), 1);
        drop(allow);
        assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "first");
        assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "last words");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_not_reported_meanwhile() {
        let (queue, allow, lines) = held();
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
    fn without_a_writing_thread_nothing_waits() {
        let queue = LogQueue::new(|| false);
        queue.push(b"x");
        queue.drain();
    }
}
