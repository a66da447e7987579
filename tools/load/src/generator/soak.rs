//! A server under steady load while clients connect and leave: afterwards it must hold as much as before.

use super::backend::{Backend, request};
use super::churner::{Churner, KINDS, LARGE, SIDE_CHANNELS, Tally};
use super::crowd::Crowd;
use super::drive::paced;
use super::failure;
use super::held::Held;
use super::ledger::Ledger;
use super::publisher::Publisher;
use super::server::Server;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const CHANNEL: &str = "crowd";
/// Short lifetimes, so that nothing expires after a run, and bounded buffers are full when the run begins.
const SETTINGS: &[&str] = &[
    "grace_time_ms=1000",
    "unattached_timeout=3000",
    "user_idle_timeout_ms=1000",
    "poll_wait_ms=400",
    "max_queued_bytes=262144",
    "channel_frames=20",
    "recorder_bytes=262144",
];
/// Longer than all of these together, even on a busy machine.
const REST: Duration = Duration::from_secs(60);
/// The longest time for one client of each kind, and for the last clients to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// The interval of messages to all clients that stay.
const INTERVAL: Duration = Duration::from_millis(20);
const MESSAGE_BYTES: usize = 400;
/// The number of measurements of a run that are printed.
const SHOWN: u32 = 30;
/// The number of stored latencies: enough for a percentile, and a small part of memory after hours.
const KEPT_LATENCIES: usize = 4 << 20;

/// The times and numbers of a soak.
pub struct Plan {
    /// Websockets that stay for the whole time.
    pub members: usize,
    /// Threads, each of which runs one client after the other.
    pub churners: usize,
    /// The time before the first measurement.
    pub warm_up: Duration,
    /// The time between the two measurements.
    pub span: Duration,
    /// Cores of the server, or those of the caller if the list is empty.
    pub cores: &'static [usize],
}

/// The result of a soak.
pub struct Outcome {
    /// The idle server after the warm-up, and after the span.
    pub before: Held,
    pub after: Held,
    /// The largest values in between, measured each second.
    pub peak: Held,
    /// Clients of each kind that have ended.
    pub clients: [u64; KINDS],
    /// Sessions that were closed because their peers did not read.
    pub too_slow: u64,
    /// Deliveries to the clients that stayed, and the 99th percentile of their latency in µs.
    pub deliveries: u64,
    pub p99_us: u32,
    /// The faults of the deliveries to the clients that stayed.
    pub faults: Vec<String>,
}

/// Runs a server of this program. From time to time `report` receives what it holds.
pub fn run(program: &str, plan: &Plan, mut report: impl FnMut(Duration, &Held)) -> io::Result<Outcome> {
    let mut load = Load::start(program, plan)?;
    load.churn(plan.churners, plan.warm_up, |_, _| ())?;
    let before = load.rest(None)?;
    let (warm_up, too_slow) = (load.ledger.deliveries, load.too_slow()?);
    load.latencies.clear();
    let (mut peak, mut shown) = (before, 0);
    let clients = load.churn(plan.churners, plan.span, |elapsed, held| {
        peak = peak.most(held);
        if elapsed >= plan.span / SHOWN * shown {
            report(elapsed, held);
            shown += 1;
        }
    })?;
    let after = load.rest(Some(&before))?;
    load.latencies.sort_unstable();
    Ok(Outcome {
        before,
        after,
        peak,
        clients,
        too_slow: load.too_slow()? - too_slow,
        deliveries: load.ledger.deliveries - warm_up,
        p99_us: load.latencies.get(load.latencies.len() * 99 / 100).copied().unwrap_or(0),
        faults: load.faults(),
    })
}

/// A server, the clients that stay, and their deliveries.
struct Load {
    server: Server,
    crowd: Crowd,
    publisher: Publisher,
    ledger: Ledger,
    latencies: Vec<u32>,
}

impl Load {
    fn start(program: &str, plan: &Plan) -> io::Result<Self> {
        let Plan { members, cores, .. } = *plan;
        let server = Server::with_workers(program, SETTINGS, 2, cores)?;
        create_channels(server.address)?;
        let mut crowd = Crowd::new()?;
        crowd.subscribe(server.address, CHANNEL, members)?;
        let mut publisher = Publisher::rest(server.address, CHANNEL, MESSAGE_BYTES)?;
        crowd.add_publisher(0, &mut publisher)?;
        Ok(Self { server, crowd, publisher, ledger: Ledger::new(members), latencies: Vec::new() })
    }

    /// Publishes to all clients that stay for a second. Only this reads their sockets: any other long wait would make
    /// the server close them as silent.
    fn second(&mut self) -> io::Result<Held> {
        let count = (1_000 / INTERVAL.as_millis()) as u32;
        let some = paced(&mut self.crowd, &mut self.publisher, &mut self.ledger, count, INTERVAL)?;
        if self.latencies.len() < KEPT_LATENCIES {
            self.latencies.extend(some);
        }
        Held::now(&self.server)
    }

    /// Runs clients for the whole span, and until at least one of each kind has ended.
    fn churn(
        &mut self,
        churners: usize,
        span: Duration,
        mut report: impl FnMut(Duration, &Held),
    ) -> io::Result<[u64; KINDS]> {
        let begin = Instant::now();
        let mut clients = Clients::start(self.server.address, churners);
        while begin.elapsed() < span || !clients.of_each_kind() {
            report(begin.elapsed(), &self.second()?);
            clients.end_if_one_failed()?;
            if begin.elapsed() > span + PATIENCE {
                return Err(failure(format!("not a client of each kind: {:?}", clients.tally)));
            }
        }
        clients.stop.store(true, Relaxed);
        let begin = Instant::now();
        while !clients.have_ended() {
            self.second()?;
            if begin.elapsed() > PATIENCE {
                return Err(failure("clients did not end"));
            }
        }
        clients.end_if_one_failed()?;
        Ok(std::array::from_fn(|kind| clients.tally[kind].load(Relaxed)))
    }

    /// What the server holds after all clients that left have expired and nothing changes any more. With a `before`,
    /// waits until the server holds as much again. After too long a wait, returns what it holds then.
    fn rest(&mut self, before: Option<&Held>) -> io::Result<Held> {
        let members = self.crowd.size() as u64;
        let (begin, mut last) = (Instant::now(), Held::default());
        loop {
            let held = self.second()?;
            let alone = (held.users, held.connections, held.sessions) == (members, members, members)
                && held.queued == 0
                && held.counts() == last.counts();
            if alone && before.is_none_or(|before| held.is_as(before)) || begin.elapsed() > REST {
                return Ok(held);
            }
            last = held;
        }
    }

    fn too_slow(&self) -> io::Result<u64> {
        Backend::new(self.server.address)?.counter("sessions closed, too slow")
    }

    fn faults(&self) -> Vec<String> {
        let Ledger { skipped, late, .. } = self.ledger;
        let counts =
            [(skipped, "lost"), (late, "repeated or out of order"), (self.publisher.refused, "refused")];
        counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .chain(self.crowd.faults())
            .collect()
    }
}

/// All channels of the run. They are never removed.
fn create_channels(server: SocketAddr) -> io::Result<()> {
    let names = (0..SIDE_CHANNELS).map(|index| format!("side{index}")).chain([LARGE.to_owned()]);
    let settings = r#"{"notify_presence":true,"store_history":true,"history_size":5}"#;
    let all: Vec<String> = names.map(|name| format!(r#""{name}":{settings}"#)).collect();
    let body = format!("{{{}}}", all.join(","));
    Backend::new(server)?.call(&[request("POST", "/channel_config", &body)]).map(drop)
}

/// The threads of the clients that connect and leave.
struct Clients {
    stop: Arc<AtomicBool>,
    tally: Tally,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Clients {
    fn start(server: SocketAddr, churners: usize) -> Self {
        let (stop, tally) = (Arc::<AtomicBool>::default(), Tally::default());
        let start = |index| {
            let (stop, tally) = (stop.clone(), tally.clone());
            std::thread::spawn(move || Churner::new(server, index, tally)?.run(&stop))
        };
        let threads = (0..churners).map(start).collect();
        Self { stop, tally, threads }
    }

    fn of_each_kind(&self) -> bool {
        self.tally.iter().all(|count| count.load(Relaxed) > 0)
    }

    fn have_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// A thread ends before its stop signal only after an error.
    fn end_if_one_failed(&mut self) -> io::Result<()> {
        self.threads
            .extract_if(.., |thread| thread.is_finished())
            .try_for_each(|thread| thread.join().map_err(|_| failure("a client panicked"))?)
    }
}
