//! Booleans and integers, with the original's tolerance.

use super::values::decoded;
use super::{FieldKind, Read, fault, reference};
use crate::api::body::RequestLimits;
use crate::protocol::value::StateValue;
use serde_json::Value;
use serde_json::value::RawValue;

/// True, false, 1, 0 and a few strings. A number counts by its value, so that 1.0 is true.
#[derive(Clone, Copy)]
pub(crate) struct FlagField;

const TRUE: [&str; 6] = ["1", "t", "T", "true", "True", "TRUE"];
const FALSE: [&str; 6] = ["0", "f", "F", "false", "False", "FALSE"];

/// The values other than true and false that it accepts.
pub(crate) fn flag_words() -> Vec<Value> {
    let words = TRUE.into_iter().chain(FALSE).map(Value::from);
    [1.into(), 0.into()].into_iter().chain(words).collect()
}

impl FieldKind for FlagField {
    type Value = bool;

    fn read(&self, raw: &RawValue, _: &RequestLimits) -> Read<bool> {
        let word = if raw.get().starts_with('"') { decoded(raw) } else { Some(raw.get().to_owned()) };
        if let Some(word) = word.as_deref().filter(|word| TRUE.contains(word) || FALSE.contains(word)) {
            return Ok(TRUE.contains(&word));
        }
        let number = StateValue::from_json(raw.get()).filter(|value| matches!(value, StateValue::Number(_)));
        let is = |truth| number.as_ref() == Some(&StateValue::Bool(truth));
        if is(true) || is(false) { Ok(is(true)) } else { Err(fault("Not a valid boolean.")) }
    }

    fn schema(&self, _: &RequestLimits) -> Value {
        reference("Flag")
    }
}

/// An integer of at least 0: a number (its fraction is cut off), a decimal string, true or false.
#[derive(Clone, Copy)]
pub(crate) struct Size;

/// 2^64: every double below it fits after the cut.
const TOO_LARGE: f64 = 18_446_744_073_709_551_616.0;

impl FieldKind for Size {
    type Value = u64;

    fn read(&self, raw: &RawValue, _: &RequestLimits) -> Read<u64> {
        let number = match raw.get().as_bytes().first() {
            Some(b't') => Some(Whole::Fits(1)),
            Some(b'f') => Some(Whole::Fits(0)),
            Some(b'"') => decoded(raw).and_then(|text| integer(text.trim())),
            _ => integer(raw.get()).or_else(|| raw.get().parse().ok().map(whole_part)),
        };
        match number {
            Some(Whole::Fits(size)) => Ok(size),
            Some(Whole::Negative) => Err(fault("Must be at least 0.")),
            Some(Whole::TooLarge) => Err(fault("Number too large.")),
            None => Err(fault("Not a valid integer.")),
        }
    }

    fn schema(&self, _: &RequestLimits) -> Value {
        reference("Size")
    }
}

/// The result of reading an integer. The original has no upper limit; this server has one.
enum Whole {
    Fits(u64),
    Negative,
    TooLarge,
}

/// Decimal digits with a sign. Single underscores between digits are accepted, as in Python.
fn integer(text: &str) -> Option<Whole> {
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
        _ if negative && digits.any(|digit| digit != 0) => Whole::Negative,
        Some(sum) => Whole::Fits(sum),
        None => Whole::TooLarge,
    })
}

fn whole_part(number: f64) -> Whole {
    if number <= -1.0 {
        Whole::Negative
    } else if number >= TOO_LARGE {
        Whole::TooLarge
    } else {
        Whole::Fits(number as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use serde_json::json;

    fn read<K: FieldKind>(kind: K, text: &str) -> Read<K::Value> {
        kind.read(serde_json::from_str(text).unwrap(), &RequestLimits::from(&Settings::default()))
    }

    #[test]
    fn booleans_are_read_with_the_originals_tolerance() {
        for text in
            ["true", "1", "1.0", "1e0", "10e-1", r#""1""#, r#""t""#, r#""T""#, r#""True""#, r#""TRUE""#]
        {
            assert_eq!(read(FlagField, text), Ok(true), "{text}");
        }
        for text in
            ["false", "0", "-0", "0.0", "0e7", r#""0""#, r#""f""#, r#""F""#, r#""False""#, r#""FALSE""#]
        {
            assert_eq!(read(FlagField, text), Ok(false), "{text}");
        }
        for text in ["2", "0.5", "[]", "{}", r#""yes""#, r#""tRuE""#, r#""""#, r#""1.0""#, r#""\ud800""#] {
            assert_eq!(read(FlagField, text), Err(json!(["Not a valid boolean."])), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_the_originals_tolerance() {
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
            assert_eq!(read(Size, text), Ok(number), "{text}");
        }
        for (text, error) in [
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
            assert_eq!(read(Size, text), Err(json!([error])), "{text}");
        }
    }
}
