//! Takes a sample of the server's figures every second, for the console's charts.

use super::endpoints::Console;
use crate::limits::in_flight::InFlight;
use crate::telemetry::Counters;
use crate::telemetry::log_sums;
use crate::telemetry::process::Process;
use crate::telemetry::series::Sample;
use actix::{Actor, AsyncContext, Context};
use std::sync::Arc;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(1);

/// Owns: the counters at the time of the last sample.
/// Started by: `server`, on the registry's thread.
/// Ends: with the server.
/// Mailbox: unused; its timer wakes it.
/// Talks to: no actor. It reads counters, writes the console's series, and logs the sums of log lines that clients
/// caused.
pub struct Sampler {
    console: Arc<Console>,
    counters: Arc<Counters>,
    in_flight: Arc<InFlight>,
    last: Measurement,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug)]
struct Measurement {
    at: Instant,
    deliveries: u64,
    publishes: u64,
    closed_too_slow: u64,
    refused_busy: u64,
    refusals: u64,
    closes: u64,
    process: Process,
}

impl Measurement {
    fn now(counters: &Counters) -> Self {
        Self {
            at: Instant::now(),
            deliveries: counters.deliveries.get(),
            publishes: counters.messages.get(),
            closed_too_slow: counters.closed_too_slow.get(),
            refused_busy: counters.refused_busy.get(),
            refusals: counters.refusals(),
            closes: counters.closes.sum(),
            process: Process::now(),
        }
    }
}

impl Sampler {
    /// Creates a sampler of these counters.
    pub fn new(console: Arc<Console>, counters: Arc<Counters>, in_flight: Arc<InFlight>) -> Self {
        let last = Measurement::now(&counters);
        Self { console, counters, in_flight, last }
    }

    fn sample(&mut self) {
        let (now, last) = (Measurement::now(&self.counters), self.last);
        let seconds = now.at.duration_since(last.at).as_secs_f32().max(0.001);
        let grown = |now: u64, last: u64| now.saturating_sub(last) as f32;
        let sample: Sample = [
            self.counters.connections.get() as f32,
            self.counters.users.get() as f32,
            self.counters.channels.get() as f32,
            grown(now.deliveries, last.deliveries) / seconds,
            grown(now.publishes, last.publishes) / seconds,
            (self.in_flight.hub_bytes.get() + self.in_flight.queued_bytes.get()) as f32,
            grown(now.closed_too_slow, last.closed_too_slow),
            grown(now.refused_busy, last.refused_busy),
            now.process.memory_bytes as f32,
            grown(now.process.cpu_us, last.process.cpu_us) / seconds / 10_000.0,
            grown(now.refusals, last.refusals) / seconds,
            grown(now.closes, last.closes) / seconds,
        ];
        self.console.series().push(sample);
        // The page of limits shows when each was reached.
        drop(self.console.last_seen(&self.counters));
        self.console.answers.sweep();
        self.console.recorder.forget();
        log_sums::log_sums();
        self.last = now;
    }
}

impl Actor for Sampler {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(INTERVAL, |sampler, _| sampler.sample());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::channel::Hubs;
    use crate::telemetry::recorder::Recorder;
    use crate::telemetry::series::FIGURES;

    #[test]
    fn a_sample_contains_the_increase_since_the_last() {
        let (console, counters) =
            (Arc::new(Console::new(Arc::new(Hubs::new(0)), Recorder::default())), Arc::<Counters>::default());
        let in_flight = Arc::new(InFlight::new(1, 1, 1, 1));
        counters.deliveries.add(1_000);
        let mut sampler = Sampler::new(console.clone(), counters.clone(), in_flight.clone());
        counters.connections.set(7);
        counters.closed_too_slow.add(3);
        counters.deliveries.add(50);
        counters.refused_origin.add(20);
        counters.closes.count(None);
        in_flight.hub_bytes.add(11);
        sampler.last.at -= Duration::from_secs(10);
        sampler.sample();
        sampler.sample();
        let samples = console.series().since(1, 0).unwrap().samples;
        let of = |name| {
            let index = FIGURES.iter().position(|figure| figure.name == name).unwrap();
            samples.iter().map(|sample| sample[index]).collect::<Vec<_>>()
        };
        assert_eq!(of("connections"), [7.0, 7.0]);
        assert_eq!(of("closed_too_slow"), [3.0, 0.0]);
        assert_eq!(of("queued_bytes"), [11.0, 11.0]);
        let deliveries = of("deliveries_per_s");
        assert!((4.9..=5.0).contains(&deliveries[0]) && deliveries[1] == 0.0, "{deliveries:?}");
        let (refusals, closes) = (of("refusals_per_s"), of("closes_per_s"));
        assert!((1.9..=2.0).contains(&refusals[0]) && refusals[1] == 0.0, "{refusals:?}");
        assert!((0.09..=0.1).contains(&closes[0]) && closes[1] == 0.0, "{closes:?}");
        assert!(of("memory_bytes").iter().all(|bytes| *bytes > 100_000.0));
    }
}
