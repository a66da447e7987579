//! Compares JSON with the recorded JSON. It compares values, not their spelling: keys may have any order, and numbers
//! must be equal exactly.

use serde_json::{Map, Value};

use crate::placeholders::Names;
use crate::report::{Mismatch, compact};

/// What a response may contain beyond the recording.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Allowances {
    /// A member `date` that equals the `timestamp` beside it.
    pub date: bool,
    /// Other users and channels at the top level: admin pages show those of all clients.
    pub others: bool,
}

/// Compares and binds placeholders. The list is empty if all values fit.
pub(crate) fn json(names: &mut Names, allow: Allowances, expected: &Value, got: &Value) -> Vec<Mismatch> {
    let mut compare = Compare { names, allow, found: Vec::new() };
    compare.value("", expected, got);
    compare.found
}

/// Compares lists of frames, each a JSON text, one by one.
pub(crate) fn frames(
    names: &mut Names,
    allow: Allowances,
    expected: &[Value],
    got: &[String],
) -> Vec<Mismatch> {
    let got = aligned(expected, got);
    let mut found = Vec::new();
    for index in 0..expected.len().max(got.len()) {
        let path = format!("frame {index}");
        match (expected.get(index), got.get(index).copied()) {
            (Some(expected), Some(text)) => match serde_json::from_str(text) {
                Ok(frame) => {
                    found.extend(json(names, allow, expected, &frame).into_iter().map(|mut mismatch| {
                        mismatch.path = format!("{path} {}", mismatch.path);
                        mismatch
                    }))
                }
                Err(_) => found.push(Mismatch::new(path, compact(expected), text)),
            },
            (Some(expected), None) => {
                found.push(Mismatch::new(path, names.explain(&compact(expected)), "nothing"))
            }
            (None, Some(text)) => found.push(Mismatch::new(path, "nothing", text)),
            (None, None) => {}
        }
    }
    found
}

/// The frames in the order of the recorded ones, if both have equally many of each channel. Only the frames of one channel
/// have an order, and so have private ones.
fn aligned<'a>(expected: &[Value], got: &'a [String]) -> Vec<&'a str> {
    let received: Vec<&str> = got.iter().map(String::as_str).collect();
    let parse = |text: &&'a str| Some((channel(&serde_json::from_str(text).ok()?), *text));
    let Some(mut left) = received.iter().map(parse).collect::<Option<Vec<_>>>() else { return received };
    let mut take = |frame: &Value| {
        let position = left.iter().position(|(of, _)| *of == channel(frame))?;
        Some(left.remove(position).1)
    };
    let ordered = expected.iter().map(&mut take).collect::<Option<Vec<_>>>();
    ordered.filter(|ordered| ordered.len() == got.len()).unwrap_or(received)
}

/// The channel of a frame's event; null for a private one.
fn channel(frame: &Value) -> Value {
    frame[0]["channel"].clone()
}

struct Compare<'a> {
    names: &'a mut Names,
    allow: Allowances,
    found: Vec<Mismatch>,
}

impl Compare<'_> {
    fn value(&mut self, path: &str, expected: &Value, got: &Value) {
        match (expected, got) {
            (Value::Object(expected), Value::Object(got)) => self.object(path, expected, got),
            (Value::Array(expected), Value::Array(got)) if is_unordered(path, expected) => {
                self.set(path, expected, got);
            }
            (Value::Array(expected), Value::Array(got)) => self.list(path, expected, got),
            (Value::String(template), Value::String(text)) if self.names.fits(template, text) => {}
            (Value::String(template), Value::Number(number)) if template == "<int>" && number.is_i64() => {}
            _ if expected == got && !expected.is_string() => {}
            _ => self.differ(path, expected, &compact(got)),
        }
    }

    fn object(&mut self, path: &str, expected: &Map<String, Value>, got: &Map<String, Value>) {
        for (key, value) in expected {
            let path = join(path, key);
            match got.get(key) {
                Some(got) => self.value(&path, value, got),
                None => self.differ(&path, value, "nothing"),
            }
        }
        for (key, value) in got.iter().filter(|(key, _)| !expected.contains_key(*key)) {
            let is_date = self.allow.date && key == "date" && got.get("timestamp") == Some(value);
            let is_other = self.allow.others && path == "channels";
            if !is_date && !is_other {
                self.found.push(Mismatch::new(join(path, key), "nothing", compact(value)));
            }
        }
    }

    fn list(&mut self, path: &str, expected: &[Value], got: &[Value]) {
        for index in 0..expected.len().max(got.len()) {
            let path = format!("{path}[{index}]");
            match (expected.get(index), got.get(index)) {
                (Some(expected), Some(got)) => self.value(&path, expected, got),
                (Some(expected), None) => self.differ(&path, expected, "nothing"),
                (None, Some(got)) => self.found.push(Mismatch::new(path, "nothing", compact(got))),
                (None, None) => {}
            }
        }
    }

    /// Each expected entry consumes the first remaining one that fits.
    fn set(&mut self, path: &str, expected: &[Value], got: &[Value]) {
        let mut left: Vec<&Value> = got.iter().collect();
        for (index, expected) in expected.iter().enumerate() {
            match left.iter().position(|candidate| self.fits(expected, candidate)) {
                Some(position) => {
                    left.remove(position);
                }
                None => self.differ(&format!("{path}[{index}]"), expected, &left_over(&left)),
            }
        }
        let others_allowed = self.allow.others && path == "users";
        if !left.is_empty() && !others_allowed {
            self.found.push(Mismatch::new(path, "no more", left_over(&left)));
        }
    }

    /// Compares a pair. Keeps the bindings only if the pair fits.
    fn fits(&mut self, expected: &Value, got: &Value) -> bool {
        let mut names = self.names.clone();
        let fits = json(&mut names, self.allow, expected, got).is_empty();
        if fits {
            *self.names = names;
        }
        fits
    }

    fn differ(&mut self, path: &str, expected: &Value, got: &str) {
        let expected = self.names.explain(&compact(expected));
        let path = if path.is_empty() { "the body" } else { path };
        self.found.push(Mismatch::new(path, expected, got));
    }
}

/// Lists of users with their states have no order. Lists of names are sorted.
fn is_unordered(path: &str, expected: &[Value]) -> bool {
    path.rsplit('.').next() == Some("users") && expected.iter().all(Value::is_object)
}

fn left_over(left: &[&Value]) -> String {
    let texts: Vec<String> = left.iter().map(|value| compact(value)).collect();
    if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differing(allow: Allowances, expected: Value, got: Value) -> Vec<String> {
        let found = json(&mut Names::new("host:1"), allow, &expected, &got);
        found.into_iter().map(|mismatch| mismatch.path).collect()
    }

    fn strict(expected: Value, got: Value) -> Vec<String> {
        differing(Allowances::default(), expected, got)
    }

    #[test]
    fn keys_may_have_any_order_and_list_items_may_not() {
        assert!(strict(json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1})).is_empty());
        assert_eq!(strict(json!({"a": [1, 2]}), json!({"a": [2, 1]})), ["a[0]", "a[1]"]);
    }

    #[test]
    fn numbers_must_be_equal_exactly() {
        let big = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert!(strict(big("12345678901234567890"), big("12345678901234567890")).is_empty());
        assert_eq!(strict(big("12345678901234567890"), big("12345678901234567000")), ["the body"]);
        assert_eq!(strict(json!(1), big("1.0")), ["the body"]);
        assert_eq!(strict(json!(true), json!(1)), ["the body"]);
    }

    #[test]
    fn missing_and_additional_members_are_reported() {
        let expected = json!({"a": {"b": null, "c": 1}});
        assert_eq!(strict(expected, json!({"a": {"c": 1, "d": 2}})), ["a.b", "a.d"]);
    }

    #[test]
    fn users_with_states_may_have_any_order_and_names_may_not() {
        let expected = json!({"users": [{"user": "a"}, {"user": "b"}]});
        assert!(strict(expected.clone(), json!({"users": [{"user": "b"}, {"user": "a"}]})).is_empty());
        assert_eq!(strict(expected.clone(), json!({"users": [{"user": "b"}]})), ["users[0]"]);
        assert_eq!(strict(json!({"users": ["a", "b"]}), json!({"users": ["b", "a"]})).len(), 2);
        assert_eq!(strict(json!({"users": []}), json!({"users": [{"user": "b"}]})), ["users"]);
    }

    #[test]
    fn admin_pages_may_show_other_clients() {
        let allow = Allowances { others: true, ..Allowances::default() };
        let expected = json!({"channels": {"a": 1}, "users": [{"user": "a"}]});
        let got = json!({"channels": {"b": 2, "a": 1}, "users": [{"user": "b"}, {"user": "a"}]});
        assert!(differing(allow, expected.clone(), got.clone()).is_empty());
        assert_eq!(strict(expected, got), ["channels.b", "users"]);
    }

    #[test]
    fn a_date_is_allowed_only_where_it_equals_its_timestamp() {
        let allow = Allowances { date: true, ..Allowances::default() };
        let expected = json!({"timestamp": "<timestamp>"});
        let got = |date: &str| json!({"timestamp": "2020-02-22T10:11:12", "date": date});
        assert!(differing(allow, expected.clone(), got("2020-02-22T10:11:12")).is_empty());
        assert_eq!(differing(allow, expected.clone(), got("2020-02-22T10:11:13")), ["date"]);
        assert_eq!(strict(expected, got("2020-02-22T10:11:12")), ["date"]);
    }

    #[test]
    fn an_int_is_any_whole_number() {
        assert!(strict(json!({"n": "<int>"}), json!({"n": 17})).is_empty());
        assert_eq!(strict(json!({"n": "<int>"}), json!({"n": "17x"})), ["n"]);
    }

    #[test]
    fn missing_and_additional_frames_are_reported() {
        let expected = [json!([{"n": 1}]), json!([{"n": 2}])];
        let found = |got: &[&str]| {
            let got: Vec<String> = got.iter().map(|text| (*text).to_owned()).collect();
            frames(&mut Names::new("host:1"), Allowances::default(), &expected, &got)
        };
        assert!(found(&["[{\"n\":1}]", "[{\"n\": 2}]"]).is_empty());
        assert_eq!(found(&["[{\"n\":1}]"]), [Mismatch::new("frame 1", "[{\"n\":2}]", "nothing")]);
        assert_eq!(found(&["[{\"n\":1}]", "[{\"n\":2}]", "x"]), [Mismatch::new("frame 2", "nothing", "x")]);
        assert_eq!(found(&["[{\"n\":2}]", "[{\"n\":2}]"]), [Mismatch::new("frame 0 [0].n", "1", "2")]);
    }

    #[test]
    fn only_the_frames_of_one_channel_have_an_order() {
        let event = |channel: Option<&str>, number: u32| json!([{"channel": channel, "number": number}]);
        let expected = [event(Some("a"), 1), event(Some("a"), 2), event(None, 3)];
        let differ = |got: [usize; 3]| {
            let got = got.map(|index| expected[index].to_string());
            !frames(&mut Names::new("host:1"), Allowances::default(), &expected, &got).is_empty()
        };
        assert!(!differ([0, 1, 2]) && !differ([2, 0, 1]) && !differ([0, 2, 1]));
        assert!(differ([1, 0, 2]) && differ([0, 0, 2]) && differ([0, 2, 2]));
    }
}
