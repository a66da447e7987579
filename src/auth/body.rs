//! The body of a request as UTF-8, decoded from the charset that its `Content-Type` names.
//!
//! The size limit of a body depends on its sender. [`Body`] is for handlers that require a signature or a sign-in;
//! [`OpenBody`] is for public handlers.

use super::guard::{Caller, caller_of};
use crate::broker::handle::BrokerHandle;
use crate::http_error::{MaxBody, Refusal};
use crate::limits::unauthenticated::UnauthenticatedBody;
use crate::telemetry::in_flight::InFlight;
use actix_http::RequestHead;
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{Error, FromRequest, HttpRequest, web};
use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8};
use futures_util::future::{Either, LocalBoxFuture, select};
use futures_util::stream::StreamExt;
use serde_json::json;
use std::borrow::Cow;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;

/// The most bytes of a body that names a connection.
pub const CONN_ID_BYTES: usize = 1 << 10;
/// The most bytes of a form.
pub const FORM_BYTES: usize = 4 << 10;

/// The most characters of a content coding's name that a refusal repeats.
const NAMED_CHARS: usize = 40;
/// The first allocation for a body whose announced length is larger, in bytes. It doubles from there, since a client need
/// not send all that it announces.
const FIRST_CAPACITY: usize = 64 << 10;

/// A whole body, decoded. A body that is declared as UTF-8, or names no charset, loses its byte order mark and is otherwise
/// unchanged and not validated: its reader does that.
#[derive(Debug)]
pub struct Body {
    bytes: Bytes,
    counted: Option<CountedBytes>,
}

/// The body of a public request: at most `MAX` bytes, unless the request is signed.
#[derive(Debug)]
pub struct OpenBody<const MAX: usize>(Body);

/// The sender of a body, which decides about the size limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodySender {
    /// The sender has a secret or has signed in. The limit is `max_body_bytes`.
    Authenticated,
    /// The signature covers the body and can be checked only after it was received. The limit is `max_body_bytes`; the
    /// bytes are counted apart from those of authenticated senders.
    Unverified,
    /// Any sender. The limit is this many bytes, which are also counted apart.
    Public(usize),
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl FromRequest for Body {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        Box::pin(Self::decoded(req.clone(), payload.take(), BodySender::Authenticated))
    }
}

impl<const MAX: usize> FromRequest for OpenBody<MAX> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (req, payload) = (req.clone(), payload.take());
        Box::pin(async move {
            let sender = match caller_of(&req)? {
                Caller::Signed(_) => BodySender::Authenticated,
                Caller::Unsigned | Caller::Untrusted => BodySender::Public(MAX),
            };
            Body::decoded(req, payload, sender).await.map(Self)
        })
    }
}

impl<const MAX: usize> Deref for OpenBody<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> OpenBody<MAX> {
    /// Returns the bytes, which no longer count towards any limit.
    pub fn into_bytes(self) -> Bytes {
        self.0.bytes
    }
}

impl Body {
    async fn decoded(req: HttpRequest, payload: Payload, sender: BodySender) -> Result<Self, Error> {
        let broker = req.app_data::<web::Data<BrokerHandle>>().ok_or(Refusal::Internal)?;
        let body = Self::receive(req.head(), payload, broker, sender).await?;
        // A refused body has been read to its end, so that the connection can be used again.
        let bytes = decode(encoding(&req)?, body.bytes)?;
        Ok(Self { bytes, ..body })
    }

    /// Receives a body, without a copy if it arrives in one piece, and does not decode it.
    ///
    /// # Errors
    /// `BodyTooLarge`; `Busy` if the bodies in flight have too many bytes; `Invalid` if the body is incomplete.
    pub async fn receive(
        head: &RequestHead,
        payload: Payload,
        broker: &BrokerHandle,
        sender: BodySender,
    ) -> Result<Self, Refusal> {
        let received = gather(head, payload, broker, sender).await;
        if let Err(Refusal::Busy) = &received {
            broker.counters.refused_busy.add(1);
        }
        received
    }

    /// Checks a body that names no charset, and removes its byte order mark.
    ///
    /// # Errors
    /// `Invalid` for UTF-16, `BodyEncoded` for gzip.
    pub fn into_utf8(self) -> Result<Self, Refusal> {
        Ok(Self { bytes: as_utf8(self.bytes)?, ..self })
    }

    /// Counts the bytes as those of an authenticated sender. Returns them and the count, which ends when it is dropped;
    /// `None` if the bytes are not counted.
    pub fn into_authenticated(self, broker: &BrokerHandle) -> (Bytes, Option<CountedBytes>) {
        let is_counted = self.counted.is_some();
        drop(self.counted);
        let counted = is_counted.then(|| {
            let mut counted = AuthenticatedBytes { in_flight: broker.in_flight.clone(), bytes: 0 };
            counted.add(self.bytes.len());
            CountedBytes::Authenticated(counted)
        });
        (self.bytes, counted)
    }
}

async fn gather(
    head: &RequestHead,
    mut payload: Payload,
    broker: &BrokerHandle,
    sender: BodySender,
) -> Result<Body, Refusal> {
    let max = sender.max_body(broker.settings.max_body_bytes);
    let length = announced(head).map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    check(max, length.unwrap_or(0))?;
    let mut counted: Option<CountedBytes> = None;
    let mut first = Bytes::new();
    let mut all: Vec<u8> = Vec::new();
    while let Some(piece) = next_piece(&mut payload, counted.as_ref()).await {
        let piece = piece?;
        check(max, first.len().max(all.len()) + piece.len())?;
        if first.is_empty() && all.is_empty() {
            first = piece;
            continue;
        }
        let counted = counted.get_or_insert_with(|| CountedBytes::new(sender, broker));
        counted.add(first.len() + piece.len())?;
        reserve(&mut all, first.len() + piece.len(), length);
        all.extend_from_slice(&std::mem::take(&mut first));
        all.extend_from_slice(&piece);
    }
    Ok(Body { bytes: if all.is_empty() { first } else { all.into() }, counted })
}

/// The next piece; a refusal if the body is incomplete, or is evicted for others.
async fn next_piece(payload: &mut Payload, counted: Option<&CountedBytes>) -> Option<Result<Bytes, Refusal>> {
    let piece = match counted {
        Some(CountedBytes::Unauthenticated(body)) => match select(pin!(body.evicted()), payload.next()).await
        {
            Either::Left(_) => return Some(Err(Refusal::Busy)),
            Either::Right((piece, _)) => piece,
        },
        _ => payload.next().await,
    };
    piece.map(|piece| piece.map_err(|error| invalid(&error.to_string())))
}

/// Reserves capacity for more bytes: a small announced length exactly, otherwise twice the current capacity.
fn reserve(all: &mut Vec<u8>, more: usize, announced: Option<usize>) {
    let required = all.len() + more;
    if required > all.capacity() {
        let capacity = match announced {
            Some(length) => (2 * all.capacity()).max(FIRST_CAPACITY).min(length),
            None => 2 * all.capacity(),
        };
        all.reserve_exact(required.max(capacity) - all.len());
    }
}

impl BodySender {
    fn max_body(self, max_body_bytes: usize) -> MaxBody {
        match self {
            Self::Public(bytes) if bytes < max_body_bytes => MaxBody::OfPath(bytes),
            _ => MaxBody::OfSettings(max_body_bytes),
        }
    }
}

fn check(max: MaxBody, bytes: usize) -> Result<(), Refusal> {
    if bytes > max.bytes() { Err(Refusal::BodyTooLarge(max)) } else { Ok(()) }
}

/// The body length that a request announces.
fn announced(head: &RequestHead) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Refuses a body with a content coding such as gzip: no part of the server decodes them.
///
/// # Errors
/// `BodyEncoded`.
pub fn admit_encoding(head: &RequestHead) -> Result<(), Refusal> {
    let has_body = announced(head).is_some_and(|length| length > 0)
        || head.headers.contains_key(header::TRANSFER_ENCODING);
    if !has_body {
        return Ok(());
    }
    let lines = head.headers.get_all(header::CONTENT_ENCODING).map(|line| line.to_str().unwrap_or("?"));
    let codings = lines.flat_map(|line| line.split(',')).map(str::trim);
    let mut coded = codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
    match coded.next() {
        Some(coding) => Err(Refusal::BodyEncoded(coding.chars().take(NAMED_CHARS).collect())),
        None => Ok(()),
    }
}

/// The bytes of a body, counted towards a limit for all bodies until this is dropped. A body that arrives in one piece is
/// not counted, since it is not larger than the connection's buffer.
#[derive(Debug)]
pub enum CountedBytes {
    /// Counted with the bodies of all authenticated senders.
    Authenticated(AuthenticatedBytes),
    /// Counted with the bodies of all other senders.
    Unauthenticated(UnauthenticatedBody),
}

/// See [`CountedBytes`].
#[derive(Debug)]
pub struct AuthenticatedBytes {
    in_flight: Arc<InFlight>,
    bytes: usize,
}

impl CountedBytes {
    fn new(sender: BodySender, broker: &BrokerHandle) -> Self {
        match sender {
            BodySender::Authenticated => {
                Self::Authenticated(AuthenticatedBytes { in_flight: broker.in_flight.clone(), bytes: 0 })
            }
            BodySender::Unverified | BodySender::Public(_) => {
                Self::Unauthenticated(broker.unauthenticated_bodies.start())
            }
        }
    }

    fn add(&mut self, bytes: usize) -> Result<(), Refusal> {
        match self {
            Self::Authenticated(counted) => {
                counted.add(bytes);
                if counted.in_flight.bodies.is_full() { Err(Refusal::Busy) } else { Ok(()) }
            }
            Self::Unauthenticated(body) => body.add(bytes),
        }
    }
}

impl AuthenticatedBytes {
    fn add(&mut self, bytes: usize) {
        self.in_flight.bodies.add(bytes);
        self.bytes += bytes;
    }
}

impl Drop for AuthenticatedBytes {
    fn drop(&mut self) {
        self.in_flight.bodies.sub(self.bytes);
    }
}

/// Removes the byte order mark that some editors and libraries write at the start of UTF-8. Refuses bytes that start like
/// UTF-16 or gzip with a text that names the format.
fn as_utf8(bytes: Bytes) -> Result<Bytes, Refusal> {
    match *bytes {
        [0xef, 0xbb, 0xbf, ..] => Ok(bytes.slice(3..)),
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] => Err(invalid(
            "The body begins with the byte order mark of UTF-16. Send UTF-8, or name the charset.",
        )),
        [0x1f, 0x8b, ..] => Err(Refusal::BodyEncoded("gzip".into())),
        _ => Ok(bytes),
    }
}

fn encoding(req: &HttpRequest) -> Result<&'static Encoding, Refusal> {
    let content_type = req.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match content_type.and_then(charset) {
        None => Ok(UTF_8),
        Some(name) => named(name).ok_or_else(|| invalid(&format!("Unknown charset {name}."))),
    }
}

/// The value of the parameter `charset`, if it is not empty.
fn charset(content_type: &str) -> Option<&str> {
    let value = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').trim())
    })?;
    (!value.is_empty()).then_some(value)
}

/// Finds an encoding by its name on the web, or by one of the names that Python also accepts (`latin-1`, `utf_8`).
fn named(name: &str) -> Option<&'static Encoding> {
    let plain = || name.replace(['-', '_'], "");
    Encoding::for_label(name.as_bytes()).or_else(|| Encoding::for_label(plain().as_bytes()))
}

fn decode(encoding: &'static Encoding, bytes: Bytes) -> Result<Bytes, Refusal> {
    if encoding == UTF_8 {
        return as_utf8(bytes);
    }
    let (text, actual, malformed) = encoding.decode(&bytes);
    match text {
        _ if malformed => Err(invalid(&format!("The body is not {}.", actual.name()))),
        // Usually plain ASCII.
        Cow::Borrowed(text) if text.len() == bytes.len() => Ok(bytes),
        text => Ok(Bytes::from(text.into_owned())),
    }
}

fn invalid(text: &str) -> Refusal {
    Refusal::Invalid(json!({ "_schema": [text] }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(label: &str, bytes: &'static [u8]) -> Result<String, Refusal> {
        let bytes = decode(named(label).unwrap(), Bytes::from_static(bytes))?;
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn an_announced_length_does_not_reserve_memory() {
        let mut all = Vec::new();
        let mut capacities = Vec::new();
        for _ in 0..2_048 {
            reserve(&mut all, 4_096, Some(8 << 20));
            all.extend_from_slice(&[b' '; 4_096]);
            assert!(
                all.capacity() <= FIRST_CAPACITY.max(2 * all.len()),
                "{} for {}",
                all.capacity(),
                all.len()
            );
            capacities.push(all.capacity());
        }
        capacities.dedup();
        assert_eq!(
            (capacities.len(), capacities.last()),
            (8, Some(&(8 << 20))),
            "few reallocations, and no more memory than announced"
        );
        let mut small = Vec::new();
        reserve(&mut small, 2_000, Some(3_000));
        assert_eq!(small.capacity(), 3_000);
        let mut in_chunks = vec![b' '; 100_000];
        reserve(&mut in_chunks, 2_000, None);
        assert_eq!(in_chunks.capacity(), 200_000);
    }

    #[test]
    fn charsets_are_found() {
        assert_eq!(charset("application/json"), None);
        assert_eq!(charset("application/json; charset="), None);
        assert_eq!(charset("application/json; a=b; Charset = \"latin-1\""), Some("latin-1"));
        assert_eq!(charset("text/plain;charset=utf-8;x=y"), Some("utf-8"));
    }

    #[test]
    fn charset_names_of_the_web_and_of_python_are_accepted() {
        for name in ["utf-8", "UTF8", "utf_8"] {
            assert_eq!(named(name).map(Encoding::name), Some("UTF-8"), "{name}");
        }
        for name in ["latin-1", "latin_1", "iso-8859-1", "ISO8859-1", "cp1252"] {
            assert_eq!(named(name).map(Encoding::name), Some("windows-1252"), "{name}");
        }
        assert_eq!(named("klingon"), None);
    }

    #[test]
    fn bodies_are_decoded() {
        assert_eq!(decoded("latin-1", b"\"\xe9\"").unwrap(), "\"é\"");
        assert_eq!(decoded("latin-1", b"\"e\"").unwrap(), "\"e\"");
        assert_eq!(decoded("utf-16", b"\xfe\xff\x01\x7e").unwrap(), "ž");
        assert_eq!(decoded("shift_jis", b"\x81"), Err(invalid("The body is not Shift_JIS.")));
    }

    #[test]
    fn utf8_is_not_copied() {
        for label in ["utf-8", "latin-1"] {
            let bytes = Bytes::from_static(b"{}");
            assert_eq!(decode(named(label).unwrap(), bytes.clone()).unwrap().as_ptr(), bytes.as_ptr());
        }
    }
}
