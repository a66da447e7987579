//! Reads numbered messages from a socket's bytes.

use super::frames::{self, Finder, Frame, Kind};
use super::handshake::Transport;
use super::presence::PresenceLog;
use flate2::{Decompress, FlushDecompress, Status};
use mio::net::TcpStream;
use serde_json::Value;
use std::io::{self, ErrorKind, Read, Write};

/// A masked pong without payload.
const PONG: &[u8] = b"\x8a\x80\0\0\0\0";
/// The end of a deflated block, which messages omit.
const DEFLATE_TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// A subscriber's socket.
pub struct Member {
    pub stream: TcpStream,
    /// The beginning of a frame whose rest has not arrived yet.
    partial: Vec<u8>,
    /// How many messages it has, if they are compressed.
    compressed: u32,
    transport: Transport,
    /// The last cursor that a websocket with positions received.
    pub cursor: String,
}

impl Member {
    /// A subscriber after its handshake. `partial` is what arrived after the answer.
    pub fn new(stream: TcpStream, partial: Vec<u8>, transport: Transport) -> Self {
        Self { stream, partial, compressed: 0, transport, cursor: String::new() }
    }
}

/// Finds the numbers of messages, plain or compressed.
pub struct Decoder {
    finder: Finder,
    inflate: Decompress,
    text: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { finder: Finder::default(), inflate: Decompress::new(false), text: Vec::new() }
    }
}

impl Decoder {
    /// The number of a message that was compressed without context takeover.
    fn compressed(&mut self, payload: &[u8]) -> Option<u32> {
        self.inflate.reset(false);
        self.text.clear();
        let whole = [payload, &DEFLATE_TAIL].concat();
        loop {
            self.text.reserve(1024.max(payload.len() * 4));
            let consumed = self.inflate.total_in() as usize;
            let status =
                self.inflate.decompress_vec(&whole[consumed..], &mut self.text, FlushDecompress::Sync);
            match status.ok()? {
                // The output is complete when the buffer has room left.
                Status::Ok | Status::BufError if self.text.len() == self.text.capacity() => {}
                _ => return self.finder.number(&self.text),
            }
        }
    }
}

fn unless_closed(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Ok(()),
        _ => Err(error),
    }
}

/// What arrived beside messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Empty lists, and comments of event streams.
    pub heartbeats: u64,
    /// Sessions that were informed of their streams, and streams of these that may have lost something.
    pub attached: u64,
    pub not_recovered: u64,
    /// Sockets that ended.
    pub closed: u64,
    /// Unexpected frames.
    pub unexpected: u64,
}

/// Reads what has arrived.
pub struct Reader<'a> {
    pub decoder: &'a mut Decoder,
    pub sample: &'a mut Vec<u8>,
    pub presence: &'a mut Option<PresenceLog>,
    pub seen: &'a mut Seen,
}

impl Reader<'_> {
    /// Reads all that has arrived. False at the end of the stream.
    pub fn read(
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
                let used = self.frames(index, member, &buffer[..count], take)?;
                member.partial.extend_from_slice(&buffer[used..count]);
            } else {
                member.partial.extend_from_slice(&buffer[..count]);
                self.partial(index, member, take)?;
            }
            // The next bytes signal readiness again: a read that does not fill the buffer has emptied the socket.
            if count < buffer.len() {
                return Ok(true);
            }
        }
    }

    /// Processes what has arrived and is not processed yet.
    pub fn partial(
        &mut self,
        index: usize,
        member: &mut Member,
        take: &mut impl FnMut(usize, u32),
    ) -> io::Result<()> {
        let partial = std::mem::take(&mut member.partial);
        let used = self.frames(index, member, &partial, take)?;
        member.partial = partial[used..].to_vec();
        Ok(())
    }

    /// Processes the complete frames at the front and returns their length in bytes.
    fn frames(
        &mut self,
        index: usize,
        member: &mut Member,
        bytes: &[u8],
        take: &mut impl FnMut(usize, u32),
    ) -> io::Result<usize> {
        let first = match member.transport {
            Transport::Events => frames::first_event,
            _ => frames::first,
        };
        let mut used = 0;
        while let Some(frame) = first(&bytes[used..]) {
            self.frame(index, member, frame, &bytes[used..used + frame.end], take)?;
            used += frame.end;
        }
        Ok(used)
    }

    fn frame(
        &mut self,
        index: usize,
        member: &mut Member,
        frame: Frame,
        whole: &[u8],
        take: &mut impl FnMut(usize, u32),
    ) -> io::Result<()> {
        let payload = &whole[frame.start..];
        match frame.kind {
            Kind::Text if payload == b"[]" => self.seen.heartbeats += 1,
            Kind::Comment => self.seen.heartbeats += 1,
            Kind::Text | Kind::Compressed => match self.number(index, member, frame.kind, payload) {
                Some(number) => {
                    if index == 0 {
                        self.sample.clear();
                        self.sample.extend_from_slice(whole);
                    }
                    take(index, number);
                }
                None => self.element(index, member, payload),
            },
            // A socket that the server has closed is counted at the end of its stream.
            Kind::Ping => member.stream.write_all(PONG).or_else(unless_closed)?,
            Kind::Close => {}
            // The last id of an event stream is not needed: its clients do not return.
            Kind::Id => {}
            Kind::Other => self.seen.unexpected += 1,
        }
        Ok(())
    }

    /// Processes a list of one element that is no message.
    fn element(&mut self, index: usize, member: &mut Member, payload: &[u8]) {
        if self.presence.as_mut().is_some_and(|log| log.note(index, payload)) {
            return;
        }
        let list: Value = serde_json::from_slice(payload).unwrap_or_default();
        let element = &list[0];
        match element["type"].as_str().filter(|_| member.transport.is_positioned()) {
            Some("attached") => {
                let streams = element["streams"].as_object().into_iter().flat_map(|streams| streams.values());
                let verdicts = streams.chain(element.get("private"));
                self.seen.not_recovered +=
                    verdicts.filter(|verdict| verdict["recovered"] != Value::Bool(true)).count() as u64;
                self.seen.attached += 1;
            }
            Some("cursor") => member.cursor = element["cursor"].as_str().unwrap_or_default().to_owned(),
            _ => self.seen.unexpected += 1,
        }
    }

    /// A message's number. The first subscriber reads compressed ones and all others count them: inflating ten thousand
    /// copies would take the generator longer than the server needs for all its work.
    fn number(&mut self, index: usize, member: &mut Member, kind: Kind, payload: &[u8]) -> Option<u32> {
        let number = match kind {
            Kind::Compressed if index > 0 => Some(member.compressed),
            Kind::Compressed => self.decoder.compressed(payload),
            _ => self.decoder.finder.number(payload),
        };
        member.compressed = number? + 1;
        number
    }
}
