//! CPU for each delivery by long-poll: a message is published, all polls are answered, all poll again.

use super::{CHANNEL, QUIET, channelstream};
use crate::generator::backend::{Backend, request};
use crate::generator::failure;
use crate::generator::frames::{content, digits_at, renumber};
use crate::generator::ledger::Ledger;
use crate::generator::memory::Idle;
use crate::generator::pollers::Pollers;
use crate::generator::process::cpu_ns;
use crate::report::{MEMORY, Memories, SPREAD, Spread, Table, cells, verdict};
use clap::Args;
use std::io;
use std::time::Duration;

/// Longest wait for a delivery.
const PATIENCE: Duration = Duration::from_secs(20);
/// Rounds before the clock starts.
const WARM_UP: u32 = 5;

#[derive(Args)]
pub struct Options {
    /// Clients that poll
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// Messages in each run
    #[arg(long, default_value_t = 50)]
    messages: u32,
    /// Runs
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// The results of the runs.
#[derive(Default)]
struct Found {
    cpu: Spread,
    polls: Spread,
    memory: Memories,
    faults: Vec<String>,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!("{} clients that poll: median (min-max) of {} runs", options.subscribers, options.runs);
    let own = [("µs per delivery, with poll and answer", 0), ("polls per delivery", SPREAD)];
    let table = Table::new(&[&own[..], &MEMORY, &[("runs", 5)]].concat());
    let mut found = Found::default();
    for _ in 0..options.runs {
        found.measure(options)?;
    }
    let own = cells![found.cpu, found.polls];
    table.row([own, found.memory.cells(), cells![verdict(&found.faults)]].concat());
    Ok(found.faults.is_empty())
}

impl Found {
    fn measure(&mut self, options: &Options) -> io::Result<()> {
        let server = channelstream(QUIET)?;
        let mut pollers = Pollers::subscribe(server.address, CHANNEL, options.subscribers)?;
        let mut round = Round {
            backend: Backend::new(server.address)?,
            ledger: Ledger::new(options.subscribers),
            bytes: options.bytes,
        };
        pollers.turn(Duration::from_millis(300), |_, _| {})?;
        (0..WARM_UP).try_for_each(|_| round.publish(&mut pollers))?;
        let idle = Idle::of(server.pid())?;
        let (begin, answered) = (cpu_ns(server.pid())?, pollers.answered + pollers.empty);
        (0..options.messages).try_for_each(|_| round.publish(&mut pollers))?;
        let deliveries = f64::from(options.messages) * options.subscribers as f64;
        self.cpu.add((cpu_ns(server.pid())? - begin) as f64 / 1000.0 / deliveries);
        self.polls.add((pollers.answered + pollers.empty - answered) as f64 / deliveries);
        // Repeated deliveries arrive now.
        while pollers.turn(Duration::from_millis(200), |index, number| round.ledger.note(index, number))? {}
        self.faults.extend(self.memory.add(&idle.wait_for_release()?));
        let total = WARM_UP + options.messages;
        if !round.ledger.is_clean(total) || pollers.refused > 0 {
            self.faults.push(format!("{}, {} refused", round.ledger.describe(total), pollers.refused));
        }
        Ok(())
    }
}

struct Round {
    backend: Backend,
    ledger: Ledger,
    bytes: usize,
}

impl Round {
    /// Publishes the next message, and waits until all clients have received it and polled again.
    fn publish(&mut self, pollers: &mut Pollers) -> io::Result<()> {
        let number = self.ledger.completed();
        let text = format!(r#"[{{"user":"bench","channel":"{CHANNEL}","message":{}}}]"#, content(self.bytes));
        let mut text = text.into_bytes();
        let place = digits_at(&text).ok_or_else(|| failure("a message without number"))?;
        renumber(&mut text, place, number);
        self.backend.call(&[request("POST", "/message", &String::from_utf8_lossy(&text))])?;
        while self.ledger.completed() <= number {
            if !pollers.turn(PATIENCE, |index, number| self.ledger.note(index, number))? {
                return Err(failure(format!("stalled at message {number}")));
            }
        }
        Ok(())
    }
}
