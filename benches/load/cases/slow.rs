//! Clients that never read among others that do: nobody waits for them, they are closed, their memory comes back.

use super::{CHANNEL, QUIET, channelstream};
use crate::generator::backend::Backend;
use crate::generator::crowd::Crowd;
use crate::generator::drive::paced;
use crate::generator::ledger::Ledger;
use crate::generator::process::{forget_peak, memory, peak};
use crate::generator::publisher::Publisher;
use crate::generator::sleepers::Sleepers;
use crate::report::{mib, quantiles};
use clap::Args;
use std::io;
use std::time::Duration;

#[derive(Args)]
pub struct Options {
    /// Clients that read
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Clients that do not
    #[arg(long, default_value_t = 100)]
    slow: usize,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 16 << 10)]
    bytes: usize,
    /// Broadcasts
    #[arg(long, default_value_t = 400)]
    messages: u32,
    /// Broadcasts per second
    #[arg(long, default_value_t = 10)]
    rate: u32,
    /// The server's `max_queued_bytes`
    #[arg(long, default_value_t = 1 << 20)]
    bound: usize,
}

pub fn run(options: &Options) -> io::Result<bool> {
    let (subscribers, slow) = (options.subscribers, options.slow);
    println!("{subscribers} readers, {} broadcasts of {} bytes", options.messages, options.bytes);
    println!("latency of a delivery, from the moment its publish was due:");
    let alone = with_slow(options, 0)?;
    let beside = with_slow(options, slow)?;
    Ok(alone && beside)
}

fn with_slow(options: &Options, slow: usize) -> io::Result<bool> {
    let bound = format!("max_queued_bytes={}", options.bound);
    let settings: Vec<&str> = QUIET.iter().copied().chain([bound.as_str()]).collect();
    let server = channelstream(&settings)?;
    let pid = server.pid();
    let mut crowd = Crowd::new()?;
    crowd.subscribe(server.address, CHANNEL, options.subscribers)?;
    let mut publisher = Publisher::rest(server.address, CHANNEL, options.bytes)?;
    crowd.add_publisher(0, &mut publisher)?;
    let mut sleepers = Sleepers::subscribe(server.address, CHANNEL, options.subscribers, slow)?;
    let quiet = Duration::from_millis(300);
    crowd.settle(quiet, std::slice::from_mut(&mut publisher), |_, _| {})?;
    let before = memory(pid)?.rss;
    forget_peak(pid)?;
    let mut ledger = Ledger::new(options.subscribers);
    let interval = Duration::from_secs(1) / options.rate.max(1);
    let mut latencies = paced(&mut crowd, &mut publisher, &mut ledger, options.messages, interval)?;
    let peak = peak(pid)?;
    let quiet = Duration::from_secs(2);
    crowd.settle(quiet, std::slice::from_mut(&mut publisher), |subscriber, number| {
        ledger.note(subscriber, number);
    })?;
    let counted = Backend::new(server.address)?.counter("sessions closed, too slow")?;
    let hung_up = sleepers.hung_up()?;
    println!("  {slow:>4} that never read: {}", quantiles(&mut latencies));
    println!("       {}; {} of {slow} closed, {counted} counted", ledger.describe(options.messages), hung_up);
    println!(
        "       memory before {}, at the peak {}, afterwards {}",
        mib(before),
        mib(peak),
        mib(memory(pid)?.rss)
    );
    Ok(ledger.is_clean(options.messages) && hung_up == slow && counted == slow as u64)
}
