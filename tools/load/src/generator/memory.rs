//! A server's memory before a load, at its peak, and after it.

use super::process::{Memory, forget_peak, memory, peak};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// What may stay behind: pages that malloc keeps, and what channels keep of the last messages.
pub const ALLOWANCE: u64 = 4 << 20;
/// The time a server has to give memory back.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server's memory while it idles.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    server: u32,
    before: Memory,
}

/// The same before and after a load.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    pub before: Memory,
    /// The most that was resident at a time, in bytes.
    pub peak: u64,
    pub after: Memory,
    /// How long it took until it was back, or given up on.
    pub settled: Duration,
}

impl Idle {
    /// As it is now; the peak begins anew.
    pub fn of(server: u32) -> io::Result<Self> {
        forget_peak(server)?;
        Ok(Self { server, before: memory(server)? })
    }

    /// What is resident, in bytes.
    pub fn rss(&self) -> u64 {
        self.before.rss
    }

    /// Waits until the server has given back what the load took.
    pub fn back(&self) -> io::Result<Around> {
        let begin = Instant::now();
        loop {
            let (after, settled) = (memory(self.server)?, begin.elapsed());
            let around = Around { before: self.before, peak: peak(self.server)?, after, settled };
            if around.is_back() || settled > PATIENCE {
                return Ok(around);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Around {
    /// Whether what is left of the load is next to nothing. Pages of the program's file, which come with their first
    /// use, are none of it.
    pub fn is_back(&self) -> bool {
        self.after.anonymous <= self.before.anonymous + ALLOWANCE
    }

    /// What is wrong, in words.
    pub fn fault(&self) -> Option<String> {
        let (before, after) = (self.before.anonymous >> 10, self.after.anonymous >> 10);
        (!self.is_back()).then(|| format!("memory did not come back: {before} KiB before, {after} KiB after"))
    }
}
