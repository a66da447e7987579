//! The placeholders of a recording (`<uuid-1>`, `<timestamp>` …): requests contain their values, responses bind
//! them.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use crate::template::{Form, Piece, digits, pieces, timestamp_length, uptime_length, version_length};

/// The values of the placeholders of one case so far.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    uuids: HashMap<u32, Uuid>,
    cookie: Option<String>,
    /// `host:port` of the node that responds, for `HOST`.
    authority: String,
}

impl Names {
    pub fn new(authority: &str) -> Self {
        Self { uuids: HashMap::new(), cookie: None, authority: authority.to_owned() }
    }

    /// Sets `host:port` of the node that gets the next request.
    pub fn set_authority(&mut self, authority: &str) {
        authority.clone_into(&mut self.authority);
    }

    /// The text to send. An id that appears for the first time is chosen at random.
    pub fn fill(&mut self, template: &str, sign: &dyn Fn() -> String) -> String {
        pieces(template, false).iter().map(|piece| self.fill_piece(piece, sign)).collect()
    }

    /// As [`Names::fill`], in every string and every key of a JSON value.
    pub fn fill_json(&mut self, template: &Value, sign: &dyn Fn() -> String) -> Value {
        match template {
            Value::String(text) => Value::String(self.fill(text, sign)),
            Value::Array(items) => items.iter().map(|item| self.fill_json(item, sign)).collect(),
            Value::Object(map) => {
                map.iter().map(|(key, item)| (self.fill(key, sign), self.fill_json(item, sign))).collect()
            }
            other => other.clone(),
        }
    }

    fn fill_piece(&mut self, piece: &Piece, sign: &dyn Fn() -> String) -> String {
        match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Uuid(number, form) => {
                let id = *self.uuids.entry(*number).or_insert_with(Uuid::new_v4);
                match form {
                    Form::Canonical => id.hyphenated().to_string(),
                    Form::WithoutDashes => id.simple().to_string(),
                    Form::UpperCase => id.hyphenated().to_string().to_uppercase(),
                }
            }
            Piece::Signature => sign(),
            Piece::Cookie => self.cookie.clone().unwrap_or_default(),
            Piece::Host => self.authority.clone(),
            // Only servers write these. A client sends none of them.
            Piece::Timestamp | Piece::Int | Piece::Uptime | Piece::Version | Piece::Date => String::new(),
        }
    }

    /// Whether a received text fits the recorded one. Binds placeholders that have no value yet.
    pub fn fits(&mut self, template: &str, got: &str) -> bool {
        self.fits_pieces(&pieces(template, false), got)
    }

    /// As [`Names::fits`], for header values, in which `HOST` is a placeholder too.
    pub fn fits_header(&mut self, template: &str, got: &str) -> bool {
        self.fits_pieces(&pieces(template, true), got)
    }

    fn fits_pieces(&mut self, pieces: &[Piece], got: &str) -> bool {
        let mut rest = got;
        for piece in pieces {
            let Some(length) = self.prefix(piece, rest) else {
                return false;
            };
            rest = rest.get(length..).unwrap_or_default();
        }
        rest.is_empty()
    }

    /// The length of the part of the text that the piece matches, if it fits.
    fn prefix(&mut self, piece: &Piece, text: &str) -> Option<usize> {
        match piece {
            Piece::Literal(literal) => text.starts_with(literal.as_str()).then_some(literal.len()),
            Piece::Uuid(number, _) => self.bind_uuid(*number, text.get(..36)?).then_some(36),
            Piece::Timestamp => timestamp_length(text),
            Piece::Int => Some(digits(text)).filter(|length| *length > 0),
            Piece::Uptime => uptime_length(text),
            Piece::Version => version_length(text),
            Piece::Date => Some(text.find(';').unwrap_or(text.len())).filter(|length| *length > 0),
            Piece::Signature => None,
            Piece::Host => self.host_length(text),
            Piece::Cookie => {
                let length = text.find(';').unwrap_or(text.len());
                self.cookie = Some(text.get(..length)?.to_owned());
                (length > 0).then_some(length)
            }
        }
    }

    /// Servers write ids in canonical lower case, and two numbers never stand for the same id.
    fn bind_uuid(&mut self, number: u32, text: &str) -> bool {
        let Ok(id) = Uuid::try_parse(text) else {
            return false;
        };
        if id.hyphenated().to_string() != text {
            return false;
        }
        match self.uuids.get(&number) {
            Some(known) => *known == id,
            None if self.uuids.values().any(|other| *other == id) => false,
            None => {
                self.uuids.insert(number, id);
                true
            }
        }
    }

    /// Cookies contain the host only, locations the port too.
    fn host_length(&self, text: &str) -> Option<usize> {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        [self.authority.as_str(), host].iter().find(|host| text.starts_with(**host)).map(|host| host.len())
    }

    /// The recorded text with the known values, for reports.
    pub fn explain(&self, template: &str) -> String {
        let mut text = template.to_owned();
        for (number, id) in &self.uuids {
            let placeholder = format!("<uuid-{number}>");
            text = text.replace(&placeholder, &format!("{placeholder}={id}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0b1f7c1e-6ed9-4c0f-9d4e-5a1a4a3b2c1d";
    const OTHER: &str = "1b1f7c1e-6ed9-4c0f-9d4e-5a1a4a3b2c1d";

    fn names() -> Names {
        Names::new("127.0.0.1:8000")
    }

    fn unsigned() -> String {
        "token".to_owned()
    }

    #[test]
    fn an_id_from_a_response_is_sent_in_later_requests() {
        let mut names = names();
        assert!(names.fits("<uuid-1>", ID));
        assert_eq!(names.fill("/ws?conn_id=<uuid-1>", &unsigned), format!("/ws?conn_id={ID}"));
        assert_eq!(names.fill("{<uuid-1>}", &unsigned), format!("{{{ID}}}"));
        assert_eq!(names.fill("<uuid-1 without dashes>", &unsigned), ID.replace('-', ""));
        assert_eq!(names.fill("<uuid-1 in upper case>", &unsigned), ID.to_uppercase());
        assert_eq!(names.fill("urn:uuid:<uuid-1>", &unsigned), format!("urn:uuid:{ID}"));
    }

    #[test]
    fn an_id_that_first_appears_in_a_request_is_chosen_once() {
        let mut names = names();
        let chosen = names.fill("<uuid-3 without dashes>", &unsigned);
        assert!(names.fits("<uuid-3>", &Uuid::try_parse(&chosen).unwrap().hyphenated().to_string()));
        assert_eq!(names.fill("<uuid-3 without dashes>", &unsigned), chosen);
    }

    #[test]
    fn each_number_stands_for_one_id() {
        let mut names = names();
        assert!(names.fits("<uuid-1>", ID));
        assert!(!names.fits("<uuid-1>", OTHER));
        assert!(!names.fits("<uuid-2>", ID));
        assert!(names.fits("<uuid-2>", OTHER));
        assert!(!names.fits("<uuid-3>", &ID.to_uppercase()));
    }

    #[test]
    fn times_must_have_the_form_that_servers_write() {
        for good in ["2020-02-22T10:11:12", "2020-02-22T10:11:12.123456", "2020-02-22T10:11:12Z"] {
            assert!(names().fits("<timestamp>", good), "{good}");
        }
        for bad in ["2020-02-22", "2020-02-22T10:11:12.1234567", "2020-02-22 10:11:12", "now", ""] {
            assert!(!names().fits("<timestamp>", bad), "{bad}");
        }
        for good in ["0:01:05", "1 day, 0:01:05", "12 days, 10:01:05"] {
            assert!(names().fits("<uptime>", good), "{good}");
        }
        assert!(!names().fits("<uptime>", "5"));
        assert!(names().fits("<version>", "0.12.1"));
        assert!(!names().fits("<version>", "0.12"));
    }

    #[test]
    fn cookies_and_hosts_are_matched_inside_header_values() {
        let mut names = names();
        assert!(names.fits_header("a=<cookie>; Domain=HOST; Path=/", "a=b!c; Domain=127.0.0.1; Path=/"));
        assert_eq!(names.fill("a=<cookie>", &unsigned), "a=b!c");
        assert!(names.fits_header("http://HOST/admin", "http://127.0.0.1:8000/admin"));
        assert!(!names.fits_header("http://HOST/admin", "http://localhost:8000/admin"));
    }

    #[test]
    fn other_text_in_angle_brackets_is_literal() {
        assert!(names().fits("a < b <i>c</i>", "a < b <i>c</i>"));
        assert!(!names().fits("<uuid-1 sideways>", ID));
        assert_eq!(names().fill("/info?secret=<signature>", &unsigned), "/info?secret=token");
    }
}
