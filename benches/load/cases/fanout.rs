//! CPU for each delivery of broadcasts to one channel, beside the baseline that writes the same bytes.

use super::{CHANNEL, QUIET, baseline, with_workers};
use crate::generator::crowd::Crowd;
use crate::generator::drive::{Plan, closed_loop};
use crate::generator::ledger::Ledger;
use crate::generator::process::cpu_ns;
use crate::generator::publisher::Publisher;
use crate::generator::server::Server;
use crate::report::Spread;
use clap::Args;
use std::io;
use std::time::{Duration, Instant};

/// Deliveries before the clock starts, as a share of those measured.
const WARM_UP: u32 = 10;

#[derive(Args)]
pub struct Options {
    /// Subscribers, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    subscribers: Vec<usize>,
    /// Bytes of a message's content, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "64,1024")]
    bytes: Vec<usize>,
    /// one, window (16 requests) or list (one request with 16 messages), comma-separated
    #[arg(long, value_delimiter = ',', default_value = "one,window,list")]
    plans: Vec<String>,
    /// Worker threads of the server, comma-separated; more than one share both cores with the generator
    #[arg(long, value_delimiter = ',', default_value = "1")]
    workers: Vec<usize>,
    /// Measure subscribers that take permessage-deflate as well
    #[arg(long)]
    deflate: bool,
    /// Deliveries in each run
    #[arg(long, default_value_t = 300_000)]
    deliveries: u32,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// One line of the table.
struct Shape {
    subscribers: usize,
    bytes: usize,
    plan: Plan,
    messages: u32,
}

/// One of those that are compared within a run.
#[derive(Clone, Copy)]
struct Variant {
    workers: usize,
    deflate: bool,
}

/// What one run found.
struct Outcome {
    us_per_delivery: f64,
    per_second: f64,
    /// The frame that was sent.
    frame: Vec<u8>,
    fault: Option<String>,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!("CPU of the server in µs per delivery: median (min-max) of {} runs", options.runs);
    println!(
        "{:>6} {:>5} {:>6} {:>6} {:>7}  {:20} {:20} {:20} {:20} {:>9}  runs",
        "subs", "bytes", "frame", "plan", "workers", "ours", "raw", "x raw", "x first", "ours/s"
    );
    let mut variants = Vec::new();
    for &workers in &options.workers {
        let both = if options.deflate { &[false, true][..] } else { &[false] };
        variants.extend(both.iter().map(|&deflate| Variant { workers, deflate }));
    }
    let mut clean = true;
    for &subscribers in &options.subscribers {
        for &bytes in &options.bytes {
            for name in &options.plans {
                let plan = match name.as_str() {
                    "one" => Plan::Window(1),
                    "window" => Plan::Window(16),
                    "list" => Plan::List(16),
                    other => return Err(io::Error::other(format!("{other}: one, window or list"))),
                };
                let rounded = (options.deliveries / subscribers as u32).max(20).next_multiple_of(16);
                let shape = Shape { subscribers, bytes, plan, messages: rounded };
                clean &= lines(&shape, name, &variants, options.runs)?;
            }
        }
    }
    Ok(clean)
}

/// A line of the table.
#[derive(Default)]
struct Line {
    ours: Spread,
    x_raw: Spread,
    x_first: Spread,
    speed: Spread,
    frame: usize,
    faults: Vec<String>,
}

/// All variants in turn, and the baseline, in every run.
fn lines(shape: &Shape, name: &str, variants: &[Variant], runs: u32) -> io::Result<bool> {
    let mut raw = Spread::new();
    let mut lines: Vec<Line> = variants.iter().map(|_| Line::default()).collect();
    let mut clean = true;
    for _ in 0..runs {
        let outcomes = variants.iter().map(|variant| measure_ours(shape, *variant));
        let outcomes: Vec<Outcome> = outcomes.collect::<io::Result<_>>()?;
        let Some(first) = outcomes.first().map(|first| first.us_per_delivery) else { return Ok(true) };
        let of_raw = measure_raw(shape, &outcomes[0].frame)?;
        raw.add(of_raw.us_per_delivery);
        for (line, outcome) in lines.iter_mut().zip(outcomes) {
            line.ours.add(outcome.us_per_delivery);
            line.x_raw.add(outcome.us_per_delivery / of_raw.us_per_delivery);
            line.x_first.add(outcome.us_per_delivery / first);
            line.speed.add(outcome.per_second);
            line.frame = outcome.frame.len();
            line.faults.extend(outcome.fault);
            line.faults.extend(of_raw.fault.as_ref().map(|fault| format!("baseline: {fault}")));
        }
    }
    for (line, variant) in lines.iter().zip(variants) {
        let Line { ours, x_raw, x_first, speed, frame, faults } = line;
        let verdict = if faults.is_empty() { "clean".to_owned() } else { faults.join("; ") };
        let deflate = if variant.deflate { ", deflated" } else { "" };
        println!(
            "{:>6} {:>5} {frame:>6} {name:>6} {:>7}  {ours:20} {raw:20} {x_raw:20} {x_first:20} {:>9.0}  \
             {verdict}{deflate}",
            shape.subscribers,
            shape.bytes,
            variant.workers,
            speed.median()
        );
        clean &= faults.is_empty();
    }
    Ok(clean)
}

fn measure_ours(shape: &Shape, variant: Variant) -> io::Result<Outcome> {
    let server = with_workers(QUIET, variant.workers)?;
    let mut crowd = Crowd::new()?;
    if variant.deflate {
        crowd.ask_for_deflate();
    }
    crowd.subscribe(server.address, CHANNEL, shape.subscribers)?;
    let publisher = Publisher::rest(server.address, CHANNEL, shape.bytes)?;
    measure(&server, crowd, publisher, shape)
}

/// The baseline joins what waits whenever more than one message may be under way: that is the limit of joining.
fn measure_raw(shape: &Shape, frame: &[u8]) -> io::Result<Outcome> {
    let server = baseline()?;
    let mut crowd = Crowd::new()?;
    crowd.subscribe_raw(server.address, 1, shape.subscribers)?;
    let publisher = Publisher::raw(server.address, frame, shape.plan != Plan::Window(1))?;
    measure(&server, crowd, publisher, shape)
}

fn measure(
    server: &Server,
    mut crowd: Crowd,
    mut publisher: Publisher,
    shape: &Shape,
) -> io::Result<Outcome> {
    crowd.add_publisher(0, &mut publisher)?;
    let mut ledger = Ledger::new(shape.subscribers);
    crowd.settle(Duration::from_millis(200), std::slice::from_mut(&mut publisher), |_, _| {})?;
    let warm_up = (shape.messages / WARM_UP).next_multiple_of(16);
    closed_loop(&mut crowd, &mut publisher, &mut ledger, warm_up, shape.plan)?;
    let total = warm_up + shape.messages;
    let (begin, cpu) = (Instant::now(), cpu_ns(server.pid())?);
    closed_loop(&mut crowd, &mut publisher, &mut ledger, total, shape.plan)?;
    let cpu = cpu_ns(server.pid())? - cpu;
    let elapsed = begin.elapsed();
    // Whatever comes twice comes now.
    let quiet = Duration::from_millis(50);
    crowd.settle(quiet, std::slice::from_mut(&mut publisher), |subscriber, number| {
        ledger.note(subscriber, number);
    })?;
    let deliveries = f64::from(shape.messages) * shape.subscribers as f64;
    let clean = ledger.is_clean(total) && crowd.closed == 0 && crowd.strange == 0 && publisher.refused == 0;
    Ok(Outcome {
        us_per_delivery: cpu as f64 / 1000.0 / deliveries,
        per_second: deliveries / elapsed.as_secs_f64(),
        frame: crowd.sample,
        fault: (!clean).then(|| {
            let closed = crowd.closed;
            format!("{}, {closed} closed, {} refused", ledger.describe(total), publisher.refused)
        }),
    })
}
