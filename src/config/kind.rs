//! What kinds of settings there are: how each is read from a file or a text, checked and written.

use std::fmt::Display;

/// A value as a source gives it.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    /// Typed, from TOML or JSON.
    Typed(&'a toml::Value),
    /// From the environment or the command line.
    Text(&'a str),
    /// From an INI file, whose readers were more forgiving.
    Ini(&'a str),
}

impl<'a> Given<'a> {
    /// The text, unless the value is of another type.
    pub fn text(&self) -> Option<&'a str> {
        match self {
            Self::Typed(toml::Value::String(text)) => Some(text),
            Self::Typed(_) => None,
            Self::Text(text) | Self::Ini(text) => Some(text),
        }
    }

    /// Whether nothing stands there; an empty string in TOML is a value like any other.
    pub fn is_blank(&self) -> bool {
        matches!(self, Self::Text(text) | Self::Ini(text) if text.trim().is_empty())
    }
}

/// One kind of setting, for a field of type `T`.
pub(super) trait ValueKind<T> {
    /// Reads a value. What is dropped without an error is noted.
    fn read(&self, given: Given<'_>, notes: &mut Vec<String>) -> Result<T, String>;

    /// Checks a value that may have been set in code.
    fn check(&self, _value: &T) -> Result<(), String> {
        Ok(())
    }

    /// The value as it is written into a file.
    fn show(&self, value: &T) -> toml::Value;

    /// What may be given, in a few words.
    fn expects(&self) -> String;

    /// Whether the value must not be printed.
    fn is_secret(&self) -> bool {
        false
    }

    /// Whether an empty text means something else than "not given".
    fn takes_blank(&self) -> bool {
        false
    }
}

/// A whole number within bounds.
pub(super) struct NumberKind {
    what: &'static str,
    min: i64,
    max: i64,
}

/// A number of something.
pub(super) const fn number(min: i64, max: i64) -> NumberKind {
    NumberKind { what: "a number", min, max }
}

/// A TCP port.
pub(super) const PORT: NumberKind = NumberKind { what: "a port", min: 0, max: 65_535 };

impl NumberKind {
    fn within(&self, number: i64) -> Result<i64, String> {
        match (self.min..=self.max).contains(&number) {
            true => Ok(number),
            false => Err(self.refusal(number)),
        }
    }

    fn refusal(&self, given: impl Display) -> String {
        format!("{given} is not {} ({}-{})", self.what, self.min, self.max)
    }
}

impl<T: Copy + TryFrom<i64> + TryInto<i64>> ValueKind<T> for NumberKind {
    fn read(&self, given: Given<'_>, _: &mut Vec<String>) -> Result<T, String> {
        let number = match given {
            Given::Typed(toml::Value::Integer(number)) => *number,
            Given::Typed(other) => return Err(self.refusal(other)),
            Given::Text(text) | Given::Ini(text) => {
                text.trim().parse().map_err(|_| self.refusal(quoted(text)))?
            }
        };
        T::try_from(self.within(number)?).map_err(|_| self.refusal(number))
    }

    fn check(&self, value: &T) -> Result<(), String> {
        let number: i64 = (*value).try_into().unwrap_or(i64::MAX);
        self.within(number).map(|_| ())
    }

    fn show(&self, value: &T) -> toml::Value {
        toml::Value::Integer((*value).try_into().unwrap_or(i64::MAX))
    }

    fn expects(&self) -> String {
        format!("{}-{}", self.min, self.max)
    }
}

/// Yes or no. An INI file takes every unknown word for no, as it always did.
pub(super) struct FlagKind;

/// The original's words for yes.
pub(super) const YES: [&str; 6] = ["true", "t", "yes", "y", "on", "1"];
const NO: [&str; 6] = ["false", "f", "no", "n", "off", "0"];

/// Reads the original's booleans.
pub(super) fn yes_or_no(text: &str) -> Option<bool> {
    let word = text.trim().to_ascii_lowercase();
    match (YES.contains(&word.as_str()), NO.contains(&word.as_str())) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

impl ValueKind<bool> for FlagKind {
    fn read(&self, given: Given<'_>, _: &mut Vec<String>) -> Result<bool, String> {
        let refusal = |given: &dyn Display| format!("{given} is neither true nor false");
        match given {
            Given::Typed(toml::Value::Boolean(flag)) => Ok(*flag),
            Given::Typed(other) => match other.as_str() {
                Some(text) => yes_or_no(text).ok_or_else(|| refusal(other)),
                None => Err(refusal(other)),
            },
            Given::Text(text) => yes_or_no(text).ok_or_else(|| refusal(&quoted(text))),
            Given::Ini(text) => Ok(yes_or_no(text).unwrap_or(false)),
        }
    }

    fn show(&self, value: &bool) -> toml::Value {
        toml::Value::Boolean(*value)
    }

    fn expects(&self) -> String {
        "true or false".into()
    }
}

/// A given text for a message: numbers as they are, other things in quotes, nothing endless.
pub(super) fn quoted(text: &str) -> String {
    match text.trim() {
        number if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => {
            number.chars().take(40).collect()
        }
        text if text.chars().count() > 60 => format!("{:?}…", text.chars().take(60).collect::<String>()),
        text => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(given: Given<'_>) -> Result<u16, String> {
        PORT.read(given, &mut Vec::new())
    }

    fn flag(given: Given<'_>) -> Result<bool, String> {
        FlagKind.read(given, &mut Vec::new())
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        assert_eq!(port(Given::Text(" 8000 ")), Ok(8000));
        assert_eq!(port(Given::Typed(&8000.into())), Ok(8000));
        assert_eq!(port(Given::Text("70000")), Err("70000 is not a port (0-65535)".into()));
        assert_eq!(port(Given::Typed(&70000.into())), Err("70000 is not a port (0-65535)".into()));
        assert_eq!(port(Given::Text("-1")), Err("-1 is not a port (0-65535)".into()));
        assert_eq!(port(Given::Ini("http")), Err("\"http\" is not a port (0-65535)".into()));
        assert_eq!(port(Given::Typed(&true.into())), Err("true is not a port (0-65535)".into()));
        assert_eq!(number(1, 5).check(&6usize), Err("6 is not a number (1-5)".into()));
    }

    #[test]
    fn booleans_have_the_words_of_the_original() {
        for yes in ["true", "T", "YES", "y", "On", "1"] {
            assert_eq!(flag(Given::Text(yes)), Ok(true));
            assert_eq!(flag(Given::Ini(yes)), Ok(true));
            assert_eq!(flag(Given::Typed(&yes.into())), Ok(true));
        }
        for no in ["false", "F", "no", "n", "OFF", "0"] {
            assert_eq!(flag(Given::Text(no)), Ok(false));
        }
        assert_eq!(flag(Given::Ini("maybe")), Ok(false));
        assert_eq!(flag(Given::Text("maybe")), Err("\"maybe\" is neither true nor false".into()));
        assert!(flag(Given::Typed(&1.into())).is_err());
    }

    #[test]
    fn long_texts_are_cut_in_messages() {
        assert!(quoted(&"x".repeat(1000)).len() < 80);
        assert_eq!(quoted("12"), "12");
        assert_eq!(quoted(""), "\"\"");
    }
}
