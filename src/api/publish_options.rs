//! The options of a publishing request: receipts, and the key that makes it safe to repeat.

use super::answer::Invalid;
use crate::http_error::Refusal;
use crate::telemetry::ReceiptLevel;
use actix_web::dev::Payload;
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::{FromRequest, HttpRequest, web};
use std::future::{Ready, ready};

static RECEIPT_HEADER: HeaderName = HeaderName::from_static("x-channelstream-receipt");
static KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// The query parameter that the header overrides.
const RECEIPT_PARAMETER: &str = "receipt";
/// The longest key, in characters.
const MAX_KEY: usize = 255;

/// The options of a request, from its query and its headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishOptions {
    /// The receipts that the answer must contain.
    pub receipt: Option<ReceiptLevel>,
    /// The idempotency key (draft-ietf-httpapi-idempotency-key-header-06).
    pub key: Option<String>,
}

impl PublishOptions {
    /// Whether headers contain options. The fast path serves requests without a query that have none.
    pub fn are_in(headers: &HeaderMap) -> bool {
        headers.contains_key(&RECEIPT_HEADER) || headers.contains_key(&KEY_HEADER)
    }

    fn read(req: &HttpRequest) -> Result<Self, Invalid> {
        Ok(Self { receipt: receipt(req)?, key: key(req.headers())? })
    }
}

impl FromRequest for PublishOptions {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::read(req).map_err(Refusal::from))
    }
}

fn receipt(req: &HttpRequest) -> Result<Option<ReceiptLevel>, Invalid> {
    let mut headers = req.headers().get_all(&RECEIPT_HEADER);
    let header = headers.next().map(|value| {
        let only = value.to_str().ok().filter(|_| headers.next().is_none());
        level(RECEIPT_HEADER.as_str(), only)
    });
    let parameter = parameter(req.query_string()).map(|value| level(RECEIPT_PARAMETER, Some(&value)));
    // Both must be valid.
    let (header, parameter) = (header.transpose()?, parameter.transpose()?);
    Ok(header.or(parameter))
}

fn level(field: &str, value: Option<&str>) -> Result<ReceiptLevel, Invalid> {
    match value {
        Some("1") => Ok(ReceiptLevel::Position),
        Some("durable") => Ok(ReceiptLevel::Durable),
        _ => Err(Invalid::field(field, "Must be one of: 1, durable.")),
    }
}

fn parameter(query: &str) -> Option<String> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(query).ok()?.into_inner();
    pairs.into_iter().rev().find(|(name, _)| name == RECEIPT_PARAMETER).map(|(_, value)| value)
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Invalid> {
    let mut headers = headers.get_all(&KEY_HEADER);
    let Some(value) = headers.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|_| headers.next().is_none()).and_then(parse_key);
    key.map(Some).ok_or_else(|| {
        Invalid::field(
            KEY_HEADER.as_str(),
            "Must have 1 to 255 visible ASCII characters, with or without quotes.",
        )
    })
}

/// Reads a structured-field string (RFC 9651, section 3.3.3) or a bare value.
fn parse_key(text: &str) -> Option<String> {
    let key = match text.strip_prefix('"') {
        Some(rest) => unquoted(rest)?,
        None => text.to_owned(),
    };
    let is_visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    ((1..=MAX_KEY).contains(&key.len()) && is_visible).then_some(key)
}

/// The content of a quoted string, whose first quote has been read. Nothing may follow its last quote.
fn unquoted(text: &str) -> Option<String> {
    let mut key = String::with_capacity(text.len());
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(key),
            '\\' => key.push(chars.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            char => key.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(uri: &str, headers: &[(&'static str, &str)]) -> Result<PublishOptions, serde_json::Value> {
        let request = TestRequest::with_uri(uri);
        let request = headers.iter().fold(request, |request, header| request.append_header(*header));
        PublishOptions::read(&request.to_http_request()).map_err(|invalid| invalid.errors)
    }

    fn receipt(
        uri: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Option<ReceiptLevel>, serde_json::Value> {
        read(uri, headers).map(|options| options.receipt)
    }

    #[test]
    fn receipts_are_requested_in_the_query_or_a_header() {
        const HEADER: &str = "x-channelstream-receipt";
        assert_eq!(read("/message?secret=a", &[]), Ok(PublishOptions::default()));
        assert_eq!(receipt("/message?receipt=1&secret=a.b", &[]), Ok(Some(ReceiptLevel::Position)));
        assert_eq!(receipt("/message?receipt=durable", &[]), Ok(Some(ReceiptLevel::Durable)));
        assert_eq!(receipt("/message", &[(HEADER, "durable")]), Ok(Some(ReceiptLevel::Durable)));
        assert_eq!(receipt("/message?receipt=durable", &[(HEADER, "1")]), Ok(Some(ReceiptLevel::Position)));
        let wrong = |field: &str| Err(json!({ field: ["Must be one of: 1, durable."] }));
        for query in ["receipt", "receipt=", "receipt=0", "receipt=true", "receipt=1&receipt=2"] {
            assert_eq!(receipt(&format!("/message?{query}"), &[]), wrong("receipt"), "{query}");
        }
        assert_eq!(receipt("/message?receipt=x", &[(HEADER, "1")]), wrong("receipt"));
        assert_eq!(receipt("/message?receipt=1", &[(HEADER, "")]), wrong(HEADER));
        assert_eq!(receipt("/message", &[(HEADER, "1"), (HEADER, "1")]), wrong(HEADER));
    }

    #[test]
    fn a_key_has_quotes_or_none() {
        let read = |text: &str| read("/message", &[("idempotency-key", text)]).map(|options| options.key);
        for text in ["8e03978e-40d5", r#""8e03978e-40d5""#] {
            assert_eq!(read(text), Ok(Some("8e03978e-40d5".into())), "{text}");
        }
        assert_eq!(read(r#""a\"\\b""#), Ok(Some(r#"a"\b"#.into())));
        assert_eq!(read(r#"a"b\"#), Ok(Some(r#"a"b\"#.into())), "a bare value has no escapes");
        assert_eq!(read(&"x".repeat(255)), Ok(Some("x".repeat(255))));
        let (long, quoted) = ("x".repeat(256), format!("\"{}\"", "x".repeat(256)));
        for text in
            ["", "\"\"", "a b", "\"a b\"", "\"a", "\"a\"b", "\"a\";b", "\"\\a\"", "\"\\", "ž", &long, &quoted]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn several_keys_are_refused() {
        let both = [("idempotency-key", "a"), ("idempotency-key", "a")];
        let text = "Must have 1 to 255 visible ASCII characters, with or without quotes.";
        assert_eq!(read("/message", &both), Err(json!({"idempotency-key": [text]})));
    }

    proptest! {
        #[test]
        fn every_key_can_be_quoted(key in "[!-~]{1,255}", other in any::<String>()) {
            let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(parse_key(&quoted), Some(key));
            // Arbitrary text never panics.
            parse_key(&other);
        }
    }
}
