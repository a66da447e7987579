//! Many subscribers on one thread: sockets, readiness, and the parsing of numbered messages.

use super::backend::Backend;
use super::failure;
use super::handshake::{Transport, connect};
use super::presence::PresenceLog;
use super::publisher::Publisher;
use super::reader::{Decoder, Member, Reader, Seen};
use super::socket::Dialer;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Sockets that are set up together.
const BATCH: usize = 100;
/// Larger than what a subscriber receives at once, so that one read empties a socket.
const BUFFER: usize = 256 << 10;
/// Tokens from this value on belong to publishers.
const PUBLISHERS: usize = 1 << 32;

/// Subscribers and publishers, on one epoll.
pub struct Crowd {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    members: Vec<Member>,
    /// Members whose first frames arrived together with the answer to their handshakes.
    early: Vec<usize>,
    decoder: Decoder,
    transport: Transport,
    /// The frame of the last message to the first member, as a sample for the baseline.
    pub sample: Vec<u8>,
    /// The events about users, where they are expected.
    pub presence: Option<PresenceLog>,
    /// What else arrived.
    pub seen: Seen,
}

impl Crowd {
    /// A crowd without members.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffer: vec![0; BUFFER],
            members: Vec::new(),
            early: Vec::new(),
            decoder: Decoder::default(),
            transport: Transport::default(),
            sample: Vec::new(),
            presence: None,
            seen: Seen::default(),
        })
    }

    /// The number of members.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// Makes later subscribers use this transport.
    pub fn use_transport(&mut self, transport: Transport) {
        self.transport = transport;
    }

    /// Connects this many more subscribers to a channel, each with its own user.
    pub fn subscribe(&mut self, server: SocketAddr, channel: &str, count: usize) -> io::Result<()> {
        self.subscribe_each(server, |_| channel.to_owned(), count)
    }

    /// Connects this many more subscribers, each to the channel of its index.
    pub fn subscribe_each(
        &mut self,
        server: SocketAddr,
        channel_of: impl Fn(usize) -> String,
        count: usize,
    ) -> io::Result<()> {
        let mut backend = Backend::new(server)?;
        let all = self.size()..self.size() + count;
        for batch in batches(all) {
            let hellos = connect(&mut backend, &channel_of, batch, self.transport)?;
            self.attach(server, &hellos)?;
        }
        Ok(())
    }

    /// Attaches further subscribers with these requests, some of them at the same time.
    pub fn attach(&mut self, server: SocketAddr, hellos: &[Vec<u8>]) -> io::Result<()> {
        let mut dialer = Dialer::default();
        let transport = self.transport;
        hellos
            .chunks(BATCH)
            .try_for_each(|batch| self.open(&mut dialer, server, batch, |answer| transport.welcome(answer)))
    }

    /// Closes all sockets without a close frame. Returns the last cursor of each member, in order.
    pub fn break_all(&mut self) -> Vec<String> {
        self.early.clear();
        self.seen.attached = 0;
        self.members.drain(..).map(|member| member.cursor).collect()
    }

    /// Connects this many more subscribers to the baseline, in rotation to its channels.
    pub fn subscribe_raw(&mut self, server: SocketAddr, channels: usize, count: usize) -> io::Result<()> {
        let mut dialer = Dialer::default();
        for batch in batches(0..count) {
            let hello = |index| [b"S", &((index % channels) as u32).to_be_bytes()[..]].concat();
            let hellos: Vec<_> = batch.map(hello).collect();
            self.open(&mut dialer, server, &hellos, |answer| answer.starts_with(b"+").then_some(1))?;
        }
        Ok(())
    }

    /// Opens sockets that send a hello. `welcome` returns the end of the answer.
    fn open(
        &mut self,
        dialer: &mut Dialer,
        server: SocketAddr,
        hellos: &[Vec<u8>],
        welcome: impl Fn(&[u8]) -> Option<usize>,
    ) -> io::Result<()> {
        let mut streams = Vec::with_capacity(hellos.len());
        for hello in hellos {
            let mut stream = dialer.dial(server)?;
            stream.write_all(hello)?;
            streams.push(stream);
        }
        for mut stream in streams {
            let mut answer = Vec::new();
            let mut buffer = [0; 1024];
            let end = loop {
                if let Some(end) = welcome(&answer) {
                    break end;
                }
                match stream.read(&mut buffer)? {
                    0 => return Err(failure(format!("refused: {}", String::from_utf8_lossy(&answer)))),
                    count => answer.extend_from_slice(&buffer[..count]),
                }
            };
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let token = Token(self.members.len());
            self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
            let early = answer.split_off(end);
            if !early.is_empty() {
                self.early.push(token.0);
            }
            self.members.push(Member::new(stream, early, self.transport));
        }
        Ok(())
    }

    /// Adds a publisher. `index` is its position in the list for [`Crowd::turn`].
    pub fn add_publisher(&self, index: usize, publisher: &mut Publisher) -> io::Result<()> {
        publisher.register(self.poll.registry(), Token(PUBLISHERS + index))
    }

    /// Waits for an event, and reads all that has arrived. `take` receives each message's subscriber and number.
    /// Returns whether there was an event.
    pub fn turn(
        &mut self,
        timeout: Duration,
        publishers: &mut [Publisher],
        mut take: impl FnMut(usize, u32),
    ) -> io::Result<bool> {
        let timeout = if self.early.is_empty() { timeout } else { Duration::ZERO };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let mut reader = Reader {
            decoder: &mut self.decoder,
            sample: &mut self.sample,
            presence: &mut self.presence,
            seen: &mut self.seen,
        };
        let had_early = !self.early.is_empty();
        for index in self.early.drain(..) {
            reader.partial(index, &mut self.members[index], &mut take)?;
        }
        for event in &self.events {
            let token = event.token().0;
            if let Some(index) = token.checked_sub(PUBLISHERS) {
                publishers[index].send_and_receive()?;
            } else if !reader.read(token, &mut self.members[token], &mut self.buffer, &mut take)? {
                reader.seen.closed += 1;
                self.poll.registry().deregister(&mut self.members[token].stream)?;
            }
        }
        Ok(had_early || !self.events.is_empty())
    }

    /// Everything that should not have arrived, and what is missing beside messages.
    pub fn faults(&self) -> Vec<String> {
        let expected = if self.transport.is_positioned() { self.members.len() as u64 } else { 0 };
        let counts = [
            (self.seen.closed, "sockets closed"),
            (self.seen.unexpected, "unexpected frames"),
            (expected.saturating_sub(self.seen.attached), "sessions not informed of their streams"),
            (self.seen.not_recovered, "streams not recovered"),
        ];
        let faults = counts.into_iter().filter(|(count, _)| *count > 0);
        faults.map(|(count, what)| format!("{count} {what}")).collect()
    }

    /// Reads for this long.
    pub fn idle(&mut self, span: Duration) -> io::Result<()> {
        let end = Instant::now() + span;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.turn(left, &mut [], |_, _| {})?;
        }
        Ok(())
    }

    /// Reads until there was no event for this long.
    pub fn read_until_quiet(
        &mut self,
        quiet: Duration,
        publishers: &mut [Publisher],
        mut take: impl FnMut(usize, u32),
    ) -> io::Result<()> {
        while self.turn(quiet, publishers, &mut take)? {}
        Ok(())
    }
}

fn batches(all: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = all.end;
    all.step_by(BATCH).map(move |start| start..end.min(start + BATCH))
}
