//! Lists of messages, edits and deletions. A valid list is deserialized directly into types. Any other list is read
//! again field by field, either to report its errors or to accept what only the original's tolerance accepts.

use super::answer::{self, Invalid};
use super::body::{self, RequestLimits};
use super::fields::{Field, FieldTable, Fields, INPUT_TYPE, Json, fault, items, nested, too_long};
use crate::auth::guard::Signed;
use crate::broker::handle::BrokerHandle;
use crate::http_error::Refusal;
use crate::protocol::json::string_len;
use crate::protocol::value::Payload;
use actix_web::HttpResponse;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::fmt;
use std::marker::PhantomData;
use uuid::Uuid;

/// A well-typed item of any of the three lists. Each endpoint uses the fields that it defines and ignores the rest.
#[derive(Deserialize)]
pub(super) struct BatchItem<'a> {
    #[serde(default, deserialize_with = "not_null")]
    pub(super) uuid: Option<Uuid>,
    #[serde(borrow, default, deserialize_with = "not_null")]
    pub(super) timestamp: Option<&'a str>,
    #[serde(default, deserialize_with = "not_null")]
    pub(super) user: Option<String>,
    #[serde(borrow, default, deserialize_with = "not_null")]
    pub(super) message: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "not_null")]
    pub(super) edited: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) channel: Option<String>,
    #[serde(default)]
    pub(super) pm_users: Vec<String>,
    #[serde(default)]
    pub(super) exclude_users: Vec<String>,
    #[serde(default)]
    pub(super) no_history: bool,
}

/// An optional field that must not be null. An `Option` alone would accept null.
fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The result of one valid item.
pub(super) enum Parsed<T> {
    /// The item is processed.
    Keep(T),
    /// The item has no effect and is left out.
    Drop,
}

/// Reads a list. `read_fast` returns `None` for every item that is not clearly valid; `read_full` then finds the errors
/// with the help of `fields`. Both receive the index of the item.
pub(super) fn parse<'a, T>(
    body: &'a [u8],
    limits: &RequestLimits,
    read_fast: impl Fn(usize, BatchItem<'a>) -> Option<Parsed<T>>,
    fields: FieldTable,
    read_full: impl Fn(usize, &mut Fields<'a>) -> Option<Parsed<T>>,
) -> Result<Vec<T>, Invalid> {
    let text = body::text(body, limits)?;
    match parse_fast(text, limits, read_fast) {
        Some(items) => Ok(items),
        None => parse_full(text, limits, fields, read_full),
    }
}

/// Reads the list in one pass. Returns `None` when an item is not clearly valid.
pub(super) fn parse_fast<'a, T>(
    text: &'a str,
    limits: &RequestLimits,
    take: impl Fn(usize, BatchItem<'a>) -> Option<Parsed<T>>,
) -> Option<Vec<T>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let list = BatchList { max: limits.max_list_items, take, items: PhantomData };
    let items = list.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(items)
}

/// Reads the list item by item and field by field, and reports all errors together.
pub(super) fn parse_full<'a, T>(
    text: &'a str,
    limits: &RequestLimits,
    fields: FieldTable,
    read: impl Fn(usize, &mut Fields<'a>) -> Option<Parsed<T>>,
) -> Result<Vec<T>, Invalid> {
    let list = list_of(text, limits.max_list_items)?;
    let (mut taken, mut errors, mut wrong_types) = (Vec::with_capacity(list.len()), Map::new(), Vec::new());
    for (index, raw) in list.into_iter().enumerate() {
        if !raw.get().starts_with('{') {
            // Items of a wrong type: each gets an empty object, and their texts are listed together, as in the
            // original.
            errors.insert(index.to_string(), json!({}));
            wrong_types.push(Value::from(INPUT_TYPE));
            continue;
        }
        match nested(raw, fields, limits, |fields| read(index, fields)) {
            Ok(Parsed::Keep(item)) => taken.push(item),
            Ok(Parsed::Drop) => {}
            Err(fault) => drop(errors.insert(index.to_string(), fault)),
        }
    }
    if !wrong_types.is_empty() {
        errors.insert("_schema".into(), Value::Array(wrong_types));
    }
    if errors.is_empty() { Ok(taken) } else { Err(Invalid::from(Value::Object(errors))) }
}

fn list_of(text: &str, max: usize) -> Result<Vec<&RawValue>, Invalid> {
    let list = items(body::parsed(text)?, max).ok_or_else(|| Invalid::schema(INPUT_TYPE))?;
    if list.len() > max { Err(Invalid::from(json!({ "_schema": too_long(max) }))) } else { Ok(list) }
}

/// Whether the frame made of a message or edit stays within the limit.
pub(super) fn frame_fits(
    message: &Payload,
    user: Option<&str>,
    channel: Option<&str>,
    limits: &RequestLimits,
) -> bool {
    // Keys, id, times and flags: 237 bytes with all of them at their longest, rounded up.
    const FRAME_OVERHEAD: usize = 256;
    let names = user.map_or(0, string_len) + channel.map_or(0, string_len);
    message.as_bytes().len() + names + FRAME_OVERHEAD <= limits.max_frame_bytes
}

/// The same check on the full path: records an error on the field of the message.
pub(super) fn check_frame(
    fields: &mut Fields<'_>,
    field: &Field<Json>,
    message: Option<&Payload>,
    user: Option<&str>,
    channel: Option<&str>,
) {
    let limits = *fields.limits();
    if message.is_some_and(|message| !frame_fits(message, user, channel, &limits)) {
        let max = limits.max_frame_bytes;
        fields.fault(field, fault(format!("Frame is longer than maximum {max} bytes.")));
    }
}

/// Admits a list that was read, and writes its answer. Without a signature the caller is an operator in the console, who
/// has a separate rate limit. `body_len` is the length of the body.
///
/// # Errors
/// `Busy`, `OverLimit`.
pub(super) fn admitted<T>(
    signed: Option<Signed>,
    broker: &BrokerHandle,
    body_len: usize,
    items: &[T],
    write: impl FnOnce(&[T], &mut Vec<u8>),
) -> Result<HttpResponse, Refusal> {
    broker.admit()?;
    if let Some(signed) = signed {
        broker.admit_messages(signed.secret(), items.len())?;
    }
    written(broker, body_len, items, write)
}

/// The answer to a list that is admitted, if there is room for it.
///
/// # Errors
/// `Busy`.
pub(crate) fn written<T>(
    broker: &BrokerHandle,
    body_len: usize,
    items: &[T],
    write: impl FnOnce(&[T], &mut Vec<u8>),
) -> Result<HttpResponse, Refusal> {
    let mut out = Vec::with_capacity(body_len + 160 * items.len());
    write(items, &mut out);
    broker.admit_written(&out)?;
    Ok(answer::json(out))
}

/// A list of at most `max` objects. Each is converted as soon as it is read.
struct BatchList<F, T> {
    max: usize,
    take: F,
    items: PhantomData<T>,
}

impl<'de, T, F: Fn(usize, BatchItem<'de>) -> Option<Parsed<T>>> DeserializeSeed<'de> for BatchList<F, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T, F: Fn(usize, BatchItem<'de>) -> Option<Parsed<T>>> Visitor<'de> for BatchList<F, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let (mut items, mut seen) = (Vec::new(), 0_usize);
        while let Some(BatchObject(item)) = list.next_element::<BatchObject<BatchItem<'de>>>()? {
            let index = seen;
            seen += 1;
            match (self.take)(index, item).filter(|_| seen <= self.max) {
                Some(Parsed::Keep(item)) => items.push(item),
                Some(Parsed::Drop) => {}
                None => return Err(A::Error::custom("not clearly valid")),
            }
        }
        Ok(items)
    }
}

/// A value that must be written as an object. Derived types also accept a list of their fields' values.
struct BatchObject<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for BatchObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = BatchObject<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(object)).map(BatchObject)
    }
}
