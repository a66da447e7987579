//! HTTP steps: fills in a request, sends it and compares the response.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::answer;
use crate::client::{Outgoing, Reply, form_bytes, recorded_bytes};
use crate::compare::Allowances;
use crate::placeholders::Names;
use crate::report::Mismatch;
use crate::rules::{Rule, is_poll};
use crate::run::{Stage, check_difference};
use crate::transcript::{Answer, Request, RequestBody, Step};

/// Requests in the background were recorded without their headers. Those to these paths need a signature.
const SIGNED_PATHS: [&str; 7] =
    ["/connect", "/subscribe", "/unsubscribe", "/user_state", "/message", "/channel_config", "/info"];

/// The client of the recordings sent this with every request. Without it the original answers in plain text.
const RECORDED_ACCEPT: &str = "*/*";

impl Stage<'_> {
    /// Sends one request and compares its response. If a deliberate difference replaces the recording, the
    /// response is compared with the recording too.
    pub(crate) async fn exchange(
        &mut self,
        request: &Request,
        expected: &Answer,
        instead: Option<&Step>,
    ) -> Vec<Mismatch> {
        let outgoing = self.fill(request);
        let node = self.next_node();
        let reply = match self.http.send(node, outgoing).await {
            Ok(reply) => reply,
            Err(error) => return vec![Mismatch::new("the connection", "a response", error)],
        };
        self.note_connect(request, &reply);
        let mut recorded_names = self.names.clone();
        let allow = self.allowances(request);
        let mut found = answer::compare(&mut self.names, allow, expected, &reply);
        found.extend(self.seconds_of(expected, &reply));
        let recorded = instead.and_then(|step| match step {
            Step::Exchange { answer, .. } => Some(answer),
            _ => None,
        });
        let recorded_holds = recorded.map(|recorded| {
            let mut found = answer::compare(&mut recorded_names, allow, recorded, &reply);
            found.extend(self.seconds_of(recorded, &reply));
            found.is_empty()
        });
        check_difference(found, recorded_holds)
    }

    fn seconds_of(&self, expected: &Answer, reply: &Reply) -> Option<Mismatch> {
        expected.seconds.and_then(|seconds| self.untimely("seconds", seconds, reply.elapsed, 0.0))
    }

    /// Sends a request in the background after a delay. Its effect shows in the step beside it.
    pub(crate) fn meanwhile(&mut self, seconds: f64, request: &Request) {
        let mut outgoing = self.fill(request);
        if SIGNED_PATHS.contains(&request.path.as_str()) {
            outgoing.headers.push(("x-channelstream-secret".to_owned(), self.signature()));
        }
        outgoing.headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        let (http, delay, node) = (self.http.clone(), self.scaled(seconds), self.next_node().to_owned());
        self.background = Some(actix_rt::spawn(async move {
            tokio::time::sleep(delay).await;
            http.send(&node, outgoing).await
        }));
    }

    /// Waits for the request in the background, which must succeed.
    pub(crate) async fn join_background(&mut self) -> Option<Mismatch> {
        let reply = self.background.take()?.await;
        match reply {
            Ok(Ok(reply)) if reply.status < 300 => None,
            Ok(Ok(reply)) => {
                Some(Mismatch::new("the request sent meanwhile", "success", reply.status.to_string()))
            }
            Ok(Err(error)) => Some(Mismatch::new("the request sent meanwhile", "success", error)),
            Err(error) => Some(Mismatch::new("the request sent meanwhile", "success", error.to_string())),
        }
    }

    fn fill(&mut self, request: &Request) -> Outgoing {
        let target = self.target;
        let sign = || target.sign();
        let mut headers: Vec<(String, String)> = request
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), self.names.fill(value, &sign)))
            .collect();
        let body = match &request.body {
            RequestBody::Empty => None,
            RequestBody::Json(json) => Some(self.names.fill_json(json, &sign).to_string().into_bytes()),
            RequestBody::Text(text) => Some(recorded_bytes(&self.names.fill(text, &sign))),
            RequestBody::Form(pairs) => {
                headers.push(("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
                Some(form_bytes(&self.credentials(pairs)))
            }
        };
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept")) {
            headers.push(("Accept".to_owned(), RECORDED_ACCEPT.to_owned()));
        }
        let path = self.names.fill(&request.path, &sign);
        Outgoing { method: request.method.clone(), path, headers, body }
    }

    /// The recorded server had the default administrator. This one may have another.
    fn credentials(&self, pairs: &[(String, String)]) -> Vec<(String, String)> {
        let mut pairs = pairs.to_vec();
        for (name, value) in &mut pairs {
            match (name.as_str(), value.trim()) {
                ("username", "admin") => *value = value.replace("admin", &self.target.admin_user),
                ("password", "admin_secret") => self.target.admin_secret.clone_into(value),
                _ => {}
            }
        }
        pairs
    }

    fn allowances(&self, request: &Request) -> Allowances {
        Allowances {
            date: is_poll(request) && self.rules.contains(&Rule::FrameDates),
            others: request.path == "/admin/admin.json",
        }
    }

    fn note_connect(&mut self, request: &Request, reply: &Reply) {
        let RequestBody::Json(body) = &request.body else {
            return;
        };
        if request.path != "/connect" || reply.status != 200 {
            return;
        }
        self.last_connect = Some(Instant::now());
        if let Some(user) = body.get("username").and_then(Value::as_str) {
            self.connects.insert(user.to_owned(), Instant::now());
        }
        let answer: Option<Value> = serde_json::from_slice(&reply.body).ok();
        self.conn_id = answer.and_then(|json| json.get("conn_id")?.as_str().map(str::to_owned));
    }

    /// Returns a mismatch for a time that is too early, or later than a busy machine explains.
    pub(crate) fn untimely(&self, what: &str, seconds: f64, got: Duration, earlier: f64) -> Option<Mismatch> {
        let options = self.options;
        let earliest = (seconds - options.early - earlier) * options.time_scale;
        let latest = seconds * options.time_scale + options.late;
        let got = got.as_secs_f64();
        let wanted = || format!("{seconds} (from {earliest:.2} to {latest:.2})");
        (!(earliest..=latest).contains(&got)).then(|| Mismatch::new(what, wanted(), format!("{got:.2}")))
    }

    /// A path with its placeholders filled in.
    pub(crate) fn fill_path(&mut self, path: &str) -> String {
        let target = self.target;
        self.names.fill(path, &|| target.sign())
    }

    fn signature(&self) -> String {
        self.target.sign()
    }
}

/// A request in one line, for reports.
pub(crate) fn describe(request: &Request, names: &Names) -> String {
    let body = match &request.body {
        RequestBody::Empty => String::new(),
        RequestBody::Json(json) => json.to_string(),
        RequestBody::Text(text) => text.clone(),
        RequestBody::Form(pairs) => format!("{pairs:?}"),
    };
    let short: String = body.chars().take(160).collect();
    format!("{} {} {short}", request.method, names.explain(&request.path))
}
