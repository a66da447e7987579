//! Whether the system has enough threads for this server, found out while it still can be said.

use crate::observe::process;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

/// Address space of one thread, in bytes: its stack (2 MiB, Rust's default) and what is allocated while it starts.
const ADDRESS_SPACE: u64 = 3 << 20;

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

/// Looked at before the first one is started: a thread that finds no memory while it starts ends the process.
fn has_room(count: usize) -> io::Result<()> {
    let (limit, _) = rlimit::Resource::AS.get()?;
    let left = limit.saturating_sub(process::address_space());
    if limit == rlimit::INFINITY || left / ADDRESS_SPACE >= count as u64 {
        return Ok(());
    }
    let text = format!("{} MiB of address space are left, each takes {}", left >> 20, ADDRESS_SPACE >> 20);
    Err(io::Error::new(io::ErrorKind::OutOfMemory, text))
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
    fn a_few_threads_are_to_be_had() {
        assert!(super::try_out(5).is_ok());
    }
}
