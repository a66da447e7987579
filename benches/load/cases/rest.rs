//! How long a small signed request takes while a large fan-out never pauses.

use super::{CHANNEL, QUIET, channelstream};
use crate::generator::backend::{Backend, request};
use crate::generator::crowd::Crowd;
use crate::generator::drive::{Plan, closed_loop};
use crate::generator::failure;
use crate::generator::ledger::Ledger;
use crate::generator::publisher::Publisher;
use crate::report::quantiles;
use clap::Args;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The channel that is asked about, with one subscriber.
const SMALL: &str = "small";

#[derive(Args)]
pub struct Options {
    /// Subscribers of the fan-out
    #[arg(long, default_value_t = 10_000)]
    subscribers: usize,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// Messages of the fan-out under way
    #[arg(long, default_value_t = 1)]
    window: u32,
    /// Pause between two requests, in ms
    #[arg(long, default_value_t = 5)]
    pause_ms: u64,
    /// Seconds of each run
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Runs
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!("latency of POST /info of one channel with one subscriber:");
    let mut clean = true;
    for _ in 0..options.runs {
        clean &= once(options)?;
    }
    Ok(clean)
}

fn once(options: &Options) -> io::Result<bool> {
    let server = channelstream(QUIET)?;
    let mut crowd = Crowd::new()?;
    crowd.subscribe(server.address, CHANNEL, options.subscribers)?;
    let body = format!(
        r#"{{"username":"one","conn_id":"c0ffee00-0000-4000-9000-000000000000","channels":["{SMALL}"]}}"#
    );
    Backend::new(server.address)?.call(&[request("POST", "/connect", &body)])?;
    let mut publisher = Publisher::rest(server.address, CHANNEL, options.bytes)?;
    crowd.add_publisher(0, &mut publisher)?;
    crowd.settle(Duration::from_millis(300), std::slice::from_mut(&mut publisher), |_, _| {})?;

    let (span, pause) = (Duration::from_secs(options.seconds), Duration::from_millis(options.pause_ms));
    let stop = AtomicBool::new(false);
    let mut alone = ask(server.address, pause, span, &stop)?;
    println!("  without fan-out:  {} ({} requests)", quantiles(&mut alone), alone.len());

    let mut ledger = Ledger::new(options.subscribers);
    let begin = Instant::now();
    let mut busy = thread::scope(|scope| {
        let asking = scope.spawn(|| ask(server.address, pause, span, &stop));
        let mut fan_out = Ok(());
        while fan_out.is_ok() && !asking.is_finished() {
            let upto = ledger.completed() + options.window;
            fan_out =
                closed_loop(&mut crowd, &mut publisher, &mut ledger, upto, Plan::Window(options.window));
        }
        stop.store(true, Ordering::Relaxed);
        let latencies = asking.join().map_err(|_| failure("the asking thread ended early"))?;
        fan_out.and(latencies)
    })?;
    let rate = ledger.deliveries as f64 / begin.elapsed().as_secs_f64();
    println!(
        "  beside fan-out:   {} ({} requests, {rate:.0} deliveries/s)",
        quantiles(&mut busy),
        busy.len()
    );
    let total = ledger.completed();
    println!("  {}", ledger.describe(total));
    Ok(ledger.is_clean(total) && publisher.refused == 0 && crowd.closed == 0 && crowd.strange == 0)
}

/// Asks again and again for this long; how long each answer took, in µs.
fn ask(server: SocketAddr, pause: Duration, span: Duration, stop: &AtomicBool) -> io::Result<Vec<u32>> {
    let mut backend = Backend::new(server)?;
    let mut latencies = Vec::new();
    let end = Instant::now() + span;
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        let info = request("POST", "/info", &format!(r#"{{"info":{{"channels":["{SMALL}"]}}}}"#));
        let begin = Instant::now();
        backend.call(&[info])?;
        latencies.push(begin.elapsed().as_micros() as u32);
        thread::sleep(pause);
    }
    Ok(latencies)
}
