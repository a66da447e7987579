//! System calls for each delivery, counted one by one. The baseline shows that the count is right.

use super::broadcast::{PLAIN, Pace, Shape, Stage, Variant};
use crate::generator::memory::Idle;
use crate::generator::trace::{Calls, Trace};
use crate::report::{MEMORY, Memories, SPREAD, Spread, Table, cells, verdict};
use clap::Args;
use std::io;
use std::time::Duration;

#[derive(Args)]
pub struct Options {
    /// Subscribers, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    subscribers: Vec<u32>,
    /// How broadcasts follow each other, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "one,window,list")]
    plans: Vec<Pace>,
    /// Requests in flight in `window`, messages of a request in `list`
    #[arg(long, default_value_t = 10)]
    burst: u32,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// Deliveries in each run
    #[arg(long, default_value_t = 50_000)]
    deliveries: u32,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// The traced server.
#[derive(Clone, Copy)]
enum Traced {
    Ours,
    OneByOne,
    Raw,
}

impl Traced {
    fn name(self) -> &'static str {
        match self {
            Traced::Ours => "ours",
            Traced::OneByOne => "ours, one by one",
            Traced::Raw => "raw",
        }
    }

    fn stage(self, shape: &Shape) -> io::Result<Stage> {
        let ours = |io_uring| {
            let mut stage = Stage::ours(shape, &Variant { io_uring, ..PLAIN })?;
            stage.fill(shape)?;
            Ok(stage)
        };
        match self {
            Traced::Ours => ours(true),
            Traced::OneByOne => ours(false),
            Traced::Raw => {
                // Our server provides the sample of a frame.
                let few = Shape { members: 1, messages: 1, ..*shape };
                let mut sample = Traced::Ours.stage(&few)?;
                sample.warm_up(&few)?;
                Stage::raw(shape, &sample.sample())
            }
        }
    }
}

/// The results of the runs of one line.
#[derive(Default)]
struct Line {
    per_delivery: Spread,
    sends: Spread,
    calls: Calls,
    deliveries: f64,
    memory: Memories,
    faults: Vec<String>,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!("system calls of the server per delivery: median (min-max) of {} runs", options.runs);
    let own = [
        ("server", 16),
        ("subscribers", 0),
        ("plan", 12),
        ("calls per delivery", 24),
        ("sends per delivery", SPREAD),
        ("calls per message", 70),
    ];
    let table = Table::new(&[&own[..], &MEMORY, &[("runs", 5)]].concat());
    let mut clean = true;
    for &subscribers in &options.subscribers {
        for &pace in &options.plans {
            let shape =
                Shape::new(1, subscribers, options.bytes, pace.plan(options.burst), options.deliveries);
            for traced in [Traced::Ours, Traced::OneByOne, Traced::Raw] {
                let line = line(traced, &shape, options.runs)?;
                let plan = match pace {
                    Pace::One => "one".to_owned(),
                    Pace::Window | Pace::List => format!("{pace:?} of {}", options.burst).to_lowercase(),
                };
                let own = cells![
                    traced.name(),
                    subscribers,
                    plan,
                    format!("{:.4}", line.per_delivery),
                    format!("{:.3}", line.sends),
                    line.most_frequent(f64::from(subscribers)),
                ];
                table.row([own, line.memory.cells(), cells![verdict(&line.faults)]].concat());
                clean &= line.faults.is_empty();
            }
        }
    }
    Ok(clean)
}

fn line(traced: Traced, shape: &Shape, runs: u32) -> io::Result<Line> {
    let mut line =
        Line { deliveries: f64::from(shape.messages) * shape.subscribers() as f64, ..Line::default() };
    for _ in 0..runs {
        let mut stage = traced.stage(shape)?;
        stage.warm_up(shape)?;
        stage.read_until_quiet(Duration::from_millis(50))?;
        let idle = Idle::of(stage.server.pid())?;
        let trace = Trace::start(stage.server.pid())?;
        let before = trace.calls();
        stage.broadcast(shape, shape.messages)?;
        line.calls = trace.calls().since(&before);
        stage.read_until_quiet(Duration::from_millis(50))?;
        line.per_delivery.add(line.calls.total() as f64 / line.deliveries);
        line.sends.add(line.calls.sends as f64 / line.deliveries);
        line.faults.extend(stage.faults(shape));
        line.faults.extend(line.memory.add(&idle.wait_for_release()?));
    }
    Ok(line)
}

impl Line {
    /// The calls of the last run, for each message.
    fn most_frequent(&self, subscribers: f64) -> String {
        let messages = self.deliveries / subscribers;
        let of = |(name, count): (String, u64)| format!("{:.1} {name}", count as f64 / messages);
        let list =
            self.calls.by_frequency().into_iter().filter(|(_, count)| *count as f64 >= messages / 20.0);
        list.map(of).collect::<Vec<_>>().join(", ")
    }
}
