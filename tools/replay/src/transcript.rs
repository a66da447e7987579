//! The parts of a recording: cases, their steps, requests and expected responses.

use serde_json::Value;

/// A recorded sequence of steps. It starts on a server that knows none of its names.
#[derive(Debug, Clone)]
pub struct Case {
    /// The name of the case in reports and in the list of deliberate differences.
    pub name: String,
    /// The part of the protocol that it covers.
    pub topic: String,
    pub(crate) steps: Vec<Step>,
}

impl Case {
    /// The number of steps.
    pub fn num_steps(&self) -> usize {
        self.steps.len()
    }
}

/// One action or observation. `Refused` and `StaysOpen` are never recorded: deliberate differences put them in the
/// place of recorded steps.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Exchange { request: Request, answer: Answer, original_bug: bool },
    Meanwhile { seconds: f64, request: Request },
    Wait(f64),
    Open { socket: String, path: String },
    Refused { path: String, status: u16 },
    Send { socket: String, data: Payload },
    Frames { socket: String, frames: Vec<Value>, when: Option<When> },
    Closed { socket: String, code: Option<u16>, reason: Option<String>, seconds: Option<f64> },
    StaysOpen { socket: String, seconds: f64, heartbeats: usize },
    Leave { socket: String },
    Summary(Summary),
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: RequestBody,
}

#[derive(Debug, Clone)]
pub(crate) enum RequestBody {
    Empty,
    Json(Value),
    Text(String),
    Form(Vec<(String, String)>),
}

/// The expected response. Parts that were not recorded are ignored.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub status: Status,
    pub headers: Vec<(String, String)>,
    pub body: Body,
    pub seconds: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Exactly(u16),
    /// Any status that an old client treats as a refusal. It treats 400 as success.
    AnyRefusal,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Unseen,
    Json(Value),
    AnyJson,
    /// The three fields of a framework's refusal, with this code (`403 Forbidden`).
    Refusal(String),
    Text(String),
    Jsonp(String, Value),
    HtmlTitle(String),
    Outline(Value),
}

#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Text(String),
    Binary(Vec<u8>),
}

/// The times of frames, in seconds after a /connect.
#[derive(Debug, Clone)]
pub(crate) struct When {
    /// The user whose /connect started the clock; none for the latest one.
    pub user: Option<String>,
    pub seconds: Vec<f64>,
    /// How much earlier than recorded a frame may arrive, beyond the general tolerance.
    pub earlier: f64,
}

/// The catch-up of one late socket: count, first and last number of the messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    pub channel: [i64; 3],
    pub user: [i64; 3],
    pub all_flagged: bool,
}
