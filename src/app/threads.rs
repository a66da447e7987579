//! Whether the system has enough threads for this server, found out while it still can be said.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::Builder;

/// Starts so many threads at once and ends them again: those that start actors cannot say why they do not.
///
/// # Errors
/// The system refuses one of them.
pub fn try_out(count: usize) -> io::Result<()> {
    let gate = Arc::new(Mutex::new(()));
    // Whoever finds it locked stays, so that all are there at the same time.
    let closed = gate.lock();
    let start_one = |_| {
        let gate = gate.clone();
        Builder::new().spawn(move || drop(gate.lock()))
    };
    let started: io::Result<Vec<_>> = (0..count).map(start_one).collect();
    drop(closed);
    match started {
        Ok(threads) => {
            threads.into_iter().for_each(|thread| drop(thread.join()));
            Ok(())
        }
        Err(error) => {
            let text = format!(
                "cannot start {count} threads (setting workers, limits on tasks and memory): {error}"
            );
            Err(io::Error::new(error.kind(), text))
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_few_threads_are_to_be_had() {
        assert!(super::try_out(5).is_ok());
    }
}
