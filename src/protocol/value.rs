//! JSON values that the server passes on as text.

use super::json;
use bytes::Bytes;

/// A JSON object as compact UTF-8 JSON text: validated, without whitespace outside strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// Wraps text that is known to be a compact JSON object.
    pub fn from_compact(text: Bytes) -> Self {
        Self(text)
    }

    /// Converts well-formed JSON to a payload, without whitespace between tokens. `None` if it is not an object.
    ///
    /// One pass, one copy. Strings, including escapes, stay as the sender wrote them.
    pub fn compact(raw: &str) -> Option<Self> {
        let raw = raw.trim_ascii();
        raw.starts_with('{').then(|| Self(Bytes::from(json::without_blanks(raw).into_boxed_slice())))
    }

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
    /// A number as its JSON text, so that no digit is lost.
    Number(Box<str>),
    /// A string.
    Text(Box<str>),
}

impl StateValue {
    /// The length of its text in bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 4,
            Self::Number(text) | Self::Text(text) => text.len(),
        }
    }

    /// Reads one well-formed JSON value. `None` for lists, objects and strings with an unpaired surrogate.
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

/// Equality as in Python, the language of the original: `true` equals 1, `1` equals `1.0`, and a string never equals a
/// number.
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

/// Whether two JSON numbers are equal: integers exactly, floats as doubles, an integer and a float by their exact
/// values.
fn same_number(one: &str, two: &str) -> bool {
    match (is_float(one), is_float(two)) {
        (false, false) => one == two || (is_zero(one) && is_zero(two)),
        (false, true) => integer_is_float(one, two),
        (true, false) => integer_is_float(two, one),
        // Numbers beyond the range of doubles are compared by their digits, because all are infinite as doubles.
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
    // Formatting without fraction digits prints all digits of a double.
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
    fn payloads_lose_only_their_whitespace() {
        let raw = "{ \"a b\" : [1, 2 ,\n{\"x\\\" \": \" \\\\\"}] ,\t\"lone\": \"\\ud800\" }";
        let compact = Payload::compact(raw).unwrap();
        assert_eq!(compact.as_bytes(), r#"{"a b":[1,2,{"x\" ":" \\"}],"lone":"\ud800"}"#);
        assert_eq!(Payload::compact("[1]"), None);
        assert_eq!(Payload::compact("\"{}\""), None);
        assert_eq!(Payload::compact(""), None);
    }

    #[test]
    fn values_are_written_unchanged() {
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
    fn equality_follows_the_original() {
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
        fn compact_json_has_the_same_value(text in any::<String>(), number in any::<f64>().prop_filter("JSON", |n| n.is_finite())) {
            let tree = serde_json::json!({ &text: [number, {"n": text}, null] });
            let pretty = serde_json::to_string_pretty(&tree).unwrap();
            let compact = Payload::compact(&pretty).unwrap();
            prop_assert_eq!(compact.as_bytes(), &serde_json::to_vec(&tree).unwrap());
        }

        #[test]
        fn strings_can_be_read_again(text in any::<String>()) {
            let mut out = Vec::new();
            StateValue::Text(text.as_str().into()).write_json(&mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn any_text_is_accepted_without_panic(text in any::<String>()) {
            let _ = Payload::compact(&text);
            let _ = StateValue::from_json(&text).map(|value| value == StateValue::Bool(true));
        }
    }
}
