//! Finds the start and the end of each request in the bytes of a connection. Pure.
//!
//! The HTTP stack decodes all requests in its buffer together, and panics on very large heads. So it receives one request
//! at a time, and only requests that this parser accepts. The parser never accepts more than the stack. A request that both
//! accept has the same length for both, so no byte of a body can become the head of another request.

mod chunks;
mod head;

use chunks::Chunks;
pub use head::HeadRules;
use head::{Announced, Head};

/// The reason for which the bytes of a connection are not accepted as HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedRequest {
    /// A head with more bytes, or more headers, than a request may have.
    HeadTooLarge,
    /// Any other reason, as a sentence.
    Reason(&'static str),
}

/// The progress in the current request.
#[derive(Debug)]
pub struct Framing {
    position: Position,
    expects_continue: bool,
}

#[derive(Debug)]
enum Position {
    /// In the head. Each byte of an incomplete head is searched once for its end, and the head is parsed again whenever
    /// its length has doubled. So the work for a client that sends single bytes is proportional to their number.
    Head { searched: usize, parsed: usize },
    /// In a body, which has this many remaining bytes.
    Length(u64),
    /// In a body in chunks.
    Chunks(Chunks),
    /// After the request.
    Complete,
    /// After a head with which the connection changes to another protocol.
    Upgraded,
    /// The bytes that follow are not accepted.
    Malformed(MalformedRequest),
}

const START: Position = Position::Head { searched: 0, parsed: 0 };

impl Default for Framing {
    fn default() -> Self {
        Self { position: START, expects_continue: false }
    }
}

impl Framing {
    /// Consumes the bytes of the current request from the start of these bytes, and returns their number. A head is
    /// consumed when it is complete: until then it must be passed again, together with the bytes after it.
    ///
    /// Headers that would cause unwanted actions of the HTTP stack are blanked; see [`HeadRules`].
    pub fn consume(&mut self, bytes: &mut [u8], rules: &HeadRules) -> usize {
        let mut consumed = 0;
        if let Position::Head { searched, parsed } = self.position {
            let may_end = || has_blank_line(&bytes[searched.saturating_sub(2)..]) && !is_blank(bytes);
            let is_due = bytes.len() >= parsed * 2 || may_end();
            match if is_due { Head::read(bytes, rules) } else { Ok(None) } {
                Ok(Some(head)) => {
                    consumed = head.length;
                    self.start_body(&head);
                }
                Ok(None) if bytes.len() >= rules.max_head_bytes => {
                    self.position = Position::Malformed(MalformedRequest::HeadTooLarge);
                }
                Ok(None) => {
                    let parsed = if is_due { bytes.len() } else { parsed };
                    self.position = Position::Head { searched: bytes.len(), parsed };
                }
                Err(malformed) => self.position = Position::Malformed(malformed),
            }
        }
        consumed + self.consume_body(&bytes[consumed..])
    }

    fn start_body(&mut self, head: &Head) {
        self.expects_continue =
            head.expects_continue && matches!(head.body, Announced::Bytes(_) | Announced::Chunks);
        self.position = match head.body {
            Announced::Nothing => Position::Complete,
            Announced::Bytes(bytes) => Position::Length(bytes),
            Announced::Chunks => Position::Chunks(Chunks::default()),
            Announced::Upgrade => Position::Upgraded,
        };
    }

    fn consume_body(&mut self, bytes: &[u8]) -> usize {
        match &mut self.position {
            Position::Length(left) => {
                let consumed = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= consumed as u64;
                if *left == 0 {
                    self.position = Position::Complete;
                }
                consumed
            }
            Position::Chunks(chunks) => {
                let (consumed, ended) = chunks.consume(bytes);
                match ended {
                    Ok(false) => {}
                    Ok(true) => self.position = Position::Complete,
                    Err(reason) => self.position = Position::Malformed(MalformedRequest::Reason(reason)),
                }
                consumed
            }
            Position::Head { .. } | Position::Complete | Position::Upgraded | Position::Malformed(_) => 0,
        }
    }

    pub fn next_request(&mut self) {
        *self = Self::default();
    }

    /// Whether the next bytes belong to a head.
    pub fn is_in_head(&self) -> bool {
        matches!(self.position, Position::Head { .. })
    }

    /// Whether the next bytes belong to a body.
    pub fn is_in_body(&self) -> bool {
        matches!(self.position, Position::Length(_) | Position::Chunks(_))
    }

    /// Whether the request has been consumed to its end.
    pub fn is_complete(&self) -> bool {
        matches!(self.position, Position::Complete)
    }

    /// The reason for which no more bytes are accepted, if so. All bytes before were consumed.
    pub fn malformed(&self) -> Option<MalformedRequest> {
        if let Position::Malformed(malformed) = self.position { Some(malformed) } else { None }
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }
}

/// Whether a head may end in these bytes, which may start in the middle of a line.
fn has_blank_line(bytes: &[u8]) -> bool {
    let feeds = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    feeds.map(|(at, _)| &bytes[at + 1..]).any(|next| next.starts_with(b"\n") || next.starts_with(b"\r\n"))
}

/// Whether there are only empty lines, which are allowed before a request (RFC 9112, section 2.2).
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
