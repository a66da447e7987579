//! How long a small signed request takes while a large fan-out never pauses.

use super::{CHANNEL, QUIET, channelstream};
use crate::compare::faults;
use crate::generator::backend::{Backend, request};
use crate::generator::crowd::Crowd;
use crate::generator::drive::{Plan, closed_loop};
use crate::generator::failure;
use crate::generator::ledger::Ledger;
use crate::generator::memory::Idle;
use crate::generator::publisher::Publisher;
use crate::report::{MEMORY, Memories, Quantiles, SPREAD, Spread, Table, cells, verdict};
use clap::Args;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The channel in the requests, with one subscriber.
const SMALL: &str = "small";

#[derive(Args)]
pub struct Options {
    /// Subscribers of the fan-out
    #[arg(long, default_value_t = 10_000)]
    subscribers: usize,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// Messages of the fan-out in flight
    #[arg(long, default_value_t = 1)]
    window: u32,
    /// Pause between two requests, in ms
    #[arg(long, default_value_t = 5)]
    pause_ms: u64,
    /// Seconds of each run, without the fan-out and beside it
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Runs
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// The results of the runs without the fan-out, or of those beside it.
#[derive(Default)]
struct Line {
    latency: Quantiles,
    requests: Spread,
    per_second: Spread,
}

/// The results of all runs.
#[derive(Default)]
struct Found {
    alone: Line,
    beside: Line,
    memory: Memories,
    faults: Vec<String>,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!(
        "latency in ms of POST /info of a channel with one subscriber: median (min-max) of {} runs",
        options.runs
    );
    let own = [
        ("fan-out to", 0),
        ("deliveries/s", 0),
        ("requests", 0),
        ("p50", SPREAD),
        ("p90", SPREAD),
        ("p99", SPREAD),
        ("max", SPREAD),
    ];
    let table = Table::new(&[&own[..], &MEMORY, &[("runs", 5)]].concat());
    let mut found = Found::default();
    for _ in 0..options.runs {
        found.measure(options)?;
    }
    for (line, subscribers) in [(&found.alone, 0), (&found.beside, options.subscribers)] {
        let Quantiles { p50, p90, p99, max } = &line.latency;
        let own = cells![
            subscribers,
            format!("{:.0}", line.per_second.median()),
            format!("{:.0}", line.requests.median()),
            p50,
            p90,
            p99,
            max,
        ];
        table.row([own, found.memory.cells(), cells![verdict(&found.faults)]].concat());
    }
    Ok(found.faults.is_empty())
}

impl Found {
    fn measure(&mut self, options: &Options) -> io::Result<()> {
        let server = channelstream(QUIET)?;
        let mut crowd = Crowd::new()?;
        crowd.subscribe(server.address, CHANNEL, options.subscribers)?;
        let body = format!(
            r#"{{"username":"one","conn_id":"c0ffee00-0000-4000-9000-000000000000","channels":["{SMALL}"]}}"#
        );
        Backend::new(server.address)?.call(&[request("POST", "/connect", &body)])?;
        let mut publisher = Publisher::rest(server.address, CHANNEL, options.bytes)?;
        crowd.add_publisher(0, &mut publisher)?;
        crowd.read_until_quiet(
            Duration::from_millis(300),
            std::slice::from_mut(&mut publisher),
            |_, _| {},
        )?;

        let (span, pause) = (Duration::from_secs(options.seconds), Duration::from_millis(options.pause_ms));
        let stop = AtomicBool::new(false);
        self.alone.add(measure_latencies(server.address, pause, span, &stop)?, 0.0);

        let idle = Idle::of(server.pid())?;
        let mut ledger = Ledger::new(options.subscribers);
        let begin = Instant::now();
        let latencies = thread::scope(|scope| {
            let measuring = scope.spawn(|| measure_latencies(server.address, pause, span, &stop));
            let mut fan_out = Ok(());
            while fan_out.is_ok() && !measuring.is_finished() {
                let upto = ledger.completed() + options.window;
                fan_out =
                    closed_loop(&mut crowd, &mut publisher, &mut ledger, upto, Plan::Window(options.window));
            }
            stop.store(true, Ordering::Relaxed);
            let latencies = measuring.join().map_err(|_| failure("the measuring thread ended early"))?;
            fan_out.and(latencies)
        })?;
        self.beside.add(latencies, ledger.deliveries as f64 / begin.elapsed().as_secs_f64());
        let total = ledger.completed();
        let quiet = Duration::from_millis(50);
        crowd.read_until_quiet(quiet, std::slice::from_mut(&mut publisher), |subscriber, number| {
            ledger.note(subscriber, number);
        })?;
        self.faults.extend(self.memory.add(&idle.wait_for_release()?));
        self.faults.extend(faults(&ledger, total, &crowd, publisher.refused));
        Ok(())
    }
}

impl Line {
    fn add(&mut self, mut latencies: Vec<u32>, per_second: f64) {
        self.requests.add(latencies.len() as f64);
        self.latency.add(&mut latencies);
        self.per_second.add(per_second);
    }
}

/// Repeats the request for this long. Returns the latency of each answer, in µs.
fn measure_latencies(
    server: SocketAddr,
    pause: Duration,
    span: Duration,
    stop: &AtomicBool,
) -> io::Result<Vec<u32>> {
    let mut backend = Backend::new(server)?;
    let mut latencies = Vec::new();
    let end = Instant::now() + span;
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        let info = request("POST", "/info", &format!(r#"{{"info":{{"channels":["{SMALL}"]}}}}"#));
        let begin = Instant::now();
        backend.call(&[info])?;
        latencies.push(begin.elapsed().as_micros() as u32);
        thread::sleep(pause);
    }
    Ok(latencies)
}
