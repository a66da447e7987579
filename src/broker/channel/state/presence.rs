//! Presence: what members learn of users that join and part, at once or once in an interval.

use super::{ChannelEffects, ChannelState};
use crate::broker::channel::presence_changes::PresenceReport;
use crate::config::PresenceMode;
use crate::protocol::event::{Presence, UserView};
use crate::protocol::time::Timestamp;
use std::sync::Arc;
use uuid::Uuid;

/// The most users that are gone at once, so that other channels get their turns.
const MAX_GONE: usize = 1_024;

impl ChannelState {
    /// Whether the rules contain times, so that the caller must set the clock before each command.
    pub fn needs_clock(&self) -> bool {
        self.rules.flap_ms > 0 || matches!(self.rules.presence, PresenceMode::Diffs | PresenceMode::Counts)
    }

    /// Sets the clock that intervals are measured with, in ms.
    pub fn set_clock(&mut self, now_ms: u64) {
        self.clock_ms = now_ms;
    }

    /// When [`ChannelState::tick`] must be called, in ms of the channel's clock.
    pub fn next_due(&self) -> Option<u64> {
        let report = self.changes.as_ref().and_then(|changes| changes.due());
        report.into_iter().chain(self.present_users.next_due()).min()
    }

    /// Until when a user that leaves now counts as present, if not only until now.
    pub(super) fn keep_until(&self) -> Option<u64> {
        (self.rules.flap_ms > 0).then(|| self.clock_ms + self.rules.flap_ms)
    }

    /// Does what is due, for a limited number of users; the rest stays due.
    pub fn tick(&mut self, now: &Timestamp, effects: &mut ChannelEffects) {
        for _ in 0..MAX_GONE {
            let Some(user) = self.present_users.next_gone(self.clock_ms) else { break };
            self.change_presence(user, Presence::Parted, now, effects);
            self.change_numbers();
        }
        let due = self.changes.as_ref().and_then(|changes| changes.due());
        if due.is_some_and(|due| due <= self.clock_ms) {
            self.report_presence(now, effects);
        }
    }

    /// A user joined or parted.
    pub(super) fn change_presence(
        &mut self,
        user: Arc<UserView>,
        presence: Presence,
        now: &Timestamp,
        effects: &mut ChannelEffects,
    ) {
        if !self.settings.notify_presence {
            return;
        }
        match self.rules.presence {
            PresenceMode::Events => self.announce(Uuid::new_v4(), user, presence, now, effects),
            PresenceMode::Diffs => {
                self.begin_interval();
                self.changes.get_or_insert_default().note(user, presence);
            }
            PresenceMode::Counts | PresenceMode::None => {}
        }
    }

    /// The number of connections or of users changed.
    pub(super) fn change_numbers(&mut self) {
        if self.rules.presence == PresenceMode::Counts && self.settings.notify_presence {
            self.begin_interval();
        }
    }

    pub(super) fn begin_interval(&mut self) {
        let due = self.clock_ms + self.rules.presence_ms;
        self.changes.get_or_insert_default().begin(due);
    }

    /// Sends what changed in the interval that ends.
    fn report_presence(&mut self, now: &Timestamp, effects: &mut ChannelEffects) {
        if self.following.is_some() {
            return self.propose_report();
        }
        let (connections, users, _) = self.counts();
        let Some(changes) = &mut self.changes else { return };
        if !self.settings.notify_presence {
            return changes.forget();
        }
        let report = match self.rules.presence {
            PresenceMode::Counts => changes.take_count((users, connections)),
            _ => changes.take_diff(),
        };
        let channel = &self.identity.name;
        let frame = match report {
            Some(PresenceReport::Diff { joined, parted }) => {
                self.encoder.presence_diff(channel, &joined, &parted, users)
            }
            Some(PresenceReport::Count) => self.encoder.presence_count(channel, users, connections),
            None => return,
        };
        self.broadcast(frame, now, effects);
    }
}
