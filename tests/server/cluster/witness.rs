//! A client that asks for no positions, and notes what it receives.

use crate::support::listener::{ListenResult, Listener, text};
use serde_json::Value;

/// The last message of a flow.
pub const END: &str = "end";

pub struct Witness {
    pub listener: Listener,
    /// The texts of messages.
    pub texts: Vec<String>,
    /// The users that joined and parted, as `ann joined`.
    pub presence: Vec<String>,
}

impl Witness {
    pub fn new(listener: Listener) -> Self {
        Self { listener, texts: Vec::new(), presence: Vec::new() }
    }

    /// Reads until this holds.
    pub async fn read_until(&mut self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            let event = self.listener.event().await;
            self.take(&event);
        }
    }

    /// Reads to the last message of a flow.
    pub async fn read_to_end(&mut self) {
        self.read_until(|witness| witness.texts.last().is_some_and(|text| text == END)).await;
    }

    /// Reads what arrives before the session ends, and returns how it ended.
    pub async fn read_to_close(&mut self) -> ListenResult {
        loop {
            match self.listener.next().await {
                ListenResult::Event(event) => self.take(&event),
                end => return end,
            }
        }
    }

    pub fn take(&mut self, event: &Value) {
        match event["type"].as_str() {
            Some("presence") => {
                let [user, action] = [&event["user"], &event["message"]["action"]].map(Value::as_str);
                self.presence.push(format!("{} {}", user.expect("a user"), action.expect("an action")));
            }
            _ => self.texts.push(text(event)),
        }
    }
}
