//! Takes a sample of the server's figures every second, for the console's charts.

use super::endpoints::Console;
use crate::auth::Gate;
use crate::broker::drain::Drain;
use crate::broker::handle::node_list::NodeInfo;
use crate::broker::handle::nodes::Nodes;
use crate::telemetry::Counters;
use crate::telemetry::in_flight::InFlight;
use crate::telemetry::log_sums;
use crate::telemetry::metrics::Sources;
use crate::telemetry::series::{Reading, Sample};
use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use std::sync::Arc;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(1);

/// Owns: the metrics at the time of the last sample.
/// Started by: `server`, on the registry's thread.
/// Ends: with the server.
/// Mailbox: unused; its timer wakes it.
/// Talks to: no actor. It reads counters, writes the console's series, logs the sums of log lines that clients caused, and
/// frees expired data. If Redis decides, it states the figures of this node and reads those of the others; the series are then
/// those of all nodes.
pub struct Sampler {
    console: Arc<Console>,
    counters: Arc<Counters>,
    in_flight: Arc<InFlight>,
    gate: Arc<Gate>,
    last: (Instant, Reading),
    cluster: Option<ClusterSample>,
}

/// What a sample of the other nodes needs.
struct ClusterSample {
    nodes: Arc<Nodes>,
    drain: Arc<Drain>,
    /// Whether Redis has not answered the last request yet.
    is_reading: bool,
}

impl Sampler {
    /// Creates a sampler of these counters.
    pub fn new(
        console: Arc<Console>,
        counters: Arc<Counters>,
        in_flight: Arc<InFlight>,
        gate: Arc<Gate>,
    ) -> Self {
        let last = (Instant::now(), Reading::of(&Sources::now(&counters, &in_flight)));
        Self { console, counters, in_flight, gate, last, cluster: None }
    }

    /// Adds the nodes that Redis knows.
    #[must_use]
    pub fn with_nodes(self, nodes: Option<Arc<Nodes>>, drain: Arc<Drain>) -> Self {
        let cluster = nodes.map(|nodes| ClusterSample { nodes, drain, is_reading: false });
        Self { cluster, ..self }
    }

    /// States the sample of this node, and returns that of all nodes.
    fn sample_of_all(&self, sample: Sample) -> Sample {
        let Some(cluster) = &self.cluster else { return sample };
        let info = NodeInfo {
            connections: self.counters.connections.get(),
            users: self.counters.users.get(),
            channels: self.counters.channels.get(),
            draining: cluster.drain.has_begun(),
            secrets: self.gate.shared_fingerprints(),
            ..NodeInfo::default()
        };
        cluster.nodes.state(info.with_sample(&sample));
        cluster.nodes.sample(&sample)
    }

    fn refresh_nodes(&mut self, context: &mut Context<Self>) {
        let Some(cluster) = &mut self.cluster else { return };
        if std::mem::replace(&mut cluster.is_reading, true) {
            return;
        }
        let (nodes, gate, console) = (cluster.nodes.clone(), self.gate.clone(), self.console.clone());
        let refreshed = async move {
            let agreed = nodes.agree_on_cookie_secret(gate.cookie_secret());
            let ended = exchange_sign_outs(&console, &nodes);
            let (_, _, agreed, ()) = tokio::join!(nodes.refresh(), nodes.tally(), agreed, ended);
            agreed.into_iter().for_each(|secret| gate.agree_on_cookie_secret(secret));
        };
        let refreshed = refreshed.into_actor(self);
        context.spawn(refreshed.map(|_, sampler, _| {
            sampler.cluster.iter_mut().for_each(|cluster| cluster.is_reading = false);
        }));
    }

    fn sample(&mut self) {
        let (at, last) = self.last;
        self.last = (Instant::now(), Reading::of(&Sources::now(&self.counters, &self.in_flight)));
        let seconds = self.last.0.duration_since(at).as_secs_f32().max(0.001);
        let sample = self.last.1.since(&last, seconds);
        self.console.series().push(self.sample_of_all(sample));
        // The page of limits shows when each was reached.
        drop(self.console.last_seen(&self.counters));
        self.console.answers.sweep();
        self.console.recorder.forget();
        self.gate.idempotency.sweep();
        log_sums::log_sums();
    }
}

/// A sign-out is valid at all nodes. What Redis has not answered is stated again.
async fn exchange_sign_outs(console: &Console, nodes: &Nodes) {
    let ended = console.ended().take_unstated();
    match nodes.exchange_sign_outs(ended.clone()).await {
        Some(stated) => console.end_stated_sign_ins(stated),
        None => console.ended().state_later(ended),
    }
}

impl Actor for Sampler {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(INTERVAL, |sampler, context| {
            sampler.sample();
            sampler.refresh_nodes(context);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::recorder::Recorder;
    use crate::telemetry::series::FIGURES;

    #[test]
    fn a_sample_contains_the_increase_since_the_last() {
        let (console, counters) = (Arc::new(Console::new(Recorder::default())), Arc::<Counters>::default());
        let in_flight = Arc::new(InFlight::new(1, 1, 1, 1));
        counters.deliveries.add(1_000);
        let mut sampler = Sampler::new(
            console.clone(),
            counters.clone(),
            in_flight.clone(),
            Arc::new(Gate::new(Arc::default())),
        );
        counters.connections.set(7);
        counters.closed_too_slow.add(3);
        counters.deliveries.add(50);
        counters.refused_origin.add(20);
        counters.closes.count(None);
        in_flight.hub_bytes.add(11);
        sampler.last.0 -= Duration::from_secs(10);
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
