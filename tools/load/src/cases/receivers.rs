//! The cost of messages for only some of the members of a channel.

use super::{CHANNEL, QUIET, channelstream};
use crate::generator::backend::{Backend, request};
use crate::generator::crowd::Crowd;
use crate::generator::failure;
use crate::generator::frames::{content, digits_at, renumber};
use crate::generator::memory::Idle;
use crate::generator::process::cpu_ns;
use crate::report::{MEMORY, Memories, SPREAD, Spread, Table, cells, verdict};
use clap::Args;
use std::io;
use std::time::{Duration, Instant};

/// The longest wait for deliveries.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Args)]
pub struct Options {
    /// Websockets in the channel, each of a user of its own
    #[arg(long, default_value_t = 10_000)]
    subscribers: usize,
    /// Messages of each kind, one after the other
    #[arg(long, default_value_t = 50)]
    messages: usize,
    /// Runs
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// The users that a message names, and whether they or all others receive it.
struct Kind {
    name: &'static str,
    field: &'static str,
    named: usize,
}

const KINDS: [Kind; 6] = [
    Kind { name: "all", field: "pm_users", named: 0 },
    Kind { name: "all but 1", field: "exclude_users", named: 1 },
    Kind { name: "all but 100", field: "exclude_users", named: 100 },
    Kind { name: "1", field: "pm_users", named: 1 },
    Kind { name: "10", field: "pm_users", named: 10 },
    Kind { name: "100", field: "pm_users", named: 100 },
];

impl Kind {
    /// The named users, spread over the channel.
    fn users(&self, subscribers: usize) -> impl Iterator<Item = usize> {
        let step = (subscribers / self.named.max(1)).max(1);
        (0..subscribers).step_by(step).take(self.named)
    }

    /// Whether a subscriber should receive it.
    fn receivers(&self, subscribers: usize) -> Vec<bool> {
        let private = self.field == "pm_users" && self.named > 0;
        let mut receivers = vec![!private; subscribers];
        self.users(subscribers).for_each(|user| receivers[user] = private);
        receivers
    }

    /// The body of such a message, and the position of its number.
    fn body(&self, subscribers: usize) -> io::Result<(Vec<u8>, usize)> {
        let names: Vec<String> = self.users(subscribers).map(|user| format!("\"u{user}\"")).collect();
        let (field, names, content) = (self.field, names.join(","), content(64));
        let message =
            format!(r#"[{{"user":"bench","channel":"{CHANNEL}","{field}":[{names}],"message":{content}}}]"#);
        let place = digits_at(message.as_bytes()).ok_or_else(|| failure("a message without number"))?;
        Ok((message.into_bytes(), place))
    }
}

/// The results of the runs of one kind.
#[derive(Default)]
struct Line {
    per_message: Spread,
    per_delivery: Spread,
    memory: Memories,
    faults: Vec<String>,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!(
        "CPU of the server in µs, {} websockets: median (min-max) of {} runs",
        options.subscribers, options.runs
    );
    let own = [("receivers", 11), ("per message", 26), ("per delivery", SPREAD)];
    let table = Table::new(&[&own[..], &MEMORY, &[("runs", 5)]].concat());
    let mut lines: [Line; KINDS.len()] = Default::default();
    for _ in 0..options.runs {
        once(options, &mut lines)?;
    }
    for (kind, line) in KINDS.iter().zip(&lines) {
        let own = cells![kind.name, format!("{:.1}", line.per_message), line.per_delivery];
        table.row([own, line.memory.cells(), cells![verdict(&line.faults)]].concat());
    }
    Ok(lines.iter().all(|line| line.faults.is_empty()))
}

fn once(options: &Options, lines: &mut [Line; KINDS.len()]) -> io::Result<()> {
    let server = channelstream(QUIET)?;
    let mut crowd = Crowd::new()?;
    crowd.subscribe(server.address, CHANNEL, options.subscribers)?;
    crowd.read_until_quiet(Duration::from_millis(300), &mut [], |_, _| {})?;
    let mut backend = Backend::new(server.address)?;
    for (kind, line) in KINDS.iter().zip(lines) {
        let (mut body, place) = kind.body(options.subscribers)?;
        let mut arrivals = Arrivals::new(kind.receivers(options.subscribers));
        let idle = Idle::of(server.pid())?;
        let mut used = 0;
        for number in 0..options.messages as u32 {
            renumber(&mut body, place, number);
            let call = request("POST", "/message", &String::from_utf8_lossy(&body));
            let cpu = cpu_ns(server.pid())?;
            backend.call(&[call])?;
            arrivals.wait(&mut crowd, number)?;
            used += cpu_ns(server.pid())? - cpu;
        }
        // Repeated and misdirected deliveries arrive now.
        crowd.read_until_quiet(Duration::from_millis(50), &mut [], |subscriber, number| {
            arrivals.note(subscriber, number);
        })?;
        let per_message = used as f64 / 1000.0 / options.messages as f64;
        line.per_message.add(per_message);
        line.per_delivery.add(per_message / arrivals.each as f64);
        line.faults.extend(line.memory.add(&idle.wait_for_release()?));
        line.faults.extend(arrivals.faults(options.messages, &crowd));
    }
    Ok(())
}

/// The deliveries of one kind of message.
struct Arrivals {
    receivers: Vec<bool>,
    /// Receivers of each message.
    each: usize,
    /// The next number of each subscriber.
    next: Vec<u32>,
    num_received: usize,
    /// Repeated, out of order, or behind a gap.
    wrong: u64,
    /// Received by subscribers that should not receive it.
    misdirected: u64,
}

impl Arrivals {
    fn new(receivers: Vec<bool>) -> Self {
        let each = receivers.iter().filter(|is_one| **is_one).count();
        Self { each, next: vec![0; receivers.len()], receivers, num_received: 0, wrong: 0, misdirected: 0 }
    }

    fn note(&mut self, subscriber: usize, number: u32) {
        if !self.receivers[subscriber] {
            self.misdirected += 1;
            return;
        }
        self.num_received += 1;
        self.wrong += u64::from(number != self.next[subscriber]);
        self.next[subscriber] = number + 1;
    }

    /// Waits until all its receivers have this message.
    fn wait(&mut self, crowd: &mut Crowd, number: u32) -> io::Result<()> {
        let (begin, upto) = (Instant::now(), self.each * (number as usize + 1));
        while self.num_received < upto {
            if begin.elapsed() > LIMIT {
                return Err(failure(format!(
                    "{} of {upto} deliveries arrived in {LIMIT:?}",
                    self.num_received
                )));
            }
            crowd.turn(Duration::from_millis(100), &mut [], |subscriber, number| {
                self.note(subscriber, number);
            })?;
        }
        Ok(())
    }

    fn faults(&self, messages: usize, crowd: &Crowd) -> Vec<String> {
        let lost = (self.each * messages).saturating_sub(self.num_received) as u64;
        let counts = [
            (lost, "lost"),
            (self.wrong, "repeated or out of order"),
            (self.misdirected, "to wrong receivers"),
        ];
        let faults = counts.into_iter().filter(|(count, _)| *count > 0);
        faults.map(|(count, what)| format!("{count} {what}")).chain(crowd.faults()).collect()
    }
}
