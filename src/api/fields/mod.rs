//! Fields of request bodies: how they are read, and what the API's description says of them.
//!
//! A [`FieldKind`] reads a value, with the original's tolerance and in the original's words about what is wrong, and knows
//! its shape. A [`Field`] is a name, a kind and a sentence. Endpoints read their fields and describe them from the
//! same constants, so that the description cannot say anything else than what is done.
//!
//! Readers work on raw values: a value is decoded only where it is wanted, numbers keep all their digits, and text the
//! original takes but Rust strings cannot hold (half a surrogate pair) costs one field, not the request.

mod collections;
mod field;
mod members;
mod numbers;
mod strings;
mod values;

pub(crate) use collections::{
    ListField, ListLimit, Mapping, ObjectField, mapping_shape, nested, object_shape,
};
pub(crate) use field::{Field, FieldTable, Fields, Property};
pub(crate) use members::{ObjectMembers, items};
pub(crate) use numbers::{FlagField, Size};
pub(crate) use strings::{CHANNEL_NAME, Id, Name, STATE_KEY, Time, USER_NAME, text, uuid_text};
pub(crate) use values::{Json, State};

use super::limits::RequestLimits;
use crate::protocol::schema::{SchemaRegistry, ValueSchema};
use serde_json::Value;
use serde_json::value::RawValue;

pub(super) const NULL: &str = "Field may not be null.";
pub(super) const INPUT_TYPE: &str = "Invalid input type.";

/// What is wrong with one value: a list of texts, or a tree of such lists.
pub(crate) type Fault = Value;
/// A value read, or what is wrong with it.
pub(crate) type Read<T> = Result<T, Fault>;

/// A fault of one text.
pub(super) fn fault(text: impl Into<String>) -> Fault {
    Value::Array(vec![Value::String(text.into())])
}

/// A list or mapping of more items than allowed.
pub(super) fn too_long(max: usize) -> Fault {
    fault(format!("Longer than maximum length {max}."))
}

/// A kind of value.
pub(crate) trait FieldKind: Copy + Sync {
    /// What it is read into.
    type Value;

    /// Whether null is a value of this kind.
    const TAKES_NULL: bool = false;

    /// Reads a value.
    fn read(&self, raw: &RawValue, limits: &RequestLimits) -> Read<Self::Value>;

    /// What the values look like that can be read.
    fn shape(&self, limits: &RequestLimits, book: &mut SchemaRegistry) -> ValueSchema;

    /// Reads a value that is not null, unless null is one of this kind.
    fn take(&self, raw: &RawValue, limits: &RequestLimits) -> Read<Self::Value> {
        if !Self::TAKES_NULL && raw.get() == "null" { Err(fault(NULL)) } else { self.read(raw, limits) }
    }
}
