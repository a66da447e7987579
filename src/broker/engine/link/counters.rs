//! Counters of the engine, for metrics.

use super::super::scripts::Script;
use crate::telemetry::engine_metrics::EngineMetrics;
use crate::telemetry::{Counter, Level};
use std::time::Duration;

/// Upper bounds of the buckets of a round trip, in µs.
pub const ROUNDTRIP_BOUNDS: [u64; 12] =
    [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000, 2_000_000];
/// Upper bounds of the buckets of a delivery, in ms.
pub const DELIVERY_BOUNDS: [u64; 11] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000];
/// Upper bounds of the buckets of a batch, in calls.
pub const BATCH_BOUNDS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// A histogram with fixed buckets. The last bucket has no upper bound.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: [u64; N],
    buckets: [Counter; N],
    above: Counter,
    sum: Counter,
}

impl<const N: usize> Histogram<N> {
    fn new(bounds: [u64; N]) -> Self {
        let buckets = std::array::from_fn(|_| Counter::default());
        Self { bounds, buckets, above: Counter::default(), sum: Counter::default() }
    }

    pub fn observe(&self, value: u64) {
        let bucket = self.bounds.iter().zip(&self.buckets).find(|(bound, _)| value <= **bound);
        bucket.map_or(&self.above, |(_, bucket)| bucket).add(1);
        self.sum.add(value);
    }

    /// Each upper bound with the number of values up to it; `None` stands for all values.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = self.bounds.iter().map(|bound| Some(*bound)).chain([None]);
        let counts = self.buckets.iter().chain([&self.above]).scan(0, |sum, bucket| {
            *sum += bucket.get();
            Some(*sum)
        });
        bounds.zip(counts)
    }

    pub fn sum(&self) -> u64 {
        self.sum.get()
    }

    /// The number of all values.
    pub fn count(&self) -> u64 {
        self.cumulative().last().map_or(0, |(_, count)| count)
    }

    /// The least bound up to which at least this percentage of the values are. `None` stands for no bound.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let least = self.count().saturating_mul(percent);
        let found = self.cumulative().find(|(_, count)| count.saturating_mul(100) >= least);
        found.and_then(|(bound, _)| bound)
    }

    /// The bound of 99 % of the values, for operators.
    fn shown_percentile(&self) -> String {
        self.percentile(99).map_or_else(|| "more".into(), |bound| bound.to_string())
    }
}

/// How a call failed in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptError {
    /// The script was not loaded. The link loads it and repeats the call.
    NotLoaded,
    /// Redis is out of memory.
    Full,
    /// Redis is a replica, loads its data, or has lost its master. The link connects again.
    NotReady,
    Other,
}

impl ScriptError {
    pub const ALL: [Self; 4] = [Self::NotLoaded, Self::Full, Self::NotReady, Self::Other];
}

/// Counters of one engine since the start of the process.
#[derive(Debug)]
pub struct EngineCounters {
    /// 1 while the node has a connection to Redis and a number, else 0.
    pub up: Level,
    pub term: Level,
    /// The number of this node, or 0 before it has one.
    pub node: Level,
    /// Nodes that Redis knows, as this node has read them last.
    pub nodes: Level,
    /// Bytes of mail that the last turn of the link found.
    pub push_bytes: Level,
    /// Connections that were lost.
    pub reconnects: Counter,
    /// Connections that were given up because pushes arrived faster than the node handled them.
    pub overruns: Counter,
    /// Times that Redis refused the number of this node.
    pub fenced: Counter,
    /// Calls whose changes too few replicas had in time.
    pub unreplicated: Counter,
    /// Calls of the script that removes what a dead node held.
    pub swept: Counter,
    /// Streams that this node reported as incomplete after a failover.
    pub reported_streams: Counter,
    /// Time for which calls waited until all nodes had reported, in µs.
    pub settling: Counter,
    /// Entries of streams that this node has applied.
    pub entries: Counter,
    /// Time between an entry's stamp and its application here, in ms.
    pub delivery_ms: Histogram<{ DELIVERY_BOUNDS.len() }>,
    /// Entries that were missing, so that the node loaded everything again.
    pub gaps: Counter,
    /// Streams that were loaded again.
    pub reloads: Counter,
    /// Streams whose epoch had ended when they were loaded again.
    pub retired: Counter,
    /// Times that the epochs of all streams ended.
    pub retired_all: Counter,
    /// Connections that this node got from their living owner.
    pub taken_from_nodes: Counter,
    /// Connections without a living owner that this node took by their rows.
    pub taken_from_rows: Counter,
    /// Calls in each pipeline of changing calls.
    pub batch_calls: Histogram<{ BATCH_BOUNDS.len() }>,
    roundtrips: [Histogram<{ ROUNDTRIP_BOUNDS.len() }>; Script::ALL.len()],
    errors: [[Counter; ScriptError::ALL.len()]; Script::ALL.len()],
}

impl Default for EngineCounters {
    fn default() -> Self {
        Self {
            up: Level::default(),
            term: Level::default(),
            node: Level::default(),
            nodes: Level::default(),
            push_bytes: Level::default(),
            reconnects: Counter::default(),
            overruns: Counter::default(),
            fenced: Counter::default(),
            unreplicated: Counter::default(),
            swept: Counter::default(),
            reported_streams: Counter::default(),
            settling: Counter::default(),
            entries: Counter::default(),
            delivery_ms: Histogram::new(DELIVERY_BOUNDS),
            gaps: Counter::default(),
            reloads: Counter::default(),
            retired: Counter::default(),
            retired_all: Counter::default(),
            taken_from_nodes: Counter::default(),
            taken_from_rows: Counter::default(),
            batch_calls: Histogram::new(BATCH_BOUNDS),
            roundtrips: std::array::from_fn(|_| Histogram::new(ROUNDTRIP_BOUNDS)),
            errors: std::array::from_fn(|_| std::array::from_fn(|_| Counter::default())),
        }
    }
}

impl EngineCounters {
    pub fn roundtrip(&self, script: Script, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.roundtrips[script as usize].observe(micros);
    }

    pub fn error(&self, script: Script, error: ScriptError) {
        self.errors[script as usize][error as usize].add(1);
    }

    /// The figures without those of each script. `pending_bytes` are those of calls that were not answered yet.
    pub fn metrics(&self, pending_bytes: u64) -> EngineMetrics {
        EngineMetrics {
            up: self.up.get(),
            term: self.term.get(),
            nodes: self.nodes.get(),
            pending_bytes,
            push_bytes: self.push_bytes.get(),
            reconnects: self.reconnects.get(),
            overruns: self.overruns.get(),
            fenced: self.fenced.get(),
            unreplicated: self.unreplicated.get(),
            swept: self.swept.get(),
            reported_streams: self.reported_streams.get(),
            settling: self.settling.get(),
            entries: self.entries.get(),
            gaps: self.gaps.get(),
            reloads: self.reloads.get(),
            retired: self.retired.get(),
            retired_all: self.retired_all.get(),
            taken_from_nodes: self.taken_from_nodes.get(),
            taken_from_rows: self.taken_from_rows.get(),
            batches: self.batch_calls.count(),
            batch_calls: self.batch_calls.sum(),
        }
    }

    /// The times between sending and reply, by script.
    pub fn roundtrips(&self) -> impl Iterator<Item = (Script, &Histogram<{ ROUNDTRIP_BOUNDS.len() }>)> {
        Script::ALL.into_iter().zip(&self.roundtrips)
    }

    /// The greatest values of 99 % of batches and deliveries, one on each line, for operators.
    fn greatest_figures(&self) -> String {
        let mut text = String::new();
        if self.batch_calls.count() > 0 {
            let most = self.batch_calls.shown_percentile();
            text.push_str(&format!("engine, calls in 99 % of the batches, at most: {most}\n"));
        }
        if self.delivery_ms.count() > 0 {
            let most = self.delivery_ms.shown_percentile();
            text.push_str(&format!(
                "engine, milliseconds of delivery of 99 % of the entries, at most: {most}\n"
            ));
        }
        text
    }

    /// The figures of batches, deliveries, and of each script that was called, one on each line, for operators.
    pub fn script_figures(&self) -> String {
        let mut text = self.greatest_figures();
        for (script, times) in self.roundtrips().filter(|(_, times)| times.count() > 0) {
            let (count, sum) = (times.count(), times.sum());
            let most = times.shown_percentile();
            text.push_str(&format!(
                "engine, calls of {script:?}: {count}\nengine, microseconds of {script:?}: {sum}\n\
                 engine, microseconds of 99 % of {script:?}, at most: {most}\n"
            ));
        }
        for (script, error, count) in self.errors().filter(|(.., count)| *count > 0) {
            text.push_str(&format!("engine, failed calls of {script:?}, {error:?}: {count}\n"));
        }
        text
    }

    /// Failed calls, by script and error.
    pub fn errors(&self) -> impl Iterator<Item = (Script, ScriptError, u64)> {
        Script::ALL.into_iter().zip(&self.errors).flat_map(|(script, errors)| {
            ScriptError::ALL.into_iter().zip(errors).map(move |(error, count)| (script, error, count.get()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_values_up_to_each_bound() {
        let histogram = Histogram::new([1, 10]);
        [0, 1, 2, 10, 11].into_iter().for_each(|value| histogram.observe(value));
        let counts: Vec<_> = histogram.cumulative().collect();
        assert_eq!((counts, histogram.sum()), (vec![(Some(1), 2), (Some(10), 4), (None, 5)], 24));
        assert_eq!([10, 80, 81].map(|percent| histogram.percentile(percent)), [Some(1), Some(10), None]);
        assert_eq!(histogram.count(), 5);
    }

    #[test]
    fn errors_are_counted_by_script_and_cause() {
        let counters = EngineCounters::default();
        counters.error(Script::Append, ScriptError::Full);
        let errors: Vec<_> = counters.errors().filter(|(_, _, count)| *count > 0).collect();
        assert_eq!(errors, [(Script::Append, ScriptError::Full, 1)]);
        counters.roundtrip(Script::Beat, Duration::from_micros(300));
        [1, 300].into_iter().for_each(|ms| counters.delivery_ms.observe(ms));
        counters.batch_calls.observe(3);
        assert_eq!(
            counters.script_figures(),
            "engine, calls in 99 % of the batches, at most: 4\n\
             engine, milliseconds of delivery of 99 % of the entries, at most: 500\n\
             engine, calls of Beat: 1\nengine, microseconds of Beat: 300\n\
             engine, microseconds of 99 % of Beat, at most: 500\nengine, failed calls of Append, Full: 1\n"
        );
    }
}
