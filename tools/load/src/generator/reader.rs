//! The way from a socket's bytes to numbered messages.

use super::frames::{self, Finder, Kind};
use flate2::{Decompress, FlushDecompress, Status};
use mio::net::TcpStream;
use std::io::{self, ErrorKind, Read, Write};

/// A masked pong without payload.
const PONG: &[u8] = b"\x8a\x80\0\0\0\0";
/// The end of a deflated block, which messages leave out.
const DEFLATE_TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// A subscriber's socket.
pub struct Member {
    pub stream: TcpStream,
    /// The beginning of a frame whose rest is under way.
    partial: Vec<u8>,
    /// How many messages it has, if they come compressed.
    compressed: u32,
}

impl Member {
    /// A subscriber who has been let in; `partial` is what came behind the answer.
    pub fn new(stream: TcpStream, partial: Vec<u8>) -> Self {
        Self { stream, partial, compressed: 0 }
    }
}

/// Finds the numbers of messages, in plain sight or compressed.
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
            let taken = self.inflate.total_in() as usize;
            let status = self.inflate.decompress_vec(&whole[taken..], &mut self.text, FlushDecompress::Sync);
            match status.ok()? {
                // All of it is out once there was room to spare.
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

/// Reads one turn's bytes.
pub struct Reader<'a> {
    pub decoder: &'a mut Decoder,
    pub sample: &'a mut Vec<u8>,
    pub heartbeats: u64,
    pub closed: u64,
    pub strange: u64,
}

impl Reader<'_> {
    /// Reads all there is; false at the end.
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
                    None => self.strange += 1,
                },
                // A socket that the server has closed is counted when its end is read.
                Kind::Ping => member.stream.write_all(PONG).or_else(unless_closed)?,
                Kind::Close => {}
                Kind::Other => self.strange += 1,
            }
            used += frame.end;
        }
        Ok(used)
    }

    /// A message's number. Compressed ones are read by the first subscriber and counted by all others: to inflate
    /// ten thousand copies would take the generator longer than the server needs for all of its work.
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
