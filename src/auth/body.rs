//! The body of a request as UTF-8, whatever charset its `Content-Type` names.
//!
//! How much a body may be depends on its sender. [`Body`] is for handlers that ask for a signature or a sign-in first;
//! [`OpenBody`] is for those that anybody may call.

use super::guard::{Caller, standing_of};
use crate::broker::handle::BrokerHandle;
use crate::http_error::{MaxBody, Refusal};
use crate::limits::unproven::UnprovenBody;
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

/// Most bytes of a body that names a connection.
pub const CONN_ID_BYTES: usize = 1 << 10;
/// Most bytes of a form.
pub const FORM_BYTES: usize = 4 << 10;

/// Of the name of a coding a refusal says so many characters.
const NAMED_CHARS: usize = 40;
/// What a body's place is made for at first, in bytes, if it is announced to be larger. From there it doubles: what is
/// announced need not come.
const FIRST_ROOM: usize = 64 << 10;

/// A whole body, decoded. One that is UTF-8 already, or names no charset, is passed on as it came but for a byte order
/// mark, unread; so is the judgement whether it is what it says.
#[derive(Debug)]
pub struct Body {
    bytes: Bytes,
    weight: Option<Weight>,
}

/// The body of a request that anybody may send: at most `MAX` bytes, unless the request is signed.
#[derive(Debug)]
pub struct OpenBody<const MAX: usize>(Body);

/// Who sends a body, and how much it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodySender {
    /// One with a secret or a sign-in: `max_body_bytes`.
    Proven,
    /// One whose signature covers the body, so that it is judged when the body is there: `max_body_bytes`, and apart from
    /// those of proven senders.
    NotYetProven,
    /// Anybody: this many bytes, also apart.
    Anybody(usize),
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
        Box::pin(Self::decoded(req.clone(), payload.take(), BodySender::Proven))
    }
}

impl<const MAX: usize> FromRequest for OpenBody<MAX> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (req, payload) = (req.clone(), payload.take());
        Box::pin(async move {
            let sender = match standing_of(&req)? {
                Caller::Signed(_) => BodySender::Proven,
                Caller::Anonymous | Caller::Stranger => BodySender::Anybody(MAX),
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
    /// Its bytes, no longer counted.
    pub fn into_bytes(self) -> Bytes {
        self.0.bytes
    }
}

impl Body {
    async fn decoded(req: HttpRequest, payload: Payload, sender: BodySender) -> Result<Self, Error> {
        let broker = req.app_data::<web::Data<BrokerHandle>>().ok_or(Refusal::Internal)?;
        let body = Self::receive(req.head(), payload, broker, sender).await?;
        // Read to its end even if it is refused: the connection goes on.
        let bytes = decode(encoding(&req)?, body.bytes)?;
        Ok(Self { bytes, ..body })
    }

    /// Receives a body, without a copy if it comes in one piece, and does not decode it.
    ///
    /// # Errors
    /// `BodyTooLarge`; `Busy` when the bodies under way have too many bytes; `Invalid` when it
    /// breaks off.
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

    /// The same as UTF-8, where no charset is named.
    ///
    /// # Errors
    /// `Invalid` for UTF-16, `BodyEncoded` for gzip.
    pub fn as_utf8(self) -> Result<Self, Refusal> {
        Ok(Self { bytes: as_utf8(self.bytes)?, ..self })
    }

    /// Its bytes, and what counts them as those of a sender that has a secret until it is dropped; `None` for what is
    /// not counted.
    pub fn prove(self, broker: &BrokerHandle) -> (Bytes, Option<Weight>) {
        let counted = self.weight.is_some();
        drop(self.weight);
        let weight = counted.then(|| {
            let mut weight = Proven { in_flight: broker.in_flight.clone(), bytes: 0 };
            weight.add(self.bytes.len());
            Weight::Proven(weight)
        });
        (self.bytes, weight)
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
    let mut weight: Option<Weight> = None;
    let mut first = Bytes::new();
    let mut all: Vec<u8> = Vec::new();
    while let Some(piece) = next_piece(&mut payload, weight.as_ref()).await {
        let piece = piece?;
        check(max, first.len().max(all.len()) + piece.len())?;
        if first.is_empty() && all.is_empty() {
            first = piece;
            continue;
        }
        let weight = weight.get_or_insert_with(|| Weight::of(sender, broker));
        weight.add(first.len() + piece.len())?;
        make_room(&mut all, first.len() + piece.len(), length);
        all.extend_from_slice(&std::mem::take(&mut first));
        all.extend_from_slice(&piece);
    }
    Ok(Body { bytes: if all.is_empty() { first } else { all.into() }, weight })
}

/// The next piece; a refusal when the body breaks off, or is given up for others.
async fn next_piece(payload: &mut Payload, weight: Option<&Weight>) -> Option<Result<Bytes, Refusal>> {
    let piece = match weight {
        Some(Weight::Unproven(body)) => match select(pin!(body.given_up()), payload.next()).await {
            Either::Left(_) => return Some(Err(Refusal::Busy)),
            Either::Right((piece, _)) => piece,
        },
        _ => payload.next().await,
    };
    piece.map(|piece| piece.map_err(|error| invalid(&error.to_string())))
}

/// Makes room for more: exactly what is announced if that is not much, else twice as much as there is.
fn make_room(all: &mut Vec<u8>, more: usize, announced: Option<usize>) {
    let wanted = all.len() + more;
    if wanted > all.capacity() {
        let enough = match announced {
            Some(length) => (2 * all.capacity()).max(FIRST_ROOM).min(length),
            None => 2 * all.capacity(),
        };
        all.reserve_exact(wanted.max(enough) - all.len());
    }
}

impl BodySender {
    fn max_body(self, max_body_bytes: usize) -> MaxBody {
        match self {
            Self::Anybody(bytes) if bytes < max_body_bytes => MaxBody::OfPath(bytes),
            _ => MaxBody::OfSettings(max_body_bytes),
        }
    }
}

fn check(max: MaxBody, bytes: usize) -> Result<(), Refusal> {
    if bytes > max.bytes() { Err(Refusal::BodyTooLarge(max)) } else { Ok(()) }
}

/// The length that a request says its body has.
fn announced(head: &RequestHead) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Refuses a body that is to be decoded before it can be read: no part of the server does that.
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

/// Bytes of a body, counted with those of others while it is kept. What came in one piece is not: it is no more than
/// the connection's own buffer.
#[derive(Debug)]
pub enum Weight {
    /// Counted with those of all senders that have a secret or a sign-in.
    Proven(Proven),
    /// Counted with those of all others.
    Unproven(UnprovenBody),
}

/// See [`Weight`].
#[derive(Debug)]
pub struct Proven {
    in_flight: Arc<InFlight>,
    bytes: usize,
}

impl Weight {
    fn of(sender: BodySender, broker: &BrokerHandle) -> Self {
        match sender {
            BodySender::Proven => Self::Proven(Proven { in_flight: broker.in_flight.clone(), bytes: 0 }),
            BodySender::NotYetProven | BodySender::Anybody(_) => Self::Unproven(broker.unproven.begin()),
        }
    }

    fn add(&mut self, bytes: usize) -> Result<(), Refusal> {
        match self {
            Self::Proven(proven) => {
                proven.add(bytes);
                if proven.in_flight.bodies.is_full() { Err(Refusal::Busy) } else { Ok(()) }
            }
            Self::Unproven(body) => body.add(bytes),
        }
    }
}

impl Proven {
    fn add(&mut self, bytes: usize) {
        self.in_flight.bodies.add(bytes);
        self.bytes += bytes;
    }
}

impl Drop for Proven {
    fn drop(&mut self) {
        self.in_flight.bodies.sub(self.bytes);
    }
}

/// What is said to be UTF-8, without the byte order mark that some editors and libraries begin it with. What begins as no
/// UTF-8 does is refused by its name.
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

/// The value of the parameter `charset`, if it has one.
fn charset(content_type: &str) -> Option<&str> {
    let value = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').trim())
    })?;
    (!value.is_empty()).then_some(value)
}

/// An encoding by its name on the web, or by one of those that Python takes as well (`latin-1`, `utf_8`).
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
        // Plain ASCII, most of the time.
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
    fn an_announced_length_reserves_nothing() {
        let mut all = Vec::new();
        let mut rooms = Vec::new();
        for _ in 0..2_048 {
            make_room(&mut all, 4_096, Some(8 << 20));
            all.extend_from_slice(&[b' '; 4_096]);
            assert!(all.capacity() <= FIRST_ROOM.max(2 * all.len()), "{} for {}", all.capacity(), all.len());
            rooms.push(all.capacity());
        }
        rooms.dedup();
        assert_eq!(
            (rooms.len(), rooms.last()),
            (8, Some(&(8 << 20))),
            "few moves, and no more than announced"
        );
        let mut small = Vec::new();
        make_room(&mut small, 2_000, Some(3_000));
        assert_eq!(small.capacity(), 3_000);
        let mut in_chunks = vec![b' '; 100_000];
        make_room(&mut in_chunks, 2_000, None);
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
    fn names_of_the_web_and_of_python() {
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
    fn what_is_utf8_is_not_copied() {
        for label in ["utf-8", "latin-1"] {
            let bytes = Bytes::from_static(b"{}");
            assert_eq!(decode(named(label).unwrap(), bytes.clone()).unwrap().as_ptr(), bytes.as_ptr());
        }
    }
}
