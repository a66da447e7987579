//! The kinds of settings: how each is read from a file or a text, and how it is written. Flags, and what all kinds share.

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

    /// The text, or the error for a value of another type.
    pub fn expect_text(&self) -> Result<&'a str, String> {
        self.text().ok_or_else(|| "a text is expected".into())
    }

    /// Whether the text is empty. An empty string in TOML is a value like any other.
    pub fn is_blank(&self) -> bool {
        matches!(self, Self::Text(text) | Self::Ini(text) if text.trim().is_empty())
    }
}

/// One kind of setting, for a field of type `T`.
pub(super) trait ValueKind<T> {
    /// Reads a value. Adds a note about each part of the value that it ignores.
    fn read(&self, given: Given<'_>, notes: &mut Vec<String>) -> Result<T, String>;

    /// The value as it is written into a file.
    fn show(&self, value: &T) -> toml::Value;

    fn info(&self) -> KindInfo;
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

/// A kind that is made of functions: a flag, a text or a list.
pub(super) struct Kind<T> {
    expects: &'static str,
    read: fn(Given<'_>, &mut Vec<String>) -> Result<T, String>,
    show: fn(&T) -> toml::Value,
    is_secret: bool,
    takes_blank: bool,
}

impl<T> Kind<T> {
    pub const fn new(
        expects: &'static str,
        read: fn(Given<'_>, &mut Vec<String>) -> Result<T, String>,
        show: fn(&T) -> toml::Value,
    ) -> Self {
        Self { expects, read, show, is_secret: false, takes_blank: false }
    }

    /// The same kind, for values that must not be printed.
    pub const fn secret(self) -> Self {
        Self { is_secret: true, ..self }
    }

    /// The same kind, where an empty text is a value.
    pub const fn or_blank(self) -> Self {
        Self { takes_blank: true, ..self }
    }
}

impl<T> ValueKind<T> for Kind<T> {
    fn read(&self, given: Given<'_>, notes: &mut Vec<String>) -> Result<T, String> {
        (self.read)(given, notes)
    }

    fn show(&self, value: &T) -> toml::Value {
        (self.show)(value)
    }

    fn info(&self) -> KindInfo {
        let Self { expects, is_secret, takes_blank, .. } = *self;
        KindInfo { expects: expects.into(), is_secret, takes_blank }
    }
}

/// Yes or no. In an INI file every unknown word means no, as in the original.
pub(super) const FLAG: Kind<bool> = Kind::new("true or false", read_flag, |flag| (*flag).into());

/// The original's words for yes.
pub(super) const YES: [&str; 6] = ["true", "t", "yes", "y", "on", "1"];
const NO: [&str; 6] = ["false", "f", "no", "n", "off", "0"];

/// Reads one of the original's words for yes and no.
pub(super) fn yes_or_no(text: &str) -> Option<bool> {
    let word = text.trim().to_ascii_lowercase();
    let is_no = NO.contains(&word.as_str());
    (YES.contains(&word.as_str()) || is_no).then_some(!is_no)
}

fn read_flag(given: Given<'_>, _: &mut Vec<String>) -> Result<bool, String> {
    let refusal = |given: &dyn Display| format!("{given} is neither true nor false");
    match given {
        Given::Typed(value) => {
            value.as_bool().or_else(|| yes_or_no(value.as_str()?)).ok_or_else(|| refusal(value))
        }
        Given::Text(text) => yes_or_no(text).ok_or_else(|| refusal(&quoted(text))),
        Given::Ini(text) => Ok(yes_or_no(text).unwrap_or(false)),
    }
}

/// A text for a message: numbers as they are, other texts in quotes, long ones cut off.
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

    fn read<T>(kind: impl ValueKind<T>, given: Given<'_>) -> Result<T, String> {
        kind.read(given, &mut Vec::new())
    }

    #[test]
    fn flags_accept_the_words_of_the_original() {
        for yes in ["true", "T", "YES", "y", "On", "1"] {
            for given in [Given::Text(yes), Given::Ini(yes), Given::Typed(&yes.into())] {
                assert_eq!(read(FLAG, given), Ok(true));
            }
        }
        for no in ["false", "F", "no", "n", "OFF", "0"] {
            assert_eq!(read(FLAG, Given::Text(no)), Ok(false));
        }
        assert_eq!(read(FLAG, Given::Ini("maybe")), Ok(false));
        assert_eq!(read(FLAG, Given::Text("maybe")), Err("\"maybe\" is neither true nor false".into()));
        assert!(read(FLAG, Given::Typed(&1.into())).is_err());
    }

    #[test]
    fn long_texts_are_cut_off_in_messages() {
        assert!(quoted(&"x".repeat(1000)).len() < 80);
        assert_eq!(quoted("12"), "12");
        assert_eq!(quoted(""), "\"\"");
    }
}
