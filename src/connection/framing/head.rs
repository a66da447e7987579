//! Reads from the head of a request what follows it.

use super::MalformedRequest;
use smallvec::SmallVec;
use std::mem::MaybeUninit;
use std::ops::Range;

/// The most headers of a request, as in the HTTP stack.
pub const MAX_HEADERS: usize = 96;

const NOT_HTTP: &str = "This is not an HTTP/1.1 request.";

/// The rules for reading heads.
#[derive(Clone, Copy, Debug)]
pub struct HeadRules {
    pub max_head_bytes: usize,
    /// Whether there is a websocket at this target. For other targets `Upgrade` is blanked (RFC 9110, section 7.8: a server
    /// may ignore it): the HTTP stack would upgrade the connection because of that header alone.
    pub is_websocket_path: fn(&str) -> bool,
    /// Whether the HTTP stack accepts a target that has unusual characters.
    pub is_valid_target: fn(&str) -> bool,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    Nothing,
    /// A body of this many bytes, at least one.
    Bytes(u64),
    Chunks,
    /// Another protocol.
    Upgrade,
}

/// A complete head.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// Its length in bytes, including the blank line.
    pub length: usize,
    pub body: Announced,
    pub expects_continue: bool,
}

/// The position of a header's value.
type ValueRange = Range<usize>;

/// The headers that determine the framing of a request.
#[derive(Default)]
struct FramingHeaders {
    length: Option<u64>,
    chunked: bool,
    host: bool,
    /// `Connection` contains `upgrade`.
    upgrades: bool,
    /// `Upgrade` contains `websocket`.
    websocket: bool,
    expects_continue: bool,
    /// The values of `Upgrade`.
    upgrade: SmallVec<[ValueRange; 2]>,
    /// The values of `Expect`. They are blanked: otherwise the HTTP stack would request a body that no handler may read.
    expect: SmallVec<[ValueRange; 2]>,
}

impl Head {
    /// Reads the head at the start of the bytes. `None` while it is incomplete.
    ///
    /// # Errors
    /// The head is malformed.
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
                .read(header.name, header.value, at..at + header.value.len())
                .map_err(MalformedRequest::Reason)?;
        }
        let target = request.path.unwrap_or_default();
        if !is_usual(target) && !(rules.is_valid_target)(target) {
            return Err(MalformedRequest::Reason("The target of the request is malformed."));
        }
        let is_http_1_1 = request.version == Some(1);
        let method = request.method.unwrap_or_default();
        if !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return Err(MalformedRequest::Reason(NOT_HTTP));
        }
        fields.check(is_http_1_1, method).map_err(MalformedRequest::Reason)?;
        let is_upgrade =
            is_http_1_1 && method == "GET" && fields.is_handshake() && (rules.is_websocket_path)(target);
        let body = match fields.length {
            _ if fields.chunked => Announced::Chunks,
            Some(length @ 1..) => Announced::Bytes(length),
            _ if is_upgrade || method == "CONNECT" => Announced::Upgrade,
            _ => Announced::Nothing,
        };
        fields.rewrite(bytes, is_upgrade);
        Ok(Some(Self { length, body, expects_continue: is_http_1_1 && fields.expects_continue }))
    }
}

impl FramingHeaders {
    /// Reads a header. The length of its name is compared first, since most headers are not needed here.
    fn read(&mut self, name: &str, value: &[u8], at: ValueRange) -> Result<(), &'static str> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is("host") => once(&mut self.host, "The request has more than one Host."),
            6 if is("expect") => {
                self.expects_continue |= contains(value, "100-continue");
                self.expect.push(at);
                Ok(())
            }
            7 if is("upgrade") => {
                self.websocket |= contains(value, "websocket");
                self.upgrade.push(at);
                Ok(())
            }
            10 if is("connection") => {
                self.upgrades |= contains(value, "upgrade");
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

    /// Checks the combination of headers, as required by the HTTP stack and by RFC 9112, sections 3.2 and 6.
    fn check(&self, is_http_1_1: bool, method: &str) -> Result<(), &'static str> {
        if self.chunked && self.length.is_some() {
            return Err("The request has both Content-Length and Transfer-Encoding.");
        }
        if self.chunked && !is_http_1_1 {
            return Err("A request of HTTP/1.0 has a Transfer-Encoding.");
        }
        if is_http_1_1 && !self.host {
            return Err("The request has no Host.");
        }
        if !is_http_1_1 && method == "POST" && self.length.is_none() {
            return Err("A POST of HTTP/1.0 has no Content-Length.");
        }
        Ok(())
    }

    fn is_handshake(&self) -> bool {
        self.upgrades && self.websocket && !self.chunked && self.length.unwrap_or(0) == 0
    }

    /// Blanks `Expect`, and reduces `Upgrade` to the protocol that the HTTP stack must use, since it does not read lists.
    fn rewrite(&self, bytes: &mut [u8], is_upgrade: bool) {
        for range in self.expect.iter().chain(&self.upgrade) {
            bytes[range.clone()].fill(b' ');
        }
        let protocol = b"websocket";
        if is_upgrade && let Some(range) = self.upgrade.iter().find(|range| range.len() >= protocol.len()) {
            bytes[range.start..range.start + protocol.len()].copy_from_slice(protocol);
        }
    }
}

fn malformed(error: httparse::Error) -> MalformedRequest {
    match error {
        httparse::Error::TooManyHeaders => MalformedRequest::HeadTooLarge,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => {
            MalformedRequest::Reason("A header of the request is malformed.")
        }
        _ => MalformedRequest::Reason(NOT_HTTP),
    }
}

fn once(seen: &mut bool, error: &'static str) -> Result<(), &'static str> {
    if std::mem::replace(seen, true) { Err(error) } else { Ok(()) }
}

/// Parses a number that consists of digits only.
fn number(value: &[u8]) -> Option<u64> {
    let digits =
        std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// Whether a list contains this token.
fn contains(value: &[u8], token: &str) -> bool {
    value.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether all parsers accept the target.
fn is_usual(target: &str) -> bool {
    target.starts_with('/')
        && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~?=&%+:,@!$'()*;".contains(&byte))
}
