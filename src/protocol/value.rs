//! JSON values that pass through as text.

use super::json;
use super::schema::{self, SchemaRegistry, ValueSchema};
use bytes::Bytes;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

/// A JSON object as compact UTF-8 JSON text, checked and with blanks outside strings removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// Wraps text that is known to be a compact JSON object.
    pub fn from_compact(text: Bytes) -> Self {
        Self(text)
    }

    /// Takes well-formed JSON without the blanks between its tokens; `None` when it is no object.
    ///
    /// One pass, one copy; what stands in strings, escapes and all, stays as its sender wrote it.
    pub fn compact(raw: &str) -> Option<Self> {
        let raw = raw.trim_ascii();
        raw.starts_with('{').then(|| Self(Bytes::from(json::without_blanks(raw).into_boxed_slice())))
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

impl StateValue {
    /// What such a value looks like.
    pub fn shape(book: &mut SchemaRegistry) -> ValueSchema {
        book.named("StateValue", |_| {
            let types = SchemaType::from_iter([Type::String, Type::Number, Type::Boolean, Type::Null]);
            let shape = ObjectBuilder::new().schema_type(types).into();
            schema::about(shape, "A value of a user's state: no list and no object.")
        })
    }

    /// Bytes of its text.
    pub fn size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 4,
            Self::Number(text) | Self::Text(text) => text.len(),
        }
    }

    /// Reads one well-formed JSON value; `None` for lists, objects and strings that hold half a surrogate pair.
    pub fn from_json(raw: &str) -> Option<Self> {
        let raw = raw.trim_ascii();
        match raw.as_bytes().first()? {
            b'n' => Some(Self::Null),
            b't' => Some(Self::Bool(true)),
            b'f' => Some(Self::Bool(false)),
            b'"' => serde_json::from_str(raw).ok().map(Self::Text),
            b'-' | b'0'..=b'9' => Some(Self::Number(raw.into())),
            _ => None,
        }
    }

    /// Appends the value as JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(text) => out.extend_from_slice(text.as_bytes()),
            Self::Text(text) => json::write_string(text, out),
        }
    }
}

/// Equal as the original's language has it: `true` is 1, `1` is `1.0`, and a string is never a number.
impl PartialEq for StateValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(two)) => one == two,
            (Self::Text(one), Self::Text(two)) => one == two,
            (Self::Number(one), Self::Number(two)) => one == two || same_number(one, two),
            (Self::Bool(truth), Self::Number(number)) | (Self::Number(number), Self::Bool(truth)) => {
                same_number(if *truth { "1" } else { "0" }, number)
            }
            _ => false,
        }
    }
}

/// Whether two JSON numbers are equal: integers exactly, floats as doubles, an integer and a float by exact value.
fn same_number(one: &str, two: &str) -> bool {
    match (is_float(one), is_float(two)) {
        (false, false) => one == two || (is_zero(one) && is_zero(two)),
        (false, true) => integer_is_float(one, two),
        (true, false) => integer_is_float(two, one),
        // Numbers no double can hold are told apart by their digits: all of them are infinite as doubles.
        (true, true) => {
            matches!((one.parse::<f64>(), two.parse::<f64>()), (Ok(a), Ok(b)) if a == b && a.is_finite())
        }
    }
}

fn integer_is_float(integer: &str, float: &str) -> bool {
    let Ok(float) = float.parse::<f64>() else {
        return false;
    };
    if is_zero(integer) || float == 0.0 {
        return is_zero(integer) && float == 0.0;
    }
    // A double prints all its digits when no fraction is asked for.
    float.is_finite() && float.fract() == 0.0 && format!("{float:.0}") == integer
}

fn is_float(number: &str) -> bool {
    number.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

fn is_zero(integer: &str) -> bool {
    matches!(integer, "0" | "-0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(raw: &str) -> StateValue {
        StateValue::from_json(raw).unwrap()
    }

    fn written(raw: &str) -> String {
        let mut out = Vec::new();
        value(raw).write_json(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn payloads_lose_their_blanks_only() {
        let raw = "{ \"a b\" : [1, 2 ,\n{\"x\\\" \": \" \\\\\"}] ,\t\"lone\": \"\\ud800\" }";
        let compact = Payload::compact(raw).unwrap();
        assert_eq!(compact.as_bytes(), r#"{"a b":[1,2,{"x\" ":" \\"}],"lone":"\ud800"}"#);
        assert_eq!(Payload::compact("[1]"), None);
        assert_eq!(Payload::compact("\"{}\""), None);
        assert_eq!(Payload::compact(""), None);
    }

    #[test]
    fn values_stay_themselves() {
        for raw in [
            "null",
            "true",
            "false",
            "1",
            "1.50",
            "1e5",
            "-0",
            "12345678901234567890123",
            "\"ž😀\\n\\u0001\"",
        ] {
            assert_eq!(written(raw), raw);
        }
        assert!(StateValue::from_json("[]").is_none());
        assert!(StateValue::from_json("{}").is_none());
        assert!(StateValue::from_json("\"\\ud800\"").is_none());
        assert!(StateValue::from_json("").is_none());
    }

    #[test]
    fn equality_is_the_originals() {
        for (one, two) in [
            ("true", "1"),
            ("false", "0.0"),
            ("1", "1.0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1e3", "1000"),
            ("15e-1", "1.5"),
            ("9007199254740992", "9007199254740992.0"),
            ("1e999", "1e999"),
            ("\"\\u0061\"", "\"a\""),
        ] {
            assert_eq!(value(one), value(two));
            assert_eq!(value(two), value(one));
        }
        for (one, two) in [
            ("true", "2"),
            ("null", "0"),
            ("null", "false"),
            ("\"1\"", "1"),
            ("9007199254740993", "9007199254740992.0"),
            ("12345678901234567890", "12345678901234567891"),
            ("1", "1.5"),
            ("-1", "1"),
            ("1e999", "1e1000"),
            ("5", "1e999"),
        ] {
            assert_ne!(value(one), value(two));
            assert_ne!(value(two), value(one));
        }
    }

    proptest! {
        #[test]
        fn compact_means_the_same(text in any::<String>(), number in any::<f64>().prop_filter("JSON", |n| n.is_finite())) {
            let tree = serde_json::json!({ &text: [number, {"n": text}, null] });
            let pretty = serde_json::to_string_pretty(&tree).unwrap();
            let compact = Payload::compact(&pretty).unwrap();
            prop_assert_eq!(compact.as_bytes(), &serde_json::to_vec(&tree).unwrap());
        }

        #[test]
        fn strings_read_back(text in any::<String>()) {
            let mut out = Vec::new();
            StateValue::Text(text.as_str().into()).write_json(&mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            let _ = Payload::compact(&text);
            let _ = StateValue::from_json(&text).map(|value| value == StateValue::Bool(true));
        }
    }
}
