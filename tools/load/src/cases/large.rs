//! Memory around one large broadcast.

use super::{CHANNEL, QUIET, channelstream};
use crate::compare::faults;
use crate::generator::crowd::Crowd;
use crate::generator::drive::{Plan, closed_loop};
use crate::generator::ledger::Ledger;
use crate::generator::memory::Idle;
use crate::generator::publisher::Publisher;
use crate::report::{Memories, SPREAD, Table, cells, verdict};
use clap::Args;
use std::io;
use std::time::Duration;

#[derive(Args)]
pub struct Options {
    /// Subscribers
    #[arg(long, default_value_t = 2000)]
    subscribers: usize,
    /// Bytes of the message's content
    #[arg(long, default_value_t = 60_000)]
    bytes: usize,
    /// Runs
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!(
        "one broadcast of {} bytes to {}, MiB resident: median (min-max) of {} runs",
        options.bytes, options.subscribers, options.runs
    );
    let table = Table::new(&[
        ("before", SPREAD),
        ("at the peak", SPREAD),
        ("after", SPREAD),
        ("settled s", SPREAD),
        ("runs", 5),
    ]);
    let mut memory = Memories::default();
    let mut wrong = Vec::new();
    for _ in 0..options.runs {
        let server = channelstream(QUIET)?;
        let pid = server.pid();
        let mut crowd = Crowd::new()?;
        crowd.subscribe(server.address, CHANNEL, options.subscribers)?;
        let mut publisher = Publisher::rest(server.address, CHANNEL, options.bytes)?;
        crowd.add_publisher(0, &mut publisher)?;
        let mut ledger = Ledger::new(options.subscribers);
        crowd.read_until_quiet(
            Duration::from_millis(500),
            std::slice::from_mut(&mut publisher),
            |_, _| {},
        )?;
        let idle = Idle::of(pid)?;
        closed_loop(&mut crowd, &mut publisher, &mut ledger, 1, Plan::Window(1))?;
        let quiet = Duration::from_millis(50);
        crowd.read_until_quiet(quiet, std::slice::from_mut(&mut publisher), |subscriber, number| {
            ledger.note(subscriber, number);
        })?;
        wrong.extend(memory.add(&idle.wait_for_release()?));
        wrong.extend(faults(&ledger, 1, &crowd, publisher.refused));
    }
    let Memories { before, peak, after, settled } = &memory;
    table.row(cells![before, peak, after, settled, verdict(&wrong)]);
    Ok(wrong.is_empty())
}
