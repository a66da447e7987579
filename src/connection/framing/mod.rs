//! Where a request begins and ends in the bytes of a connection. Pure.
//!
//! The HTTP stack decodes whatever it is given: all requests in its buffer at once, and heads so large that it panics.
//! So it gets one request at a time, and only what this reading accepts. The reading is never wider than the stack's: what
//! both accept has the same length for both, and no byte of a body can become the head of another request.

mod chunks;
mod head;

use chunks::Chunks;
use head::{Announced, Head};
pub use head::{HeadRules, MAX_HEADERS};

/// Why the bytes of a connection cannot be served as HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedRequest {
    /// A head with more bytes, or more headers, than a request may have.
    HeadTooLarge,
    /// Anything else, in a sentence.
    Because(&'static str),
}

/// How far the current request has been read.
#[derive(Debug)]
pub struct Framing {
    at: At,
    expects_continue: bool,
}

#[derive(Debug)]
enum At {
    /// In the head. An incomplete one is searched for its end once, and parsed again whenever it has doubled: a client
    /// that sends single bytes causes work in proportion to them.
    Head { searched: usize, parsed: usize },
    /// In a body, which has so many bytes more.
    Length(u64),
    /// In a body that comes in chunks.
    Chunks(Chunks),
    /// Behind the request.
    Whole,
    /// Behind a head after which the connection speaks another protocol.
    Upgraded,
    /// What follows cannot be served.
    Malformed(MalformedRequest),
}

const START: At = At::Head { searched: 0, parsed: 0 };

impl Default for Framing {
    fn default() -> Self {
        Self { at: START, expects_continue: false }
    }
}

impl Framing {
    /// Takes what belongs to the current request from the front of these bytes, and returns how many they are. A head is
    /// taken when it is complete, and not before: until then it must be passed again, with what came behind it.
    ///
    /// Headers that would make the stack do what is done elsewhere are blanked; see [`HeadRules`].
    pub fn take(&mut self, bytes: &mut [u8], rules: &HeadRules) -> usize {
        let mut taken = 0;
        if let At::Head { searched, parsed } = self.at {
            let may_end = || has_blank_line(&bytes[searched.saturating_sub(2)..]) && !is_blank(bytes);
            let is_due = bytes.len() >= parsed * 2 || may_end();
            match if is_due { Head::read(bytes, rules) } else { Ok(None) } {
                Ok(Some(head)) => {
                    taken = head.length;
                    self.begin(&head);
                }
                Ok(None) if bytes.len() >= rules.max_head_bytes => {
                    self.at = At::Malformed(MalformedRequest::HeadTooLarge);
                }
                Ok(None) => {
                    let parsed = if is_due { bytes.len() } else { parsed };
                    self.at = At::Head { searched: bytes.len(), parsed };
                }
                Err(malformed) => self.at = At::Malformed(malformed),
            }
        }
        taken + self.take_body(&bytes[taken..])
    }

    fn begin(&mut self, head: &Head) {
        self.expects_continue =
            head.expects_continue && matches!(head.body, Announced::Bytes(_) | Announced::Chunks);
        self.at = match head.body {
            Announced::Nothing => At::Whole,
            Announced::Bytes(bytes) => At::Length(bytes),
            Announced::Chunks => At::Chunks(Chunks::default()),
            Announced::Upgrade => At::Upgraded,
        };
    }

    fn take_body(&mut self, bytes: &[u8]) -> usize {
        match &mut self.at {
            At::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.at = At::Whole;
                }
                taken
            }
            At::Chunks(chunks) => {
                let (taken, ended) = chunks.take(bytes);
                match ended {
                    Ok(false) => {}
                    Ok(true) => self.at = At::Whole,
                    Err(why) => self.at = At::Malformed(MalformedRequest::Because(why)),
                }
                taken
            }
            At::Head { .. } | At::Whole | At::Upgraded | At::Malformed(_) => 0,
        }
    }

    /// Turns to the next request.
    pub fn next_request(&mut self) {
        *self = Self::default();
    }

    /// Whether the next bytes belong to a head.
    pub fn is_in_head(&self) -> bool {
        matches!(self.at, At::Head { .. })
    }

    /// Whether the next bytes belong to a body.
    pub fn is_in_body(&self) -> bool {
        matches!(self.at, At::Length(_) | At::Chunks(_))
    }

    /// Whether the request has been taken to its end.
    pub fn is_whole(&self) -> bool {
        matches!(self.at, At::Whole)
    }

    /// Why nothing more can be taken, if so. Everything before it was taken.
    pub fn malformed(&self) -> Option<MalformedRequest> {
        if let At::Malformed(malformed) = self.at { Some(malformed) } else { None }
    }

    /// Whether the connection speaks another protocol from here on.
    pub fn is_upgraded(&self) -> bool {
        matches!(self.at, At::Upgraded)
    }

    /// Whether the client waits with the body until it is asked for it.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }
}

/// Whether a head may end here, which begins in the middle of a line.
fn has_blank_line(bytes: &[u8]) -> bool {
    let feeds = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    feeds.map(|(at, _)| &bytes[at + 1..]).any(|next| next.starts_with(b"\n") || next.starts_with(b"\r\n"))
}

/// Whether there are only the empty lines that may stand before a request (RFC 9112, section 2.2).
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
