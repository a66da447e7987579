//! Parses plain websocket handshakes without an HTTP stack. Pure.
//!
//! After a restart many clients reconnect with handshakes, and the HTTP stack (parser, state of each connection,
//! writer) costs more than everything else the server does for one. A plain handshake gets the same response as from
//! the upgrade service. Everything else (another path, a signature, a proxy's prefix, an unexpected header, any error)
//! returns `None` and goes to the upgrade service.

use super::target::SessionTarget;
use super::token::SUBPROTOCOL;
use crate::auth::guard::SIGNATURE_HEADER;
use crate::auth::request_signature::BOUND_HEADER;
use crate::protocol::websocket::deflate;
use actix_http::ws;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use smallvec::SmallVec;
use std::mem::MaybeUninit;

/// Maximum number of headers of a handshake. Browsers send about fifteen, proxies some more.
const MAX_HEADERS: usize = 48;
/// The start of a target, before its query.
const TARGET: &str = "/ws?";

#[derive(Debug, PartialEq, Eq)]
pub struct PlainHandshake<'a> {
    pub target: SessionTarget,
    /// Whether the client accepts compressed messages.
    pub deflate: bool,
    /// The value of `Sec-WebSocket-Accept`.
    accept: [u8; 28],
    /// Its length in bytes. The bytes after it belong to the websocket.
    pub length: usize,
    /// The values of its `X-Forwarded-For` lines, in order.
    pub forwarded_for: SmallVec<[&'a str; 2]>,
    /// The origin of the requesting page; programs do not send one.
    pub origin: Option<&'a [u8]>,
}

impl<'a> PlainHandshake<'a> {
    /// Parses a handshake from the first bytes of a connection. Returns `None` for anything else, and for an incomplete
    /// one.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut []);
        let length = match request.parse_with_uninit_headers(bytes, &mut headers) {
            Ok(httparse::Status::Complete(length)) => length,
            _ => return None,
        };
        let is_get = request.method == Some("GET") && request.version == Some(1);
        let query = request.path.filter(|_| is_get)?.strip_prefix(TARGET)?;
        let target = SessionTarget::read_plain(query)?;
        let mut headers = HandshakeHeaders::default();
        request.headers.iter().try_for_each(|header| headers.read(header.name, header.value))?;
        headers.once.iter().all(|found| *found).then_some(())?;
        let HandshakeHeaders { accept, deflate, forwarded_for, origin, of_page, .. } = headers;
        (origin.is_some() || !of_page).then_some(())?;
        Some(Self { target, deflate, accept, length, forwarded_for, origin })
    }

    /// The response that accepts the handshake, with compression if `deflate` is set.
    pub fn answer(&self, deflate: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
        );
        if deflate {
            out.extend_from_slice(b"sec-websocket-extensions: ");
            out.extend_from_slice(deflate::ANSWER.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"sec-websocket-accept: ");
        out.extend_from_slice(&self.accept);
        out.extend_from_slice(b"\r\n\r\n");
        out
    }
}

/// The number of headers that must occur exactly once: `Host`, `Upgrade`, `Connection`, the version, the key.
const REQUIRED_HEADERS: usize = 5;

/// The data from the headers read so far.
#[derive(Default)]
struct HandshakeHeaders<'a> {
    once: [bool; REQUIRED_HEADERS],
    accept: [u8; 28],
    deflate: bool,
    forwarded_for: SmallVec<[&'a str; 2]>,
    origin: Option<&'a [u8]>,
    /// The request carries another header than `Origin` that identifies its page.
    of_page: bool,
}

impl<'a> HandshakeHeaders<'a> {
    /// Reads a header. Returns `None` when a plain handshake does not contain it.
    fn read(&mut self, name: &str, value: &'a [u8]) -> Option<()> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("host") {
            self.mark_seen(0)
        } else if is("upgrade") {
            value.trim_ascii().eq_ignore_ascii_case(b"websocket").then_some(())?;
            self.mark_seen(1)
        } else if is("connection") {
            upgrades(value).then_some(())?;
            self.mark_seen(2)
        } else if is("sec-websocket-version") {
            (value == b"13").then_some(())?;
            self.mark_seen(3)
        } else if is("sec-websocket-key") {
            is_key(value).then_some(())?;
            self.accept = ws::hash_key(value);
            self.mark_seen(4)
        } else if is("sec-websocket-extensions") {
            self.deflate |= deflate::accepts(text(value)?);
            Some(())
        } else if is("sec-websocket-protocol") {
            // The upgrade service selects the server's own subprotocol and reads the token beside it.
            (!text(value)?.contains(SUBPROTOCOL)).then_some(())
        } else if is("x-forwarded-for") {
            self.forwarded_for.push(text(value)?);
            Some(())
        } else if is("origin") {
            self.origin.replace(value).is_none().then_some(())
        } else if is("sec-fetch-site") || is("referer") {
            self.of_page = true;
            Some(())
        } else {
            (!SPECIAL.iter().any(|special| is(special))).then_some(())
        }
    }

    fn mark_seen(&mut self, place: usize) -> Option<()> {
        (!std::mem::replace(&mut self.once[place], true)).then_some(())
    }
}

/// Headers that the upgrade service or the HTTP stack interprets.
const SPECIAL: [&str; 7] = [
    SIGNATURE_HEADER,
    BOUND_HEADER,
    "x-script-name",
    "x-forwarded-prefix",
    "content-length",
    "transfer-encoding",
    "expect",
];

fn upgrades(connection: &[u8]) -> bool {
    let mut options = connection.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let closes = options.clone().any(|option| option.eq_ignore_ascii_case(b"close"));
    !closes && options.any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

/// Whether this is the base64 of sixteen bytes.
fn is_key(value: &[u8]) -> bool {
    value.len() == 24 && STANDARD.decode_slice(value, &mut [0; 18]) == Ok(16)
}

/// A value that the HTTP stack also accepts as text.
fn text(value: &[u8]) -> Option<&str> {
    let plain = value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    std::str::from_utf8(value).ok().filter(|_| plain)
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
