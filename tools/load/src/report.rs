//! Figures of several runs, in text and in tables.

use crate::generator::memory::Around;
use std::fmt::{self, Display};

/// The median, minimum and maximum of some runs.
#[derive(Clone, Debug, Default)]
pub struct Spread(Vec<f64>);

impl Spread {
    /// Adds the value of a run.
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// The median.
    pub fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The same for this many units.
    pub fn times(&self, factor: f64) -> Self {
        Self(self.0.iter().map(|value| value * factor).collect())
    }
}

/// Two decimal places unless the format has a precision.
impl Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(min), Some(max)) = (self.0.first(), self.0.last()) else { return f.write_str("-") };
        let digits = f.precision().unwrap_or(2);
        write!(f, "{:.digits$} ({min:.digits$}-{max:.digits$})", self.median())
    }
}

/// Wide enough for a [`Spread`] of times.
pub const SPREAD: usize = 18;

/// A table in Markdown, printed line by line.
pub struct Table {
    widths: Vec<usize>,
}

impl Table {
    /// Prints the head: titles, and the minimum widths of their columns.
    pub fn new(columns: &[(&str, usize)]) -> Self {
        let widths = columns.iter().map(|(title, width)| title.chars().count().max(*width)).collect();
        let table = Self { widths };
        println!();
        table.row(columns.iter().map(|(title, _)| (*title).to_owned()).collect::<Vec<_>>());
        let rule = |width: &usize| format!("{}:", "-".repeat(width + 1));
        println!("|{}|", table.widths.iter().map(rule).collect::<Vec<_>>().join("|"));
        table
    }

    /// Prints a line.
    pub fn row(&self, cells: impl AsRef<[String]>) {
        println!("{}", line(&self.widths, cells.as_ref()));
    }
}

/// A line of a table with columns of these widths.
pub fn line(widths: &[usize], cells: &[String]) -> String {
    let cell = |(cell, width): (&String, &usize)| format!(" {cell:>width$} |");
    format!("|{}", cells.iter().zip(widths).map(cell).collect::<String>())
}

/// The cells of a table's line.
macro_rules! cells {
    ($($cell:expr),* $(,)?) => { vec![$($cell.to_string()),*] };
}
pub(crate) use cells;

/// The faults of the runs, as a text.
pub fn verdict(faults: &[String]) -> String {
    if faults.is_empty() { "clean".to_owned() } else { format!("NOT CLEAN: {}", faults.join("; ")) }
}

/// Some quantiles of latencies.
#[derive(Debug, Default)]
pub struct Quantiles {
    pub p50: Spread,
    pub p90: Spread,
    pub p99: Spread,
    pub max: Spread,
}

impl Quantiles {
    /// Adds those of one run, in ms, of its latencies in µs.
    pub fn add(&mut self, latencies: &mut [u32]) {
        latencies.sort_unstable();
        let at = |share: f64| {
            let index = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
            latencies.get(index).map_or(f64::NAN, |latency| f64::from(*latency) / 1000.0)
        };
        self.p50.add(at(0.5));
        self.p90.add(at(0.9));
        self.p99.add(at(0.99));
        self.max.add(at(1.0));
    }
}

/// Memory around the loads of several runs: resident MiB, and the seconds until it was released.
#[derive(Debug, Default)]
pub struct Memories {
    pub before: Spread,
    pub peak: Spread,
    pub after: Spread,
    pub settled: Spread,
}

/// The columns of [`Memories::cells`].
pub const MEMORY: [(&str, usize); 4] = [("MiB before", 0), ("peak", 5), ("after", 5), ("settled s", 0)];

impl Memories {
    /// Adds a run and returns its fault, as a text.
    pub fn add(&mut self, around: &Around) -> Option<String> {
        self.before.add(mib(around.before.rss));
        self.peak.add(mib(around.peak));
        self.after.add(mib(around.after.rss));
        self.settled.add(around.settled.as_secs_f64());
        around.fault()
    }

    /// Medians, under [`MEMORY`].
    pub fn cells(&self) -> Vec<String> {
        let spreads = [&self.before, &self.peak, &self.after, &self.settled];
        spreads.map(|spread| format!("{:.1}", spread.median())).to_vec()
    }
}

/// Bytes as MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
