//! JSON values that pass through as text.

use bytes::Bytes;

/// A JSON object as compact UTF-8 JSON text, checked and with blanks outside strings removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// Wraps text that is known to be a compact JSON object.
    pub fn from_compact(text: Bytes) -> Self {
        Self(text)
    }

    /// The JSON text.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

/// A value of a user's state: string, number, boolean or null.
#[derive(Clone, Debug)]
pub enum StateValue {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as its JSON text, so that no digit is lost.
    Number(Box<str>),
    /// A string.
    Text(Box<str>),
}
