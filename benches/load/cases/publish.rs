//! CPU for each publish, with nobody or one listening, over several kept-alive connections; beside it the baseline,
//! which reads the same bytes, gives the same answer, and writes a ready frame.

use super::{CHANNEL, QUIET, baseline, channelstream};
use crate::generator::backend::{Backend, request};
use crate::generator::crowd::Crowd;
use crate::generator::failure;
use crate::generator::frames::content;
use crate::generator::process::cpu_ns;
use crate::generator::publisher::Publisher;
use crate::generator::server::Server;
use crate::report::Spread;
use clap::Args;
use std::io;
use std::time::{Duration, Instant};

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
    /// Requests under way on each connection, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    depths: Vec<usize>,
    /// Publishes in each run
    #[arg(long, default_value_t = 100_000)]
    messages: u32,
    /// Runs of each
    #[arg(long, default_value_t = 5)]
    runs: u32,
}

pub fn run(options: &Options) -> io::Result<bool> {
    println!("CPU of the server in µs per publish: median (min-max) of {} runs", options.runs);
    println!("{:>6} {:>6}  {:20} {:20} {:20} {:>9}  runs", "subs", "depth", "ours", "raw", "x raw", "ours/s");
    let mut clean = true;
    for &subscribers in &options.subscribers {
        for &depth in &options.depths {
            let [mut ours, mut raw, mut ratio, mut speed] = [const { Spread::new() }; 4];
            let mut good = true;
            for _ in 0..options.runs {
                let (of_ours, sample) = measure_ours(options, subscribers, depth)?;
                let of_raw = measure_raw(options, subscribers, depth, &sample)?;
                ours.add(of_ours.us);
                raw.add(of_raw.us);
                ratio.add(of_ours.us / of_raw.us);
                speed.add(of_ours.per_second);
                good &= of_ours.clean && of_raw.clean;
            }
            let (speed, verdict) = (speed.median(), if good { "clean" } else { "NOT CLEAN" });
            println!("{subscribers:>6} {depth:>6}  {ours:20} {raw:20} {ratio:20} {speed:>9.0}  {verdict}");
            clean &= good;
        }
    }
    Ok(clean)
}

struct Outcome {
    us: f64,
    per_second: f64,
    clean: bool,
}

/// What the baseline is to imitate: an answer and a frame.
struct Sample {
    answer: Vec<u8>,
    frame: Vec<u8>,
}

fn measure_ours(options: &Options, subscribers: usize, depth: usize) -> io::Result<(Outcome, Sample)> {
    let server = channelstream(QUIET)?;
    let mut crowd = Crowd::new()?;
    // Somebody has to listen once, or there is no channel.
    crowd.subscribe(server.address, CHANNEL, subscribers.max(1))?;
    if subscribers == 0 {
        crowd = Crowd::new()?;
    }
    crowd.settle(Duration::from_millis(500), &mut [], |_, _| {})?;
    let message =
        format!(r#"[{{"user":"bench","channel":"{CHANNEL}","message":{}}}]"#, content(options.bytes));
    let body = Backend::new(server.address)?.call(&[request("POST", "/message", &message)])?.concat();
    let publishers = publishers(options, || Publisher::rest(server.address, CHANNEL, options.bytes))?;
    crowd.settle(Duration::from_millis(100), &mut [], |_, _| {})?;
    let outcome = measure(options, &server, &mut crowd, publishers, depth)?;
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncontent-type: application/json\r\n", body.len());
    let answer = format!("{head}date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n{body}").into_bytes();
    Ok((outcome, Sample { answer, frame: crowd.sample }))
}

fn measure_raw(options: &Options, subscribers: usize, depth: usize, sample: &Sample) -> io::Result<Outcome> {
    let server = baseline()?;
    let mut crowd = Crowd::new()?;
    crowd.subscribe_raw(server.address, 1, subscribers)?;
    // Brings the frame, and publishes nothing.
    let _control = match subscribers {
        0 => None,
        _ => Some(Publisher::raw(server.address, &sample.frame, false)?),
    };
    let publishers = publishers(options, || {
        Publisher::rest_to_raw(server.address, CHANNEL, options.bytes, &sample.answer)
    })?;
    crowd.settle(Duration::from_millis(200), &mut [], |_, _| {})?;
    measure(options, &server, &mut crowd, publishers, depth)
}

fn publishers(options: &Options, new: impl Fn() -> io::Result<Publisher>) -> io::Result<Vec<Publisher>> {
    (0..options.connections).map(|_| new()).collect()
}

fn measure(
    options: &Options,
    server: &Server,
    crowd: &mut Crowd,
    mut publishers: Vec<Publisher>,
    depth: usize,
) -> io::Result<Outcome> {
    for (index, publisher) in publishers.iter_mut().enumerate() {
        crowd.add_publisher(index, publisher)?;
    }
    let warm_up = options.messages / 10;
    let mut run = Run { sent: 0, arrived: Arrived::default() };
    run.publish(crowd, &mut publishers, depth, warm_up)?;
    let (begin, cpu) = (Instant::now(), cpu_ns(server.pid())?);
    run.publish(crowd, &mut publishers, depth, warm_up + options.messages)?;
    let elapsed = begin.elapsed();
    let cpu = cpu_ns(server.pid())? - cpu;
    let refused: u64 = publishers.iter().map(|publisher| publisher.refused).sum();
    let complete = run.arrived.count == u64::from(run.sent) * crowd.len() as u64 && run.arrived.repeated == 0;
    Ok(Outcome {
        us: cpu as f64 / 1000.0 / f64::from(options.messages),
        per_second: f64::from(options.messages) / elapsed.as_secs_f64(),
        clean: refused == 0 && complete,
    })
}

/// Which messages have come. Messages of different connections overtake each other, so order says nothing here.
#[derive(Default)]
struct Arrived {
    seen: Vec<bool>,
    count: u64,
    repeated: u64,
}

impl Arrived {
    fn note(&mut self, number: u32) {
        let index = number as usize;
        if index >= self.seen.len() {
            self.seen.resize(index + 1, false);
        }
        self.repeated += u64::from(self.seen[index]);
        self.seen[index] = true;
        self.count += 1;
    }
}

struct Run {
    sent: u32,
    arrived: Arrived,
}

impl Run {
    /// Keeps `depth` requests under way on each connection until so many are sent, answered and delivered.
    fn publish(
        &mut self,
        crowd: &mut Crowd,
        publishers: &mut [Publisher],
        depth: usize,
        upto: u32,
    ) -> io::Result<()> {
        loop {
            for publisher in publishers.iter_mut() {
                while publisher.unanswered < depth && self.sent < upto {
                    publisher.queue(self.sent, 1)?;
                    self.sent += 1;
                }
                publisher.flush()?;
            }
            let answered = publishers.iter().all(|publisher| publisher.unanswered == 0);
            let delivered = self.arrived.count >= u64::from(upto) * crowd.len() as u64;
            if self.sent >= upto && answered && delivered {
                return Ok(());
            }
            if !crowd.turn(PATIENCE, publishers, |_, number| self.arrived.note(number))? {
                return Err(failure(format!("stalled after {} messages", self.sent)));
            }
        }
    }
}
