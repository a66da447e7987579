//! Websocket steps: which frames arrive, when, and how sockets end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::compare::{self, Allowances};
use crate::report::Mismatch;
use crate::rules::Rule;
use crate::run::{Stage, check_difference};
use crate::socket::{Closing, Opened, Received, Socket};
use crate::transcript::{Step, Summary, When};

impl Stage<'_> {
    pub(crate) async fn open(&mut self, name: &str, path: &str) -> Vec<Mismatch> {
        let path = self.fill_path(path);
        match Socket::open(self.next_node(), &path).await {
            Opened::Socket(socket) => {
                self.await_take_over(&socket).await;
                self.sockets.insert(name.to_owned(), socket);
                Vec::new()
            }
            Opened::Refused(status) => vec![Mismatch::new("the handshake", "101", status.to_string())],
        }
    }

    /// When a later socket takes over from an earlier one, this involves several threads, and messages that are sent
    /// meanwhile arrive as catch-up.
    async fn await_take_over(&self, later: &Socket) {
        for earlier in self.sockets.values().filter(|socket| socket.path == later.path) {
            let deadline = Instant::now() + self.options.patience;
            earlier.wait(deadline, |received| received.closed.is_some()).await;
        }
    }

    pub(crate) async fn refused(&mut self, path: &str, expected: u16) -> Vec<Mismatch> {
        let path = self.fill_path(path);
        let got = match Socket::open(self.next_node(), &path).await {
            Opened::Refused(status) if status == expected => return Vec::new(),
            Opened::Refused(status) => status.to_string(),
            Opened::Socket(_) => "an accepted socket".to_owned(),
        };
        vec![Mismatch::new("the handshake", expected.to_string(), got)]
    }

    /// Reads all frames until a short silence and compares them.
    pub(crate) async fn frames(
        &mut self,
        name: &str,
        expected: &[Value],
        when: Option<&When>,
        instead: Option<&Step>,
    ) -> Vec<Mismatch> {
        // A socket that the server refused on purpose sends nothing.
        let Some(socket) = self.sockets.get(name) else {
            return compare::frames(&mut self.names, Allowances::default(), expected, &[]);
        };
        if let Some(when) = when.filter(|_| expected.iter().all(|frame| *frame == json!([]))) {
            return self.heartbeats(socket, expected.len(), when).await;
        }
        let deadline =
            Instant::now() + self.options.patience + when.map_or(Duration::ZERO, |when| self.latest(when));
        let frames = self.collect(socket, expected.len(), deadline).await;
        let (times, texts): (Vec<Instant>, Vec<String>) = frames.into_iter().unzip();
        let mut recorded_names = self.names.clone();
        let allow = Allowances { date: self.rules.contains(&Rule::FrameDates), others: false };
        let mut found = compare::frames(&mut self.names, allow, expected, &texts);
        found.extend(when.into_iter().flat_map(|when| self.times(when, &times)));
        let recorded_holds = match instead {
            Some(Step::Frames { frames, .. }) if frames != expected => {
                Some(compare::frames(&mut recorded_names, allow, frames, &texts).is_empty())
            }
            _ => None,
        };
        check_difference(found, recorded_holds)
    }

    /// Waits for this many frames until the deadline, then for a silence.
    async fn collect(&self, socket: &Socket, count: usize, deadline: Instant) -> Vec<(Instant, String)> {
        let is_complete = |received: &Received| received.frames.len() >= count || received.closed.is_some();
        socket.wait(deadline, is_complete).await;
        loop {
            let before = socket.with(|received| received.frames.len());
            let silence = Instant::now() + self.options.silence;
            if !socket.wait(silence, |received| received.frames.len() > before).await {
                return socket.with(|received| received.frames.drain(..).collect());
            }
        }
    }

    async fn heartbeats(&self, socket: &Socket, count: usize, when: &When) -> Vec<Mismatch> {
        let deadline = Instant::now() + self.latest(when);
        socket.wait(deadline, |received| received.heartbeats.len() >= count).await;
        let times = socket.with(|received| received.heartbeats.clone());
        if times.len() < count {
            return vec![Mismatch::new("heartbeats", count.to_string(), times.len().to_string())];
        }
        self.times(when, &times)
    }

    fn times(&self, when: &When, times: &[Instant]) -> Vec<Mismatch> {
        let Some(start) = self.clock(when) else {
            return vec![Mismatch::new("the clock", "a /connect before", "none")];
        };
        let pairs = when.seconds.iter().zip(times).enumerate();
        pairs
            .filter_map(|(index, (seconds, time))| {
                let what = format!("seconds after connect, frame {index}");
                self.untimely(&what, *seconds, time.saturating_duration_since(start), when.earlier)
            })
            .collect()
    }

    fn clock(&self, when: &When) -> Option<Instant> {
        when.user.as_ref().map_or(self.last_connect, |user| self.connects.get(user).copied())
    }

    /// The longest wait for the last of the frames, from now on.
    fn latest(&self, when: &When) -> Duration {
        let last = when.seconds.iter().copied().fold(0.0, f64::max);
        self.scaled(last) + Duration::from_secs_f64(self.options.late)
    }

    pub(crate) async fn closed(
        &self,
        name: &str,
        code: Option<u16>,
        reason: Option<&str>,
        seconds: Option<f64>,
    ) -> Vec<Mismatch> {
        let Some(socket) = self.sockets.get(name) else {
            return Vec::new();
        };
        let bound = self.options.patience * 2 + self.scaled(seconds.unwrap_or(0.0));
        socket.wait(Instant::now() + bound, |received| received.closed.is_some()).await;
        let is_free = self.rules.contains(&Rule::CloseReasons) && reason.is_none_or(str::is_empty);
        let expected = Closing { code, reason: reason.map(str::to_owned) };
        let Some((at, closing)) = socket.with(|received| received.closed.clone()) else {
            return vec![Mismatch::new("the socket", expected.to_string(), "open")];
        };
        let mut found = Vec::new();
        if closing.code != code || (!is_free && closing.reason != expected.reason) {
            found.push(Mismatch::new("the socket", expected.to_string(), closing.to_string()));
        }
        let elapsed = at.saturating_duration_since(socket.opened);
        found.extend(seconds.and_then(|seconds| self.untimely("seconds after open", seconds, elapsed, 0.0)));
        found
    }

    pub(crate) async fn stays_open(&self, name: &str, seconds: f64, heartbeats: usize) -> Vec<Mismatch> {
        let Some(socket) = self.sockets.get(name) else {
            return vec![Mismatch::new("the socket", "open", "not opened")];
        };
        let mut deadline = Instant::now() + self.scaled(seconds);
        let is_closed = |received: &Received| received.closed.is_some();
        if !socket.wait(deadline, is_closed).await {
            // On a busy machine heartbeats may be late like everything else.
            deadline += Duration::from_secs_f64(self.options.late);
            socket
                .wait(deadline, |received| received.heartbeats.len() >= heartbeats || is_closed(received))
                .await;
        }
        let (closed, count) = socket.with(|received| (received.closed.clone(), received.heartbeats.len()));
        let mut found = Vec::new();
        if let Some((_, closing)) = closed {
            found.push(Mismatch::new("the socket", format!("open for {seconds} s"), closing.to_string()));
        }
        if count < heartbeats {
            found.push(Mismatch::new("heartbeats", format!("{heartbeats} or more"), count.to_string()));
        }
        found
    }

    /// Opens a socket late and counts its catch-up by the numbers in the messages.
    pub(crate) async fn summary(&mut self, expected: &Summary) -> Vec<Mismatch> {
        let conn_id = self.conn_id.clone().unwrap_or_default();
        let socket = match Socket::open(self.next_node(), &format!("/ws?conn_id={conn_id}")).await {
            Opened::Socket(socket) => socket,
            Opened::Refused(status) => {
                return vec![Mismatch::new("the handshake", "101", status.to_string())];
            }
        };
        let [channel, user] = [expected.channel[0], expected.user[0]];
        let count = usize::try_from(channel + user).unwrap_or(0);
        let frames = self.collect(&socket, count, Instant::now() + self.options.patience).await;
        let events: Vec<Value> = frames
            .iter()
            .filter_map(|(_, text)| serde_json::from_str::<Vec<Value>>(text).ok())
            .flatten()
            .collect();
        let mut found = Vec::new();
        for (what, key, expected) in [("channel", "n", expected.channel), ("user", "pm", expected.user)] {
            let numbers: Vec<i64> =
                events.iter().filter_map(|event| event["message"][key].as_i64()).collect();
            let wanted: Vec<i64> = (expected[1]..=expected[2]).collect();
            if numbers != wanted {
                let path = format!("caught up from the {what}");
                found.push(Mismatch::new(path, format!("{wanted:?}"), format!("{numbers:?}")));
            }
        }
        if expected.all_flagged && !events.iter().all(|event| event["catchup"] == json!(true)) {
            found.push(Mismatch::new("catchup", "true on all events", "events without it"));
        }
        found
    }
}
