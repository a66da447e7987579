//! All cases, one after the other.

use clap::Args;

/// The cases in the order in which they run. Each also has the option `--runs`.
const CASES: &[&str] = &[
    "fanout --one-by-one",
    "fanout --subscribers 1000,10000 --bytes 64 --workers 1,2 --one-core --deflate",
    "fanout --sse --subscribers 1000,10000 --bytes 64",
    "growth",
    "channels",
    "syscalls",
    "publish",
    "idle --sse",
    "crowd",
    "slow",
    "large",
    "rest",
    "churn",
    "reconnects",
    "joins",
    "members",
    "receivers",
    "poll",
];

/// The same with small numbers: everything runs and is checked, but the figures are those of single, short runs.
const QUICK: &[&str] = &[
    "fanout --one-by-one --subscribers 100,1000 --deliveries 50000",
    "fanout --subscribers 1000 --bytes 64 --workers 1,2 --one-core --deflate --deliveries 50000",
    "fanout --sse --subscribers 1000 --bytes 64 --deliveries 50000",
    "growth --subscribers 10,1000 --channels 1,100,1000 --total 1000 --deliveries 30000 --publishes 3000",
    "channels --shapes 1x1000,100x10,1000x1 --deliveries 30000",
    "syscalls --subscribers 1000 --deliveries 20000",
    "publish --messages 10000",
    "idle --sse --subscribers 1000 --heartbeats 0,1000 --seconds 2",
    "crowd --subscribers 1000 --messages 20",
    "slow --subscribers 100 --slow 10 --rate 100",
    "large --subscribers 500",
    "rest --subscribers 1000 --seconds 1",
    "churn --members 0,1000 --cycles 500",
    "reconnects --clients 1000",
    "joins --members 100 --joins 1000",
    "members --members 10,1000 --calls 50",
    "receivers --subscribers 500 --messages 10",
    "poll --subscribers 200 --messages 10",
];

#[derive(Args)]
pub struct Options {
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Small numbers and a single run, to check that everything works
    #[arg(long)]
    quick: bool,
}

impl Options {
    /// The command lines of all cases, without the program's name.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let (cases, runs) = if self.quick { (QUICK, 1) } else { (CASES, self.runs) };
        cases.iter().map(move |case| format!("{case} --runs {runs}"))
    }
}
