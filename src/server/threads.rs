//! The threads that actors run on, their names, and whether the system has enough of them: found out while it still can
//! be said.

use crate::telemetry::process;
use actix_rt::{Arbiter, ArbiterHandle};
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use tokio::sync::oneshot;

/// Memory of one thread, in bytes: its stack (2 MiB, Rust's default) and what is allocated while it starts.
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

/// Does work that may block, such as asking a name server or reading a disk that hangs, on a thread that is not joined.
/// The caller may stop waiting at any time.
///
/// # Errors
/// The system refuses the thread.
pub async fn apart<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, result) = oneshot::channel();
    Builder::new().name(name.into()).spawn(move || drop(sender.send(work())))?;
    result.await.map_err(io::Error::other)
}

/// What runs the tasks of the current thread.
///
/// # Errors
/// The system refuses its files.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// The name by which the system lists this thread (`top -H`, `perf`, `/proc/PID/task`). actix gives its threads names of
/// its own, of which the system keeps 15 bytes that are all the same.
#[cfg(target_os = "linux")]
fn set_own_name(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = nix::sys::prctl::set_name(&name);
    }
}

#[cfg(not(target_os = "linux"))]
fn set_own_name(_: &str) {}

/// The name of the current thread.
pub fn own_name() -> String {
    #[cfg(target_os = "linux")]
    if let Ok(name) = nix::sys::prctl::get_name() {
        return name.to_string_lossy().into_owned();
    }
    std::thread::current().name().unwrap_or("without a name").to_owned()
}

/// Starts so many threads at once and ends them again: those that start actors cannot say why they do not.
///
/// # Errors
/// The system refuses one of them, or the limit of address space has no room for them.
pub fn try_out(count: usize) -> io::Result<()> {
    has_room(count).and_then(|()| start_all(count)).map_err(|error| {
        let text =
            format!("cannot start {count} threads (setting workers, limits on tasks and memory): {error}");
        io::Error::new(error.kind(), text)
    })
}

/// Whether the limits of memory have room for so many threads. Looked at before the first one is started: a thread that
/// finds no memory while it starts ends the process.
///
/// # Errors
/// Names the limit.
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
    let gate = Arc::new(Mutex::new(()));
    // Whoever finds it locked stays, so that all are there at the same time.
    let closed = gate.lock();
    let mut started: Vec<JoinHandle<()>> = Vec::with_capacity(count);
    let result = (0..count).try_for_each(|_| {
        let gate = gate.clone();
        started.push(Builder::new().spawn(move || drop(gate.lock()))?);
        Ok(())
    });
    drop(closed);
    // All have ended before anything is said: saying it takes memory, too.
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
    fn a_few_threads_are_to_be_had() {
        assert!(super::try_out(5).is_ok());
    }
}
