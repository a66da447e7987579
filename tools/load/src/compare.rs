//! Alternating runs of our server and of the baseline, so that both sides of a ratio are from the same minute; and
//! their results in columns.

use crate::generator::crowd::Crowd;
use crate::generator::ledger::Ledger;
use crate::generator::memory::Around;
use crate::generator::meter::Cost;
use crate::report::{MEMORY, Memories, SPREAD, Spread, cells, verdict};
use std::io;

/// The result of one run of one server.
pub struct Run {
    /// Units of work (deliveries, publishes) that were measured.
    pub units: f64,
    pub cost: Cost,
    pub sample: Sample,
    pub memory: Around,
    /// Bytes of memory for each channel, and for each connection, or NaN if they are not measured.
    pub per_channel: f64,
    pub per_connection: f64,
    /// Deliveries that were lost, repeated or out of order, refused requests, closed sockets.
    pub faults: Vec<String>,
}

/// The bytes that the baseline imitates.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub frame: Vec<u8>,
    pub answer: Vec<u8>,
}

impl Run {
    /// CPU of the server for each unit of work, in µs.
    pub fn cpu_us(&self) -> f64 {
        self.cost.server_ns as f64 / 1000.0 / self.units
    }
}

/// The results of several runs of one variant.
#[derive(Debug, Default)]
pub struct Series {
    /// CPU of the server for each unit of work, in µs; its ratio to the baseline's and to the first variant's.
    pub cpu: Spread,
    pub x_raw: Spread,
    pub x_first: Spread,
    pub per_second: Spread,
    /// Writes to sockets for each unit of work, requests and answers included.
    pub writes: Spread,
    /// How often the server went to sleep for each unit of work.
    pub sleeps: Spread,
    pub server_busy: Spread,
    pub generator_busy: Spread,
    pub memory: Memories,
    pub per_channel: Spread,
    pub per_connection: Spread,
    pub frame: usize,
    pub faults: Vec<String>,
}

impl Series {
    fn add(&mut self, run: &Run, raw_us: f64, first_us: f64) {
        let cpu = run.cpu_us();
        self.cpu.add(cpu);
        self.x_raw.add(cpu / raw_us);
        self.x_first.add(cpu / first_us);
        self.per_second.add(run.units / run.cost.elapsed.as_secs_f64());
        self.writes.add(run.cost.segments as f64 / run.units);
        self.sleeps.add(run.cost.sleeps as f64 / run.units);
        self.server_busy.add(run.cost.server_busy());
        self.generator_busy.add(run.cost.generator_busy());
        self.faults.extend(self.memory.add(&run.memory));
        [(&mut self.per_channel, run.per_channel), (&mut self.per_connection, run.per_connection)]
            .into_iter()
            .filter(|(_, bytes)| bytes.is_finite())
            .for_each(|(spread, bytes)| spread.add(bytes));
        self.frame = run.sample.frame.len();
        self.faults.extend(run.faults.iter().cloned());
    }
}

/// The variants of our server, and the baseline.
pub struct Compared {
    pub ours: Vec<Series>,
    pub raw: Series,
}

impl Compared {
    /// Whether no run had a fault.
    pub fn is_clean(&self) -> bool {
        self.raw.faults.is_empty() && self.ours.iter().all(|series| series.faults.is_empty())
    }
}

/// Measures all variants, and then the baseline, in every run. The baseline imitates the first variant.
pub fn in_turn<V>(
    runs: u32,
    variants: &[V],
    ours: impl Fn(&V) -> io::Result<Run>,
    raw: impl Fn(&Sample) -> io::Result<Run>,
) -> io::Result<Compared> {
    let ours_of: Vec<Series> = variants.iter().map(|_| Series::default()).collect();
    let mut compared = Compared { ours: ours_of, raw: Series::default() };
    for _ in 0..runs {
        let found: Vec<Run> = variants.iter().map(&ours).collect::<io::Result<_>>()?;
        let Some(first) = found.first() else { break };
        let of_raw = raw(&first.sample)?;
        compared.raw.add(&of_raw, of_raw.cpu_us(), first.cpu_us());
        for (series, run) in compared.ours.iter_mut().zip(&found) {
            series.add(run, of_raw.cpu_us(), first.cpu_us());
        }
    }
    Ok(compared)
}

/// The columns that all comparisons have; see [`Compared::cells`].
const OWN: [(&str, usize); 6] = [
    ("ours", SPREAD),
    ("raw", SPREAD),
    ("x raw", SPREAD),
    ("ours/s", 9),
    ("server %", 0),
    ("generator %", 0),
];
const VERDICT: [(&str, usize); 1] = [("runs", 5)];

/// All columns of a comparison: first those of its case.
pub fn columns(of_case: &[(&'static str, usize)]) -> Vec<(&'static str, usize)> {
    [of_case, &OWN, &MEMORY, &VERDICT].concat()
}

impl Compared {
    /// The cells of one variant, which follow those of its case.
    pub fn cells(&self, variant: usize) -> Vec<String> {
        let (ours, raw) = (&self.ours[variant], &self.raw);
        let of_raw = raw.faults.iter().map(|fault| format!("baseline: {fault}"));
        let faults: Vec<String> = ours.faults.iter().cloned().chain(of_raw).collect();
        let own = cells![
            ours.cpu,
            raw.cpu,
            ours.x_raw,
            format!("{:.0}", ours.per_second.median()),
            format!("{:.0}", ours.server_busy.median()),
            format!("{:.0}", ours.generator_busy.median()),
        ];
        [own, ours.memory.cells(), cells![verdict(&faults)]].concat()
    }
}

/// The faults of a run whose subscribers should have received `total` messages.
pub fn faults(ledger: &Ledger, total: u32, crowd: &Crowd, refused: u64) -> Vec<String> {
    let mut faults = Vec::new();
    if !ledger.is_clean(total) {
        faults.push(ledger.describe(total));
    }
    faults.extend(crowd.faults());
    if refused > 0 {
        faults.push(format!("{refused} requests refused"));
    }
    faults
}
