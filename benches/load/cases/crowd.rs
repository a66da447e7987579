//! A large crowd, with heartbeats and pings as they are by default, gets broadcasts; then the server's memory.

use super::{CHANNEL, channelstream};
use crate::generator::crowd::Crowd;
use crate::generator::drive::{Plan, closed_loop};
use crate::generator::ledger::Ledger;
use crate::generator::process::{cpu_ns, forget_peak, memory, peak};
use crate::generator::publisher::Publisher;
use crate::report::mib;
use clap::Args;
use std::io;
use std::time::{Duration, Instant};

#[derive(Args)]
pub struct Options {
    /// Connections
    #[arg(long, default_value_t = 10_000)]
    subscribers: usize,
    /// Broadcasts
    #[arg(long, default_value_t = 100)]
    messages: u32,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 64)]
    bytes: usize,
}

pub fn run(options: &Options) -> io::Result<bool> {
    let server = channelstream(&[])?;
    let pid = server.pid();
    println!("memory after the start:      {}", mib(memory(pid)?.rss));
    let begin = Instant::now();
    let mut crowd = Crowd::new()?;
    crowd.subscribe(server.address, CHANNEL, options.subscribers)?;
    let connected = begin.elapsed();
    let mut publisher = Publisher::rest(server.address, CHANNEL, options.bytes)?;
    crowd.add_publisher(0, &mut publisher)?;
    println!("{} connections in:        {:.1} s", options.subscribers, connected.as_secs_f64());
    println!("memory with all of them:     {}", mib(memory(pid)?.rss));
    forget_peak(pid)?;
    let mut ledger = Ledger::new(options.subscribers);
    let (begin, cpu) = (Instant::now(), cpu_ns(pid)?);
    closed_loop(&mut crowd, &mut publisher, &mut ledger, options.messages, Plan::Window(1))?;
    let (elapsed, cpu) = (begin.elapsed(), cpu_ns(pid)? - cpu);
    println!("{} broadcasts in:           {:.1} s", options.messages, elapsed.as_secs_f64());
    println!("CPU per delivery:            {:.2} µs", cpu as f64 / 1000.0 / ledger.deliveries as f64);
    println!("memory at the peak:          {}", mib(peak(pid)?));
    // Repetitions would come late.
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        let publishers = std::slice::from_mut(&mut publisher);
        crowd.turn(Duration::from_millis(100), publishers, |subscriber, number| {
            ledger.note(subscriber, number);
        })?;
    }
    let after = memory(pid)?;
    println!("memory afterwards:           {} (anonymous {})", mib(after.rss), mib(after.anonymous));
    println!("heartbeats meanwhile:        {}", crowd.heartbeats);
    let clean = ledger.is_clean(options.messages) && crowd.closed == 0 && crowd.strange == 0;
    println!("{} deliveries: {}", ledger.deliveries, ledger.describe(options.messages));
    drop(crowd);
    std::thread::sleep(Duration::from_secs(2));
    println!("memory when all have gone:   {}", mib(memory(pid)?.rss));
    Ok(clean)
}
