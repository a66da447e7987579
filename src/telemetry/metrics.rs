//! The table of metrics: every counter and gauge of the server is declared once, with its name, its help and how it is read. The
//! debug page, the console's charts and the counts of failures iterate it.

use super::causes::TokenCause;
use super::engine_metrics::EngineMetrics;
use super::in_flight::InFlight;
use super::log_queue::LOG_QUEUE;
use super::process::Process;
use super::{Counters, ReceiptLevel};
use crate::protocol::position::LossReason;

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
    /// A gauge of the link to Redis. There is none if this process decides by itself.
    Engine(fn(&EngineMetrics) -> u64),
    /// A counter of the link to Redis.
    EngineCounter(fn(&EngineMetrics) -> u64),
}

/// A failure that a metric counts.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    pub effect: FailureEffect,
    /// When it happens, for operators. Names are in backticks.
    pub about: &'static str,
}

/// The effect of a failure on a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureEffect {
    /// A request or a socket was refused.
    Refused,
    /// Something was lost that no client waits for.
    Lost,
    /// A returning client may have missed something of a stream.
    NotRecovered,
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
    /// The link to Redis, if Redis decides.
    pub engine: Option<EngineMetrics>,
}

/// Name of the metric for requests that are refused because the server is busy.
pub const REFUSED_BUSY: &str = "refused_busy";

/// Every metric, in the order of the debug page.
pub const METRICS: &[Metric] = &[
    noted("users_remembered", "users remembered", |counters| counters.remembered_users.get()),
    noted("users", "users active", |counters| counters.users.get()),
    noted("connections", "connections", |counters| counters.connections.get()),
    noted("channels", "channels", |counters| counters.channels.get()),
    noted("blocks", "users blocked, or with revoked tokens", |counters| counters.blocks.get()),
    in_flight("sessions", "sessions", |in_flight| in_flight.sessions.get()),
    in_flight("sessions_websocket", "sessions, websockets", |in_flight| in_flight.sessions.websocket.get()),
    in_flight("sessions_longpoll", "sessions, long-polls", |in_flight| in_flight.sessions.long_poll.get()),
    in_flight("sessions_sse", "sessions, event streams", |in_flight| in_flight.sessions.sse.get()),
    counter("messages", "messages", |counters| counters.messages.get()),
    counter("messages_queued", "messages queued to connections", |counters| counters.queued.get()),
    counter("deliveries", "deliveries", |counters| counters.deliveries.get()),
    counter("streams_recovered", "streams recovered by returning clients", |counters| {
        counters.streams_recovered.get()
    }),
    not_recovered(
        "not_recovered_evicted",
        "streams not recovered, evicted",
        "newer frames had displaced those that the client missed: a channel keeps at most `channel_frames`",
        |counters| counters.streams_not_recovered.of(LossReason::Evicted).get(),
    ),
    not_recovered(
        "not_recovered_not_kept",
        "streams not recovered, not kept",
        "the channel keeps no frames (`store_frames`), or kept none for a while",
        |counters| counters.streams_not_recovered.of(LossReason::NotKept).get(),
    ),
    not_recovered(
        "not_recovered_epoch",
        "streams not recovered, epoch",
        "the client's position is from before a restart, or of a private stream that has ended",
        |counters| counters.streams_not_recovered.of(LossReason::Epoch).get(),
    ),
    not_recovered(
        "not_recovered_ahead",
        "streams not recovered, ahead",
        "the client's position is one that the stream has not reached",
        |counters| counters.streams_not_recovered.of(LossReason::Ahead).get(),
    ),
    not_recovered(
        "not_recovered_joined_later",
        "streams not recovered, joined later",
        "the client's position is older than the subscription of its connection",
        |counters| counters.streams_not_recovered.of(LossReason::JoinedLater).get(),
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
    refused(
        REFUSED_BUSY,
        "requests refused, busy",
        "a queue of the server was full, or it stored too many signatures",
        |counters| counters.refused_busy.get(),
    ),
    counter("threads_lagged", "threads that lagged", |counters| counters.threads_lagged.get()),
    refused(
        "refused_no_files",
        "connections refused, no file descriptors",
        "the process has no free file descriptor",
        |counters| counters.refused_no_files.get(),
    ),
    refused(
        "refused_origin",
        "requests refused, origin not allowed",
        "the requesting page has an origin that is not in `allowed_origins`",
        |counters| counters.refused_origin.get(),
    ),
    refused(
        "refused_malformed",
        "requests refused, malformed",
        "the client's request is not HTTP, or is malformed",
        |counters| counters.refused_malformed.get(),
    ),
    refused(
        "refused_token_missing",
        "tokens refused, missing",
        "the client sent no connection token, and `require_tokens` is on",
        |counters| counters.refused_tokens.of(TokenCause::Missing).get(),
    ),
    refused(
        "refused_token_expired",
        "tokens refused, expired",
        "the token has expired, and the page has not replaced it in time",
        |counters| counters.refused_tokens.of(TokenCause::Expired).get(),
    ),
    refused(
        "refused_token_not_yet_valid",
        "tokens refused, not yet valid",
        "the token is valid or issued in the future only: the clocks of the two servers differ",
        |counters| counters.refused_tokens.of(TokenCause::NotYetValid).get(),
    ),
    refused(
        "refused_token_signature",
        "tokens refused, signature",
        "the token is signed with a secret or key that is not the server's, or was changed",
        |counters| counters.refused_tokens.of(TokenCause::Signature).get(),
    ),
    refused(
        "refused_token_key",
        "tokens refused, key",
        "the token's algorithm is not in `token_algorithms`, or no key of the server fits",
        |counters| counters.refused_tokens.of(TokenCause::Key).get(),
    ),
    refused(
        "refused_token_claims",
        "tokens refused, claims",
        "a claim is missing or wrong, or the token is for another audience, issuer or connection",
        |counters| counters.refused_tokens.of(TokenCause::Claims).get(),
    ),
    refused(
        "refused_token_malformed",
        "tokens refused, malformed",
        "the text is not a JSON Web Token, or is longer than `max_token_bytes`",
        |counters| counters.refused_tokens.of(TokenCause::Malformed).get(),
    ),
    refused(
        "refused_token_revoked",
        "tokens refused, revoked",
        "the application has revoked the tokens of the user",
        |counters| counters.refused_tokens.of(TokenCause::Revoked).get(),
    ),
    Metric {
        failure: Some(Failure {
            effect: FailureEffect::Lost,
            about: "the log queue was full because nothing reads the log, or writing a line failed",
        }),
        ..counter("log_dropped", "log lines dropped", |_| LOG_QUEUE.dropped())
    },
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
    engine("engine_up", "engine, connected to Redis", |engine| engine.up),
    engine("engine_term", "engine, term of Redis", |engine| engine.term),
    engine("engine_nodes", "engine, nodes", |engine| engine.nodes),
    engine("engine_pending_bytes", "engine, bytes of calls without a reply", |engine| engine.pending_bytes),
    engine("engine_push_bytes", "engine, bytes of mail at the last turn", |engine| engine.push_bytes),
    engine_counter("engine_reconnects", "engine, connections to Redis lost", |engine| engine.reconnects),
    engine_counter("engine_overruns", "engine, connections to Redis given up, too much mail", |engine| {
        engine.overruns
    }),
    engine_counter("engine_fenced", "engine, node numbers refused by Redis", |engine| engine.fenced),
    engine_counter("engine_unreplicated", "engine, calls whose changes too few replicas had", |engine| {
        engine.unreplicated
    }),
    engine_counter("engine_swept", "engine, calls that removed what dead nodes held", |engine| engine.swept),
    engine_counter("engine_reported_streams", "engine, streams reported as incomplete", |engine| {
        engine.reported_streams
    }),
    engine_counter("engine_settling_us", "engine, microseconds of waiting for reports of nodes", |engine| {
        engine.settling
    }),
    engine_counter("engine_entries", "engine, entries of streams received", |engine| engine.entries),
    engine_counter("engine_gaps", "engine, entries missing, everything was loaded again", |engine| {
        engine.gaps
    }),
    engine_counter("engine_reloads", "engine, streams loaded again", |engine| engine.reloads),
    engine_counter("engine_retired", "engine, streams begun again, found when they were loaded", |engine| {
        engine.retired
    }),
    engine_counter("engine_retired_all", "engine, times that all streams began again", |engine| {
        engine.retired_all
    }),
    engine_counter("engine_taken_from_nodes", "engine, connections taken over from other nodes", |engine| {
        engine.taken_from_nodes
    }),
    engine_counter("engine_taken_from_rows", "engine, connections taken over of dead nodes", |engine| {
        engine.taken_from_rows
    }),
    engine_counter("engine_batches", "engine, batches of calls", |engine| engine.batches),
    engine_counter("engine_batch_calls", "engine, calls in batches", |engine| engine.batch_calls),
];

const fn counter(name: &'static str, help: &'static str, read: fn(&Counters) -> u64) -> Metric {
    Metric { name, help, source: Source::Counter(read), failure: None }
}

const fn refused(
    name: &'static str,
    help: &'static str,
    about: &'static str,
    read: fn(&Counters) -> u64,
) -> Metric {
    let failure = Some(Failure { effect: FailureEffect::Refused, about });
    Metric { failure, ..counter(name, help, read) }
}

const fn not_recovered(
    name: &'static str,
    help: &'static str,
    about: &'static str,
    read: fn(&Counters) -> u64,
) -> Metric {
    let failure = Some(Failure { effect: FailureEffect::NotRecovered, about });
    Metric { failure, ..counter(name, help, read) }
}

const fn noted(name: &'static str, help: &'static str, read: fn(&Counters) -> u64) -> Metric {
    Metric { name, help, source: Source::Noted(read), failure: None }
}

const fn in_flight(name: &'static str, help: &'static str, read: fn(&InFlight) -> usize) -> Metric {
    Metric { name, help, source: Source::InFlight(read), failure: None }
}

const fn engine(name: &'static str, help: &'static str, read: fn(&EngineMetrics) -> u64) -> Metric {
    Metric { name, help, source: Source::Engine(read), failure: None }
}

const fn engine_counter(name: &'static str, help: &'static str, read: fn(&EngineMetrics) -> u64) -> Metric {
    Metric { name, help, source: Source::EngineCounter(read), failure: None }
}

impl Metric {
    /// Whether it has a value here.
    pub fn is_available(&self, from: &Sources<'_>) -> bool {
        from.engine.is_some() || !matches!(self.source, Source::Engine(_) | Source::EngineCounter(_))
    }

    /// Its value; 0 if it is not available.
    pub fn read(&self, from: &Sources<'_>) -> u64 {
        match self.source {
            Source::Counter(read) | Source::Noted(read) => read(from.counters),
            Source::InFlight(read) => read(from.in_flight) as u64,
            Source::Process(read) | Source::ProcessCounter(read) => read(&from.process),
            Source::Engine(read) | Source::EngineCounter(read) => from.engine.as_ref().map_or(0, read),
        }
    }
}

impl<'a> Sources<'a> {
    /// Reads the figures of the process, and combines them with these.
    pub fn now(counters: &'a Counters, in_flight: &'a InFlight) -> Self {
        Self { counters, in_flight, process: Process::now(), engine: None }
    }

    /// Adds the figures of the link to Redis.
    #[must_use]
    pub fn with_engine(self, engine: Option<EngineMetrics>) -> Self {
        Self { engine, ..self }
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

    #[test]
    fn metrics_of_the_engine_are_available_with_redis_only() {
        let (counters, in_flight) = (Counters::default(), InFlight::new(1, 1, 1, 1));
        let sources = Sources::now(&counters, &in_flight);
        let available = |from: &Sources<'_>| {
            METRICS
                .iter()
                .filter(|metric| metric.is_available(from) && metric.name.starts_with("engine_"))
                .count()
        };
        assert_eq!((available(&sources), sources.value("engine_term")), (0, 0));
        let with =
            sources.with_engine(Some(EngineMetrics { term: 3, reconnects: 2, ..EngineMetrics::default() }));
        assert_eq!((with.value("engine_term"), with.value("engine_reconnects")), (3, 2));
        assert_eq!(available(&with), 21);
    }
}
