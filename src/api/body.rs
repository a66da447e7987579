//! Converts the bytes of a body to its outermost JSON value.

use super::fields::{FieldTable, Fields, nested};
use super::invalid::Invalid;
use super::limits::RequestLimits;
use crate::protocol::json::{self, MalformedJson};
use serde_json::value::RawValue;

/// The whole body as one well-formed value within the limit of nesting.
pub(super) fn root<'a>(body: &'a [u8], limits: &RequestLimits) -> Result<&'a RawValue, Invalid> {
    parsed(text(body, limits)?)
}

/// The body as text that is safe to parse.
pub(super) fn text<'a>(body: &'a [u8], limits: &RequestLimits) -> Result<&'a str, Invalid> {
    json::check(body, limits.max_json_depth).map_err(|malformed| Invalid::schema(malformed.to_string()))
}

/// The outermost value of a text.
pub(super) fn parsed(text: &str) -> Result<&RawValue, Invalid> {
    serde_json::from_str(text).map_err(|error| Invalid::schema(MalformedJson::from_serde(&error).to_string()))
}

/// Reads a body that must be an object, with these fields.
pub(crate) fn object<'a, T>(
    body: &'a [u8],
    limits: &RequestLimits,
    fields: FieldTable,
    read: impl FnOnce(&mut Fields<'a>) -> Option<T>,
) -> Result<T, Invalid> {
    let text = text(body, limits)?;
    let read = match Fields::of(text, fields, limits) {
        Some(fields) => fields.read_all(read),
        // The text is no object or no JSON at all: the slower parser reports which.
        None => nested(parsed(text)?, fields, limits, read),
    };
    read.map_err(Invalid::from)
}
