//! Memory of idle connections, and the CPU that keeps them alive.

use super::{CHANNEL, QUIET, channelstream};
use crate::generator::crowd::Crowd;
use crate::generator::process::{cpu_ns, memory};
use crate::report::{Spread, mib};
use clap::Args;
use std::io;
use std::time::{Duration, Instant};

#[derive(Args)]
pub struct Options {
    /// Connections
    #[arg(long, default_value_t = 10_000)]
    subscribers: usize,
    /// Heartbeat intervals, in ms, whose CPU is measured; 0 is none
    #[arg(long, value_delimiter = ',', default_value = "0,25000,5000")]
    heartbeats: Vec<u64>,
    /// Seconds of idling; twice this long for heartbeats that are rarer
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!("{} idle websocket connections: median (min-max) of {} runs", options.subscribers, options.runs);
    let mut clean = true;
    for &heartbeat in &options.heartbeats {
        clean &= with_heartbeat(options, heartbeat)?;
    }
    Ok(clean)
}

fn with_heartbeat(options: &Options, heartbeat_ms: u64) -> io::Result<bool> {
    let heartbeat = format!("heartbeat_interval_ms={heartbeat_ms}");
    let settings: Vec<&str> = QUIET.iter().copied().chain([heartbeat.as_str()]).collect();
    let [mut rss, mut anonymous, mut base, mut cpu] = [const { Spread::new() }; 4];
    let (mut connect, mut clean) = (Spread::new(), true);
    for _ in 0..options.runs {
        let server = channelstream(&settings)?;
        let mut crowd = Crowd::new()?;
        // The first connection pays for what all share.
        crowd.subscribe(server.address, CHANNEL, 1)?;
        idle(&mut crowd, Duration::from_millis(500))?;
        let before = memory(server.pid())?;
        let cpu_before = cpu_ns(server.pid())?;
        crowd.subscribe(server.address, CHANNEL, options.subscribers - 1)?;
        idle(&mut crowd, Duration::from_secs(1))?;
        let count = (options.subscribers - 1) as f64;
        connect.add((cpu_ns(server.pid())? - cpu_before) as f64 / 1000.0 / count);
        let after = memory(server.pid())?;
        base.add(before.rss as f64 / f64::from(1 << 20));
        rss.add((after.rss - before.rss) as f64 / count);
        anonymous.add((after.anonymous - before.anonymous) as f64 / count);
        let span = Duration::from_secs(options.seconds).max(Duration::from_millis(heartbeat_ms));
        let (begin, cpu_begin) = (Instant::now(), cpu_ns(server.pid())?);
        idle(&mut crowd, span)?;
        cpu.add((cpu_ns(server.pid())? - cpu_begin) as f64 / begin.elapsed().as_nanos() as f64 * 100.0);
        clean &= crowd.closed == 0 && crowd.strange == 0;
        println!("  run: base {}, with all {}", mib(before.rss), mib(after.rss));
    }
    println!("heartbeat every {heartbeat_ms} ms:");
    println!("  base, MiB resident:                  {base}");
    println!("  bytes per connection, resident:      {rss}");
    println!("  bytes per connection, anonymous:     {anonymous}");
    println!("  CPU of connect and handshake, µs:    {connect}");
    println!("  CPU while idle, % of a core:         {cpu}");
    println!("  {}", if clean { "clean" } else { "NOT CLEAN: sockets were closed" });
    Ok(clean)
}

/// Takes what comes for this long.
fn idle(crowd: &mut Crowd, span: Duration) -> io::Result<()> {
    let end = Instant::now() + span;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        crowd.turn(left, &mut [], |_, _| {})?;
    }
    Ok(())
}
