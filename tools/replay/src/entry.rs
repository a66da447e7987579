//! One entry of the list of deliberate differences.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::transcript::{Answer, Body, Status, Step};

/// The expectation that replaces the recording at some steps of a case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub id: String,
    pub case: String,
    pub steps: Vec<usize>,
    pub why: String,
    /// The status of a response.
    status: Option<u16>,
    headers: Option<BTreeMap<String, String>>,
    /// JSON as text, since TOML has no null.
    json: Option<String>,
    body: Option<String>,
    html_title: Option<String>,
    seconds: Option<f64>,
    /// The frames that the server sends instead, as JSON.
    frames: Option<String>,
    /// How much earlier than recorded frames may arrive, in seconds.
    earlier: Option<f64>,
    /// The server refuses the handshake with this status.
    refused: Option<u16>,
    /// The server closes the socket with this code.
    code: Option<u16>,
    /// The socket stays open for this many seconds.
    stays_open: Option<f64>,
    /// The socket receives at least this many heartbeats meanwhile.
    heartbeats: Option<usize>,
}

impl Entry {
    /// # Errors
    /// Names the text that is not valid JSON.
    pub fn check(&self) -> Result<(), String> {
        for json in [&self.json, &self.frames].into_iter().flatten() {
            serde_json::from_str::<Value>(json).map_err(|error| format!("{}: {error} in {json}", self.id))?;
        }
        Ok(())
    }

    /// The step, with the recorded values replaced by those of this entry.
    pub fn apply(&self, step: Step) -> Step {
        match step {
            Step::Exchange { request, answer, original_bug } => {
                Step::Exchange { answer: self.answer(answer), request, original_bug }
            }
            Step::Open { socket, path } => match self.refused {
                Some(status) => Step::Refused { path, status },
                None => Step::Open { socket, path },
            },
            Step::Frames { socket, frames, mut when } => {
                if let (Some(when), Some(earlier)) = (when.as_mut(), self.earlier) {
                    when.earlier = earlier;
                }
                Step::Frames { socket, frames: self.frames().unwrap_or(frames), when }
            }
            Step::Leave { socket } | Step::Closed { socket, .. } => self.ending(socket),
            other => other,
        }
    }

    fn ending(&self, socket: String) -> Step {
        match self.stays_open {
            Some(seconds) => Step::StaysOpen { socket, seconds, heartbeats: self.heartbeats.unwrap_or(0) },
            None => Step::Closed { socket, code: self.code, reason: None, seconds: self.seconds },
        }
    }

    fn answer(&self, mut answer: Answer) -> Answer {
        if let Some(status) = self.status {
            let status = Status::Exactly(status);
            answer = Answer { status, headers: Vec::new(), body: Body::Unseen, seconds: None };
        }
        for (name, value) in self.headers.iter().flatten() {
            answer.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
            answer.headers.push((name.clone(), value.clone()));
        }
        answer.body = self.body().unwrap_or(answer.body);
        answer.seconds = self.seconds.or(answer.seconds);
        answer
    }

    fn body(&self) -> Option<Body> {
        let json = self.json.as_ref().and_then(|json| serde_json::from_str(json).ok()).map(Body::Json);
        let title = || self.html_title.clone().map(Body::HtmlTitle);
        json.or_else(title).or_else(|| self.body.clone().map(Body::Text))
    }

    fn frames(&self) -> Option<Vec<Value>> {
        self.frames.as_ref().and_then(|json| serde_json::from_str(json).ok())
    }
}
