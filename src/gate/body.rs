//! The body of a request as UTF-8, whatever charset its `Content-Type` names.

use std::borrow::Cow;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{Error, FromRequest, HttpRequest};
use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8};
use serde_json::json;

use crate::error::Refusal;

/// A whole body, decoded. One that is UTF-8 already, or names no charset, is passed on as it came, unread; so is the
/// judgement whether it is what it says.
#[derive(Clone, Debug)]
pub struct Body(pub Bytes);

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl FromRequest for Body {
    type Error = Error;
    type Future = Receiving;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Receiving {
        Receiving { encoding: encoding(req), bytes: Bytes::from_request(req, payload) }
    }
}

/// A body on its way.
pub struct Receiving {
    encoding: Result<&'static Encoding, Refusal>,
    bytes: <Bytes as FromRequest>::Future,
}

impl Future for Receiving {
    type Output = Result<Body, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Read to its end even if it will be refused: the connection goes on.
        let bytes = ready!(Pin::new(&mut self.bytes).poll(context))?;
        Poll::Ready(match &self.encoding {
            Ok(encoding) => decode(encoding, bytes).map(Body).map_err(Error::from),
            Err(refusal) => Err(refusal.clone().into()),
        })
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
