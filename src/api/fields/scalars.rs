//! Readers of single values, with the original's tolerance.

use super::{Read, fault};
use crate::wire::time::Timestamp;
use crate::wire::value::{Payload, StateValue};
use serde_json::value::RawValue;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// Length of a channel's name, in characters.
pub(in crate::api) const CHANNEL_NAME: RangeInclusive<usize> = 1..=256;
/// Length of a public state key, in characters.
pub(in crate::api) const STATE_KEY: RangeInclusive<usize> = 1..=256;
/// Length of a user's name, in characters.
pub(in crate::api) const USER_NAME: RangeInclusive<usize> = 1..=512;

/// A string of any length.
pub(in crate::api) fn text(raw: &RawValue) -> Read<String> {
    decoded(raw).ok_or_else(|| fault("Not a valid string."))
}

/// A string of so many characters.
pub(in crate::api) fn string(raw: &RawValue, length: &RangeInclusive<usize>) -> Read<String> {
    let text = text(raw)?;
    if length_fits(&text, length) {
        return Ok(text);
    }
    Err(fault(format!("Length must be between {} and {}.", length.start(), length.end())))
}

/// Whether a text has so many characters; counts them only where bytes do not settle it (all lengths here start at 1).
pub(in crate::api) fn length_fits(text: &str, length: &RangeInclusive<usize>) -> bool {
    text.len() >= *length.start() && (text.len() <= *length.end() || length.contains(&text.chars().count()))
}

fn decoded(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// True, false, 1, 0 and a few strings; a number counts by its value, so that 1.0 is true.
pub(in crate::api) fn boolean(raw: &RawValue) -> Read<bool> {
    let word = if raw.get().starts_with('"') { decoded(raw) } else { Some(raw.get().to_owned()) };
    match word.as_deref() {
        Some("1" | "t" | "T" | "true" | "True" | "TRUE") => return Ok(true),
        Some("0" | "f" | "F" | "false" | "False" | "FALSE") => return Ok(false),
        _ => {}
    }
    let number = StateValue::from_json(raw.get()).filter(|value| matches!(value, StateValue::Number(_)));
    let is = |truth| number.as_ref() == Some(&StateValue::Bool(truth));
    if is(true) || is(false) { Ok(is(true)) } else { Err(fault("Not a valid boolean.")) }
}

/// An integer of at least 0: a number (its fraction is cut off), a decimal string, true or false.
pub(in crate::api) fn size(raw: &RawValue) -> Read<u64> {
    let number = match raw.get().as_bytes().first() {
        Some(b't') => Some(Size::Fits(1)),
        Some(b'f') => Some(Size::Fits(0)),
        Some(b'"') => decoded(raw).and_then(|text| integer(text.trim())),
        _ => integer(raw.get()).or_else(|| raw.get().parse().ok().map(whole_part)),
    };
    match number {
        Some(Size::Fits(size)) => Ok(size),
        Some(Size::Negative) => Err(fault("Must be at least 0.")),
        Some(Size::TooLarge) => Err(fault("Number too large.")),
        None => Err(fault("Not a valid integer.")),
    }
}

/// What became of an integer; the original's have no upper end, ours have.
enum Size {
    Fits(u64),
    Negative,
    TooLarge,
}

/// Decimal digits with a sign; single underscores between digits pass, as in the original's language.
fn integer(text: &str) -> Option<Size> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let groups = || digits.split('_');
    if !groups().all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let mut digits = groups().flat_map(str::bytes).map(|digit| u64::from(digit - b'0'));
    let sum = digits.clone().try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(digit));
    Some(match sum {
        _ if negative && digits.any(|digit| digit != 0) => Size::Negative,
        Some(sum) => Size::Fits(sum),
        None => Size::TooLarge,
    })
}

fn whole_part(number: f64) -> Size {
    // 2^64; every double below it fits after the cut.
    const TOO_LARGE: f64 = 18_446_744_073_709_551_616.0;
    if number <= -1.0 {
        Size::Negative
    } else if number >= TOO_LARGE {
        Size::TooLarge
    } else {
        Size::Fits(number as u64)
    }
}

/// A UUID in any of the forms the original reads.
pub(in crate::api) fn uuid(raw: &RawValue) -> Read<Uuid> {
    decoded(raw).as_deref().map_or_else(|| Err(fault(NO_UUID)), uuid_text)
}

const NO_UUID: &str = "Not a valid UUID.";

/// The same from plain text, as it stands in a query: any case, dashes anywhere or none, braces, `urn:uuid:`.
pub(in crate::api) fn uuid_text(text: &str) -> Read<Uuid> {
    if let Ok(uuid) = Uuid::try_parse(text) {
        return Ok(uuid);
    }
    let bare = text.replace("urn:", "").replace("uuid:", "").replace('-', "");
    let bare = bare.trim_matches(['{', '}']);
    // Nothing but 32 digits: the library would take dashes and braces once more.
    let digits = bare.len() == 32 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    let uuid = if digits { Uuid::try_parse(bare).ok() } else { None };
    uuid.ok_or_else(|| fault(NO_UUID))
}

/// A date and time.
pub(in crate::api) fn timestamp(raw: &RawValue) -> Read<Timestamp> {
    decoded(raw).as_deref().and_then(Timestamp::parse).ok_or_else(|| fault("Not a valid datetime."))
}

/// A JSON object that passes through.
pub(in crate::api) fn payload(raw: &RawValue) -> Read<Payload> {
    Payload::compact(raw.get()).ok_or_else(|| fault("Not a valid mapping type."))
}

/// A value of a user's state.
pub(in crate::api) fn state_value(raw: &RawValue) -> Read<StateValue> {
    if raw.get().starts_with('"') {
        return text(raw).map(|text| StateValue::Text(text.into()));
    }
    let wrong = || fault("Value is not type of string, integer, boolean or float.");
    StateValue::from_json(raw.get()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn booleans() {
        for text in
            ["true", "1", "1.0", "1e0", "10e-1", r#""1""#, r#""t""#, r#""T""#, r#""True""#, r#""TRUE""#]
        {
            assert_eq!(boolean(raw(text)), Ok(true), "{text}");
        }
        for text in
            ["false", "0", "-0", "0.0", "0e7", r#""0""#, r#""f""#, r#""F""#, r#""False""#, r#""FALSE""#]
        {
            assert_eq!(boolean(raw(text)), Ok(false), "{text}");
        }
        for text in ["2", "0.5", "[]", "{}", r#""yes""#, r#""tRuE""#, r#""""#, r#""1.0""#, r#""\ud800""#] {
            assert_eq!(boolean(raw(text)), Err(json!(["Not a valid boolean."])), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, number) in [
            ("7", 7),
            (r#""7""#, 7),
            (r#"" 5 ""#, 5),
            (r#""+1_000""#, 1000),
            (r#""007""#, 7),
            ("3.7", 3),
            ("1e3", 1000),
            ("-0.5", 0),
            ("-0", 0),
            ("true", 1),
            ("false", 0),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(size(raw(text)), Ok(number), "{text}");
        }
        for (text, said) in [
            ("-1", "Must be at least 0."),
            (r#""-1""#, "Must be at least 0."),
            ("-1e99", "Must be at least 0."),
            ("-99999999999999999999", "Must be at least 0."),
            ("18446744073709551616", "Number too large."),
            ("1e400", "Number too large."),
            (r#""x""#, "Not a valid integer."),
            (r#""5.0""#, "Not a valid integer."),
            (r#""""#, "Not a valid integer."),
            (r#""0x5""#, "Not a valid integer."),
            (r#""1__0""#, "Not a valid integer."),
            (r#""-""#, "Not a valid integer."),
            (r#""inf""#, "Not a valid integer."),
            ("[]", "Not a valid integer."),
        ] {
            assert_eq!(size(raw(text)), Err(json!([said])), "{text}");
        }
    }

    #[test]
    fn uuids() {
        let id = Uuid::try_parse("0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9").unwrap();
        for text in [
            "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
            "0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9",
            "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
            "{0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9}",
            "{0a1b2c3d4e5f60718293a4b5c6d7e8f9",
            "urn:uuid:0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
            "urn:uuid:0a1b2c3d4e5f60718293a4b5c6d7e8f9",
            "0a1b-2c3d-4e5f-6071-8293-a4b5-c6d7-e8f9",
        ] {
            assert_eq!(uuid_text(text), Ok(id), "{text}");
        }
        for text in ["", "zz", "0a1b2c3d4e5f60718293a4b5c6d7e8f", "0x1b2c3d4e5f60718293a4b5c6d7e8f9", "é"] {
            assert_eq!(uuid_text(text), Err(json!([NO_UUID])), "{text}");
        }
        assert_eq!(uuid(raw("7")), Err(json!([NO_UUID])));
    }

    #[test]
    fn lengths_count_characters() {
        let long = "😀".repeat(256);
        assert!(length_fits(&long, &CHANNEL_NAME));
        assert!(!length_fits(&format!("{long}x"), &CHANNEL_NAME));
        assert!(!length_fits("", &CHANNEL_NAME));
    }

    #[test]
    fn half_a_surrogate_pair_is_no_string() {
        assert_eq!(text(raw(r#""x\ud800""#)), Err(json!(["Not a valid string."])));
        assert_eq!(state_value(raw(r#""\ud800""#)), Err(json!(["Not a valid string."])));
        assert_eq!(
            state_value(raw("[1]")),
            Err(json!(["Value is not type of string, integer, boolean or float."]))
        );
    }
}
