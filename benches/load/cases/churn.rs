//! What a client costs that comes and goes: /connect, websocket, close.

use super::{CHANNEL, QUIET, channelstream};
use crate::generator::backend::Backend;
use crate::generator::crowd::Crowd;
use crate::generator::failure;
use crate::generator::handshake::{connect, welcome};
use crate::generator::process::cpu_ns;
use crate::generator::socket::Dialer;
use crate::report::Spread;
use clap::Args;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// A masked close frame, status 1000.
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";
/// Records outlive their websockets for this long, so that giving them up is part of what is measured.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Args)]
pub struct Options {
    /// Members of the channel who stay, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "0,10000")]
    members: Vec<usize>,
    /// Clients that come and go, one after the other
    #[arg(long, default_value_t = 3000)]
    cycles: usize,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!(
        "CPU of the server in µs per client that comes and goes: median (min-max) of {} runs",
        options.runs
    );
    println!(
        "{:>7}  {:22} {:22} {:>9}  runs",
        "members", "until it is closed", "giving up its record", "clients/s"
    );
    let mut clean = true;
    let mut spreads: Vec<[Spread; 3]> = options.members.iter().map(|_| Default::default()).collect();
    for _ in 0..options.runs {
        for (members, [coming, leaving, speed]) in options.members.iter().zip(&mut spreads) {
            let outcome = once(*members, options.cycles)?;
            coming.add(outcome.coming_us);
            leaving.add(outcome.leaving_us);
            speed.add(outcome.per_second);
            clean &= outcome.clean;
        }
    }
    let verdict = if clean { "clean" } else { "NOT CLEAN" };
    for (members, [coming, leaving, speed]) in options.members.iter().zip(&spreads) {
        println!("{members:>7}  {coming:22} {leaving:22} {:>9.0}  {verdict}", speed.median());
    }
    Ok(clean)
}

struct Outcome {
    coming_us: f64,
    leaving_us: f64,
    per_second: f64,
    clean: bool,
}

fn once(members: usize, cycles: usize) -> io::Result<Outcome> {
    let grace = format!("grace_time_ms={}", GRACE.as_millis());
    let settings: Vec<&str> = QUIET.iter().copied().chain([grace.as_str()]).collect();
    let server = channelstream(&settings)?;
    let mut crowd = Crowd::new()?;
    crowd.subscribe(server.address, CHANNEL, members)?;
    let mut backend = Backend::new(server.address)?;
    let mut dialer = Dialer::default();
    let mut client = |index: usize| {
        let handshake = connect(&mut backend, |_| CHANNEL.to_owned(), index..index + 1, false)?.concat();
        let mut stream = dialer.dial(server.address)?;
        stream.write_all(&handshake)?;
        come_and_go(stream)
    };
    // The first ones pay for what all share.
    let first = members..members + 100;
    let all = first.end..first.end + cycles;
    first.into_iter().try_for_each(&mut client)?;
    idle(&mut crowd, GRACE + Duration::from_secs(2))?;

    let (begin, cpu) = (Instant::now(), cpu_ns(server.pid())?);
    all.into_iter().try_for_each(&mut client)?;
    let (elapsed, closed) = (begin.elapsed(), cpu_ns(server.pid())?);
    // Longer than the grace time: it is counted from the moment when absence is noticed.
    idle(&mut crowd, GRACE + Duration::from_secs(2))?;
    let given_up = cpu_ns(server.pid())?;
    let us = |ns: u64| ns as f64 / 1000.0 / cycles as f64;
    Ok(Outcome {
        coming_us: us(closed - cpu),
        leaving_us: us(given_up - closed),
        per_second: cycles as f64 / elapsed.as_secs_f64(),
        clean: crowd.closed == 0 && crowd.strange == 0,
    })
}

/// Waits to be let in, says goodbye, and reads to the end.
fn come_and_go(mut stream: impl Read + Write) -> io::Result<()> {
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while welcome(&answer).is_none() {
        match stream.read(&mut buffer)? {
            0 => return Err(failure(format!("refused: {}", String::from_utf8_lossy(&answer)))),
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    stream.write_all(CLOSE)?;
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

fn idle(crowd: &mut Crowd, span: Duration) -> io::Result<()> {
    let end = Instant::now() + span;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        crowd.turn(left, &mut [], |_, _| {})?;
    }
    Ok(())
}
