//! The body of a request as UTF-8, whatever charset its `Content-Type` names.

use super::backend::Backend;
use crate::error::Refusal;
use crate::observe::pressure::Pressure;
use actix_http::RequestHead;
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{Error, FromRequest, HttpRequest, web};
use bytes::{Bytes, BytesMut};
use encoding_rs::{Encoding, UTF_8};
use futures_util::future::LocalBoxFuture;
use futures_util::stream::StreamExt;
use serde_json::json;
use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

/// A whole body, decoded. One that is UTF-8 already, or names no charset, is passed on as it came, unread; so is the
/// judgement whether it is what it says.
#[derive(Debug)]
pub struct Body {
    bytes: Bytes,
    _weight: Option<Weight>,
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
        let (req, payload) = (req.clone(), payload.take());
        Box::pin(async move {
            let backend = req.app_data::<web::Data<Backend>>().ok_or(Refusal::Internal)?;
            let body = Self::receive(req.head(), payload, backend).await?;
            // Read to its end even if it is refused: the connection goes on.
            let bytes = decode(encoding(&req)?, body.bytes)?;
            Ok(Self { bytes, ..body })
        })
    }
}

impl Body {
    /// Receives a body, without a copy if it comes in one piece, and does not decode it.
    ///
    /// # Errors
    /// `BodyTooLarge`; `Busy` when the bodies under way have too many bytes; `Invalid` when it breaks off.
    pub async fn receive(head: &RequestHead, payload: Payload, backend: &Backend) -> Result<Self, Refusal> {
        let received = gather(head, payload, backend).await;
        if let Err(Refusal::Busy) = &received {
            backend.counters.refused_busy.add(1);
        }
        received
    }

    /// Its bytes, no longer counted.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

async fn gather(head: &RequestHead, mut payload: Payload, backend: &Backend) -> Result<Body, Refusal> {
    let max = backend.settings.max_body_bytes;
    let length = announced(head).unwrap_or(0);
    if length > max as u64 {
        return Err(Refusal::BodyTooLarge(max));
    }
    let mut weight: Option<Weight> = None;
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|error| invalid(&error.to_string()))?;
        if first.len().max(all.len()) + piece.len() > max {
            return Err(Refusal::BodyTooLarge(max));
        }
        if first.is_empty() && all.is_empty() {
            first = piece;
            continue;
        }
        let weight = weight.get_or_insert_with(|| Weight { pressure: backend.pressure.clone(), bytes: 0 });
        weight.add(first.len() + piece.len())?;
        if all.is_empty() {
            // All at once: growing would copy, and hold the old and the new place together.
            all.reserve(length as usize);
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&piece);
    }
    Ok(Body { bytes: if all.is_empty() { first } else { all.freeze() }, _weight: weight })
}

/// The length that a request says its body has.
fn announced(head: &RequestHead) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Bytes of a body, counted with those of all others while it is kept. What came in one piece is not: it is no more than
/// the connection's own buffer.
#[derive(Debug)]
struct Weight {
    pressure: Arc<Pressure>,
    bytes: usize,
}

impl Weight {
    fn add(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.pressure.bodies.add(bytes);
        self.bytes += bytes;
        if self.pressure.bodies.is_full() { Err(Refusal::Busy) } else { Ok(()) }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.pressure.bodies.sub(self.bytes);
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
        return Ok(bytes);
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
