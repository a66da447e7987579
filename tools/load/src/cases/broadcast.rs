//! One run of broadcasts to one channel or to many, ours or the baseline's. Several cases use it.

use super::{CHANNEL, QUIET, baseline, with_workers};
use crate::compare::{Run, Sample, faults};
use crate::generator::backend::{Backend, request};
use crate::generator::crowd::Crowd;
use crate::generator::drive::{Plan, closed_loop, rounds};
use crate::generator::failure;
use crate::generator::frames;
use crate::generator::handshake::Transport;
use crate::generator::ledger::Ledger;
use crate::generator::memory::Idle;
use crate::generator::meter::Meter;
use crate::generator::process::memory;
use crate::generator::publisher::Publisher;
use crate::generator::server::Server;
use clap::ValueEnum;
use std::io;
use std::time::Duration;

/// Messages before the measurement, as a share of those measured.
const WARM_UP: u32 = 10;
/// Messages that each of several channels stores for catch-up. Fewer than by default, so that every channel is at this
/// limit when the measurement starts: memory does not grow afterwards.
const KEPT: u32 = 10;
/// Channels named in one request.
const NAMED: usize = 500;
/// With fewer, the memory of a single one cannot be computed.
const ENOUGH: usize = 100;

/// How broadcasts follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pace {
    /// The next message when all subscribers have received the previous one
    One,
    /// This many requests in flight
    Window,
    /// One request with a list of this many messages
    List,
}

impl Pace {
    /// The plan with bursts of this many.
    pub fn plan(self, burst: u32) -> Plan {
        match self {
            Pace::One => Plan::Window(1),
            Pace::Window => Plan::Window(burst),
            Pace::List => Plan::List(burst),
        }
    }
}

/// The messages and their receivers.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub channels: u32,
    /// Subscribers of each channel.
    pub members: u32,
    /// Bytes of a message's content.
    pub bytes: usize,
    pub plan: Plan,
    /// Messages to each channel that are measured.
    pub messages: u32,
}

/// How our server runs.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    pub workers: usize,
    /// Several workers share the server's core, so that the generator has its own.
    pub one_core: bool,
    pub transport: Transport,
    pub io_uring: bool,
}

/// The server's defaults, except for a single worker.
pub const PLAIN: Variant =
    Variant { workers: 1, one_core: false, transport: Transport::Websocket, io_uring: true };

impl Shape {
    /// The shape with about this many deliveries, in whole bursts.
    pub fn new(channels: u32, members: u32, bytes: usize, plan: Plan, deliveries: u32) -> Self {
        let least = if channels > 1 { KEPT } else { 20 };
        let messages = (deliveries / (channels * members)).max(least).next_multiple_of(plan.burst());
        let messages = if channels > 1 { (deliveries / (channels * members)).max(least) } else { messages };
        Self { channels, members, bytes, plan, messages }
    }

    /// All of them.
    pub fn subscribers(&self) -> usize {
        self.channels as usize * self.members as usize
    }

    /// Messages to each channel, including those before the measurement.
    pub fn total(&self) -> u32 {
        self.warm_up() + self.messages
    }

    fn warm_up(&self) -> u32 {
        match self.channels {
            1 => (self.messages / WARM_UP).max(1).next_multiple_of(self.plan.burst()),
            _ => (self.messages / WARM_UP).max(KEPT),
        }
    }

    fn channel(&self, index: usize) -> String {
        if self.channels == 1 { CHANNEL.to_owned() } else { frames::channel(index % self.channels as usize) }
    }

    /// Broadcasts until all subscribers have the messages before `upto`.
    fn drive(
        &self,
        crowd: &mut Crowd,
        publisher: &mut Publisher,
        ledger: &mut Ledger,
        upto: u32,
    ) -> io::Result<()> {
        match (self.channels, self.plan) {
            (1, plan) => closed_loop(crowd, publisher, ledger, upto, plan),
            (channels, Plan::Window(window)) => {
                rounds(crowd, publisher, ledger, channels, u64::from(window), upto)
            }
            (_, Plan::List(_)) => Err(failure("lists go to one channel")),
        }
    }
}

/// A run of ours.
pub fn ours(shape: &Shape, variant: &Variant) -> io::Result<Run> {
    let mut stage = Stage::ours(shape, variant)?;
    let (per_channel, per_connection) = stage.fill(shape)?;
    Ok(Run { per_channel, per_connection, ..stage.measure(shape)? })
}

/// A run of the baseline. It joins waiting frames whenever a channel may have more than one message in flight: this is
/// the limit of joining.
pub fn raw(shape: &Shape, sample: &Sample) -> io::Result<Run> {
    Stage::raw(shape, sample)?.measure(shape)
}

/// A server, its subscribers, and their backend.
pub struct Stage {
    pub server: Server,
    crowd: Crowd,
    publisher: Publisher,
    ledger: Ledger,
}

impl Stage {
    /// Our server, without subscribers yet; see [`Stage::fill`].
    pub fn ours(shape: &Shape, variant: &Variant) -> io::Result<Self> {
        let kept = format!("channel_frames={KEPT}");
        let io_uring = format!("io_uring={}", variant.io_uring);
        let mut settings = [QUIET, &[io_uring.as_str()]].concat();
        if shape.channels > 1 {
            settings.push(&kept);
        }
        let server = with_workers(&settings, variant.workers, variant.one_core)?;
        let mut crowd = Crowd::new()?;
        crowd.use_transport(variant.transport);
        let publisher = Publisher::rest(server.address, &shape.channel(0), shape.bytes)?;
        Self::new(server, crowd, publisher, shape)
    }

    /// The baseline with all its subscribers.
    pub fn raw(shape: &Shape, sample: &Sample) -> io::Result<Self> {
        let server = baseline()?;
        let mut crowd = Crowd::new()?;
        crowd.subscribe_raw(server.address, shape.channels as usize, shape.subscribers())?;
        let join = shape.channels == 1 && shape.plan != Plan::Window(1);
        let publisher = Publisher::raw(server.address, &sample.frame, join)?;
        Self::new(server, crowd, publisher, shape)
    }

    fn new(server: Server, crowd: Crowd, mut publisher: Publisher, shape: &Shape) -> io::Result<Self> {
        crowd.add_publisher(0, &mut publisher)?;
        Ok(Self { server, crowd, publisher, ledger: Ledger::new(shape.subscribers()) })
    }

    /// Makes all channels and connects all subscribers. Returns the bytes of memory for each channel and for each
    /// connection, or NaN if there are too few to compute them.
    pub fn fill(&mut self, shape: &Shape) -> io::Result<(f64, f64)> {
        let (channels, subscribers) = (shape.channels as usize, shape.subscribers());
        // The first ones allocate what all share.
        self.make_channels(shape, 0..1)?;
        self.subscribe(shape, 1)?;
        let empty = self.anonymous()?;
        self.make_channels(shape, 1..channels)?;
        let with_channels = self.anonymous()?;
        self.subscribe(shape, subscribers - 1)?;
        let with_all = self.anonymous()?;
        let each =
            |bytes: f64, count: usize| if count < ENOUGH { f64::NAN } else { bytes / (count - 1) as f64 };
        Ok((each(with_channels - empty, channels), each(with_all - with_channels, subscribers)))
    }

    fn make_channels(&mut self, shape: &Shape, indexes: std::ops::Range<usize>) -> io::Result<()> {
        let mut backend = Backend::new(self.server.address)?;
        let names: Vec<String> = indexes.map(|index| format!("\"{}\":null", shape.channel(index))).collect();
        for names in names.chunks(NAMED) {
            backend.call(&[request("POST", "/channel_config", &format!("{{{}}}", names.join(",")))])?;
        }
        Ok(())
    }

    fn subscribe(&mut self, shape: &Shape, count: usize) -> io::Result<()> {
        self.crowd.subscribe_each(self.server.address, |index| shape.channel(index), count)?;
        self.read_until_quiet(Duration::from_millis(200))
    }

    fn anonymous(&self) -> io::Result<f64> {
        Ok(memory(self.server.pid())?.anonymous as f64)
    }

    /// Reads until nothing has arrived for this long. Repeated deliveries arrive then.
    pub fn read_until_quiet(&mut self, quiet: Duration) -> io::Result<()> {
        let ledger = &mut self.ledger;
        self.crowd.read_until_quiet(quiet, std::slice::from_mut(&mut self.publisher), |subscriber, number| {
            ledger.note(subscriber, number);
        })
    }

    /// Broadcasts further messages to each channel.
    pub fn broadcast(&mut self, shape: &Shape, messages: u32) -> io::Result<()> {
        let upto = self.ledger.completed() + messages;
        shape.drive(&mut self.crowd, &mut self.publisher, &mut self.ledger, upto)
    }

    /// Broadcasts the messages before the measurement, so that all buffers are allocated.
    pub fn warm_up(&mut self, shape: &Shape) -> io::Result<()> {
        self.read_until_quiet(Duration::from_millis(200))?;
        self.broadcast(shape, shape.warm_up())
    }

    fn measure(mut self, shape: &Shape) -> io::Result<Run> {
        self.warm_up(shape)?;
        let idle = Idle::of(self.server.pid())?;
        let meter = Meter::start(self.server.pid())?;
        self.broadcast(shape, shape.messages)?;
        let cost = meter.stop()?;
        self.read_until_quiet(Duration::from_millis(50))?;
        Ok(Run {
            units: f64::from(shape.messages) * shape.subscribers() as f64,
            cost,
            memory: idle.wait_for_release()?,
            per_channel: f64::NAN,
            per_connection: f64::NAN,
            faults: self.faults(shape),
            sample: Sample { frame: self.crowd.sample, answer: Vec::new() },
        })
    }

    /// The faults, if all subscribers should have received all messages.
    pub fn faults(&self, shape: &Shape) -> Vec<String> {
        faults(&self.ledger, shape.total(), &self.crowd, self.publisher.refused)
    }

    /// The frame of the last message to the first subscriber.
    pub fn sample(&self) -> Sample {
        Sample { frame: self.crowd.sample.clone(), answer: Vec::new() }
    }
}
