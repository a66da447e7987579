//! A large crowd, with heartbeats and pings at their defaults, receives broadcasts. Then the server's memory is
//! measured.

use super::{CHANNEL, FORGETFUL, channelstream};
use crate::compare::faults;
use crate::generator::crowd::Crowd;
use crate::generator::drive::{Plan, closed_loop};
use crate::generator::ledger::Ledger;
use crate::generator::memory::Idle;
use crate::generator::meter::Meter;
use crate::generator::publisher::Publisher;
use crate::report::{Memories, SPREAD, Spread, Table, cells, mib, verdict};
use clap::Args;
use std::io;
use std::time::{Duration, Instant};

#[derive(Args)]
pub struct Options {
    /// Connections
    #[arg(long, default_value_t = 10_000)]
    subscribers: usize,
    /// Broadcasts
    #[arg(long, default_value_t = 100)]
    messages: u32,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// Runs
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// The results of the runs. Memory is resident, in MiB.
#[derive(Default)]
struct Found {
    started: Spread,
    memory: Memories,
    gone: Spread,
    connecting: Spread,
    cpu: Spread,
    faults: Vec<String>,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!(
        "{} broadcasts to {} connections, settings at their defaults except the lifetime of records: median (min-max) of {} runs",
        options.messages, options.subscribers, options.runs
    );
    let table = Table::new(&[
        ("s to connect", SPREAD),
        ("µs per delivery", SPREAD),
        ("MiB started", SPREAD),
        ("with all", 21),
        ("at the peak", 21),
        ("after", 21),
        ("all gone", 21),
        ("runs", 5),
    ]);
    let mut found = Found::default();
    for _ in 0..options.runs {
        found.measure(options)?;
    }
    let Found { started, memory, gone, connecting, cpu, faults } = &found;
    let Memories { before, peak, after, .. } = memory;
    table.row(cells![connecting, cpu, started, before, peak, after, gone, verdict(faults)]);
    Ok(faults.is_empty())
}

impl Found {
    fn measure(&mut self, options: &Options) -> io::Result<()> {
        let server = channelstream(FORGETFUL)?;
        let pid = server.pid();
        let mut crowd = Crowd::new()?;
        crowd.subscribe(server.address, CHANNEL, 1)?;
        let started = Idle::of(pid)?;
        self.started.add(mib(started.rss()));
        let begin = Instant::now();
        crowd.subscribe(server.address, CHANNEL, options.subscribers - 1)?;
        self.connecting.add(begin.elapsed().as_secs_f64());
        let mut publisher = Publisher::rest(server.address, CHANNEL, options.bytes)?;
        crowd.add_publisher(0, &mut publisher)?;
        let idle = Idle::of(pid)?;

        let mut ledger = Ledger::new(options.subscribers);
        let meter = Meter::start(pid)?;
        closed_loop(&mut crowd, &mut publisher, &mut ledger, options.messages, Plan::Window(1))?;
        self.cpu.add(meter.stop()?.server_ns as f64 / 1000.0 / ledger.deliveries as f64);
        // Repeated deliveries would arrive late.
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            let publishers = std::slice::from_mut(&mut publisher);
            crowd.turn(Duration::from_millis(100), publishers, |subscriber, number| {
                ledger.note(subscriber, number);
            })?;
        }
        self.faults.extend(self.memory.add(&idle.wait_for_release()?));
        self.faults.extend(faults(&ledger, options.messages, &crowd, publisher.refused));
        drop((crowd, publisher));
        let around = started.wait_for_release()?;
        self.gone.add(mib(around.after.rss));
        self.faults.extend(around.fault());
        Ok(())
    }
}
