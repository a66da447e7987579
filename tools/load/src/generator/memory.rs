//! A server's memory before a load, at its peak, and after it.

use super::process::{Memory, memory, peak, reset_peak};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// The memory that may remain: pages of the allocator, and the last messages of channels.
pub const ALLOWANCE: u64 = 4 << 20;
/// The time that a server has to release memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server's memory while it idles.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    server: u32,
    before: Memory,
}

/// A server's memory before and after a load.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    pub before: Memory,
    /// The peak of resident memory, in bytes.
    pub peak: u64,
    pub after: Memory,
    /// The time until the memory was released, or until the wait ended.
    pub settled: Duration,
}

impl Idle {
    /// The current memory. Resets the peak.
    pub fn of(server: u32) -> io::Result<Self> {
        reset_peak(server)?;
        Ok(Self { server, before: memory(server)? })
    }

    /// Resident memory, in bytes.
    pub fn rss(&self) -> u64 {
        self.before.rss
    }

    /// Waits until the server has released the memory of the load.
    pub fn wait_for_release(&self) -> io::Result<Around> {
        let begin = Instant::now();
        loop {
            let (after, settled) = (memory(self.server)?, begin.elapsed());
            let around = Around { before: self.before, peak: peak(self.server)?, after, settled };
            if around.is_released() || settled > PATIENCE {
                return Ok(around);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Around {
    /// Whether almost nothing of the load remains. Pages of the program's file, which become resident at their first
    /// use, do not count.
    pub fn is_released(&self) -> bool {
        self.after.anonymous <= self.before.anonymous + ALLOWANCE
    }

    /// The faults, as a text.
    pub fn fault(&self) -> Option<String> {
        let (before, after) = (self.before.anonymous >> 10, self.after.anonymous >> 10);
        (!self.is_released())
            .then(|| format!("memory was not released: {before} KiB before, {after} KiB after"))
    }
}
