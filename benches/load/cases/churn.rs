//! What a client costs that comes and goes: /connect over a kept-alive connection, websocket, close. Beside it the
//! baseline, which accepts as many sockets and reads and writes the same bytes on them.

use super::{CHANNEL, QUIET, baseline, channelstream};
use crate::generator::backend::Backend;
use crate::generator::crowd::Crowd;
use crate::generator::failure;
use crate::generator::handshake::{call, connect, handshake, welcome};
use crate::generator::process::cpu_ns;
use crate::generator::server::Server;
use crate::generator::socket::Dialer;
use crate::report::Spread;
use clap::Args;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
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
        "{:>7}  {:22} {:22} {:22} {:22} {:>9}  runs",
        "members", "until it is closed", "raw", "x raw", "giving up its record", "clients/s"
    );
    let mut clean = true;
    let mut spreads: Vec<[Spread; 5]> = options.members.iter().map(|_| Default::default()).collect();
    for _ in 0..options.runs {
        for (members, [coming, raw, ratio, leaving, speed]) in options.members.iter().zip(&mut spreads) {
            let outcome = once(*members, options.cycles)?;
            let raw_us = once_raw(&outcome.sample, options.cycles)?;
            coming.add(outcome.coming_us);
            raw.add(raw_us);
            ratio.add(outcome.coming_us / raw_us);
            leaving.add(outcome.leaving_us);
            speed.add(outcome.per_second);
            clean &= outcome.clean;
        }
    }
    let verdict = if clean { "clean" } else { "NOT CLEAN" };
    for (members, [coming, raw, ratio, leaving, speed]) in options.members.iter().zip(&spreads) {
        let speed = speed.median();
        println!("{members:>7}  {coming:22} {raw:22} {ratio:22} {leaving:22} {speed:>9.0}  {verdict}");
    }
    Ok(clean)
}

struct Outcome {
    coming_us: f64,
    leaving_us: f64,
    per_second: f64,
    clean: bool,
    sample: Sample,
}

/// One client's bytes, for the baseline to imitate: what it and its backend say, and what they are answered.
struct Sample {
    call: Vec<u8>,
    called: Vec<u8>,
    handshake: Vec<u8>,
    welcome: Vec<u8>,
    goodbye: Vec<u8>,
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
        come_and_go(&mut dialer, server.address, &handshake).map(drop)
    };
    // The first ones pay for what all share.
    let first = members..members + 100;
    let all = first.end..first.end + cycles;
    first.into_iter().try_for_each(&mut client)?;
    let sample = sample(&server, all.end)?;
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
        sample,
    })
}

/// Lets one more client come and go, and keeps what was said.
fn sample(server: &Server, index: usize) -> io::Result<Sample> {
    let (call, handshake) = (call(index, CHANNEL), handshake(index, false));
    let mut stream = Dialer::default().dial(server.address)?;
    stream.write_all(&call)?;
    let mut called = vec![0; 16 << 10];
    // Small, and written in one piece.
    let count = stream.read(&mut called)?;
    called.truncate(count);
    if !called.starts_with(b"HTTP/1.1 200") {
        return Err(failure(format!("refused: {}", String::from_utf8_lossy(&called))));
    }
    let (welcome, goodbye) = come_and_go(&mut Dialer::default(), server.address, &handshake)?;
    Ok(Sample { call, called, handshake, welcome, goodbye })
}

/// The CPU of the baseline for each client, in µs.
fn once_raw(sample: &Sample, cycles: usize) -> io::Result<f64> {
    let server = baseline()?;
    let mut dialer = Dialer::default();
    let mut control = dialer.dial(server.address)?;
    control.write_all(&[b"W".to_vec(), block(&sample.welcome), block(&sample.goodbye)].concat())?;
    control.read_exact(&mut [0])?;
    let mut backend = dialer.dial(server.address)?;
    let length = (sample.call.len() as u32).to_be_bytes();
    backend.write_all(&[b"R".to_vec(), length.to_vec(), block(&sample.called)].concat())?;
    let mut client = |_| {
        backend.write_all(&sample.call)?;
        backend.read_exact(&mut vec![0; sample.called.len()])?;
        come_and_go(&mut dialer, server.address, &sample.handshake).map(drop)
    };
    (0..100).try_for_each(&mut client)?;
    let cpu = cpu_ns(server.pid())?;
    (0..cycles).try_for_each(&mut client)?;
    Ok((cpu_ns(server.pid())? - cpu) as f64 / 1000.0 / cycles as f64)
}

fn block(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// Dials, waits to be let in, says goodbye, and reads to the end. Gives what was read before and after the goodbye.
fn come_and_go(dialer: &mut Dialer, server: SocketAddr, handshake: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut stream = dialer.dial(server)?;
    stream.write_all(handshake)?;
    let mut welcomed = Vec::new();
    let mut buffer = [0; 1024];
    while welcome(&welcomed).is_none() {
        match stream.read(&mut buffer)? {
            0 => return Err(failure(format!("refused: {}", String::from_utf8_lossy(&welcomed)))),
            count => welcomed.extend_from_slice(&buffer[..count]),
        }
    }
    stream.write_all(CLOSE)?;
    let mut goodbye = Vec::new();
    stream.read_to_end(&mut goodbye)?;
    Ok((welcomed, goodbye))
}

fn idle(crowd: &mut Crowd, span: Duration) -> io::Result<()> {
    let end = Instant::now() + span;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        crowd.turn(left, &mut [], |_, _| {})?;
    }
    Ok(())
}
