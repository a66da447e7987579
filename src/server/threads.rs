//! The threads that actors run on and their names. A check at the start, while an error can still be reported, ensures
//! that the system has enough threads.

use crate::telemetry::process;
use actix_rt::{Arbiter, ArbiterHandle};
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use tokio::sync::oneshot;

/// Memory of one thread, in bytes: its stack (2 MiB, Rust's default) and the allocations while it starts.
const ADDRESS_SPACE: u64 = 3 << 20;

/// Starts a thread for actors.
///
/// # Errors
/// The system refuses the thread or its files.
pub fn start(name: String) -> io::Result<ArbiterHandle> {
    let arbiter = Arbiter::try_with_tokio_rt(move || {
        set_own_name(&name);
        runtime()
    })?;
    Ok(arbiter.handle())
}

/// Runs work that may block, such as a DNS query or reading from a disk that hangs, on a separate thread that is not
/// joined. The caller may stop waiting at any time.
///
/// # Errors
/// The system refuses the thread.
pub async fn run_blocking<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, result) = oneshot::channel();
    Builder::new().name(name.into()).spawn(move || drop(sender.send(work())))?;
    result.await.map_err(io::Error::other)
}

/// The runtime for the tasks of the current thread.
///
/// # Errors
/// The system refuses its files.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Sets the name that the system shows for this thread (`top -H`, `perf`, `/proc/PID/task`). The names that actix sets
/// are equal in the 15 bytes that the system keeps.
#[cfg(target_os = "linux")]
fn set_own_name(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = nix::sys::prctl::set_name(&name);
    }
}

#[cfg(not(target_os = "linux"))]
fn set_own_name(_: &str) {}

pub fn own_name() -> String {
    #[cfg(target_os = "linux")]
    if let Ok(name) = nix::sys::prctl::get_name() {
        return name.to_string_lossy().into_owned();
    }
    std::thread::current().name().unwrap_or("unnamed").to_owned()
}

/// Starts this many threads at the same time and ends them again: a thread for actors that fails to start cannot report
/// the reason.
///
/// # Errors
/// The system refuses one of them, or a memory limit has no room for them.
pub fn check_available(count: usize) -> io::Result<()> {
    has_room(count).and_then(|()| start_all(count)).map_err(|error| {
        let text =
            format!("cannot start {count} threads (setting workers, limits on tasks and memory): {error}");
        io::Error::new(error.kind(), text)
    })
}

/// Checks that the memory limits have room for this many threads. This runs before the first one is started: a thread
/// that finds no memory while it starts ends the process.
///
/// # Errors
/// A limit has no room; the error names it.
pub fn has_room(count: usize) -> io::Result<()> {
    let (address_space, data) = process::memory_maps();
    let limits = [
        (rlimit::Resource::AS, address_space, "address space (ulimit -v)"),
        (rlimit::Resource::DATA, data, "data segment (ulimit -d)"),
    ];
    for (resource, in_use, name) in limits {
        let (limit, _) = resource.get()?;
        let left = limit.saturating_sub(in_use);
        if limit != rlimit::INFINITY && left / ADDRESS_SPACE < count as u64 {
            let (left, each) = (left >> 20, ADDRESS_SPACE >> 20);
            let text = format!("{left} MiB of {name} are left, each takes {each}");
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, text));
        }
    }
    Ok(())
}

fn start_all(count: usize) -> io::Result<()> {
    let barrier = Arc::new(Mutex::new(()));
    // Each thread waits for this lock, so that all of them exist at the same time.
    let locked = barrier.lock();
    let mut started: Vec<JoinHandle<()>> = Vec::with_capacity(count);
    let result = (0..count).try_for_each(|_| {
        let barrier = barrier.clone();
        started.push(Builder::new().spawn(move || drop(barrier.lock()))?);
        Ok(())
    });
    drop(locked);
    // All threads end before the result is reported, which needs memory as well.
    started.into_iter().for_each(|thread| drop(thread.join()));
    result
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_has_the_name_that_it_was_given() {
        actix_rt::System::new().block_on(async {
            let thread = super::start("cs-worker-1000".into()).unwrap();
            let (named, name) = std::sync::mpsc::channel();
            thread.spawn_fn(move || named.send(super::own_name()).unwrap());
            assert_eq!(name.recv().unwrap(), "cs-worker-1000");
            thread.stop();
        });
    }

    #[test]
    fn a_few_threads_are_available() {
        assert!(super::check_available(5).is_ok());
    }
}
