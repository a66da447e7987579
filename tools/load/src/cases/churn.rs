//! The cost of a client that connects and leaves: /connect over a kept-alive connection, websocket, close. Beside it
//! runs the baseline, which accepts as many sockets and reads and writes the same bytes on them.

use super::{CHANNEL, QUIET, baseline, channelstream};
use crate::compare::faults;
use crate::generator::backend::Backend;
use crate::generator::crowd::Crowd;
use crate::generator::drive::{Plan, closed_loop};
use crate::generator::failure;
use crate::generator::handshake::{Transport, call, connect, handshake, leave, welcome};
use crate::generator::ledger::Ledger;
use crate::generator::memory::Idle;
use crate::generator::process::cpu_ns;
use crate::generator::publisher::Publisher;
use crate::generator::server::Server;
use crate::generator::socket::Dialer;
use crate::report::{MEMORY, Memories, SPREAD, Spread, Table, cells, verdict};
use clap::Args;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

/// A masked close frame, status 1000.
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";
/// Records outlive their websockets for this long, so that the measurement includes their removal.
const GRACE: Duration = Duration::from_secs(3);

#[derive(Args)]
pub struct Options {
    /// Members of the channel that stay, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "0,10000")]
    members: Vec<usize>,
    /// Clients that connect and leave, one after the other
    #[arg(long, default_value_t = 3000)]
    cycles: usize,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// The results of the runs beside this many members.
#[derive(Default)]
struct Line {
    coming: Spread,
    raw: Spread,
    x_raw: Spread,
    leaving: Spread,
    per_second: Spread,
    memory: Memories,
    faults: Vec<String>,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!(
        "CPU of the server in µs per client that connects and leaves: median (min-max) of {} runs",
        options.runs
    );
    let own = [
        ("members", 0),
        ("until it is closed", 22),
        ("raw", SPREAD),
        ("x raw", SPREAD),
        ("giving up its record", 0),
        ("clients/s", 0),
    ];
    let table = Table::new(&[&own[..], &MEMORY, &[("runs", 5)]].concat());
    let mut lines: Vec<Line> = options.members.iter().map(|_| Line::default()).collect();
    for _ in 0..options.runs {
        for (&members, line) in options.members.iter().zip(&mut lines) {
            line.measure(members, options.cycles)?;
        }
    }
    for (members, line) in options.members.iter().zip(&lines) {
        let own = cells![
            members,
            line.coming,
            line.raw,
            line.x_raw,
            line.leaving,
            format!("{:.0}", line.per_second.median()),
        ];
        table.row([own, line.memory.cells(), cells![verdict(&line.faults)]].concat());
    }
    Ok(lines.iter().all(|line| line.faults.is_empty()))
}

/// One client's bytes, for the baseline to imitate: what the client and its backend send, and the answers.
struct Sample {
    call: Vec<u8>,
    called: Vec<u8>,
    handshake: Vec<u8>,
    welcome: Vec<u8>,
    close_answer: Vec<u8>,
}

impl Line {
    fn measure(&mut self, members: usize, cycles: usize) -> io::Result<()> {
        let grace = format!("grace_time_ms={}", GRACE.as_millis());
        let server = channelstream(&[QUIET, &[grace.as_str(), "user_idle_timeout_ms=500"]].concat())?;
        let mut crowd = Crowd::new()?;
        crowd.subscribe(server.address, CHANNEL, members)?;
        let mut backend = Backend::new(server.address)?;
        let mut dialer = Dialer::default();
        let mut client = |index: usize| {
            let hellos =
                connect(&mut backend, |_| CHANNEL.to_owned(), index..index + 1, Transport::Websocket)?;
            connect_and_close(&mut dialer, server.address, &hellos.concat()).map(drop)
        };
        // The first ones allocate what all share.
        let first = members..members + 100;
        let all = first.end..first.end + cycles;
        first.into_iter().try_for_each(&mut client)?;
        let sample = sample(&server, all.end)?;
        crowd.idle(GRACE + Duration::from_secs(2))?;

        let idle = Idle::of(server.pid())?;
        let (begin, cpu) = (Instant::now(), cpu_ns(server.pid())?);
        all.clone().try_for_each(&mut client)?;
        let (elapsed, closed) = (begin.elapsed(), cpu_ns(server.pid())?);
        // Longer than the grace time, which starts when the server notices the absence.
        crowd.idle(GRACE + Duration::from_secs(2))?;
        let given_up = cpu_ns(server.pid())?;
        let us = |ns: u64| ns as f64 / 1000.0 / cycles as f64;
        self.coming.add(us(closed - cpu));
        self.leaving.add(us(given_up - closed));
        self.per_second.add(cycles as f64 / elapsed.as_secs_f64());
        let raw = once_raw(&sample, cycles)?;
        self.raw.add(raw);
        self.x_raw.add(us(closed - cpu) / raw);
        self.faults.extend(self.memory.add(&idle.wait_for_release()?));
        self.faults.extend(leftovers(&server, all, members)?);
        self.faults.extend(still_delivers(&server, crowd)?);
        Ok(())
    }
}

/// Checks that the server has removed the records of all clients that have left.
fn leftovers(server: &Server, mut gone: Range<usize>, members: usize) -> io::Result<Option<String>> {
    let mut backend = Backend::new(server.address)?;
    let present = backend.counter("connections")?;
    if present != members as u64 {
        return Ok(Some(format!("{present} connections are present, {members} should be")));
    }
    let known = gone.find(|index| backend.call(&[leave(*index)]).is_ok());
    Ok(known.map(|index| format!("the record of client {index} still exists")))
}

/// Checks that the clients that stayed receive a broadcast once.
fn still_delivers(server: &Server, mut crowd: Crowd) -> io::Result<Vec<String>> {
    let mut ledger = Ledger::new(crowd.size());
    let mut publisher = Publisher::rest(server.address, CHANNEL, 64)?;
    crowd.add_publisher(0, &mut publisher)?;
    if crowd.size() > 0 {
        closed_loop(&mut crowd, &mut publisher, &mut ledger, 1, Plan::Window(1))?;
    }
    crowd.read_until_quiet(
        Duration::from_millis(50),
        std::slice::from_mut(&mut publisher),
        |subscriber, number| {
            ledger.note(subscriber, number);
        },
    )?;
    let total = u32::from(crowd.size() > 0);
    Ok(faults(&ledger, total, &crowd, publisher.refused))
}

/// Connects and closes one more client, and stores the bytes of both directions.
fn sample(server: &Server, index: usize) -> io::Result<Sample> {
    let (call, handshake) = (call(index, CHANNEL), handshake(index));
    let mut stream = Dialer::default().dial(server.address)?;
    stream.write_all(&call)?;
    let mut called = vec![0; 16 << 10];
    // It is small and written at once.
    let count = stream.read(&mut called)?;
    called.truncate(count);
    if !called.starts_with(b"HTTP/1.1 200") {
        return Err(failure(format!("refused: {}", String::from_utf8_lossy(&called))));
    }
    let (welcome, close_answer) = connect_and_close(&mut Dialer::default(), server.address, &handshake)?;
    Ok(Sample { call, called, handshake, welcome, close_answer })
}

/// The CPU of the baseline for each client, in µs.
fn once_raw(sample: &Sample, cycles: usize) -> io::Result<f64> {
    let server = baseline()?;
    let mut dialer = Dialer::default();
    let mut control = dialer.dial(server.address)?;
    control.write_all(&[b"W".to_vec(), block(&sample.welcome), block(&sample.close_answer)].concat())?;
    control.read_exact(&mut [0])?;
    let mut backend = dialer.dial(server.address)?;
    let length = (sample.call.len() as u32).to_be_bytes();
    backend.write_all(&[b"R".to_vec(), length.to_vec(), block(&sample.called)].concat())?;
    let mut client = |_| {
        backend.write_all(&sample.call)?;
        backend.read_exact(&mut vec![0; sample.called.len()])?;
        connect_and_close(&mut dialer, server.address, &sample.handshake).map(drop)
    };
    (0..100).try_for_each(&mut client)?;
    let cpu = cpu_ns(server.pid())?;
    (0..cycles).try_for_each(&mut client)?;
    Ok((cpu_ns(server.pid())? - cpu) as f64 / 1000.0 / cycles as f64)
}

fn block(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// Connects, waits for the handshake, sends a close frame, and reads to the end. Returns what it read before and after
/// the close frame.
fn connect_and_close(
    dialer: &mut Dialer,
    server: SocketAddr,
    handshake: &[u8],
) -> io::Result<(Vec<u8>, Vec<u8>)> {
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
    let mut close_answer = Vec::new();
    stream.read_to_end(&mut close_answer)?;
    Ok((welcomed, close_answer))
}
