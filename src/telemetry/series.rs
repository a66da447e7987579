//! Time series of the server's figures: one sample a second for a short span, and coarser samples for longer spans.
//! Pure; the values are passed in.

use super::metrics::Sources;
use std::collections::VecDeque;

/// The figures of a sample, in order.
pub const FIGURES: [Figure; 12] = [
    now("connections", &["connections"]),
    now("users", &["users"]),
    now("channels", &["channels"]),
    per_second("deliveries_per_s", &["deliveries"], 1.0),
    per_second("publishes_per_s", &["messages"], 1.0),
    now("queued_bytes", &["hub_bytes", "queued_bytes"]),
    growth("closed_too_slow", &["closed_too_slow"]),
    growth("refused_busy", &["refused_busy"]),
    now("memory_bytes", &["memory_bytes"]),
    // A hundredth of a processor is 10,000 µs of each second.
    per_second("cpu_percent", &["cpu_us"], 1e-4),
    per_second("refusals_per_s", &["refusals"], 1.0),
    per_second("closes_per_s", &["websockets_closed"], 1.0),
];

/// One figure of a sample.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    pub name: &'static str,
    /// How several values are combined into one.
    pub kind: SeriesKind,
    /// The metrics whose sum it is.
    metrics: &'static [&'static str],
    shows: Shows,
}

/// How a figure is computed from its metrics.
#[derive(Clone, Copy, Debug)]
enum Shows {
    /// Their current sum.
    Value,
    /// Their growth since the last sample.
    Growth,
    /// Their growth per second, multiplied by this factor.
    PerSecond(f32),
}

const fn now(name: &'static str, metrics: &'static [&'static str]) -> Figure {
    Figure { name, kind: SeriesKind::Level, metrics, shows: Shows::Value }
}

const fn growth(name: &'static str, metrics: &'static [&'static str]) -> Figure {
    Figure { name, kind: SeriesKind::Count, metrics, shows: Shows::Growth }
}

const fn per_second(name: &'static str, metrics: &'static [&'static str], factor: f32) -> Figure {
    Figure { name, kind: SeriesKind::Level, metrics, shows: Shows::PerSecond(factor) }
}

/// The metrics of all figures at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading([u64; FIGURES.len()]);

impl Reading {
    pub fn of(sources: &Sources<'_>) -> Self {
        Self(FIGURES.map(|figure| figure.metrics.iter().map(|metric| sources.value(metric)).sum()))
    }

    /// The sample of the time between an earlier reading and this one.
    pub fn since(&self, last: &Self, seconds: f32) -> Sample {
        std::array::from_fn(|index| {
            let grown = self.0[index].saturating_sub(last.0[index]) as f32;
            match FIGURES[index].shows {
                Shows::Value => self.0[index] as f32,
                Shows::Growth => grown,
                Shows::PerSecond(factor) => grown / seconds * factor,
            }
        })
    }
}

/// How several values are combined into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesKind {
    /// Their mean.
    Level,
    /// Their sum.
    Count,
}

/// One value for each of [`FIGURES`]. Seven digits are more than a chart can show, and take half the memory.
pub type Sample = [f32; FIGURES.len()];

/// The interval of a span in seconds and its number of samples: ten minutes, three hours, a day.
pub const SPANS: [(u64, usize); 3] = [(1, 600), (15, 720), (120, 720)];

/// Samples with one interval, the newest at the end.
#[derive(Debug)]
struct Span {
    step_s: u64,
    keep: usize,
    samples: VecDeque<Sample>,
    /// The number of samples so far, including those removed.
    count: u64,
    /// The values collected for the next sample.
    sum: Sample,
}

#[derive(Debug)]
pub struct Series {
    spans: Vec<Span>,
    seconds: u64,
}

/// Some samples of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesPage {
    /// The interval in seconds.
    pub step_s: u64,
    /// The number of the first sample. Numbers start at 1 and have no gaps.
    pub first: u64,
    /// The number of the newest available sample; 0 if there is none.
    pub last: u64,
    /// Oldest first.
    pub samples: Vec<Sample>,
}

impl Default for Series {
    fn default() -> Self {
        let zero = [0.0; FIGURES.len()];
        let span = |(step_s, keep)| Span { step_s, keep, samples: VecDeque::new(), count: 0, sum: zero };
        Self { spans: SPANS.map(span).into(), seconds: 0 }
    }
}

impl Series {
    /// Adds the sample of one second.
    pub fn push(&mut self, sample: Sample) {
        self.seconds += 1;
        for span in &mut self.spans {
            span.push(&sample, self.seconds);
        }
    }

    /// The samples after number `after` in the span with this interval; `None` if there is no such span.
    pub fn since(&self, step_s: u64, after: u64) -> Option<SeriesPage> {
        self.spans.iter().find(|span| span.step_s == step_s).map(|span| span.since(after))
    }
}

impl Span {
    fn push(&mut self, sample: &Sample, second: u64) {
        self.sum.iter_mut().zip(sample).for_each(|(sum, value)| *sum += value);
        if !second.is_multiple_of(self.step_s) {
            return;
        }
        let mut joined = std::mem::take(&mut self.sum);
        for (value, figure) in joined.iter_mut().zip(FIGURES) {
            if figure.kind == SeriesKind::Level {
                *value /= self.step_s as f32;
            }
        }
        if self.samples.len() == self.keep {
            self.samples.pop_front();
        }
        self.samples.push_back(joined);
        self.count += 1;
    }

    fn since(&self, after: u64) -> SeriesPage {
        let oldest = self.count - self.samples.len() as u64;
        // A number in the future comes from before a restart: every sample is new for this client.
        let skip = if after > self.count { 0 } else { after.saturating_sub(oldest) as usize };
        let samples: Vec<_> = self.samples.iter().skip(skip).copied().collect();
        SeriesPage { step_s: self.step_s, first: oldest + skip as u64 + 1, last: self.count, samples }
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::METRICS;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_figure_is_of_known_metrics() {
        let known = |name: &&str| METRICS.iter().any(|metric| metric.name == *name);
        assert!(FIGURES.iter().all(|figure| !figure.metrics.is_empty() && figure.metrics.iter().all(known)));
    }

    fn sample(value: f32) -> Sample {
        [value; FIGURES.len()]
    }

    fn figure(name: &str) -> usize {
        FIGURES.iter().position(|figure| figure.name == name).unwrap()
    }

    #[test]
    fn gauges_are_averaged_and_counts_are_added() {
        let mut series = Series::default();
        (1..=30).for_each(|n| series.push(sample(n as f32)));
        let coarse = series.since(15, 0).unwrap();
        assert_eq!((coarse.first, coarse.last), (1, 2));
        let of = |name| coarse.samples.iter().map(|sample| sample[figure(name)]).collect::<Vec<_>>();
        assert_eq!(of("connections"), [8.0, 23.0]);
        assert_eq!(of("closed_too_slow"), [120.0, 345.0]);
        assert_eq!(series.since(120, 0).unwrap().samples, Vec::<Sample>::new());
        assert_eq!(series.since(7, 0), None);
    }

    proptest! {
        #[test]
        fn new_samples_are_returned_once_and_without_gaps(pushes in 0_u64..2_000, after in 0_u64..2_100) {
            let mut series = Series::default();
            (1..=pushes).for_each(|n| series.push(sample(n as f32)));
            for (step_s, keep) in SPANS {
                let page = series.since(step_s, after).unwrap();
                prop_assert_eq!(page.last, pushes / step_s);
                prop_assert!(page.samples.len() <= keep);
                prop_assert_eq!(page.first + page.samples.len() as u64, page.last + 1);
                let known = if after > page.last { 0 } else { after };
                prop_assert_eq!(page.first, known.max(page.last.saturating_sub(keep as u64)) + 1);
                if step_s == 1 {
                    let numbers: Vec<u64> = page.samples.iter().map(|sample| sample[0] as u64).collect();
                    prop_assert_eq!(numbers, (page.first..=page.last).collect::<Vec<_>>());
                }
            }
        }
    }
}
