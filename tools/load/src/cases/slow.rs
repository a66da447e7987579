//! Clients that never read among others that do: they delay no other client, the server closes them, and it releases
//! their memory.

use super::{CHANNEL, QUIET, channelstream};
use crate::compare::faults;
use crate::generator::backend::Backend;
use crate::generator::crowd::Crowd;
use crate::generator::drive::paced;
use crate::generator::ledger::Ledger;
use crate::generator::memory::Idle;
use crate::generator::publisher::Publisher;
use crate::generator::sleepers::Sleepers;
use crate::report::{Memories, Quantiles, SPREAD, Table, cells, verdict};
use clap::Args;
use std::io;
use std::time::Duration;

#[derive(Args)]
pub struct Options {
    /// Clients that read
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Clients that do not read
    #[arg(long, default_value_t = 100)]
    slow: usize,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 16 << 10)]
    bytes: usize,
    /// Broadcasts; together more than the kernels keep for a socket
    #[arg(long, default_value_t = 400)]
    messages: u32,
    /// Broadcasts per second
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// The server's `max_queued_bytes`
    #[arg(long, default_value_t = 1 << 20)]
    bound: usize,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// The results of the runs with this many slow clients.
#[derive(Default)]
struct Line {
    latency: Quantiles,
    memory: Memories,
    faults: Vec<String>,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!(
        "{} readers, {} broadcasts of {} bytes, {} per second; latency in ms of a delivery from the moment its publish \
         was due: median (min-max) of {} runs",
        options.subscribers, options.messages, options.bytes, options.rate, options.runs
    );
    let table = Table::new(&[
        ("that never read", 0),
        ("p50", SPREAD),
        ("p90", SPREAD),
        ("p99", SPREAD),
        ("max", SPREAD),
        ("MiB before", SPREAD),
        ("at the peak", SPREAD),
        ("after", SPREAD),
        ("settled s", 0),
        ("runs", 5),
    ]);
    let mut lines = [Line::default(), Line::default()];
    for _ in 0..options.runs {
        for (line, slow) in lines.iter_mut().zip([0, options.slow]) {
            line.measure(options, slow)?;
        }
    }
    for (line, slow) in lines.iter().zip([0, options.slow]) {
        let Quantiles { p50, p90, p99, max } = &line.latency;
        let Memories { before, peak, after, settled } = &line.memory;
        let settled = format!("{:.1}", settled.median());
        table.row(cells![slow, p50, p90, p99, max, before, peak, after, settled, verdict(&line.faults)]);
    }
    Ok(lines.iter().all(|line| line.faults.is_empty()))
}

impl Line {
    fn measure(&mut self, options: &Options, slow: usize) -> io::Result<()> {
        let bound = format!("max_queued_bytes={}", options.bound);
        let server = channelstream(&[QUIET, &[bound.as_str()]].concat())?;
        let pid = server.pid();
        let mut crowd = Crowd::new()?;
        crowd.subscribe(server.address, CHANNEL, options.subscribers)?;
        let mut publisher = Publisher::rest(server.address, CHANNEL, options.bytes)?;
        crowd.add_publisher(0, &mut publisher)?;
        let mut sleepers = Sleepers::subscribe(server.address, CHANNEL, options.subscribers, slow)?;
        let quiet = Duration::from_millis(300);
        crowd.read_until_quiet(quiet, std::slice::from_mut(&mut publisher), |_, _| {})?;
        let idle = Idle::of(pid)?;
        let mut ledger = Ledger::new(options.subscribers);
        let interval = Duration::from_secs(1) / options.rate.max(1);
        let mut latencies = paced(&mut crowd, &mut publisher, &mut ledger, options.messages, interval)?;
        self.latency.add(&mut latencies);
        let quiet = Duration::from_secs(1);
        crowd.read_until_quiet(quiet, std::slice::from_mut(&mut publisher), |subscriber, number| {
            ledger.note(subscriber, number);
        })?;
        let counted = Backend::new(server.address)?.counter("sessions closed, too slow")?;
        let num_closed = sleepers.num_closed()?;
        if counted != slow as u64 || num_closed != slow {
            self.faults.push(format!("{num_closed} of {slow} slow ones closed, {counted} counted"));
        }
        self.faults.extend(self.memory.add(&idle.wait_for_release()?));
        self.faults.extend(faults(&ledger, options.messages, &crowd, publisher.refused));
        Ok(())
    }
}
