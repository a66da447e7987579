//! Counts a server's system calls exactly, by ptrace(2): the server stops at each of them. This needs no privileges,
//! because the server is a child of this process. It slows the server down: times are meaningless meanwhile.

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
    /// Sends to sockets: one for each call, or many by one call through an io_uring.
    pub sends: u64,
}

/// A server that is being traced, until it ends.
pub struct Trace {
    calls: Arc<Mutex<Calls>>,
}

impl Trace {
    /// Attaches to all threads of the server.
    pub fn start(server: u32) -> io::Result<Self> {
        let calls = Arc::new(Mutex::new(Calls::default()));
        let (ready, is_ready) = mpsc::channel();
        let counted = calls.clone();
        // The thread that attaches must also wait, so it is a separate one.
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

    /// The calls so far.
    pub fn calls(&self) -> Calls {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Calls {
    /// Records a call from its description in `/proc/PID/syscall`: number and arguments.
    pub fn note(&mut self, text: &str) {
        let mut words = text.split_whitespace();
        let number = words.next().and_then(|word| word.parse().ok()).unwrap_or(-1);
        *self.counts.entry(number).or_default() += 1;
        self.sends += match number {
            libc::SYS_sendto | libc::SYS_sendmsg => 1,
            // Its second argument is the number of submissions.
            libc::SYS_io_uring_enter => words.nth(1).and_then(hexadecimal).unwrap_or(0),
            _ => 0,
        };
    }

    /// The number of all calls.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The calls since an earlier count.
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |number| earlier.counts.get(number).copied().unwrap_or(0);
        let counts = self.counts.iter().map(|(number, count)| (*number, count - before(number)));
        Self { counts: counts.filter(|(_, count)| *count > 0).collect(), sends: self.sends - earlier.sends }
    }

    /// The most frequent calls first: name (or number) and count.
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

/// Attaches to all threads. The kernel attaches to a new thread together with its creator.
fn attach_all(server: u32) -> io::Result<()> {
    for task in fs::read_dir(format!("/proc/{server}/task"))? {
        let id = task?.file_name().to_string_lossy().parse().map_err(io::Error::other)?;
        let thread = Pid::from_raw(id);
        ptrace::seize(thread, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE)?;
        ptrace::interrupt(thread)?;
    }
    Ok(())
}

/// Resumes the server from each system call to the next until it ends.
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
        // A thread that was killed meanwhile cannot be resumed.
        let _ = ptrace::syscall(thread, signal);
    }
}

/// Whether a thread has stopped before its system call, not after it.
fn is_entry(thread: Pid) -> bool {
    ptrace::syscall_info(thread).is_ok_and(|info| info.op == libc::PTRACE_SYSCALL_INFO_ENTRY)
}
