//! What a page that uses positions does with the elements that it receives.

use super::listener::{ListenResult, Listener, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a page remembers.
#[derive(Default)]
pub struct Page {
    pub attached: Value,
    /// By name, as in the query.
    pub positions: BTreeMap<String, String>,
    pub epochs: BTreeMap<String, String>,
    pub cursor: Option<String>,
    /// The texts of messages, and the types of other frames.
    pub frames: Vec<String>,
    /// The users that joined and parted, as `news ann joined`.
    pub presence: Vec<String>,
    pub announced: Vec<Value>,
    /// Frames that it had already.
    pub repeated: usize,
}

impl Page {
    /// Reads until `count` frames have arrived, and a cursor behind them if `cursor` is set.
    pub async fn read(&mut self, listener: &mut Listener, count: usize, cursor: bool) {
        let before = self.frames.len();
        while self.frames.len() < before + count {
            self.take(listener.event().await);
        }
        // One that came before the frames does not cover them.
        self.cursor = self.cursor.take().filter(|_| !cursor);
        while cursor && self.cursor.is_none() {
            self.take(listener.event().await);
        }
    }

    /// Reads what arrives before the session ends, and returns how it ended.
    pub async fn read_to_close(&mut self, listener: &mut Listener) -> ListenResult {
        loop {
            match listener.next().await {
                ListenResult::Event(element) => self.take(element),
                end => return end,
            }
        }
    }

    /// Takes an element.
    pub fn take(&mut self, element: Value) {
        match element["type"].as_str().unwrap() {
            "attached" => {
                for (name, of) in element["streams"].as_object().unwrap() {
                    self.note(name, of, "from");
                }
                if let Some(of) = element.get("private") {
                    self.note("", of, "from");
                }
                self.attached = element;
            }
            "subscribed" => {
                let name = element["channel"].as_str().unwrap().to_owned();
                self.note(&name, &element, "offset");
                self.announced.push(element);
            }
            "cursor" => self.cursor = Some(element["cursor"].as_str().unwrap().to_owned()),
            kind => {
                let name = element["channel"].as_str().unwrap_or_default().to_owned();
                let (epoch, offset) = (&self.epochs[&name], element["offset"].as_u64().unwrap());
                let before = self.positions.get(&name).and_then(|before| before.rsplit('.').next());
                // A cursor may be older than the last frame, which then comes again.
                if before.is_some_and(|before| before.parse::<u64>().unwrap() >= offset) {
                    self.repeated += 1;
                    return;
                }
                if kind == "presence" {
                    let [user, action] = [&element["user"], &element["message"]["action"]].map(Value::as_str);
                    self.presence.push(format!("{name} {} {}", user.unwrap(), action.unwrap()));
                }
                self.positions.insert(name, format!("{epoch}.{offset}"));
                self.frames.push(if kind == "message" { text(&element) } else { kind.to_owned() });
            }
        }
    }

    fn note(&mut self, name: &str, of: &Value, offset: &str) {
        let (epoch, offset) = (of["epoch"].as_str().unwrap(), of[offset].as_u64().unwrap());
        self.epochs.insert(name.to_owned(), epoch.to_owned());
        let position = (epoch, offset);
        let known = self.positions.get(name).and_then(|known| known.rsplit_once('.'));
        let known = known.map(|(epoch, offset)| (epoch, offset.parse().unwrap()));
        // With a cursor that is older than the last frame, the server begins before it.
        let (epoch, offset) = known.filter(|known| known.0 == epoch && known.1 > offset).unwrap_or(position);
        self.positions.insert(name.to_owned(), format!("{epoch}.{offset}"));
    }

    pub fn positions(&self) -> String {
        with_positions(&json!(self.positions))
    }

    pub fn cursor(&self) -> String {
        format!("&since={}", self.cursor.as_ref().unwrap())
    }

    pub fn take_frames(&mut self) -> Vec<String> {
        std::mem::take(&mut self.frames)
    }
}

pub fn with_positions(positions: &Value) -> String {
    let text = serde_urlencoded::to_string([("positions", positions.to_string())]).unwrap();
    format!("&{text}")
}
