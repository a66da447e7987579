//! Settings that are a whole number: plain ones, times and sizes.

use super::kind::{Given, KindInfo, ValueKind, quoted};

/// A whole number within bounds. A plain number counts in the base unit; some numbers accept other units in a text.
pub(super) struct NumberKind {
    what: &'static str,
    min: i64,
    max: i64,
    /// The base unit, such as ` ms`; empty where there is none.
    unit: &'static str,
    /// Examples of texts with a unit.
    examples: &'static str,
    /// Reads a text with a unit.
    convert: fn(&str) -> Option<i64>,
}

/// A number without a unit.
pub(super) const fn number(min: i64, max: i64) -> NumberKind {
    NumberKind { what: "a number", min, max, unit: "", examples: "", convert: |_| None }
}

/// A TCP port.
pub(super) const PORT: NumberKind = NumberKind { what: "a port", ..number(0, 65_535) };

/// A time in milliseconds.
pub(super) const fn duration(min: i64, max: i64) -> NumberKind {
    let examples = ", or with a unit: 250ms, 10s, 5min, 2h";
    NumberKind { what: "a duration", unit: " ms", examples, convert: milliseconds, ..number(min, max) }
}

/// A size in bytes.
pub(super) const fn size(min: i64, max: i64) -> NumberKind {
    let examples = ", or with a unit: 64KiB, 8MiB, 1GiB";
    NumberKind { what: "a size", unit: " bytes", examples, convert: bytes, ..number(min, max) }
}

/// Whole milliseconds only.
fn milliseconds(text: &str) -> Option<i64> {
    let nanos = text.parse::<jiff::SignedDuration>().ok()?.as_nanos();
    (nanos % 1_000_000 == 0).then(|| i64::try_from(nanos / 1_000_000).ok())?
}

fn bytes(text: &str) -> Option<i64> {
    // A number alone is read before, and in TOML it is not a text.
    let has_unit = text.ends_with(|last: char| last.is_ascii_alphabetic());
    let size = has_unit.then(|| text.parse::<bytesize::ByteSize>().ok())??;
    i64::try_from(size.as_u64()).ok()
}

impl NumberKind {
    fn parse(&self, given: Given<'_>) -> Option<i64> {
        match given {
            Given::Typed(toml::Value::Integer(number)) => Some(*number),
            Given::Typed(other) => (self.convert)(other.as_str()?.trim()),
            Given::Text(text) | Given::Ini(text) => {
                text.trim().parse().ok().or_else(|| (self.convert)(text.trim()))
            }
        }
    }

    fn range(&self) -> String {
        format!("{}-{}{}", self.min, self.max, self.unit)
    }

    fn refusal(&self, given: Given<'_>) -> String {
        let given = match given {
            Given::Typed(value) => value.to_string(),
            Given::Text(text) | Given::Ini(text) => quoted(text),
        };
        format!("{given} is not {} ({}{})", self.what, self.range(), self.examples)
    }
}

impl<T: Copy + TryFrom<i64> + TryInto<i64>> ValueKind<T> for NumberKind {
    fn read(&self, given: Given<'_>, _: &mut Vec<String>) -> Result<T, String> {
        let number = self.parse(given).filter(|number| (self.min..=self.max).contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| self.refusal(given))
    }

    fn show(&self, value: &T) -> toml::Value {
        toml::Value::Integer((*value).try_into().unwrap_or(i64::MAX))
    }

    fn info(&self) -> KindInfo {
        KindInfo { expects: self.range().into(), is_secret: false, takes_blank: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read<T>(kind: impl ValueKind<T>, given: Given<'_>) -> Result<T, String> {
        kind.read(given, &mut Vec::new())
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        fn port(given: Given<'_>) -> Result<u16, String> {
            read(PORT, given)
        }
        assert_eq!(port(Given::Text(" 8000 ")), Ok(8000));
        assert_eq!(port(Given::Typed(&8000.into())), Ok(8000));
        assert_eq!(port(Given::Text("70000")), Err("70000 is not a port (0-65535)".into()));
        assert_eq!(port(Given::Typed(&70000.into())), Err("70000 is not a port (0-65535)".into()));
        assert_eq!(port(Given::Text("-1")), Err("-1 is not a port (0-65535)".into()));
        assert_eq!(port(Given::Ini("http")), Err("\"http\" is not a port (0-65535)".into()));
        assert_eq!(port(Given::Typed(&true.into())), Err("true is not a port (0-65535)".into()));
        assert!(port(Given::Typed(&"8000".into())).is_err() && port(Given::Text("8KB")).is_err());
    }

    #[test]
    fn durations_and_sizes_accept_units() {
        let day = || duration(1, 86_400_000);
        for (text, ms) in [
            ("250", 250),
            ("250ms", 250),
            (" 10s ", 10_000),
            ("10 s", 10_000),
            ("5min", 300_000),
            ("2h", 7_200_000),
            ("1h 30min", 5_400_000),
            ("1.5s", 1_500),
        ] {
            assert_eq!(read(day(), Given::Text(text)), Ok(ms), "{text}");
            assert_eq!(read::<u64>(day(), Given::Typed(&text.into())).is_ok(), text != "250", "{text}");
        }
        for text in ["", "s", "10 parsecs", "1.5", "250us", "-5s", "0s", "25h", "1d", "10s x", "9e99h"] {
            let refused =
                format!("\"{text}\" is not a duration (1-86400000 ms, or with a unit: 250ms, 10s, 5min, 2h)");
            assert_eq!(read::<u64>(day(), Given::Text(text)), Err(refused));
        }
        for (text, bytes) in [
            ("5000", 5_000),
            ("64KiB", 65_536),
            ("8 MiB", 8 << 20),
            ("1GiB", 1 << 30),
            ("10MB", 10_000_000),
            ("7B", 7),
        ] {
            assert_eq!(read(size(0, 1 << 40), Given::Ini(text)), Ok(bytes), "{text}");
        }
        for text in ["MiB", "1.5", "8MiBs", "-1KiB", "1024GiBGiB", "9999999EiB", "2TiB"] {
            let refused = format!(
                "\"{text}\" is not a size (0-1099511627776 bytes, or with a unit: 64KiB, 8MiB, 1GiB)"
            );
            assert_eq!(read::<usize>(size(0, 1 << 40), Given::Text(text)), Err(refused));
        }
    }

    proptest! {
        #[test]
        fn a_unit_multiplies_its_number(number in 0..1_000_000_i64, unit in 0..7_usize) {
            let (unit, factor) =
                [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)][unit];
            let kind = if unit.ends_with('B') { size(0, i64::MAX) } else { duration(0, i64::MAX) };
            prop_assert_eq!(read(kind, Given::Text(&format!("{number}{unit}"))), Ok(number * factor));
        }

        #[test]
        fn no_text_makes_a_number_panic(text in any::<String>()) {
            let _ = read::<u64>(duration(0, 9), Given::Text(&text));
            let _ = read::<u64>(size(0, 9), Given::Text(&text));
        }
    }
}
