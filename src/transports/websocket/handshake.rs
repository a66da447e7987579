//! Websocket handshakes in their plainest form, read without an HTTP stack. Pure.
//!
//! A crowd that comes back after a restart is nothing but handshakes, and the stack's parser, its state for each
//! connection and its writer cost more than all we do for one. What is read here is answered as the upgrade service
//! would answer it; whatever is special (another path, a signature, a proxy's prefix, a header that we do not expect,
//! anything wrong) is none of ours and goes there.

use crate::api::conn_id;
use crate::auth::guard::SIGNATURE_HEADER;
use crate::auth::request_signature::BOUND_HEADER;
use crate::protocol::websocket::deflate;
use actix_http::ws;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use smallvec::SmallVec;
use std::mem::MaybeUninit;
use uuid::Uuid;

/// Headers of a handshake at most; browsers send about fifteen, proxies some more.
const HEADERS: usize = 48;
/// A target begins so, and ends with a connection's id.
const TARGET: &str = "/ws?conn_id=";
/// Characters of an id in the form in which clients send it.
const CONN_ID: usize = 36;

/// A plain handshake.
#[derive(Debug, PartialEq, Eq)]
pub struct Plain<'a> {
    /// The connection that it asks for.
    pub conn_id: Uuid,
    /// Whether it offers to take compressed messages.
    pub deflate: bool,
    /// Its key's answer.
    accept: [u8; 28],
    /// Bytes of it; what follows is the websocket's.
    pub length: usize,
    /// Its lines of `X-Forwarded-For`, in order.
    pub forwarded_for: SmallVec<[&'a str; 2]>,
    /// The origin of the page that asks; programs name none.
    pub origin: Option<&'a [u8]>,
}

impl<'a> Plain<'a> {
    /// Reads a handshake from what a connection began with. `None` for anything else, and for one that is not complete.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS];
        let mut request = httparse::Request::new(&mut []);
        let length = match request.parse_with_uninit_headers(bytes, &mut headers) {
            Ok(httparse::Status::Complete(length)) => length,
            _ => return None,
        };
        let is_get = request.method == Some("GET") && request.version == Some(1);
        let conn_id = conn_id(request.path.filter(|_| is_get)?)?;
        let mut said = HandshakeHeaders::default();
        request.headers.iter().try_for_each(|header| said.hear(header.name, header.value))?;
        said.once.iter().all(|found| *found).then_some(())?;
        let HandshakeHeaders { accept, deflate, forwarded_for, origin, of_page, .. } = said;
        (origin.is_some() || !of_page).then_some(())?;
        Some(Self { conn_id, deflate, accept, length, forwarded_for, origin })
    }

    /// The answer that lets the client in, with compressed messages if it asked for them and may have them.
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

/// The connection that a target names: our path, and in the query nothing but an id in its usual form.
fn conn_id(target: &str) -> Option<Uuid> {
    let id = target.strip_prefix(TARGET)?;
    let usual = id.len() == CONN_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    conn_id::parse(id).filter(|_| usual)
}

/// What must be said once: `Host`, `Upgrade`, `Connection`, the version, the key.
const ONCE: usize = 5;

/// What the headers said so far.
#[derive(Default)]
struct HandshakeHeaders<'a> {
    once: [bool; ONCE],
    accept: [u8; 28],
    deflate: bool,
    forwarded_for: SmallVec<[&'a str; 2]>,
    origin: Option<&'a [u8]>,
    /// A browser reports in another way than by `Origin` whose page asks.
    of_page: bool,
}

impl<'a> HandshakeHeaders<'a> {
    /// Takes a header in; `None` when it is not one of a plain handshake.
    fn hear(&mut self, name: &str, value: &'a [u8]) -> Option<()> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("host") {
            self.first(0)
        } else if is("upgrade") {
            value.trim_ascii().eq_ignore_ascii_case(b"websocket").then_some(())?;
            self.first(1)
        } else if is("connection") {
            upgrades(value).then_some(())?;
            self.first(2)
        } else if is("sec-websocket-version") {
            (value == b"13").then_some(())?;
            self.first(3)
        } else if is("sec-websocket-key") {
            is_key(value).then_some(())?;
            self.accept = ws::hash_key(value);
            self.first(4)
        } else if is("sec-websocket-extensions") {
            self.deflate |= deflate::accepts(text(value)?);
            Some(())
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

    fn first(&mut self, place: usize) -> Option<()> {
        (!std::mem::replace(&mut self.once[place], true)).then_some(())
    }
}

/// Headers of which the upgrade service, or the HTTP stack, makes something.
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

/// A value that is text for the HTTP stack, too.
fn text(value: &[u8]) -> Option<&str> {
    let plain = value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    std::str::from_utf8(value).ok().filter(|_| plain)
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
