//! All clients lose their sockets and return at once with what they have: with tokens, which need no call of a backend,
//! and with a /connect call for each.

use super::{CHANNEL, QUIET, channelstream};
use crate::compare::faults;
use crate::generator::backend::{Backend, request};
use crate::generator::crowd::Crowd;
use crate::generator::drive::{Plan, closed_loop};
use crate::generator::failure;
use crate::generator::handshake::{Transport, send_connects, token};
use crate::generator::ledger::Ledger;
use crate::generator::memory::Idle;
use crate::generator::meter::Meter;
use crate::generator::publisher::Publisher;
use crate::generator::server::{SECRET, Server, TOKEN_SECRET};
use crate::generator::socket::PATIENCE;
use crate::report::{MEMORY, Memories, SPREAD, Spread, Table, cells, verdict};
use clap::Args;
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Messages before the clients lose their sockets, and while they are away.
const BEFORE: u32 = 5;
const MISSED: u32 = 10;
/// Clients learn their cursors from heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Tokens are valid for this many seconds, and connections for longer than a run takes.
const VALID_S: u64 = 3600;
const PATIENT: &[&str] = &["unattached_timeout=3600000", "grace_time_ms=3600000"];
/// Clients that call /connect together.
const BATCH: usize = 100;

#[derive(Args)]
pub struct Options {
    /// Clients
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// How a client returns.
#[derive(Clone, Copy, Default, PartialEq)]
enum By {
    #[default]
    Token,
    Connect,
}

/// The results of the runs of one line.
#[derive(Default)]
struct Line {
    by: By,
    seconds: Spread,
    us: Spread,
    x_connect: Spread,
    requests: Spread,
    recovered: Spread,
    memory: Memories,
    faults: Vec<String>,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!(
        "{} clients lose their sockets, miss {MISSED} messages and return: median (min-max) of {} runs",
        options.clients, options.runs
    );
    let own = [
        ("return with", 11),
        ("s until all have everything", 0),
        ("µs per client", SPREAD),
        ("x /connect", SPREAD),
        ("requests", SPREAD),
        ("streams recovered", 20),
    ];
    let table = Table::new(&[&own[..], &MEMORY, &[("runs", 5)]].concat());
    let mut lines = [By::Token, By::Connect].map(|by| Line { by, ..Line::default() });
    for _ in 0..options.runs {
        let us = [lines[0].measure(options.clients)?, lines[1].measure(options.clients)?];
        lines.iter_mut().zip(us).for_each(|(line, own)| line.x_connect.add(own / us[1]));
    }
    for line in &lines {
        let name = if line.by == By::Token { "tokens" } else { "/connect" };
        let (requests, recovered) = (format!("{:.0}", line.requests), format!("{:.0}", line.recovered));
        let own = cells![name, line.seconds, line.us, line.x_connect, requests, recovered];
        table.row([own, line.memory.cells(), cells![verdict(&line.faults)]].concat());
    }
    Ok(lines.iter().all(|line| line.faults.is_empty()))
}

impl Line {
    /// Measures one run. Returns the server's CPU for each client that returned, in µs.
    fn measure(&mut self, clients: usize) -> io::Result<f64> {
        let mut stage = Stage::start(self.by, clients)?;
        stage.publish(BEFORE)?;
        // Two heartbeats later, each client has a cursor behind the last message.
        stage.read_for(HEARTBEAT * 2 + HEARTBEAT / 2)?;
        let idle = Idle::of(stage.server.pid())?;
        let cursors = stage.crowd.break_all();
        stage.wait_until_all_are_gone()?;
        stage.publish(MISSED)?;
        let hellos = hellos(self.by, &cursors);

        let before = Answered::read(&stage.server)?;
        let meter = Meter::start(stage.server.pid())?;
        attach(self.by, &mut stage.crowd, stage.server.address, &hellos)?;
        stage.read_everything()?;
        let cost = meter.stop()?;
        let since = Answered::read(&stage.server)?.since(&before);
        let us = cost.server_ns as f64 / 1000.0 / clients as f64;
        self.us.add(us);
        self.seconds.add(cost.elapsed.as_secs_f64());
        self.requests.add(since.requests as f64);
        self.recovered.add(since.recovered as f64);

        stage.publish(1)?;
        // Repeated deliveries arrive now.
        stage.read_for(HEARTBEAT / 2)?;
        self.faults.extend(self.memory.add(&idle.wait_for_release()?));
        self.faults.extend(since.faults(self.by, clients as u64));
        self.faults.extend(stage.faults());
        Ok(us)
    }
}

/// A server, its clients, and what they have received.
struct Stage {
    server: Server,
    crowd: Crowd,
    publisher: Publisher,
    ledger: Ledger,
    sent: u32,
}

impl Stage {
    /// Starts a server, and attaches all clients in the way in which they will return.
    fn start(by: By, clients: usize) -> io::Result<Self> {
        let heartbeat = format!("heartbeat_interval_ms={}", HEARTBEAT.as_millis());
        // Tokens have a secret of their own, so that the uses of the first one are signed requests.
        let secrets = format!("secrets={SECRET}\n{TOKEN_SECRET}");
        let settings = [QUIET, PATIENT, &[heartbeat.as_str(), secrets.as_str()]].concat();
        let server = channelstream(&settings)?;
        let mut crowd = Crowd::new()?;
        crowd.use_transport(Transport::Positions);
        attach(by, &mut crowd, server.address, &hellos(by, &vec![String::new(); clients]))?;
        // Only now: the server does not wait long for the first request of a connection.
        let mut publisher = Publisher::rest(server.address, CHANNEL, 64)?;
        crowd.add_publisher(0, &mut publisher)?;
        let mut stage = Self { server, crowd, publisher, ledger: Ledger::new(clients), sent: 0 };
        stage.read_everything()?;
        Ok(stage)
    }

    /// Reads until all clients are informed of their streams and have all messages.
    fn read_everything(&mut self) -> io::Result<()> {
        let begin = Instant::now();
        while self.ledger.completed() < self.sent || !self.crowd.faults().is_empty() {
            self.turn(HEARTBEAT)?;
            if begin.elapsed() > PATIENCE {
                return Err(failure(self.faults().join("; ")));
            }
        }
        Ok(())
    }

    fn read_for(&mut self, span: Duration) -> io::Result<()> {
        let end = Instant::now() + span;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.turn(left)?;
        }
        Ok(())
    }

    fn turn(&mut self, timeout: Duration) -> io::Result<bool> {
        let Self { crowd, publisher, ledger, .. } = self;
        crowd.turn(timeout, std::slice::from_mut(publisher), |client, number| ledger.note(client, number))
    }

    /// Publishes messages, and waits until all clients that are there have them.
    fn publish(&mut self, messages: u32) -> io::Result<()> {
        self.sent += messages;
        let Self { crowd, publisher, ledger, sent, .. } = self;
        if crowd.size() > 0 {
            return closed_loop(crowd, publisher, ledger, *sent, Plan::Window(1));
        }
        publisher.queue(ledger.completed(), messages)?;
        publisher.flush()?;
        while self.publisher.unanswered > 0 {
            if !self.turn(PATIENCE)? {
                return Err(failure("no answer to a publish"));
            }
        }
        Ok(())
    }

    fn wait_until_all_are_gone(&self) -> io::Result<()> {
        let (mut backend, begin) = (Backend::new(self.server.address)?, Instant::now());
        while backend.counter("sessions")? > 0 {
            if begin.elapsed() > PATIENCE {
                return Err(failure("the server did not notice that its clients are gone"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn faults(&self) -> Vec<String> {
        faults(&self.ledger, self.sent, &self.crowd, self.publisher.refused)
    }
}

/// The requests of clients with these cursors.
fn hellos(by: By, cursors: &[String]) -> Vec<Vec<u8>> {
    let query = |index: usize, cursor: &String| {
        let since = if cursor.is_empty() { String::new() } else { format!("&since={cursor}") };
        match by {
            By::Token => format!("{since}&token={}", token(index, CHANNEL, VALID_S)),
            By::Connect => since,
        }
    };
    let all = cursors.iter().enumerate();
    all.map(|(index, cursor)| Transport::Positions.hello(index, &query(index, cursor))).collect()
}

fn attach(by: By, crowd: &mut Crowd, server: SocketAddr, hellos: &[Vec<u8>]) -> io::Result<()> {
    if by == By::Token {
        return crowd.attach(server, hellos);
    }
    let mut backend = Backend::new(server)?;
    let size = hellos.len();
    for start in (0..size).step_by(BATCH) {
        let batch = start..size.min(start + BATCH);
        send_connects(&mut backend, |_| CHANNEL.to_owned(), batch.clone())?;
        crowd.attach(server, &hellos[batch])?;
    }
    Ok(())
}

/// What the server counted.
#[derive(Clone, Copy)]
struct Answered {
    /// Signed requests.
    requests: u64,
    /// Refused requests, handshakes and tokens.
    refused: u64,
    /// Streams that were recovered, and those that were not.
    recovered: u64,
    not_recovered: u64,
}

impl Answered {
    fn read(server: &Server) -> io::Result<Self> {
        let mut backend = Backend::new(server.address)?;
        let [refused, recovered, not_recovered] = backend.counters([
            "refusals of any kind",
            "streams recovered by returning clients",
            "streams not recovered,",
        ])?;
        let text = backend.call(&[request("GET", "/admin/secrets.json", "")])?.concat();
        let uses = serde_json::from_str::<Value>(&text)?["secrets"][0]["uses"].as_u64();
        let requests = uses.ok_or_else(|| failure(format!("no uses of a secret in {text}")))?;
        Ok(Self { requests, refused, recovered, not_recovered })
    }

    /// What was counted since an earlier reading, without the two requests of this one.
    fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: (self.requests - earlier.requests).saturating_sub(2),
            refused: self.refused - earlier.refused,
            recovered: self.recovered - earlier.recovered,
            not_recovered: self.not_recovered - earlier.not_recovered,
        }
    }

    fn faults(&self, by: By, clients: u64) -> Vec<String> {
        let requests = if by == By::Token { 0 } else { clients };
        let mut faults = Vec::new();
        if self.requests != requests {
            faults.push(format!("{} requests, {requests} expected", self.requests));
        }
        if self.recovered < clients || self.not_recovered + self.refused > 0 {
            let Self { refused, recovered, not_recovered, .. } = *self;
            faults.push(format!("{recovered} streams recovered, {not_recovered} not, {refused} refused"));
        }
        faults
    }
}
