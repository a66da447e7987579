//! CPU for each publish, with no listener or one, over several kept-alive connections. Beside it runs the baseline,
//! which reads the same bytes, sends the same answer, and writes a prepared frame.

use super::{CHANNEL, QUIET, baseline, channelstream};
use crate::compare::{Run, Sample, columns, in_turn};
use crate::generator::arrivals::Arrivals;
use crate::generator::backend::{Backend, request};
use crate::generator::crowd::Crowd;
use crate::generator::failure;
use crate::generator::frames::content;
use crate::generator::memory::Idle;
use crate::generator::meter::Meter;
use crate::generator::publisher::Publisher;
use crate::generator::server::Server;
use crate::report::{Table, cells};
use clap::Args;
use std::io;
use std::time::Duration;

/// Longest wait for the last answers and deliveries.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args)]
pub struct Options {
    /// Listeners, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "0,1")]
    subscribers: Vec<usize>,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// Connections
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Requests in flight on each connection, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    depths: Vec<usize>,
    /// Publishes in each run
    #[arg(long, default_value_t = 100_000)]
    messages: u32,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

impl Options {
    fn warm_up(&self) -> u32 {
        self.messages / 10
    }
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!("CPU of the server in µs per publish: median (min-max) of {} runs", options.runs);
    let table = Table::new(&columns(&[("listening", 0), ("in flight on each", 0)]));
    let mut clean = true;
    for &subscribers in &options.subscribers {
        for &depth in &options.depths {
            let compared = in_turn(
                options.runs,
                &[()],
                |()| measure_ours(options, subscribers, depth),
                |sample| measure_raw(options, subscribers, depth, sample),
            )?;
            table.row([cells![subscribers, depth], compared.cells(0)].concat());
            clean &= compared.is_clean();
        }
    }
    Ok(clean)
}

fn measure_ours(options: &Options, subscribers: usize, depth: usize) -> io::Result<Run> {
    let server = channelstream(QUIET)?;
    let mut crowd = Crowd::new()?;
    // The channel exists only after a first listener.
    crowd.subscribe(server.address, CHANNEL, subscribers.max(1))?;
    if subscribers == 0 {
        crowd = Crowd::new()?;
    }
    crowd.read_until_quiet(Duration::from_millis(500), &mut [], |_, _| {})?;
    let message =
        format!(r#"[{{"user":"bench","channel":"{CHANNEL}","message":{}}}]"#, content(options.bytes));
    let body = Backend::new(server.address)?.call(&[request("POST", "/message", &message)])?.concat();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncontent-type: application/json\r\n", body.len());
    let answer = format!("{head}date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n{body}").into_bytes();
    let publishers = publishers(options, || Publisher::rest(server.address, CHANNEL, options.bytes))?;
    crowd.read_until_quiet(Duration::from_millis(100), &mut [], |_, _| {})?;
    let mut run = measure(options, &server, crowd, publishers, depth)?;
    run.sample.answer = answer;
    let total = u64::from(options.warm_up() + options.messages) + 1;
    let counted = Backend::new(server.address)?.counter("messages")?;
    if counted != total {
        run.faults.push(format!("the server counted {counted} messages of {total}"));
    }
    Ok(run)
}

fn measure_raw(options: &Options, subscribers: usize, depth: usize, sample: &Sample) -> io::Result<Run> {
    let server = baseline()?;
    let mut crowd = Crowd::new()?;
    crowd.subscribe_raw(server.address, 1, subscribers)?;
    // Sends the frame, and publishes nothing.
    let _control = match subscribers {
        0 => None,
        _ => Some(Publisher::raw(server.address, &sample.frame, false)?),
    };
    let publishers = publishers(options, || {
        Publisher::rest_to_raw(server.address, CHANNEL, options.bytes, &sample.answer)
    })?;
    crowd.read_until_quiet(Duration::from_millis(200), &mut [], |_, _| {})?;
    measure(options, &server, crowd, publishers, depth)
}

fn publishers(options: &Options, new: impl Fn() -> io::Result<Publisher>) -> io::Result<Vec<Publisher>> {
    (0..options.connections).map(|_| new()).collect()
}

fn measure(
    options: &Options,
    server: &Server,
    mut crowd: Crowd,
    mut publishers: Vec<Publisher>,
    depth: usize,
) -> io::Result<Run> {
    for (index, publisher) in publishers.iter_mut().enumerate() {
        crowd.add_publisher(index, publisher)?;
    }
    let total = options.warm_up() + options.messages;
    let mut state = State { sent: 0, arrivals: Arrivals::new(publishers.len()) };
    state.publish(&mut crowd, &mut publishers, depth, options.warm_up())?;
    let idle = Idle::of(server.pid())?;
    let meter = Meter::start(server.pid())?;
    state.publish(&mut crowd, &mut publishers, depth, total)?;
    let cost = meter.stop()?;
    let quiet = Duration::from_millis(50);
    crowd.read_until_quiet(quiet, &mut publishers, |_, number| state.arrivals.note(number))?;
    let refused: u64 = publishers.iter().map(|publisher| publisher.refused).sum();
    let mut faults = state.arrivals.faults(u64::from(total) * crowd.size() as u64);
    faults.extend((refused > 0).then(|| format!("{refused} requests refused")));
    Ok(Run {
        units: f64::from(options.messages),
        cost,
        memory: idle.wait_for_release()?,
        per_channel: f64::NAN,
        per_connection: f64::NAN,
        faults,
        sample: Sample { frame: crowd.sample, answer: Vec::new() },
    })
}

struct State {
    sent: u32,
    arrivals: Arrivals,
}

impl State {
    /// Keeps `depth` requests in flight on each connection until this many are sent, answered and delivered.
    fn publish(
        &mut self,
        crowd: &mut Crowd,
        publishers: &mut [Publisher],
        depth: usize,
        upto: u32,
    ) -> io::Result<()> {
        loop {
            for (connection, publisher) in publishers.iter_mut().enumerate() {
                while publisher.unanswered < depth && self.sent < upto {
                    publisher.queue(self.sent, 1)?;
                    self.arrivals.expect(connection);
                    self.sent += 1;
                }
                publisher.flush()?;
            }
            let answered = publishers.iter().all(|publisher| publisher.unanswered == 0);
            let delivered = self.arrivals.count >= u64::from(upto) * crowd.size() as u64;
            if self.sent >= upto && answered && delivered {
                return Ok(());
            }
            if !crowd.turn(PATIENCE, publishers, |_, number| self.arrivals.note(number))? {
                return Err(failure(format!("stalled after {} messages", self.sent)));
            }
        }
    }
}
