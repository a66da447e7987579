//! Plays cases: the steps of each in order, several cases at the same time.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};

use crate::client::{Http, Reply};
use crate::deliberate::{Deliberate, Expected};
use crate::exchange::describe;
use crate::placeholders::Names;
use crate::read::read_cases;
use crate::report::{Difference, Mismatch, Report};
use crate::rules::Rule;
use crate::socket::Socket;
use crate::transcript::{Case, Step};

/// The signed value. Servers do not compare it with anything.
const SIGNED_VALUE: &str = "channelstream";

/// The server under test.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its address, as `http://127.0.0.1:8000`.
    pub url: String,
    /// Addresses of further nodes, if several act as one server: the requests of each case go to all nodes in turn.
    pub others: Vec<String>,
    /// The secret that signs requests.
    pub secret: String,
    /// Name of the administrator.
    pub admin_user: String,
    /// Password of the administrator.
    pub admin_secret: String,
}

impl Target {
    /// A server at this address with the original's default secrets.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into().trim_end_matches('/').to_owned(),
            others: Vec::new(),
            secret: "secret".to_owned(),
            admin_user: "admin".to_owned(),
            admin_secret: "admin_secret".to_owned(),
        }
    }

    pub(crate) fn sign(&self) -> String {
        channelstream_signing::sign_now(&self.secret, SIGNED_VALUE)
    }

    /// The address of a request, by its number.
    fn node(&self, turn: usize) -> &str {
        turn.checked_rem(self.others.len() + 1)
            .and_then(|index| self.others.get(index.checked_sub(1)?))
            .unwrap_or(&self.url)
    }
}

fn authority(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, authority)| authority)
}

/// The parameters of a replay.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cases to play, by name; empty for all.
    pub cases: Vec<String>,
    /// The differences that are deliberate.
    pub deliberate: Deliberate,
    /// How many cases run at the same time.
    pub jobs: usize,
    /// The wait for frames ends after a silence of this length.
    pub silence: Duration,
    /// The longest wait for expected frames.
    pub patience: Duration,
    /// How much earlier than recorded an event may be, in seconds.
    pub early: f64,
    /// How much later than recorded an event may be, in seconds: busy machines are slow.
    pub late: f64,
    /// Factor for all recorded times, for servers with shorter timers.
    pub time_scale: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cases: Vec::new(),
            deliberate: Deliberate::default(),
            jobs: 8,
            silence: Duration::from_millis(150),
            patience: Duration::from_secs(10),
            early: 1.0,
            late: 3.0,
            time_scale: 1.0,
        }
    }
}

/// Plays the cases of a transcript file. Call it in an actix system, which the client requires.
pub async fn play_file(path: &Path, target: &Target, options: &Options) -> Report {
    let mut report = Report::default();
    let cases = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let cases = match cases.and_then(|text| read_cases(&text).map_err(|error| error.to_string())) {
        Ok(cases) => cases,
        Err(error) => {
            report.problems.push(format!("{}: {error}", path.display()));
            return report;
        }
    };
    report.problems.extend(options.deliberate.unmatched(&cases));
    for name in options.cases.iter().filter(|name| !cases.iter().any(|case| case.name == **name)) {
        report.problems.push(format!("there is no case {name:?}"));
    }
    let chosen: Vec<&Case> =
        cases.iter().filter(|case| options.cases.is_empty() || options.cases.contains(&case.name)).collect();
    report.num_cases = chosen.len();
    report.num_steps = chosen.iter().map(|case| case.num_steps()).sum();
    let playing = chosen
        .iter()
        .enumerate()
        .map(|(index, case)| async move { (index, play(case, target, options).await) });
    let mut played: Vec<_> = stream::iter(playing).buffer_unordered(options.jobs.max(1)).collect().await;
    played.sort_by_key(|(index, _)| *index);
    report.differences = played.into_iter().flat_map(|(_, differences)| differences).collect();
    report
}

/// Plays one case and returns the steps at which the server differs.
pub async fn play(case: &Case, target: &Target, options: &Options) -> Vec<Difference> {
    let mut stage = Stage::new(target, options);
    let mut differences = Vec::new();
    for index in 0..case.num_steps() {
        let Some(expected) = options.deliberate.expect(case, index) else {
            continue;
        };
        let mut mismatches = stage.perform(&expected).await;
        if !matches!(expected.step, Step::Meanwhile { .. }) {
            mismatches.extend(stage.join_background().await);
        }
        if !mismatches.is_empty() {
            differences.push(Difference {
                case: case.name.clone(),
                step: index,
                what: stage.describe(&expected.step),
                deliberate: expected.instead.map(|(id, _)| id),
                mismatches,
            });
        }
    }
    differences
}

/// The state of one case: its placeholders, its sockets, its clocks.
pub(crate) struct Stage<'a> {
    pub target: &'a Target,
    pub options: &'a Options,
    pub rules: Vec<Rule>,
    pub http: Http,
    pub names: Names,
    pub sockets: HashMap<String, Socket>,
    /// The time of the last /connect of each user.
    pub connects: HashMap<String, Instant>,
    pub last_connect: Option<Instant>,
    /// The connection that the latest /connect returned.
    pub conn_id: Option<String>,
    pub background: Option<actix_rt::task::JoinHandle<Result<Reply, String>>>,
    /// How many requests were sent.
    turn: usize,
}

impl<'a> Stage<'a> {
    fn new(target: &'a Target, options: &'a Options) -> Self {
        Self {
            target,
            options,
            rules: options.deliberate.rules(),
            http: Http::new(),
            names: Names::new(authority(&target.url)),
            sockets: HashMap::new(),
            connects: HashMap::new(),
            last_connect: None,
            conn_id: None,
            background: None,
            turn: 0,
        }
    }

    /// The address for the next request. Its response may contain it.
    pub(crate) fn next_node(&mut self) -> &'a str {
        let node = self.target.node(self.turn);
        self.turn += 1;
        self.names.set_authority(authority(node));
        node
    }

    async fn perform(&mut self, expected: &Expected) -> Vec<Mismatch> {
        let instead = expected.instead.as_ref().map(|(_, step)| step);
        match &expected.step {
            Step::Exchange { request, answer, .. } => self.exchange(request, answer, instead).await,
            Step::Frames { socket, frames, when } => {
                self.frames(socket, frames, when.as_ref(), instead).await
            }
            Step::Open { socket, path } => self.open(socket, path).await,
            Step::Refused { path, status } => self.refused(path, *status).await,
            Step::Closed { socket, code, reason, seconds } => {
                self.closed(socket, *code, reason.as_deref(), *seconds).await
            }
            Step::StaysOpen { socket, seconds, heartbeats } => {
                self.stays_open(socket, *seconds, *heartbeats).await
            }
            Step::Summary(summary) => self.summary(summary).await,
            other => {
                self.act(other).await;
                Vec::new()
            }
        }
    }

    /// Performs a step that expects no answer.
    async fn act(&mut self, step: &Step) {
        match step {
            Step::Meanwhile { seconds, request } => self.meanwhile(*seconds, request),
            Step::Wait(seconds) => tokio::time::sleep(self.scaled(*seconds)).await,
            Step::Send { socket, data } => {
                if let Some(socket) = self.sockets.get(socket) {
                    socket.send(data);
                }
            }
            Step::Leave { socket } => {
                if let Some(socket) = self.sockets.get(socket) {
                    socket.leave().await;
                }
            }
            _ => {}
        }
    }

    pub(crate) fn scaled(&self, seconds: f64) -> Duration {
        Duration::try_from_secs_f64(seconds * self.options.time_scale).unwrap_or_default()
    }

    fn describe(&self, step: &Step) -> String {
        match step {
            Step::Exchange { request, .. } | Step::Meanwhile { request, .. } => {
                describe(request, &self.names)
            }
            Step::Wait(seconds) => format!("wait {seconds} s"),
            Step::Open { socket, path } => format!("open socket {socket:?} at {}", self.names.explain(path)),
            Step::Refused { path, .. } => format!("open a socket at {}", self.names.explain(path)),
            Step::Send { socket, .. } => format!("send on socket {socket:?}"),
            Step::Frames { socket, .. } => format!("frames of socket {socket:?}"),
            Step::Closed { socket, .. } | Step::StaysOpen { socket, .. } => {
                format!("end of socket {socket:?}")
            }
            Step::Leave { socket } => format!("close socket {socket:?}"),
            Step::Summary(_) => "open a socket late and count the caught-up messages".to_owned(),
        }
    }
}

/// Adds a mismatch if the recording itself holds: the listed difference is out of date.
pub(crate) fn check_difference(mut found: Vec<Mismatch>, recorded_holds: Option<bool>) -> Vec<Mismatch> {
    if recorded_holds == Some(true) {
        let got = if found.is_empty() {
            "both hold: the entry is unnecessary"
        } else {
            "exactly what was recorded"
        };
        found.push(Mismatch::new("the deliberate difference", "a response that was not recorded", got));
    }
    found
}
