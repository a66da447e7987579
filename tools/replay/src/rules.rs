//! Deliberate differences that hold wherever they apply, not at one step. A list of differences names the rules that
//! are in force. Without a list the recordings are used unchanged.

use serde::Deserialize;

use crate::headers::ALTERNATIVE;
use crate::transcript::{Answer, Body, Request, Status};

/// Content types of scripts: the current one, and the one that the original sends.
const SCRIPT_TYPES: [&str; 2] = ["text/javascript", "application/javascript"];

/// A kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Rule {
    /// Where the original fails, the expected response is a refusal above 400 with a JSON body.
    MendedBugs,
    /// 401, 403 and 404 are JSON unless `Accept` names HTML or plain text.
    JsonRefusals,
    /// The answer to a poll names its content type, JSON or script, and may have a known length.
    PollContentType,
    /// The body of a redirect is ignored.
    RedirectBodies,
    /// Frames carry `date` beside `timestamp`.
    FrameDates,
    /// A close frame may contain a reason where the original sent none.
    CloseReasons,
}

/// The expected response while these rules are in force.
pub(crate) fn adapt(rules: &[Rule], request: &Request, mut answer: Answer, original_bug: bool) -> Answer {
    if original_bug && rules.contains(&Rule::MendedBugs) {
        return any_refusal();
    }
    if rules.contains(&Rule::JsonRefusals) {
        answer = json_refusal(request, answer);
    }
    if rules.contains(&Rule::PollContentType) && is_poll(request) && answer.status == Status::Exactly(200) {
        answer = poll(request, answer);
    }
    if rules.contains(&Rule::RedirectBodies) && answer.status == Status::Exactly(302) {
        answer.body = Body::Unseen;
        answer.headers.retain(|(name, _)| !is_content_type(name));
    }
    answer
}

/// Whether the request is a long poll, whose body is a list of events.
pub(crate) fn is_poll(request: &Request) -> bool {
    request.method == "GET" && request.path.split('?').next() == Some("/listen")
}

fn any_refusal() -> Answer {
    Answer {
        status: Status::AnyRefusal,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: Body::AnyJson,
        seconds: None,
    }
}

fn json_refusal(request: &Request, mut answer: Answer) -> Answer {
    let wants_text = request.headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("accept") && value.to_ascii_lowercase().contains("text/")
    });
    let code = match answer.status {
        Status::Exactly(401) => "401 Unauthorized",
        Status::Exactly(403) => "403 Forbidden",
        Status::Exactly(404) => "404 Not Found",
        _ => return answer,
    };
    if !wants_text && matches!(answer.body, Body::HtmlTitle(_) | Body::Text(_)) {
        answer.body = Body::Refusal(code.to_owned());
        set_content_type(&mut answer, "application/json".to_owned());
    }
    answer
}

fn poll(request: &Request, mut answer: Answer) -> Answer {
    let is_script = request.path.contains("callback=");
    let content_type = if is_script { SCRIPT_TYPES.join(ALTERNATIVE) } else { "application/json".to_owned() };
    set_content_type(&mut answer, content_type);
    answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("transfer-encoding"));
    answer
}

fn set_content_type(answer: &mut Answer, value: String) {
    for header in answer.headers.iter_mut().filter(|(name, _)| is_content_type(name)) {
        header.1.clone_from(&value);
    }
}

fn is_content_type(name: &str) -> bool {
    name.eq_ignore_ascii_case("content-type")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::RequestBody;

    fn request(path: &str, accept: Option<&str>) -> Request {
        let headers = accept.map(|accept| ("Accept".to_owned(), accept.to_owned())).into_iter().collect();
        Request { method: "GET".into(), path: path.into(), headers, body: RequestBody::Empty }
    }

    fn answer(status: u16, content_type: &str, body: Body) -> Answer {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Answer { status: Status::Exactly(status), headers, body, seconds: None }
    }

    #[test]
    fn without_rules_nothing_changes() {
        let html = answer(403, "text/html", Body::HtmlTitle("403 Forbidden".into()));
        let same = adapt(&[], &request("/connect", None), html, true);
        assert!(matches!(same.body, Body::HtmlTitle(_)));
        assert_eq!(same.status, Status::Exactly(403));
    }

    #[test]
    fn refusals_are_json_unless_the_client_accepts_html() {
        let html = || answer(403, "text/html", Body::HtmlTitle("403 Forbidden".into()));
        let json = adapt(&[Rule::JsonRefusals], &request("/x", None), html(), false);
        assert!(matches!(json.body, Body::Refusal(code) if code == "403 Forbidden"));
        assert_eq!(json.headers[0].1, "application/json");
        let same = adapt(&[Rule::JsonRefusals], &request("/x", Some("text/html,*/*")), html(), false);
        assert!(matches!(same.body, Body::HtmlTitle(_)));
    }

    #[test]
    fn failures_of_the_original_become_refusals() {
        let failure = answer(500, "text/plain", Body::Text("Internal Server Error".into()));
        let mended = adapt(&[Rule::MendedBugs], &request("/x", None), failure, true);
        assert_eq!(mended.status, Status::AnyRefusal);
        assert!(matches!(mended.body, Body::AnyJson));
    }

    #[test]
    fn polls_name_their_content_type() {
        let html = || answer(200, "text/html", Body::Unseen);
        let json = adapt(&[Rule::PollContentType], &request("/listen?conn_id=a", None), html(), false);
        assert_eq!(json.headers[0].1, "application/json");
        let script = adapt(&[Rule::PollContentType], &request("/listen?callback=cb", None), html(), false);
        assert_eq!(script.headers[0].1, "text/javascript or application/javascript");
    }
}
