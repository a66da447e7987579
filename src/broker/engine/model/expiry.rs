//! What the model removes when.

use super::streams::is_channel;
use super::{Model, Reply, Total, number};

const MOST: usize = 100;
const LEAST_WAIT_US: u64 = 1_000_000;

impl Model {
    /// How long a stream is kept without connections, in µs. `None` means forever.
    fn idle_time(&self, name: &str) -> Option<u64> {
        let settings = self.sender.settings;
        let ms = if is_channel(name) { settings.channel_idle_ms } else { settings.user_idle_ms };
        (!is_channel(name) || ms > 0).then_some(ms * 1000)
    }

    pub(super) fn plan_removal(&mut self, name: &str) {
        if let Some(idle) = self.idle_time(name) {
            self.expiry.insert(format!("s{name}"), self.clock + idle);
        }
    }

    pub(super) fn expire(&mut self) -> Reply {
        let mut due: Vec<_> = self.expiry.iter().filter(|(_, due)| **due <= self.clock).collect();
        due.sort_by_key(|(item, due)| (**due, (*item).clone()));
        let due: Vec<_> = due.into_iter().map(|(item, _)| item.clone()).take(MOST).collect();
        number(due.iter().filter(|item| self.remove(item)).count() as u64)
    }

    /// Returns whether something was removed.
    fn remove(&mut self, item: &str) -> bool {
        let name = &item[1..];
        if item.starts_with('s') {
            return self.remove_stream(item, name);
        }
        self.expiry.remove(item);
        match item.as_bytes()[0] {
            b'k' if self.rows.get(name).is_some_and(|row| row.owner == 0) => self.rows.remove(name).is_some(),
            b'k' => false,
            b'n' => self.nodes.remove(&name.parse().unwrap()).is_some(),
            _ => self.remove_block(name),
        }
    }

    fn remove_stream(&mut self, item: &str, name: &str) -> bool {
        self.expiry.remove(item);
        let (idle, user) = (self.idle_time(name), name.strip_prefix('u'));
        if let Some(stream) = self.streams.get(name) {
            let Some(idle) = idle.filter(|_| stream.connections == 0) else { return false };
            let check = match stream.interested.is_empty() {
                false => self.clock + idle.max(LEAST_WAIT_US),
                true if user.is_some() => 0,
                true => stream.stamp + idle,
            };
            if check > self.clock {
                self.expiry.insert(item.into(), check);
                return false;
            }
        }
        if self.streams.remove(name).is_some() && user.is_some() {
            self.add_total(Total::Remembered, -1);
        }
        user.and_then(|user| self.users.remove(user));
        true
    }
}
