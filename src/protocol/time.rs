//! Timestamps, read and written like the original.
//!
//! Stored as calendar fields and an offset (16 bytes, `Copy`) and formatted on demand, because history and frames need
//! two different text forms.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike};
use std::fmt;
use std::ops::Deref;

/// A point in time, with the offset from UTC that the sender gave, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    local: NaiveDateTime,
    offset_minutes: Option<i16>,
}

impl Timestamp {
    /// The current time, in UTC and without a zone, like the original's default.
    pub fn now() -> Self {
        Self { local: chrono::Utc::now().naive_utc(), offset_minutes: None }
    }

    /// A time in UTC without a zone, from microseconds since 1970. Years that do not have one to four digits become
    /// 1970.
    pub fn from_unix_micros(micros: i64) -> Self {
        Self::from_parts(micros, None)
            .unwrap_or(Self { local: NaiveDateTime::default(), offset_minutes: None })
    }

    /// A time from its [`Timestamp::parts`]. `None` for years that do not have one to four digits, and for an offset of a
    /// day or more.
    pub fn from_parts(local_micros: i64, offset_minutes: Option<i16>) -> Option<Self> {
        let local = DateTime::from_timestamp_micros(local_micros)?.naive_utc();
        let is_valid = (1..=9999).contains(&local.year())
            && offset_minutes.is_none_or(|offset| offset.unsigned_abs() < 24 * 60);
        is_valid.then_some(Self { local, offset_minutes })
    }

    /// The time that a clock in its zone shows, in microseconds since 1970, and the offset from UTC in minutes.
    pub fn parts(&self) -> (i64, Option<i16>) {
        (self.local.and_utc().timestamp_micros(), self.offset_minutes)
    }

    /// Milliseconds since 1970. 0 for earlier times.
    pub fn unix_ms(&self) -> u64 {
        u64::try_from(self.unix_micros() / 1_000).unwrap_or(0)
    }

    /// Microseconds since 1970.
    pub fn unix_micros(&self) -> i64 {
        let offset = i64::from(self.offset_minutes.unwrap_or(0)) * 60_000_000;
        self.local.and_utc().timestamp_micros() - offset
    }

    /// Reads `YYYY-MM-DDTHH:MM[:SS[.f…]][Z|±HH:MM|±HHMM|±HH]`. Also accepts a space for the `T`, one-digit parts and a
    /// line feed at the end (the original's date pattern). Truncates fractions to microseconds.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = Digits(text.strip_suffix('\n').unwrap_or(text).as_bytes());
        let (year, month, day) = (rest.number(4, 4)?, rest.after(b"-", 1, 2)?, rest.after(b"-", 1, 2)?);
        let (hour, minute) = (rest.after(b"T ", 1, 2)?, rest.after(b":", 1, 2)?);
        let (mut second, mut micro) = (0, 0);
        if rest.0.first() == Some(&b':') {
            second = rest.after(b":", 1, 2)?;
            micro = rest.fraction()?;
        }
        let offset_minutes = rest.zone()?;
        // Year 0 is valid for chrono, but not for the original.
        let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day).filter(|d| d.year() > 0)?;
        Some(Self { local: date.and_hms_micro_opt(hour, minute, second, micro)?, offset_minutes })
    }

    /// The text for HTTP answers: UTC is `+00:00`.
    pub fn answer(&self) -> TimeText {
        self.text("+00:00")
    }

    /// The text for frames: UTC is `Z`, like in the original's frame encoder.
    pub fn frame(&self) -> TimeText {
        self.text("Z")
    }

    fn text(&self, utc: &str) -> TimeText {
        let mut text = TimeText { bytes: [0; TimeText::MAX], len: 0 };
        text.number(self.local.year().unsigned_abs(), 4);
        text.part(b'-', self.local.month());
        text.part(b'-', self.local.day());
        text.part(b'T', self.local.hour());
        text.part(b':', self.local.minute());
        text.part(b':', self.local.second());
        let micro = self.local.nanosecond() / 1_000;
        if micro != 0 {
            text.push(b".");
            text.number(micro, 6);
        }
        match self.offset_minutes {
            None => {}
            Some(0) => text.push(utc.as_bytes()),
            Some(minutes) => {
                let size = u32::from(minutes.unsigned_abs());
                text.part(if minutes < 0 { b'-' } else { b'+' }, size / 60);
                text.part(b':', size % 60);
            }
        }
        text
    }
}

/// The unread rest of a text.
struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    /// Reads a number of `least` to `most` digits.
    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let len = self.0.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at_checked(len).filter(|_| len >= least)?;
        self.0 = rest;
        Some(digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
    }

    /// Reads one of these signs and then a number.
    fn after(&mut self, signs: &[u8], least: usize, most: usize) -> Option<u32> {
        let (sign, rest) = self.0.split_first()?;
        self.0 = rest;
        signs.contains(sign).then(|| self.number(least, most))?
    }

    /// Reads microseconds after a decimal point. 0 without a point.
    fn fraction(&mut self) -> Option<u32> {
        if self.0.first() != Some(&b'.') {
            return Some(0);
        }
        let before = self.0.len();
        let micro = self.after(b".", 1, 6)?;
        let missing = 7 - (before - self.0.len());
        let more = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.0 = &self.0[more..];
        Some(micro * 10_u32.pow(u32::try_from(missing).ok()?))
    }

    /// Reads the zone at the end of the text, in minutes. `Some(None)` without a zone, `None` if it is invalid.
    fn zone(&mut self) -> Option<Option<i16>> {
        let sign = match self.0 {
            b"" => return Some(None),
            b"Z" => return Some(Some(0)),
            [b'+', ..] => 1,
            [b'-', ..] => -1,
            _ => return None,
        };
        let hours = self.after(b"+-", 2, 2)?;
        let minutes = match self.0.first() {
            None => 0,
            Some(b':') => self.after(b":", 2, 2)?,
            Some(_) => self.number(2, 2)?,
        };
        let total = i16::try_from(hours * 60 + minutes).ok().filter(|total| *total < 24 * 60)?;
        self.0.is_empty().then_some(Some(sign * total))
    }
}

/// The text of a timestamp, on the stack.
#[derive(Clone, Copy)]
pub struct TimeText {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl TimeText {
    /// `2020-02-22T10:11:12.123456+01:00`
    const MAX: usize = 32;

    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(byte_slot) = self.bytes.get_mut(usize::from(self.len)) {
                *byte_slot = *byte;
                self.len += 1;
            }
        }
    }

    fn number(&mut self, mut number: u32, digits: usize) {
        let mut text = [b'0'; 6];
        for byte_slot in text[..digits].iter_mut().rev() {
            *byte_slot = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
        }
        self.push(&text[..digits]);
    }

    fn part(&mut self, sign: u8, number: u32) {
        self.push(&[sign]);
        self.number(number, 2);
    }
}

impl Deref for TimeText {
    type Target = str;

    fn deref(&self) -> &str {
        // Only ASCII is pushed, so the fallback is never used.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Display for TimeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for TimeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(text: &str) -> Option<String> {
        Timestamp::parse(text).map(|at| at.answer().to_string())
    }

    fn frame(text: &str) -> Option<String> {
        Timestamp::parse(text).map(|at| at.frame().to_string())
    }

    #[test]
    fn formats_that_the_original_accepts() {
        for (given, answered) in [
            ("2010-01-01T01:01", "2010-01-01T01:01:00"),
            ("2010-01-01T01:01:01.5", "2010-01-01T01:01:01.500000"),
            ("2010-01-01T01:01:01Z", "2010-01-01T01:01:01+00:00"),
            ("2010-01-01T01:01:01+02:00", "2010-01-01T01:01:01+02:00"),
            ("2010-01-01T01:01:01-0230", "2010-01-01T01:01:01-02:30"),
            ("2010-01-01T01:01Z", "2010-01-01T01:01:00+00:00"),
            // Whole hours, as PostgreSQL prints them.
            ("2024-05-01 10:00:00+00", "2024-05-01T10:00:00+00:00"),
            ("2024-05-01 10:00:00.123+02", "2024-05-01T10:00:00.123000+02:00"),
            ("2024-05-01T10:00-03", "2024-05-01T10:00:00-03:00"),
            ("2010-1-2 3:4+23", "2010-01-02T03:04:00+23:00"),
            ("2010-01-01T01:01-00", "2010-01-01T01:01:00+00:00"),
            ("2010-01-01T01:01+14:99", "2010-01-01T01:01:00+15:39"),
            ("2010-01-01T01:01:01Z\n", "2010-01-01T01:01:01+00:00"),
            ("2010-01-01 01:01:01", "2010-01-01T01:01:01"),
            ("2010-1-2 3:4:5", "2010-01-02T03:04:05"),
            ("2010-01-01T01:01:01.123456789", "2010-01-01T01:01:01.123456"),
            ("2010-01-01T01:01:01.0000009", "2010-01-01T01:01:01"),
            ("2012-02-29T23:59:59.000001", "2012-02-29T23:59:59.000001"),
            ("0001-01-01T00:00", "0001-01-01T00:00:00"),
        ] {
            assert_eq!(answer(given).as_deref(), Some(answered), "{given}");
        }
    }

    #[test]
    fn microseconds_are_counted_in_utc() {
        for (given, micros) in [
            ("1970-01-01T00:00:01.5", 1_500_000),
            ("1970-01-01T02:00:00+02:00", 0),
            ("1969-12-31T21:30Z", -9_000_000_000),
            ("1969-12-31T21:30-02:30", 0),
        ] {
            assert_eq!(Timestamp::parse(given).unwrap().unix_micros(), micros, "{given}");
        }
        let now = Timestamp::now();
        assert_eq!(*Timestamp::from_unix_micros(now.unix_micros()).frame(), *now.frame());
    }

    #[test]
    fn utc_has_two_text_forms() {
        assert_eq!(frame("2010-01-01T01:01:01Z").as_deref(), Some("2010-01-01T01:01:01Z"));
        assert_eq!(frame("2010-01-01T01:01:01+02:00").as_deref(), Some("2010-01-01T01:01:01+02:00"));
        assert_eq!(frame("2010-01-01T01:01:01").as_deref(), Some("2010-01-01T01:01:01"));
    }

    #[test]
    fn formats_that_the_original_refuses() {
        for given in [
            "",
            "never",
            "2010-01-01",
            "2010-01-01T01",
            "20100101T010101",
            "Fri, 01 Jan 2010 01:01:01 GMT",
            "2011-02-29T01:01",
            "2010-13-01T01:01",
            "2010-01-01T24:00",
            "2010-01-01T01:60",
            "2010-01-01T01:01:60",
            "0000-01-01T01:01",
            "2010-01-01T01:01:01.",
            "2010-01-01T01:01.5",
            "2010-01-01T01:01:01z",
            "2010-01-01T01:01:01+24:00",
            "2010-01-01T01:01:01+24",
            "2010-01-01T01:01:01-99",
            "2010-01-01T01:01:01+2",
            "2010-01-01T01:01:01+",
            "2010-01-01T01:01:01+02:",
            "2010-01-01T01:01:01+020",
            "2010-01-01T01:01:01+02\n\n",
            "2010-01-01+02",
            "2010-01-01T01:01:01+2:00",
            "2010-01-01T01:01:01+02:0",
            "2010-01-01T01:01:01Z ",
            " 2010-01-01T01:01:01",
            "2010-01-01t01:01:01",
            "+2010-01-01T01:01",
            "٢٠١٠-01-01T01:01",
        ] {
            assert_eq!(answer(given), None, "{given}");
        }
    }

    #[test]
    fn microseconds_are_omitted_if_zero() {
        assert_eq!(
            &*Timestamp::from_unix_micros(1_582_366_272_123_456).answer(),
            "2020-02-22T10:11:12.123456"
        );
        assert_eq!(&*Timestamp::from_unix_micros(1_582_366_272_000_000).frame(), "2020-02-22T10:11:12");
        assert_eq!(&*Timestamp::from_unix_micros(i64::MAX).answer(), "1970-01-01T00:00:00");
        assert_eq!(std::mem::size_of::<Timestamp>(), 16);
    }

    #[test]
    fn the_current_time_can_be_read_again() {
        let now = Timestamp::now().answer();
        assert_eq!(answer(&now).as_deref(), Some(&*now));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic_and_valid_times_can_be_read_again(text in "[0-9TZ:. +-]{0,40}|.*") {
            if let Some(at) = Timestamp::parse(&text) {
                let (answered, framed) = (at.answer(), at.frame());
                prop_assert_eq!(Timestamp::parse(&answered), Some(at));
                prop_assert_eq!(Timestamp::parse(&framed), Some(at));
            }
        }

        #[test]
        fn well_formed_times_keep_their_parts(
            micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000,
            zone in prop::option::of((any::<bool>(), 0_u32..24, 0_u32..60)),
        ) {
            let plain = Timestamp::from_unix_micros(micros).answer().to_string();
            let zone = zone.map(|(east, h, m)| format!("{}{h:02}:{m:02}", if east || h + m == 0 { '+' } else { '-' }));
            let text = plain + &zone.unwrap_or_default();
            prop_assert_eq!(answer(&text), Some(text));
        }
    }
}
