//! Reads numbered messages from a socket's bytes.

use super::frames::{self, Finder, Kind};
use flate2::{Decompress, FlushDecompress, Status};
use mio::net::TcpStream;
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
}

impl Member {
    /// A subscriber after its handshake. `partial` is what arrived after the answer.
    pub fn new(stream: TcpStream, partial: Vec<u8>) -> Self {
        Self { stream, partial, compressed: 0 }
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

/// Reads the bytes of one turn.
pub struct Reader<'a> {
    pub decoder: &'a mut Decoder,
    pub sample: &'a mut Vec<u8>,
    pub heartbeats: u64,
    pub closed: u64,
    pub unexpected: u64,
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
                let partial = std::mem::take(&mut member.partial);
                let used = self.frames(index, member, &partial, take)?;
                member.partial = partial[used..].to_vec();
            }
            // The next bytes signal readiness again: a read that does not fill the buffer has emptied the socket.
            if count < buffer.len() {
                return Ok(true);
            }
        }
    }

    /// Processes the complete frames at the front and returns their length in bytes.
    fn frames(
        &mut self,
        index: usize,
        member: &mut Member,
        bytes: &[u8],
        take: &mut impl FnMut(usize, u32),
    ) -> io::Result<usize> {
        let mut used = 0;
        while let Some(frame) = frames::first(&bytes[used..]) {
            let whole = &bytes[used..used + frame.end];
            let payload = &whole[frame.start..];
            match frame.kind {
                Kind::Text if payload == b"[]" => self.heartbeats += 1,
                Kind::Text | Kind::Compressed => match self.number(index, member, frame.kind, payload) {
                    Some(number) => {
                        if index == 0 {
                            self.sample.clear();
                            self.sample.extend_from_slice(whole);
                        }
                        take(index, number);
                    }
                    None => self.unexpected += 1,
                },
                // A socket that the server has closed is counted at the end of its stream.
                Kind::Ping => member.stream.write_all(PONG).or_else(unless_closed)?,
                Kind::Close => {}
                Kind::Other => self.unexpected += 1,
            }
            used += frame.end;
        }
        Ok(used)
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
