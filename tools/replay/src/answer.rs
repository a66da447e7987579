//! Compares a response with the recorded one.

use serde_json::Value;

use crate::client::Reply;
use crate::compare::{self, Allowances};
use crate::placeholders::Names;
use crate::read::split_jsonp;
use crate::report::Mismatch;
use crate::transcript::{Answer, Body, Status};
use crate::{headers, outline};

/// Compares status, headers and body. The caller, which knows the tolerances, compares the time.
pub(crate) fn compare(
    names: &mut Names,
    allow: Allowances,
    expected: &Answer,
    reply: &Reply,
) -> Vec<Mismatch> {
    let mut found = status(expected.status, reply);
    found.extend(headers::compare(names, &expected.headers, &reply.headers));
    found.extend(body(names, allow, &expected.body, &reply.text()));
    found
}

fn status(expected: Status, reply: &Reply) -> Vec<Mismatch> {
    let (fits, wanted) = match expected {
        Status::Exactly(status) => (reply.status == status, status.to_string()),
        Status::AnyRefusal => ((401..=499).contains(&reply.status), "401 to 499".to_owned()),
    };
    if fits { Vec::new() } else { vec![Mismatch::new("status", wanted, reply.status.to_string())] }
}

fn body(names: &mut Names, allow: Allowances, expected: &Body, got: &str) -> Vec<Mismatch> {
    let unlike = |wanted: &str| vec![Mismatch::new("the body", wanted, got)];
    let parsed = || serde_json::from_str::<Value>(got).ok();
    match expected {
        Body::Unseen => Vec::new(),
        Body::Json(expected) => match parsed() {
            Some(json) => compare::json(names, allow, expected, &json),
            None => unlike(&expected.to_string()),
        },
        Body::AnyJson => parsed().map_or_else(|| unlike("any JSON"), |_| Vec::new()),
        Body::Refusal(code) => match parsed() {
            Some(json) if is_refusal(&json, code) => Vec::new(),
            _ => unlike(&format!("JSON with message, code {code:?} and title")),
        },
        Body::Text(text) if names.fits(text, got) => Vec::new(),
        Body::Text(text) => unlike(text),
        Body::Jsonp(callback, expected) => match split_jsonp(got) {
            Some((name, json)) if name == *callback => compare::json(names, allow, expected, &json),
            _ => unlike(&format!("{callback}({expected})")),
        },
        Body::HtmlTitle(title) if html_title(got) == Some(title) => Vec::new(),
        Body::HtmlTitle(title) => unlike(&format!("HTML with the title {title:?}")),
        Body::Outline(expected) => {
            parsed().map_or_else(|| unlike("an API description"), |json| outline::compare(expected, &json))
        }
    }
}

fn is_refusal(json: &Value, code: &str) -> bool {
    let field = |name: &str| json.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let title = code.split_once(' ').map(|(_, title)| title);
    field("message").is_some() && field("code") == Some(code) && field("title") == title
}

fn html_title(html: &str) -> Option<&str> {
    let start = html.find("<title>")? + "<title>".len();
    let rest = html.get(start..)?;
    rest.get(..rest.find("</title>")?).map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn fits(expected: Body, got: &str) -> bool {
        let answer =
            Answer { status: Status::Exactly(200), headers: Vec::new(), body: expected, seconds: None };
        let reply = Reply {
            status: 200,
            headers: Vec::new(),
            body: got.as_bytes().to_vec(),
            elapsed: Duration::ZERO,
        };
        compare(&mut Names::new("host:1"), Allowances::default(), &answer, &reply).is_empty()
    }

    #[test]
    fn bodies_are_compared_by_kind() {
        assert!(fits(Body::Json(json!({"a": 1})), "{\n  \"a\": 1 }"));
        assert!(!fits(Body::Json(json!({"a": 1})), "<html>"));
        assert!(fits(Body::Text("Internal".into()), "Internal"));
        assert!(fits(Body::HtmlTitle("302 Found".into()), "<html><title> 302 Found\n</title></html>"));
        assert!(!fits(Body::HtmlTitle("302 Found".into()), "<html></html>"));
        assert!(fits(Body::AnyJson, "{}"));
        assert!(!fits(Body::AnyJson, ""));
    }

    #[test]
    fn a_callback_wraps_the_same_json() {
        let expected = || Body::Jsonp("cb".into(), json!([1]));
        assert!(fits(expected(), "cb([1])"));
        assert!(fits(expected(), "/**/cb([1]);"));
        assert!(!fits(expected(), "other([1])"));
        assert!(!fits(expected(), "cb([2])"));
    }

    #[test]
    fn a_refusal_has_three_fields() {
        let expected = || Body::Refusal("403 Forbidden".into());
        assert!(fits(expected(), r#"{"message": "no", "code": "403 Forbidden", "title": "Forbidden"}"#));
        assert!(!fits(expected(), r#"{"message": "no", "code": "404 Not Found", "title": "Not Found"}"#));
        assert!(!fits(expected(), r#"{"request": "Bad Signature"}"#));
    }

    #[test]
    fn any_refusal_is_a_status_from_401_to_499() {
        let reply = |status| Reply { status, headers: Vec::new(), body: Vec::new(), elapsed: Duration::ZERO };
        assert!(status(Status::AnyRefusal, &reply(422)).is_empty());
        assert!(!status(Status::AnyRefusal, &reply(400)).is_empty());
        assert!(!status(Status::AnyRefusal, &reply(500)).is_empty());
    }
}
