//! A server under steady load and steady coming and going: what it holds afterwards must be what it held before.

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
/// Everything that ends by itself ends soon, so that the end of a run is at rest, and what is kept up to a bound has
/// reached it when the run begins.
const SETTINGS: &[&str] = &[
    "grace_time_ms=1000",
    "unattached_timeout=3000",
    "user_idle_timeout_ms=1000",
    "poll_wait_ms=400",
    "max_queued_bytes=262144",
    "channel_frames=20",
    "recorder_bytes=262144",
];
/// Longer than all of these together, also on a machine that is busy with other things.
const REST: Duration = Duration::from_secs(60);
/// The time in which a client of each kind has come and gone, and in which the last ones end.
const PATIENCE: Duration = Duration::from_secs(60);
/// A message goes out so often to all who stay.
const INTERVAL: Duration = Duration::from_millis(20);
const MESSAGE_BYTES: usize = 400;
/// Looks of a run that are shown.
const SHOWN: u32 = 30;
/// Latencies that are kept: enough for a percentile, and no burden for hours.
const KEPT_LATENCIES: usize = 4 << 20;

/// How long, and with how many.
pub struct Plan {
    /// Websockets that stay for the whole time.
    pub members: usize,
    /// Threads on each of which one client after the other comes and goes.
    pub churners: usize,
    /// Before the first look.
    pub warm_up: Duration,
    /// Between the looks.
    pub span: Duration,
    /// Cores of the server; those of the caller if none is named.
    pub cores: &'static [usize],
}

/// What came of it.
pub struct Outcome {
    /// At rest after the warm-up, and after the span.
    pub before: Held,
    pub after: Held,
    /// The most of each in between, by a look each second.
    pub peak: Held,
    /// Clients that came and went, of each kind.
    pub clients: [u64; KINDS],
    /// Sessions that were closed because their peers did not read.
    pub too_slow: u64,
    /// Deliveries to those who stayed, and how many µs the slowest of a hundred took.
    pub deliveries: u64,
    pub p99_us: u32,
    /// What is wrong with what those who stayed got.
    pub faults: Vec<String>,
}

/// Runs a server of this program; `look` sees what it holds, now and then.
pub fn run(program: &str, plan: &Plan, mut look: impl FnMut(Duration, &Held)) -> io::Result<Outcome> {
    let mut load = Load::start(program, plan)?;
    load.churn(plan.churners, plan.warm_up, |_, _| ())?;
    let before = load.rest(None)?;
    let (warm_up, too_slow) = (load.ledger.deliveries, load.too_slow()?);
    load.latencies.clear();
    let (mut peak, mut shown) = (before, 0);
    let clients = load.churn(plan.churners, plan.span, |elapsed, held| {
        peak = peak.most(held);
        if elapsed >= plan.span / SHOWN * shown {
            look(elapsed, held);
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

/// A server, those who stay, and what they have got.
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

    /// A second of messages to all who stay. They read nothing else: nothing may be waited for in another way, or the
    /// server would close them as silent.
    fn second(&mut self) -> io::Result<Held> {
        let count = (1_000 / INTERVAL.as_millis()) as u32;
        let some = paced(&mut self.crowd, &mut self.publisher, &mut self.ledger, count, INTERVAL)?;
        if self.latencies.len() < KEPT_LATENCIES {
            self.latencies.extend(some);
        }
        Held::now(&self.server)
    }

    /// Clients come and go all the while, and until there was one of each kind.
    fn churn(
        &mut self,
        churners: usize,
        span: Duration,
        mut look: impl FnMut(Duration, &Held),
    ) -> io::Result<[u64; KINDS]> {
        let begin = Instant::now();
        let mut clients = Clients::start(self.server.address, churners);
        while begin.elapsed() < span || !clients.of_each_kind() {
            look(begin.elapsed(), &self.second()?);
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

    /// What is held when everybody who came and went is forgotten and nothing changes any more. If there was a `before`
    /// that is to come back, it is waited for; what is held when that takes too long is the answer as well.
    fn rest(&mut self, before: Option<&Held>) -> io::Result<Held> {
        let members = self.crowd.len() as u64;
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
        let counts = [
            (skipped, "lost"),
            (late, "repeated or out of order"),
            (self.crowd.closed, "sockets closed"),
            (self.crowd.strange, "frames that nobody sent"),
            (self.publisher.refused, "refused"),
        ];
        counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect()
    }
}

/// All channels that there will ever be, for they are never removed.
fn create_channels(server: SocketAddr) -> io::Result<()> {
    let names = (0..SIDE_CHANNELS).map(|index| format!("side{index}")).chain([LARGE.to_owned()]);
    let settings = r#"{"notify_presence":true,"store_history":true,"history_size":5}"#;
    let all: Vec<String> = names.map(|name| format!(r#""{name}":{settings}"#)).collect();
    let body = format!("{{{}}}", all.join(","));
    Backend::new(server)?.call(&[request("POST", "/channel_config", &body)]).map(drop)
}

/// The threads of those who come and go.
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

    /// None ends before it is told to, unless something went wrong.
    fn end_if_one_failed(&mut self) -> io::Result<()> {
        self.threads
            .extract_if(.., |thread| thread.is_finished())
            .try_for_each(|thread| thread.join().map_err(|_| failure("a client panicked"))?)
    }
}
