//! Memory of idle connections, and the CPU that keeps them alive.

use super::{CHANNEL, FORGETFUL, QUIET, channelstream};
use crate::generator::crowd::Crowd;
use crate::generator::handshake::Transport;
use crate::generator::memory::Idle;
use crate::generator::process::{cpu_ns, memory};
use crate::report::{SPREAD, Spread, Table, cells, mib, verdict};
use clap::Args;
use std::io;
use std::time::{Duration, Instant};

/// A heartbeat arrives after its interval, or up to two ticks of the hub's clock later.
const TICKS_MS: u64 = 200;

#[derive(Args)]
pub struct Options {
    /// Connections
    #[arg(long, default_value_t = 10_000)]
    subscribers: usize,
    /// Heartbeat intervals, in ms, whose CPU is measured; 0 is none
    #[arg(long, value_delimiter = ',', default_value = "0,25000,5000")]
    heartbeats: Vec<u64>,
    /// Measure websockets that ask for positions, and event streams, as well
    #[arg(long)]
    sse: bool,
    /// Seconds of idling; at least one interval of the heartbeats
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// The results of the runs with one interval.
#[derive(Default)]
struct Line {
    base: Spread,
    all: Spread,
    gone: Spread,
    resident: Spread,
    anonymous: Spread,
    connect_us: Spread,
    cpu: Spread,
    faults: Vec<String>,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!("{} idle connections: median (min-max) of {} runs", options.subscribers, options.runs);
    let table = Table::new(&[
        ("heartbeat ms", 0),
        ("transport", 12),
        ("MiB with one", SPREAD),
        ("MiB with all", 21),
        ("MiB all gone", 21),
        ("bytes each, resident", 20),
        ("bytes each, anonymous", 20),
        ("µs of connecting", SPREAD),
        ("% of a core, idle", SPREAD),
        ("runs", 5),
    ]);
    let mut clean = true;
    for &heartbeat in &options.heartbeats {
        let mut lines: Vec<_> =
            transports(options.sse).map(|transport| (transport, Line::default())).collect();
        for _ in 0..options.runs {
            for (transport, line) in &mut lines {
                line.measure(options, heartbeat, *transport)?;
            }
        }
        for (transport, line) in &lines {
            table.row([cells![heartbeat, transport.name()], line.cells()].concat());
            clean &= line.faults.is_empty();
        }
    }
    Ok(clean)
}

/// The transports that are compared within a run.
fn transports(sse: bool) -> impl Iterator<Item = Transport> {
    let more = [Transport::Positions, Transport::Events].into_iter().filter(move |_| sse);
    std::iter::once(Transport::Websocket).chain(more)
}

impl Line {
    fn cells(&self) -> Vec<String> {
        cells![
            self.base,
            self.all,
            self.gone,
            format!("{:.0}", self.resident),
            format!("{:.0}", self.anonymous),
            format!("{:.1}", self.connect_us),
            self.cpu,
            verdict(&self.faults),
        ]
    }

    fn measure(&mut self, options: &Options, heartbeat_ms: u64, transport: Transport) -> io::Result<()> {
        let heartbeat = format!("heartbeat_interval_ms={heartbeat_ms}");
        let server = channelstream(&[QUIET, FORGETFUL, &[heartbeat.as_str()]].concat())?;
        let mut crowd = Crowd::new()?;
        crowd.use_transport(transport);
        // The first connection allocates what all connections share.
        crowd.subscribe(server.address, CHANNEL, 1)?;
        crowd.idle(Duration::from_millis(500))?;
        let idle = Idle::of(server.pid())?;
        let (before, cpu_before) = (memory(server.pid())?, cpu_ns(server.pid())?);
        crowd.subscribe(server.address, CHANNEL, options.subscribers - 1)?;
        crowd.idle(Duration::from_secs(1))?;
        let count = (options.subscribers - 1) as f64;
        self.connect_us.add((cpu_ns(server.pid())? - cpu_before) as f64 / 1000.0 / count);
        let after = memory(server.pid())?;
        self.base.add(mib(before.rss));
        self.all.add(mib(after.rss));
        self.resident.add((after.rss as f64 - before.rss as f64) / count);
        self.anonymous.add((after.anonymous as f64 - before.anonymous as f64) / count);

        let span = Duration::from_secs(options.seconds).max(Duration::from_millis(heartbeat_ms));
        let (begin, cpu_begin) = (Instant::now(), cpu_ns(server.pid())?);
        crowd.idle(span)?;
        self.cpu.add((cpu_ns(server.pid())? - cpu_begin) as f64 / begin.elapsed().as_nanos() as f64 * 100.0);
        // The last connections existed for at least this long.
        let there = (span + Duration::from_secs(1)).as_millis() as u64;
        let due = if heartbeat_ms == 0 { 0 } else { there / (heartbeat_ms + TICKS_MS) * crowd.size() as u64 };
        // Clients that ask for positions receive them even where heartbeats are turned off.
        let none_is_due = heartbeat_ms == 0 && !transport.is_positioned();
        if crowd.seen.heartbeats < due || (none_is_due && crowd.seen.heartbeats > 0) {
            self.faults.push(format!("{} heartbeats, at least {due} were due", crowd.seen.heartbeats));
        }
        self.faults.extend(crowd.faults());
        drop(crowd);
        let around = idle.wait_for_release()?;
        self.gone.add(mib(around.after.rss));
        self.faults.extend(around.fault());
        Ok(())
    }
}
