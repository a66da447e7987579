//! CPU for each delivery with many channels, beside the baseline that does one write for each.

use super::{QUIET, baseline, channelstream};
use crate::generator::crowd::Crowd;
use crate::generator::drive::rounds;
use crate::generator::failure;
use crate::generator::frames;
use crate::generator::ledger::Ledger;
use crate::generator::process::cpu_ns;
use crate::generator::publisher::Publisher;
use crate::generator::server::Server;
use crate::report::Spread;
use clap::Args;
use std::io;
use std::time::{Duration, Instant};

#[derive(Args)]
pub struct Options {
    /// Channels and the subscribers of each, comma-separated: 1x10000,1000x10,10000x1
    #[arg(long, value_delimiter = ',', default_value = "1000x10")]
    shapes: Vec<String>,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// Requests under way
    #[arg(long, default_value_t = 64)]
    window: u64,
    /// Deliveries in each run
    #[arg(long, default_value_t = 300_000)]
    deliveries: u32,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

struct Shape {
    channels: u32,
    members: u32,
    rounds: u32,
    window: u64,
}

impl Shape {
    fn subscribers(&self) -> usize {
        self.channels as usize * self.members as usize
    }
}

struct Outcome {
    us_per_delivery: f64,
    per_second: f64,
    frame: Vec<u8>,
    fault: Option<String>,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!("CPU of the server in µs per delivery: median (min-max) of {} runs", options.runs);
    println!(
        "{:>8} {:>6}  {:20} {:20} {:20} {:>9}  runs",
        "channels", "each", "ours", "raw", "x raw", "ours/s"
    );
    let mut clean = true;
    for text in &options.shapes {
        let wrong = || failure(format!("{text}: channels x subscribers, as in 1000x10"));
        let (channels, members) = text.split_once('x').ok_or_else(wrong)?;
        let channels: u32 = channels.parse().map_err(|_| wrong())?;
        let members: u32 = members.parse().map_err(|_| wrong())?;
        let subscribers = channels.checked_mul(members).filter(|count| *count > 0).ok_or_else(wrong)?;
        let rounds = (options.deliveries / subscribers).max(10);
        let shape = Shape { channels, members, rounds, window: options.window };
        clean &= line(&shape, options)?;
    }
    Ok(clean)
}

fn line(shape: &Shape, options: &Options) -> io::Result<bool> {
    let [mut ours, mut raw, mut ratio, mut speed] = [const { Spread::new() }; 4];
    let mut faults = Vec::new();
    for _ in 0..options.runs {
        let of_ours = measure_ours(shape, options.bytes)?;
        let of_raw = measure_raw(shape, &of_ours.frame)?;
        ours.add(of_ours.us_per_delivery);
        raw.add(of_raw.us_per_delivery);
        ratio.add(of_ours.us_per_delivery / of_raw.us_per_delivery);
        speed.add(of_ours.per_second);
        faults.extend(of_ours.fault);
        faults.extend(of_raw.fault.map(|fault| format!("baseline: {fault}")));
    }
    let verdict = if faults.is_empty() { "clean".to_owned() } else { faults.join("; ") };
    let (channels, members, speed) = (shape.channels, shape.members, speed.median());
    println!("{channels:>8} {members:>6}  {ours:20} {raw:20} {ratio:20} {speed:>9.0}  {verdict}");
    Ok(faults.is_empty())
}

fn measure_ours(shape: &Shape, bytes: usize) -> io::Result<Outcome> {
    let server = channelstream(QUIET)?;
    let mut crowd = Crowd::new()?;
    let channels = shape.channels as usize;
    crowd.subscribe_each(server.address, |index| frames::channel(index % channels), shape.subscribers())?;
    let publisher = Publisher::rest(server.address, &frames::channel(0), bytes)?;
    measure(&server, crowd, publisher, shape)
}

fn measure_raw(shape: &Shape, frame: &[u8]) -> io::Result<Outcome> {
    let server = baseline()?;
    let mut crowd = Crowd::new()?;
    crowd.subscribe_raw(server.address, shape.channels as usize, shape.subscribers())?;
    let publisher = Publisher::raw(server.address, frame, false)?;
    measure(&server, crowd, publisher, shape)
}

fn measure(
    server: &Server,
    mut crowd: Crowd,
    mut publisher: Publisher,
    shape: &Shape,
) -> io::Result<Outcome> {
    crowd.add_publisher(0, &mut publisher)?;
    let mut ledger = Ledger::new(shape.subscribers());
    crowd.settle(Duration::from_millis(200), std::slice::from_mut(&mut publisher), |_, _| {})?;
    let warm_up = (shape.rounds / 10).max(1);
    let total = warm_up + shape.rounds;
    rounds(&mut crowd, &mut publisher, &mut ledger, shape.channels, shape.window, warm_up)?;
    let (begin, cpu) = (Instant::now(), cpu_ns(server.pid())?);
    rounds(&mut crowd, &mut publisher, &mut ledger, shape.channels, shape.window, total)?;
    let cpu = cpu_ns(server.pid())? - cpu;
    let elapsed = begin.elapsed();
    let quiet = Duration::from_millis(50);
    crowd.settle(quiet, std::slice::from_mut(&mut publisher), |subscriber, number| {
        ledger.note(subscriber, number);
    })?;
    let deliveries = f64::from(shape.rounds) * shape.subscribers() as f64;
    let clean = ledger.is_clean(total) && crowd.closed == 0 && crowd.strange == 0 && publisher.refused == 0;
    Ok(Outcome {
        us_per_delivery: cpu as f64 / 1000.0 / deliveries,
        per_second: deliveries / elapsed.as_secs_f64(),
        frame: crowd.sample,
        fault: (!clean).then(|| {
            format!("{}, {} closed, {} refused", ledger.describe(total), crowd.closed, publisher.refused)
        }),
    })
}
