//! Many subscribers on one thread: sockets, readiness, and the way from bytes to numbered messages.

use super::backend::{Backend, request};
use super::failure;
use super::frames::{self, Finder, Kind};
use super::publisher::Publisher;
use super::socket::Dialer;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

/// Sockets that are set up together.
const BATCH: usize = 100;
/// Larger than what a subscriber gets in one go, so that one read empties a socket.
const BUFFER: usize = 256 << 10;
/// Tokens from here on are publishers'.
const PUBLISHERS: usize = 1 << 32;
/// A masked pong without payload.
const PONG: &[u8] = b"\x8a\x80\0\0\0\0";

struct Member {
    stream: TcpStream,
    /// The beginning of a frame whose rest is under way.
    partial: Vec<u8>,
}

/// Subscribers and publishers, on one epoll.
pub struct Crowd {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    members: Vec<Member>,
    finder: Finder,
    /// A message's frame as the first member got it last, to show a baseline what to write.
    pub sample: Vec<u8>,
    /// Empty lists that came.
    pub heartbeats: u64,
    /// Sockets that ended.
    pub closed: u64,
    /// Frames that were none of the expected ones.
    pub strange: u64,
}

impl Crowd {
    /// Nobody yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffer: vec![0; BUFFER],
            members: Vec::new(),
            finder: Finder::default(),
            sample: Vec::new(),
            heartbeats: 0,
            closed: 0,
            strange: 0,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Connects so many more subscribers to a channel, each with a user of its own.
    pub fn subscribe(&mut self, server: SocketAddr, channel: &str, count: usize) -> io::Result<()> {
        let mut dialer = Dialer::default();
        let mut backend = Backend::new(server)?;
        let all = self.len()..self.len() + count;
        for batch in batches(all) {
            let hellos = connect(&mut backend, channel, batch)?;
            self.open(&mut dialer, server, &hellos, welcome)?;
        }
        Ok(())
    }

    /// Connects so many more subscribers to the baseline.
    pub fn subscribe_raw(&mut self, server: SocketAddr, count: usize) -> io::Result<()> {
        let mut dialer = Dialer::default();
        for batch in batches(0..count) {
            let hellos = vec![b"S".to_vec(); batch.len()];
            self.open(&mut dialer, server, &hellos, |answer| answer.starts_with(b"+").then_some(1))?;
        }
        Ok(())
    }

    /// Opens sockets that say hello; `welcome` tells where the answer ends.
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
            self.members.push(Member { stream, partial: answer.split_off(end) });
        }
        Ok(())
    }

    /// Lets a publisher take part; `index` is its place among those given to [`Crowd::turn`].
    pub fn add_publisher(&self, index: usize, publisher: &mut Publisher) -> io::Result<()> {
        publisher.register(self.poll.registry(), Token(PUBLISHERS + index))
    }

    /// Waits for something to happen, and reads all that came. `take` gets each message's subscriber and number.
    /// Returns whether anything happened.
    pub fn turn(
        &mut self,
        timeout: Duration,
        publishers: &mut [Publisher],
        mut take: impl FnMut(usize, u32),
    ) -> io::Result<bool> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let mut reader = Reader {
            finder: &mut self.finder,
            sample: &mut self.sample,
            heartbeats: 0,
            closed: 0,
            strange: 0,
        };
        for event in &self.events {
            let token = event.token().0;
            if let Some(index) = token.checked_sub(PUBLISHERS) {
                publishers[index].attend()?;
            } else if !reader.read(token, &mut self.members[token], &mut self.buffer, &mut take)? {
                reader.closed += 1;
                self.poll.registry().deregister(&mut self.members[token].stream)?;
            }
        }
        self.heartbeats += reader.heartbeats;
        self.closed += reader.closed;
        self.strange += reader.strange;
        Ok(!self.events.is_empty())
    }

    /// Turns until nothing has happened for this long.
    pub fn settle(
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

/// Where the answer to a handshake ends, once it is there and is a good one.
pub(super) fn welcome(answer: &[u8]) -> Option<usize> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    answer.starts_with(b"HTTP/1.1 101").then_some(end)
}

/// Announces connections to the server, and gives the handshakes that take them up.
pub(super) fn connect(
    backend: &mut Backend,
    channel: &str,
    indexes: Range<usize>,
) -> io::Result<Vec<Vec<u8>>> {
    let (mut calls, mut handshakes) = (Vec::new(), Vec::new());
    for index in indexes {
        let id = format!("c0ffee00-0000-4000-8000-{index:012x}");
        let mut body = format!(r#"{{"username":"u{index}","conn_id":"{id}","channels":["{channel}"],"#);
        // Without this, the answers of a crowd's connects would grow with the crowd.
        let _ = write!(body, r#""info":{{"include_users":false,"include_history":false}}}}"#);
        calls.push(request("POST", "/connect", &body));
        let handshake = format!(
            "GET /ws?conn_id={id} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        handshakes.push(handshake.into_bytes());
    }
    backend.call(&calls)?;
    Ok(handshakes)
}

struct Reader<'a> {
    finder: &'a mut Finder,
    sample: &'a mut Vec<u8>,
    heartbeats: u64,
    closed: u64,
    strange: u64,
}

impl Reader<'_> {
    /// Reads all there is; false at the end.
    fn read(
        &mut self,
        index: usize,
        member: &mut Member,
        buffer: &mut [u8],
        take: &mut impl FnMut(usize, u32),
    ) -> io::Result<bool> {
        loop {
            let count = match member.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error),
            };
            if member.partial.is_empty() {
                let used = self.frames(index, &member.stream, &buffer[..count], take)?;
                member.partial.extend_from_slice(&buffer[used..count]);
            } else {
                member.partial.extend_from_slice(&buffer[..count]);
                let partial = std::mem::take(&mut member.partial);
                let used = self.frames(index, &member.stream, &partial, take)?;
                member.partial = partial[used..].to_vec();
            }
            // Readiness comes again with the next bytes: a read that was not filled has emptied the socket.
            if count < buffer.len() {
                return Ok(true);
            }
        }
    }

    /// Goes through the whole frames in front; returns how many bytes they are.
    fn frames(
        &mut self,
        index: usize,
        mut stream: &TcpStream,
        bytes: &[u8],
        take: &mut impl FnMut(usize, u32),
    ) -> io::Result<usize> {
        let mut used = 0;
        while let Some(frame) = frames::first(&bytes[used..]) {
            let whole = &bytes[used..used + frame.end];
            let payload = &whole[frame.start..];
            match frame.kind {
                Kind::Text if payload == b"[]" => self.heartbeats += 1,
                Kind::Text => match self.finder.number(payload) {
                    Some(number) => {
                        if index == 0 {
                            self.sample.clear();
                            self.sample.extend_from_slice(whole);
                        }
                        take(index, number);
                    }
                    None => self.strange += 1,
                },
                Kind::Ping => stream.write_all(PONG)?,
                Kind::Close => {}
                Kind::Other => self.strange += 1,
            }
            used += frame.end;
        }
        Ok(used)
    }
}
