//! The table of metrics: every counter and gauge of the server is declared once, with its name, its help and how it is read. The
//! debug page, the console's charts and the counts of failures iterate it.

use super::in_flight::InFlight;
use super::log_queue::LOG_QUEUE;
use super::process::Process;
use super::{Counters, ReceiptLevel};

/// Where a metric is read.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// A counter, which only grows.
    Counter(fn(&Counters) -> u64),
    /// A gauge, as the registry noted it last: at most a tenth of a second ago.
    Noted(fn(&Counters) -> u64),
    /// A gauge that is kept up to date.
    InFlight(fn(&InFlight) -> usize),
    /// A gauge of the process.
    Process(fn(&Process) -> u64),
    /// A counter of the process.
    ProcessCounter(fn(&Process) -> u64),
}

/// The effect on a client of a failure that a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A request or a socket was refused.
    Refused,
    /// Something was lost that no client waits for.
    Lost,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, unique in [`METRICS`].
    pub name: &'static str,
    /// What it counts or measures.
    pub help: &'static str,
    /// Where it is read.
    pub source: Source,
    /// The failure that it counts, if it counts one.
    pub failure: Option<Failure>,
}

/// The sources that metrics are read from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Counters, and the gauges of the registry.
    pub counters: &'a Counters,
    /// What is in flight inside.
    pub in_flight: &'a InFlight,
    /// The process.
    pub process: Process,
}

/// Name of the metric for requests that are refused because the server is busy.
pub const REFUSED_BUSY: &str = "refused_busy";
/// Name of the metric for connections that are refused because the process has no file descriptor left.
pub const REFUSED_NO_FILES: &str = "refused_no_files";
/// Name of the metric for requests that are refused because of the origin of the page.
pub const REFUSED_ORIGIN: &str = "refused_origin";
/// Name of the metric for requests that are refused because they are malformed.
pub const REFUSED_MALFORMED: &str = "refused_malformed";
/// Name of the metric for connection tokens that are refused.
pub const REFUSED_TOKEN: &str = "refused_token";
/// Name of the metric for log lines that are dropped.
pub const LOG_DROPPED: &str = "log_dropped";

/// Every metric, in the order of the debug page.
pub const METRICS: &[Metric] = &[
    noted("users_remembered", "users remembered", |counters| counters.remembered_users.get()),
    noted("users", "users active", |counters| counters.users.get()),
    noted("connections", "connections", |counters| counters.connections.get()),
    noted("channels", "channels", |counters| counters.channels.get()),
    noted("blocks", "users blocked, or with revoked tokens", |counters| counters.blocks.get()),
    in_flight("sessions", "sessions", |in_flight| in_flight.sessions.get()),
    counter("messages", "messages", |counters| counters.messages.get()),
    counter("messages_queued", "messages queued to connections", |counters| counters.queued.get()),
    counter("deliveries", "deliveries", |counters| counters.deliveries.get()),
    counter("streams_recovered", "streams recovered by returning clients", |counters| {
        counters.streams_recovered.get()
    }),
    counter(
        "streams_not_recovered",
        "streams in which returning clients may have missed something",
        |counters| counters.streams_not_recovered.get(),
    ),
    counter("receipts_given", "receipts", |counters| counters.receipts.given(ReceiptLevel::Position)),
    counter("receipts_late", "receipts that were late", |counters| {
        counters.receipts.late(ReceiptLevel::Position)
    }),
    counter("receipts_durable_given", "durable receipts", |counters| {
        counters.receipts.given(ReceiptLevel::Durable)
    }),
    counter("receipts_durable_late", "durable receipts that were late", |counters| {
        counters.receipts.late(ReceiptLevel::Durable)
    }),
    in_flight("idempotency_keys", "items stored with idempotency keys", |in_flight| {
        in_flight.idempotency_keys.get()
    }),
    counter("closed_too_slow", "sessions closed, too slow", |counters| counters.closed_too_slow.get()),
    counter("closed_silent", "sessions closed, silent", |counters| counters.closed_silent.get()),
    counter("closed_taken_over", "sessions taken over", |counters| counters.closed_taken_over.get()),
    counter("websockets_closed", "websockets closed", |counters| counters.closes.sum()),
    counter("refusals", "refusals of any kind", Counters::refusals),
    failure(REFUSED_BUSY, Failure::Refused, "requests refused, busy", |counters| counters.refused_busy.get()),
    counter("threads_lagged", "threads that lagged", |counters| counters.threads_lagged.get()),
    failure(REFUSED_NO_FILES, Failure::Refused, "connections refused, no file descriptors", |counters| {
        counters.refused_no_files.get()
    }),
    failure(REFUSED_ORIGIN, Failure::Refused, "requests refused, origin not allowed", |counters| {
        counters.refused_origin.get()
    }),
    failure(REFUSED_MALFORMED, Failure::Refused, "requests refused, malformed", |counters| {
        counters.refused_malformed.get()
    }),
    failure(REFUSED_TOKEN, Failure::Refused, "tokens refused", |counters| counters.refused_token.get()),
    failure(LOG_DROPPED, Failure::Lost, "log lines dropped", |_| LOG_QUEUE.dropped()),
    in_flight("registry_requests", "requests to the registry in flight", |in_flight| {
        in_flight.registry.get()
    }),
    in_flight("channel_messages", "messages to channels in flight", |in_flight| in_flight.channels.get()),
    in_flight("hub_bytes", "bytes to hubs in flight", |in_flight| in_flight.hub_bytes.get()),
    in_flight("body_bytes", "bytes of bodies in flight", |in_flight| in_flight.bodies.get()),
    in_flight(
        "unauthenticated_body_bytes",
        "bytes of bodies in flight, signature not verified",
        |in_flight| in_flight.unauthenticated_bodies.get(),
    ),
    in_flight("response_bytes", "bytes of large responses in flight", |in_flight| in_flight.responses.get()),
    in_flight("queued_bytes", "bytes queued for slow peers", |in_flight| in_flight.queued_bytes.get()),
    in_flight("queued_frames", "frames queued for slow peers", |in_flight| in_flight.queued_frames.get()),
    Metric {
        name: "memory_bytes",
        help: "bytes of memory, resident",
        source: Source::Process(|process| process.memory_bytes),
        failure: None,
    },
    Metric {
        name: "cpu_us",
        help: "microseconds of processor time",
        source: Source::ProcessCounter(|process| process.cpu_us),
        failure: None,
    },
];

const fn counter(name: &'static str, help: &'static str, read: fn(&Counters) -> u64) -> Metric {
    Metric { name, help, source: Source::Counter(read), failure: None }
}

const fn failure(name: &'static str, of: Failure, help: &'static str, read: fn(&Counters) -> u64) -> Metric {
    Metric { failure: Some(of), ..counter(name, help, read) }
}

const fn noted(name: &'static str, help: &'static str, read: fn(&Counters) -> u64) -> Metric {
    Metric { name, help, source: Source::Noted(read), failure: None }
}

const fn in_flight(name: &'static str, help: &'static str, read: fn(&InFlight) -> usize) -> Metric {
    Metric { name, help, source: Source::InFlight(read), failure: None }
}

impl Metric {
    pub fn read(&self, from: &Sources<'_>) -> u64 {
        match self.source {
            Source::Counter(read) | Source::Noted(read) => read(from.counters),
            Source::InFlight(read) => read(from.in_flight) as u64,
            Source::Process(read) | Source::ProcessCounter(read) => read(&from.process),
        }
    }
}

impl<'a> Sources<'a> {
    /// Reads the figures of the process, and combines them with these.
    pub fn now(counters: &'a Counters, in_flight: &'a InFlight) -> Self {
        Self { counters, in_flight, process: Process::now() }
    }

    /// The value of the metric with this name; 0 if there is none.
    pub fn value(&self, name: &str) -> u64 {
        METRICS.iter().find(|metric| metric.name == name).map_or(0, |metric| metric.read(self))
    }
}

/// The metrics that count failures, with their values.
pub fn failures(counters: &Counters) -> impl Iterator<Item = (&'static Metric, Failure, u64)> {
    METRICS.iter().filter_map(|metric| match (metric.failure, metric.source) {
        (Some(failure), Source::Counter(read)) => Some((metric, failure, read(counters))),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_metric_has_its_own_name_and_help() {
        let names: HashSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        let helps: HashSet<_> = METRICS.iter().map(|metric| metric.help).collect();
        assert_eq!((names.len(), helps.len()), (METRICS.len(), METRICS.len()));
    }

    #[test]
    fn a_metric_reads_what_it_is_named_after() {
        let (counters, in_flight) = (Counters::default(), InFlight::new(1, 1, 1, 1));
        counters.deliveries.add(5);
        counters.users.set(3);
        counters.refused_busy.add(2);
        in_flight.hub_bytes.add(7);
        let sources = Sources::now(&counters, &in_flight);
        let values =
            ["deliveries", "users", REFUSED_BUSY, "refusals", "hub_bytes"].map(|name| sources.value(name));
        assert_eq!(values, [5, 3, 2, 2, 7]);
        assert!(sources.value("memory_bytes") > 100_000);
        assert_eq!(failures(&counters).map(|(_, _, count)| count).sum::<u64>(), 2 + LOG_QUEUE.dropped());
    }
}
