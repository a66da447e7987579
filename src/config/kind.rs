//! The kinds of settings: how each is read from a file or a text, and how it is written. What all kinds share, flags and
//! whole numbers: plain ones, times and sizes.

use std::borrow::Cow;
use std::fmt::Display;

/// A value as a source gives it.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    /// A typed value, from TOML or JSON.
    Typed(&'a toml::Value),
    /// A text from the environment or the command line.
    Text(&'a str),
    /// A text from an INI file, where the original accepted more.
    Ini(&'a str),
}

impl<'a> Given<'a> {
    /// The text, unless the value has another type.
    pub fn text(&self) -> Option<&'a str> {
        match self {
            Self::Typed(value) => value.as_str(),
            Self::Text(text) | Self::Ini(text) => Some(text),
        }
    }

    pub fn expect_text(&self) -> Result<&'a str, String> {
        self.text().ok_or_else(|| "a text is expected".into())
    }

    /// An empty string in TOML is a value like any other.
    pub fn is_blank(&self) -> bool {
        matches!(self, Self::Text(text) | Self::Ini(text) if text.trim().is_empty())
    }
}

/// The value for a message: a typed one as in TOML; a text in quotes unless it is a number, and cut off if it is long.
impl Display for Given<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Typed(value) => value.fmt(f),
            Self::Text(text) | Self::Ini(text) => quoted(text).fmt(f),
        }
    }
}

pub(super) fn quoted(text: &str) -> String {
    match text.trim() {
        number if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => {
            number.chars().take(40).collect()
        }
        text if text.chars().count() > 60 => format!("{:?}…", text.chars().take(60).collect::<String>()),
        text => format!("{text:?}"),
    }
}

/// What a kind accepts, and how its values are treated.
pub(super) struct KindInfo {
    /// The accepted values, in a few words.
    pub expects: Cow<'static, str>,
    /// Whether the value must not be printed.
    pub is_secret: bool,
    /// Whether an empty text is a value. For other kinds it means "not given".
    pub takes_blank: bool,
}

/// A kind that is made of functions: a flag, a text or a list. `read` adds a note about each part of the value that it
/// ignores.
pub(super) struct Kind<T> {
    pub expects: &'static str,
    pub read: fn(Given<'_>, &mut Vec<String>) -> Result<T, String>,
    pub show: fn(&T) -> toml::Value,
    /// The value as people may see it, if a part of it is secret.
    pub for_people: Option<fn(&T) -> toml::Value>,
    pub is_secret: bool,
    pub takes_blank: bool,
}

impl<T> Kind<T> {
    pub const fn new(
        expects: &'static str,
        read: fn(Given<'_>, &mut Vec<String>) -> Result<T, String>,
        show: fn(&T) -> toml::Value,
    ) -> Self {
        Self { expects, read, show, for_people: None, is_secret: false, takes_blank: false }
    }

    pub fn read(&self, given: Given<'_>, notes: &mut Vec<String>) -> Result<T, String> {
        (self.read)(given, notes)
    }

    pub fn show(&self, value: &T) -> toml::Value {
        (self.show)(value)
    }

    /// The value for people to read, in TOML unless it is masked.
    pub fn for_people(&self, value: &T) -> String {
        match self.for_people {
            _ if self.is_secret => "********".into(),
            Some(show) => show(value).to_string(),
            None => (self.show)(value).to_string(),
        }
    }

    pub fn info(&self) -> KindInfo {
        let Self { expects, is_secret, takes_blank, .. } = *self;
        KindInfo { expects: expects.into(), is_secret, takes_blank }
    }
}

/// Yes or no. In an INI file every unknown word means no, as in the original.
pub(super) const FLAG: Kind<bool> = Kind::new("true or false", read_flag, |flag| (*flag).into());

/// Reads one of the original's words for yes and no.
pub(super) fn yes_or_no(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn read_flag(given: Given<'_>, _: &mut Vec<String>) -> Result<bool, String> {
    let flag = match given {
        Given::Typed(toml::Value::Boolean(flag)) => Some(*flag),
        Given::Ini(text) => Some(yes_or_no(text).unwrap_or(false)),
        _ => given.text().and_then(yes_or_no),
    };
    flag.ok_or_else(|| format!("{given} is neither true nor false"))
}

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

pub(super) const fn number(min: i64, max: i64) -> NumberKind {
    NumberKind { what: "a number", min, max, unit: "", examples: "", convert: |_| None }
}

pub(super) const PORT: NumberKind = NumberKind { what: "a port", ..number(0, 65_535) };

pub(super) const fn duration(min: i64, max: i64) -> NumberKind {
    let examples = ", or with a unit: 250ms, 10s, 5min, 2h";
    NumberKind { what: "a duration", unit: " ms", examples, convert: milliseconds, ..number(min, max) }
}

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
        let plain = match given {
            Given::Typed(value) => value.as_integer(),
            Given::Text(text) | Given::Ini(text) => text.trim().parse().ok(),
        };
        plain.or_else(|| (self.convert)(given.text()?.trim()))
    }

    fn range(&self) -> String {
        format!("{}-{}{}", self.min, self.max, self.unit)
    }

    pub fn read<T: TryFrom<i64>>(&self, given: Given<'_>, _: &mut Vec<String>) -> Result<T, String> {
        let number = self.parse(given).filter(|number| (self.min..=self.max).contains(number));
        let value = number.and_then(|number| T::try_from(number).ok());
        value.ok_or_else(|| format!("{given} is not {} ({}{})", self.what, self.range(), self.examples))
    }

    pub fn show<T: Copy + TryInto<i64>>(&self, value: &T) -> toml::Value {
        toml::Value::Integer((*value).try_into().unwrap_or(i64::MAX))
    }

    pub fn for_people<T: Copy + TryInto<i64>>(&self, value: &T) -> String {
        self.show(value).to_string()
    }

    pub fn info(&self) -> KindInfo {
        KindInfo { expects: self.range().into(), is_secret: false, takes_blank: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flag(given: Given<'_>) -> Result<bool, String> {
        FLAG.read(given, &mut Vec::new())
    }

    fn read<T: TryFrom<i64>>(kind: NumberKind, given: Given<'_>) -> Result<T, String> {
        kind.read(given, &mut Vec::new())
    }

    #[test]
    fn flags_accept_the_words_of_the_original() {
        for yes in ["true", "T", "YES", "y", "On", "1"] {
            for given in [Given::Text(yes), Given::Ini(yes), Given::Typed(&yes.into())] {
                assert_eq!(flag(given), Ok(true));
            }
        }
        for no in ["false", "F", "no", "n", "OFF", "0"] {
            assert_eq!(flag(Given::Text(no)), Ok(false));
        }
        assert_eq!(flag(Given::Ini("maybe")), Ok(false));
        assert_eq!(flag(Given::Text("maybe")), Err("\"maybe\" is neither true nor false".into()));
        assert!(flag(Given::Typed(&1.into())).is_err());
    }

    #[test]
    fn long_texts_are_cut_off_in_messages() {
        assert!(quoted(&"x".repeat(1000)).len() < 80);
        assert_eq!(quoted("12"), "12");
        assert_eq!(quoted(""), "\"\"");
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
