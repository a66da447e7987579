//! Fields of request bodies: how they are read, and how the API description presents them.
//!
//! A [`FieldKind`] reads a value with the original's tolerance, reports errors in the original's wording, and provides
//! its schema. A [`Field`] is a name, a kind and a description. Endpoints read and describe their fields from the same
//! constants, so that the description always matches the reader.
//!
//! Readers work on raw values. A value is decoded only where it is needed, numbers keep all their digits, and text that
//! the original accepts but Rust strings cannot hold (half a surrogate pair) invalidates one field, not the request.

mod collections;
mod field;
mod members;
mod numbers;
mod strings;
mod values;

pub(crate) use collections::{ListField, ListLimit, Mapping, ObjectField, nested, object_schema};
pub(crate) use field::{Field, FieldTable, Fields};
pub(crate) use members::{ObjectMembers, items};
pub(crate) use numbers::{FlagField, Size};
pub(crate) use strings::{CHANNEL_NAME, Id, Name, STATE_KEY, Time, USER_NAME, text, uuid_text};
pub(crate) use values::{Json, State};

use super::limits::RequestLimits;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub(super) const NULL: &str = "Field may not be null.";
pub(super) const INPUT_TYPE: &str = "Invalid input type.";

/// The errors of one value: a list of texts, or a tree of such lists.
pub(crate) type Fault = Value;
/// A value, or its errors.
pub(crate) type Read<T> = Result<T, Fault>;

/// An error with one text.
pub(super) fn fault(text: impl Into<String>) -> Fault {
    Value::Array(vec![Value::String(text.into())])
}

/// The error of a list or mapping with more items than allowed.
pub(super) fn too_long(max: usize) -> Fault {
    fault(format!("Longer than maximum length {max}."))
}

/// The JSON schema with this name in the API description.
fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A kind of value.
pub(crate) trait FieldKind: Copy + Sync {
    type Value;

    /// Whether null is a value of this kind.
    const TAKES_NULL: bool = false;

    fn read(&self, raw: &RawValue, limits: &RequestLimits) -> Read<Self::Value>;

    /// The JSON schema of the values that can be read.
    fn schema(&self, limits: &RequestLimits) -> Value;

    /// Reads a value. Null is an error unless the kind accepts it.
    fn take(&self, raw: &RawValue, limits: &RequestLimits) -> Read<Self::Value> {
        if !Self::TAKES_NULL && raw.get() == "null" { Err(fault(NULL)) } else { self.read(raw, limits) }
    }
}
