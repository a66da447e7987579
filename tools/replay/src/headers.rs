//! Compares the headers that were recorded. Names and the tokens of lists are compared without case.

use std::collections::BTreeMap;

use crate::placeholders::Names;
use crate::report::Mismatch;

/// Separates alternative values. Only deliberate differences use it.
pub(crate) const ALTERNATIVE: &str = " or ";

/// Requires each expected header with a value that fits. Further headers are ignored.
pub(crate) fn compare(
    names: &mut Names,
    expected: &[(String, String)],
    got: &[(String, String)],
) -> Vec<Mismatch> {
    let mut found = Vec::new();
    for (name, value) in expected {
        let values: Vec<&str> = got
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        if !values.iter().any(|got| fits(names, name, value, got)) {
            let got = if values.is_empty() { "nothing".to_owned() } else { values.join(" | ") };
            found.push(Mismatch::new(format!("header {name}"), value, got));
        }
    }
    found
}

fn fits(names: &mut Names, name: &str, expected: &str, got: &str) -> bool {
    match name.to_ascii_lowercase().as_str() {
        "content-type" => expected.split(ALTERNATIVE).any(|expected| content_type_fits(expected, got)),
        "access-control-allow-methods" | "access-control-allow-headers" => tokens(expected) == tokens(got),
        "set-cookie" => cookie_fits(names, expected, got),
        "transfer-encoding" => expected.eq_ignore_ascii_case(got),
        _ => names.fits_header(expected, got),
    }
}

/// A response may name a charset where none is expected: JSON and scripts are UTF-8 without it.
fn content_type_fits(expected: &str, got: &str) -> bool {
    let (expected, mut got) = (content_type(expected), content_type(got));
    if expected.len() == 1 {
        got.retain(|part| part != "charset=utf-8");
    }
    expected == got
}

/// Media type and parameters, in lower case and without blanks or quotes.
fn content_type(value: &str) -> Vec<String> {
    value.split(';').map(|part| part.trim().replace('"', "").to_ascii_lowercase()).collect()
}

fn tokens(value: &str) -> Vec<String> {
    let mut tokens: Vec<String> = value.split(',').map(|token| token.trim().to_ascii_lowercase()).collect();
    tokens.sort();
    tokens
}

fn cookie_fits(names: &mut Names, expected: &str, got: &str) -> bool {
    let ((pair, expected), (got_pair, got)) = (attributes(expected), attributes(got));
    let fits = expected.len() == got.len()
        && expected.iter().all(|(key, value)| got.get(key).is_some_and(|got| names.fits_header(value, got)));
    fits && names.fits_header(pair, got_pair)
}

/// The cookie's pair and its attributes. `max-age` overrides `expires`, which repeats it.
fn attributes(value: &str) -> (&str, BTreeMap<String, &str>) {
    let mut parts = value.split(';').map(str::trim);
    let pair = parts.next().unwrap_or_default();
    let mut attributes: BTreeMap<String, &str> = parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(key, value)| (key.to_ascii_lowercase(), value))
        .collect();
    if attributes.contains_key("max-age") {
        attributes.remove("expires");
    }
    (pair, attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(name: &str, expected: &str, got: &[&str]) -> bool {
        let expected = [(name.to_owned(), expected.to_owned())];
        let got: Vec<_> = got.iter().map(|value| (name.to_uppercase(), (*value).to_owned())).collect();
        compare(&mut Names::new("127.0.0.1:8000"), &expected, &got).is_empty()
    }

    #[test]
    fn content_types_are_normalised() {
        assert!(fits("content-type", "text/html; charset=UTF-8", &["Text/HTML;charset=\"utf-8\""]));
        assert!(fits("content-type", "application/json", &["application/json; charset=utf-8"]));
        assert!(fits(
            "content-type",
            "text/javascript or application/javascript",
            &["application/javascript"]
        ));
        assert!(!fits("content-type", "text/html; charset=UTF-8", &["text/html"]));
        assert!(!fits("content-type", "application/json", &["text/html"]));
    }

    #[test]
    fn cors_lists_are_compared_as_sets_without_case() {
        assert!(fits("access-control-allow-methods", "GET, POST", &["post,get"]));
        assert!(!fits("access-control-allow-methods", "GET, POST", &["GET"]));
    }

    #[test]
    fn a_missing_header_is_reported() {
        assert!(!fits("location", "http://HOST/admin", &[]));
        assert!(fits("location", "http://HOST/admin", &["http://127.0.0.1:8000/admin"]));
    }

    #[test]
    fn one_of_the_cookies_must_fit_with_all_its_attributes() {
        let wanted = "a=<cookie>; Domain=HOST; Max-Age=5; Path=/; expires=<date>";
        let bare = "a=1; Max-Age=5; Path=/; expires=now";
        let full = "a=1; domain=127.0.0.1; Path=/; Max-Age=5";
        assert!(fits("set-cookie", wanted, &[bare, full]));
        assert!(!fits("set-cookie", wanted, &[bare]));
        assert!(!fits("set-cookie", "a=<cookie>; Max-Age=5; Path=/; HttpOnly", &[bare]));
        assert!(fits("set-cookie", "a=; Max-Age=0", &["a=; Max-Age=0"]));
    }
}
