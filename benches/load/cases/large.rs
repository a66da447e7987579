//! Memory around one large broadcast.

use super::{CHANNEL, QUIET, channelstream};
use crate::generator::crowd::Crowd;
use crate::generator::drive::{Plan, closed_loop};
use crate::generator::ledger::Ledger;
use crate::generator::process::{forget_peak, memory, peak};
use crate::generator::publisher::Publisher;
use crate::report::Spread;
use clap::Args;
use std::io;
use std::time::Duration;

/// The time a server has to give memory back.
const REST: Duration = Duration::from_secs(5);

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
    let [mut idle, mut most, mut after] = [const { Spread::new() }; 3];
    let mut clean = true;
    for _ in 0..options.runs {
        let server = channelstream(QUIET)?;
        let pid = server.pid();
        let mut crowd = Crowd::new()?;
        crowd.subscribe(server.address, CHANNEL, options.subscribers)?;
        let mut publisher = Publisher::rest(server.address, CHANNEL, options.bytes)?;
        crowd.add_publisher(0, &mut publisher)?;
        let mut ledger = Ledger::new(options.subscribers);
        crowd.settle(Duration::from_millis(500), std::slice::from_mut(&mut publisher), |_, _| {})?;
        idle.add(mib(memory(pid)?.rss));
        forget_peak(pid)?;
        closed_loop(&mut crowd, &mut publisher, &mut ledger, 1, Plan::Window(1))?;
        most.add(mib(peak(pid)?));
        std::thread::sleep(REST);
        after.add(mib(memory(pid)?.rss));
        crowd.settle(Duration::from_millis(50), &mut [publisher], |subscriber, number| {
            ledger.note(subscriber, number);
        })?;
        clean &= ledger.is_clean(1) && crowd.closed == 0 && crowd.strange == 0;
    }
    let (bytes, subscribers) = (options.bytes, options.subscribers);
    println!("one broadcast of {bytes} bytes to {subscribers}, MiB resident: median (min-max)");
    println!("  idle before:     {idle}");
    println!("  at the peak:     {most}");
    println!("  5 s afterwards:  {after}");
    println!("  {}", if clean { "clean" } else { "NOT CLEAN" });
    Ok(clean)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
