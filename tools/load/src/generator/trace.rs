//! Counts a server's system calls, exactly, by ptrace(2): the server stops at each of them. That needs no privileges,
//! for the server is our child. It slows the server down: times mean nothing meanwhile.

use super::failure;
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// System calls by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    counts: BTreeMap<i64, u64>,
    /// What was sent to sockets: by a call for each, or many by one call through an io_uring.
    pub sends: u64,
}

/// A server that is being traced, until it ends.
pub struct Trace {
    calls: Arc<Mutex<Calls>>,
}

impl Trace {
    /// Begins.
    pub fn start(server: u32) -> io::Result<Self> {
        let calls = Arc::new(Mutex::new(Calls::default()));
        let (ready, is_ready) = mpsc::channel();
        let counted = calls.clone();
        // Whoever attaches must be the one who waits: a thread of its own.
        thread::spawn(move || {
            let attached = attach_all(server);
            let on = attached.is_ok();
            let _ = ready.send(attached);
            if on {
                follow(&counted);
            }
        });
        is_ready.recv().map_err(|_| failure("the tracing thread ended early"))??;
        Ok(Self { calls })
    }

    /// What was called so far.
    pub fn calls(&self) -> Calls {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Calls {
    /// Notes a call, as `/proc/PID/syscall` describes it: number and arguments.
    pub fn note(&mut self, text: &str) {
        let mut words = text.split_whitespace();
        let number = words.next().and_then(|word| word.parse().ok()).unwrap_or(-1);
        *self.counts.entry(number).or_default() += 1;
        self.sends += match number {
            libc::SYS_sendto | libc::SYS_sendmsg => 1,
            // Its second argument is how many submissions it makes.
            libc::SYS_io_uring_enter => words.nth(1).and_then(hexadecimal).unwrap_or(0),
            _ => 0,
        };
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// What was called since.
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |number| earlier.counts.get(number).copied().unwrap_or(0);
        let counts = self.counts.iter().map(|(number, count)| (*number, count - before(number)));
        Self { counts: counts.filter(|(_, count)| *count > 0).collect(), sends: self.sends - earlier.sends }
    }

    /// The most frequent first: name, or number, and how often.
    pub fn by_frequency(&self) -> Vec<(String, u64)> {
        let mut list: Vec<_> = self.counts.iter().map(|(number, count)| (name(*number), *count)).collect();
        list.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        list
    }
}

fn hexadecimal(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

fn name(number: i64) -> String {
    let known = match number {
        libc::SYS_sendto => "sendto",
        libc::SYS_sendmsg => "sendmsg",
        libc::SYS_recvfrom => "recvfrom",
        libc::SYS_read => "read",
        libc::SYS_write => "write",
        libc::SYS_writev => "writev",
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => "epoll_wait",
        libc::SYS_epoll_pwait => "epoll_pwait",
        libc::SYS_io_uring_enter => "io_uring_enter",
        libc::SYS_futex => "futex",
        libc::SYS_openat => "openat",
        libc::SYS_close => "close",
        libc::SYS_statx => "statx",
        libc::SYS_getrusage => "getrusage",
        libc::SYS_madvise => "madvise",
        libc::SYS_clock_nanosleep => "clock_nanosleep",
        libc::SYS_restart_syscall => "restart_syscall",
        other => return format!("number {other}"),
    };
    known.to_owned()
}

/// Attaches to all threads. One that begins meanwhile is attached to with the one that began it.
fn attach_all(server: u32) -> io::Result<()> {
    for task in fs::read_dir(format!("/proc/{server}/task"))? {
        let id = task?.file_name().to_string_lossy().parse().map_err(io::Error::other)?;
        let thread = Pid::from_raw(id);
        ptrace::seize(thread, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE)?;
        ptrace::interrupt(thread)?;
    }
    Ok(())
}

/// Lets the server go from one system call to the next until it ends.
fn follow(calls: &Mutex<Calls>) {
    let ours = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    loop {
        let (thread, signal) = match waitpid(None, Some(ours)) {
            Ok(WaitStatus::PtraceSyscall(thread)) => {
                if is_entry(thread) {
                    let text = fs::read_to_string(format!("/proc/{thread}/syscall")).unwrap_or_default();
                    calls.lock().unwrap_or_else(PoisonError::into_inner).note(&text);
                }
                (thread, None)
            }
            Ok(WaitStatus::PtraceEvent(thread, ..)) => (thread, None),
            Ok(WaitStatus::Stopped(thread, signal)) => (thread, Some(signal)),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(_) => return,
        };
        // A thread that was killed meanwhile is none to go on with.
        let _ = ptrace::syscall(thread, signal);
    }
}

/// Whether a thread stands before its system call; else it stands behind it.
fn is_entry(thread: Pid) -> bool {
    ptrace::syscall_info(thread).is_ok_and(|info| info.op == libc::PTRACE_SYSCALL_INFO_ENTRY)
}
