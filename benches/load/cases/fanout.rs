//! CPU for each delivery of broadcasts to one channel, beside the baseline that writes the same bytes.

use super::{CHANNEL, QUIET, baseline, channelstream};
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
        "{:>6} {:>5} {:>6} {:>6}  {:20} {:20} {:20} {:>9}  runs",
        "subs", "bytes", "frame", "plan", "ours", "raw", "x raw", "ours/s"
    );
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
                clean &= line(&shape, name, options.runs)?;
            }
        }
    }
    Ok(clean)
}

fn line(shape: &Shape, name: &str, runs: u32) -> io::Result<bool> {
    let [mut ours, mut raw, mut ratio, mut speed] = [const { Spread::new() }; 4];
    let mut frame = Vec::new();
    let mut faults = Vec::new();
    for _ in 0..runs {
        let of_ours = measure_ours(shape)?;
        frame.clone_from(&of_ours.frame);
        let of_raw = measure_raw(shape, &frame)?;
        ours.add(of_ours.us_per_delivery);
        raw.add(of_raw.us_per_delivery);
        ratio.add(of_ours.us_per_delivery / of_raw.us_per_delivery);
        speed.add(of_ours.per_second);
        faults.extend(of_ours.fault);
        faults.extend(of_raw.fault.map(|fault| format!("baseline: {fault}")));
    }
    let verdict = if faults.is_empty() { "clean".to_owned() } else { faults.join("; ") };
    println!(
        "{:>6} {:>5} {:>6} {name:>6}  {ours:20} {raw:20} {ratio:20} {:>9.0}  {verdict}",
        shape.subscribers,
        shape.bytes,
        frame.len(),
        speed.median()
    );
    Ok(faults.is_empty())
}

fn measure_ours(shape: &Shape) -> io::Result<Outcome> {
    let server = channelstream(QUIET)?;
    let mut crowd = Crowd::new()?;
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
