//! The cost of a section of a run: time, CPU of both sides, and writes to sockets.

use super::failure;
use super::process::{cpu_ns, sleeps};
use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// A section of a run that has begun.
pub struct Meter {
    server: u32,
    begin: Instant,
    server_ns: u64,
    generator_ns: u64,
    segments: u64,
    sleeps: u64,
}

/// The cost of a section.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub elapsed: Duration,
    /// CPU of the server, and of this process.
    pub server_ns: u64,
    pub generator_ns: u64,
    /// Segments of TCP with data that were sent in this network namespace. On loopback, without Nagle's delay, a write
    /// of less than 64 KiB is one. Requests and answers count as well, and so does the traffic of other programs.
    pub segments: u64,
    /// How often the server's threads went to sleep.
    pub sleeps: u64,
}

impl Meter {
    /// Starts a section for the server with this process id.
    pub fn start(server: u32) -> io::Result<Self> {
        let (segments, sleeps) = (segments_sent()?, sleeps(server)?);
        let generator_ns = cpu_ns(std::process::id())?;
        Ok(Self { server, begin: Instant::now(), server_ns: cpu_ns(server)?, generator_ns, segments, sleeps })
    }

    /// Ends the section.
    pub fn stop(self) -> io::Result<Cost> {
        // The CPU time of threads that ended meanwhile is no longer listed.
        let server_ns = cpu_ns(self.server)?.saturating_sub(self.server_ns);
        let elapsed = self.begin.elapsed();
        let generator_ns = cpu_ns(std::process::id())?.saturating_sub(self.generator_ns);
        let sleeps = sleeps(self.server)?.saturating_sub(self.sleeps);
        let segments = segments_sent()?.saturating_sub(self.segments);
        Ok(Cost { elapsed, server_ns, generator_ns, segments, sleeps })
    }
}

impl Cost {
    /// How much of the time the server occupied a core, in %.
    pub fn server_busy(&self) -> f64 {
        self.server_ns as f64 / self.elapsed.as_nanos() as f64 * 100.0
    }

    /// The same of this process.
    pub fn generator_busy(&self) -> f64 {
        self.generator_ns as f64 / self.elapsed.as_nanos() as f64 * 100.0
    }
}

fn segments_sent() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/net/netstat")?;
    counter(&text, "TcpExt:", "TCPOrigDataSent")
        .ok_or_else(|| failure("no TCPOrigDataSent in /proc/net/netstat"))
}

/// A counter of a file that has a line of names above each line of values.
pub fn counter(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let place = names.split_whitespace().position(|word| word == name)?;
    values.split_whitespace().nth(place)?.parse().ok()
}
