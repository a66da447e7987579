//! What the head of a request announces.

use super::MalformedRequest;
use smallvec::SmallVec;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Headers of a request at most: as many as the HTTP stack takes.
pub const MAX_HEADERS: usize = 96;

const NOT_HTTP: &str = "This is not a request of HTTP/1.1.";

/// What heads are read by.
#[derive(Clone, Copy, Debug)]
pub struct HeadRules {
    /// Bytes of a head at most.
    pub max_head_bytes: usize,
    /// Whether a websocket is served at this target. Elsewhere `Upgrade` is blanked (RFC 9110, section 7.8: a server may
    /// ignore it): the stack would hand over the socket for that header alone.
    pub is_socket: fn(&str) -> bool,
    /// Whether the stack can read a target that has unusual characters.
    pub is_target: fn(&str) -> bool,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    Nothing,
    /// A body of so many bytes, at least one.
    Bytes(u64),
    Chunks,
    /// Another protocol.
    Upgrade,
}

/// A complete head.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// Its bytes, with the blank line.
    pub length: usize,
    pub body: Announced,
    pub expects_continue: bool,
}

/// Where a header's value stands.
type ValueRange = Range<usize>;

/// The headers that frame a request, as far as they were read.
#[derive(Default)]
struct FramingHeaders {
    length: Option<u64>,
    chunked: bool,
    host: bool,
    /// `Connection` names `upgrade`.
    upgrades: bool,
    /// `Upgrade` names `websocket`.
    websocket: bool,
    expects_continue: bool,
    /// The values of `Upgrade`.
    upgrade: SmallVec<[ValueRange; 2]>,
    /// The values of `Expect`. They are blanked, or the stack would ask for a body that no handler may read.
    expect: SmallVec<[ValueRange; 2]>,
}

impl Head {
    /// Reads the head at the front. `None` while it is incomplete.
    ///
    /// # Errors
    /// It is malformed, whatever follows.
    pub fn read(bytes: &mut [u8], rules: &HeadRules) -> Result<Option<Self>, MalformedRequest> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut []);
        let length = match request.parse_with_uninit_headers(bytes, &mut headers) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(malformed(error)),
        };
        if length > rules.max_head_bytes {
            return Err(MalformedRequest::HeadTooLarge);
        }
        let start = bytes.as_ptr() as usize;
        let mut fields = FramingHeaders::default();
        for header in request.headers.iter() {
            let at = header.value.as_ptr() as usize - start;
            fields
                .note(header.name, header.value, at..at + header.value.len())
                .map_err(MalformedRequest::Because)?;
        }
        let target = request.path.unwrap_or_default();
        if !is_usual(target) && !(rules.is_target)(target) {
            return Err(MalformedRequest::Because("The target of the request is malformed."));
        }
        let is_newer = request.version == Some(1);
        let method = request.method.unwrap_or_default();
        if !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return Err(MalformedRequest::Because(NOT_HTTP));
        }
        fields.check(is_newer, method).map_err(MalformedRequest::Because)?;
        let to_socket = is_newer && method == "GET" && fields.is_handshake() && (rules.is_socket)(target);
        let body = match fields.length {
            _ if fields.chunked => Announced::Chunks,
            Some(length @ 1..) => Announced::Bytes(length),
            _ if to_socket || method == "CONNECT" => Announced::Upgrade,
            _ => Announced::Nothing,
        };
        fields.rewrite(bytes, to_socket);
        Ok(Some(Self { length, body, expects_continue: is_newer && fields.expects_continue }))
    }
}

impl FramingHeaders {
    /// Takes a header in, by the length of its name first: most concern nothing here.
    fn note(&mut self, name: &str, value: &[u8], at: ValueRange) -> Result<(), &'static str> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is("host") => once(&mut self.host, "The request has more than one Host."),
            6 if is("expect") => {
                self.expects_continue |= names(value, "100-continue");
                self.expect.push(at);
                Ok(())
            }
            7 if is("upgrade") => {
                self.websocket |= names(value, "websocket");
                self.upgrade.push(at);
                Ok(())
            }
            10 if is("connection") => {
                self.upgrades |= names(value, "upgrade");
                Ok(())
            }
            14 if is("content-length") => match (self.length, number(value)) {
                (None, Some(length)) => {
                    self.length = Some(length);
                    Ok(())
                }
                _ => Err("The Content-Length of the request is malformed."),
            },
            17 if is("transfer-encoding") => {
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err("The Transfer-Encoding of the request is not `chunked`.");
                }
                once(&mut self.chunked, "The request has more than one Transfer-Encoding.")
            }
            _ => Ok(()),
        }
    }

    /// What the stack requires of the headers together, and RFC 9112 in sections 3.2 and 6.
    fn check(&self, is_newer: bool, method: &str) -> Result<(), &'static str> {
        if self.chunked && self.length.is_some() {
            return Err("The request has both Content-Length and Transfer-Encoding.");
        }
        if self.chunked && !is_newer {
            return Err("A request of HTTP/1.0 has a Transfer-Encoding.");
        }
        if is_newer && !self.host {
            return Err("The request has no Host.");
        }
        if !is_newer && method == "POST" && self.length.is_none() {
            return Err("A POST of HTTP/1.0 has no Content-Length.");
        }
        Ok(())
    }

    fn is_handshake(&self) -> bool {
        self.upgrades && self.websocket && !self.chunked && self.length.unwrap_or(0) == 0
    }

    /// Leaves of `Upgrade` what the stack is to act on, which reads no lists, and nothing of `Expect`.
    fn rewrite(&self, bytes: &mut [u8], to_socket: bool) {
        for place in self.expect.iter().chain(&self.upgrade) {
            bytes[place.clone()].fill(b' ');
        }
        let known = b"websocket";
        if to_socket && let Some(place) = self.upgrade.iter().find(|place| place.len() >= known.len()) {
            bytes[place.start..place.start + known.len()].copy_from_slice(known);
        }
    }
}

fn malformed(error: httparse::Error) -> MalformedRequest {
    match error {
        httparse::Error::TooManyHeaders => MalformedRequest::HeadTooLarge,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => {
            MalformedRequest::Because("A header of the request is malformed.")
        }
        _ => MalformedRequest::Because(NOT_HTTP),
    }
}

fn once(seen: &mut bool, otherwise: &'static str) -> Result<(), &'static str> {
    if std::mem::replace(seen, true) { Err(otherwise) } else { Ok(()) }
}

/// Digits and nothing else.
fn number(value: &[u8]) -> Option<u64> {
    let digits =
        std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// Whether a list names this token.
fn names(value: &[u8], token: &str) -> bool {
    value.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// A target that any reader takes.
fn is_usual(target: &str) -> bool {
    target.starts_with('/')
        && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~?=&%+:,@!$'()*;".contains(&byte))
}
