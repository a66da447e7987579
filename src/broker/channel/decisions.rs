//! What Redis has decided about a channel, with the names of users resolved to those of this node.

use super::buffer::Place;
use super::messages::{Publication, StoredMessage};
use super::presence_changes::PresenceReport;
use crate::broker::engine::call::Call;
use crate::broker::engine::record::{MemberView, Record};
use crate::protocol::event::{Presence, UserView};
use crate::protocol::frame::Audience;
use crate::protocol::ids::{ConnectionSlot, Offset, Position, Stamp};
use crate::protocol::settings::ChannelSettings;
use crate::protocol::time::Timestamp;
use std::sync::Arc;
use uuid::Uuid;

/// The numbers of a channel over all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterNumbers {
    /// Present connections.
    pub connections: u32,
    /// Present users.
    pub users: u32,
    /// How often the two have changed.
    pub version: u64,
}

/// One decision.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The place of the frame that it causes. `None` if it causes none.
    pub place: Option<Place>,
    /// The numbers after it.
    pub numbers: ClusterNumbers,
    pub time: Timestamp,
    pub change: Change,
}

/// What a [`Decision`] changes.
#[derive(Clone, Debug)]
pub enum Change {
    /// A message, an edit or a deletion; all sessions of this node that may receive it, if they are few.
    Publish(Publication, Option<Vec<ConnectionSlot>>),
    /// A kept message that was edited since.
    Edited(StoredMessage, Audience),
    /// A user's first connection joined, or its last one left. The id is that of the event.
    Presence(Uuid, Arc<UserView>, Presence),
    /// A user's state, and its public changes as JSON if members are notified. The id is that of the event.
    State(Uuid, Arc<UserView>, Option<Box<str>>),
    Settings(ChannelSettings),
    /// The users that joined and those that parted since the last such report, and how many are present then.
    Diff {
        joined: Vec<Arc<UserView>>,
        parted: Vec<Arc<UserView>>,
        users: u32,
    },
    /// The numbers of users and of connections at a moment.
    Count {
        users: u32,
        connections: u32,
    },
    /// The users that are present.
    Roster(Vec<Arc<UserView>>),
    /// Nothing but the numbers, or an entry that was deleted.
    Nothing,
}

/// A channel as Redis stores it.
#[derive(Debug)]
pub struct ChannelCopy {
    pub uuid: Uuid,
    pub settings: ChannelSettings,
    pub position: Position,
    /// The stamp of the last frame.
    pub stamp: Stamp,
    /// The newest frame that is not kept.
    pub floor: Place,
    /// The kept frames after the floor.
    pub kept: Vec<Decision>,
    pub history: Vec<Arc<StoredMessage>>,
    pub roster: Vec<Arc<UserView>>,
    pub numbers: ClusterNumbers,
    /// The offset of the last report of presence; 0 if there was none.
    pub reported: Offset,
}

/// A report of presence that a node proposes. Redis accepts the first one of an interval.
#[derive(Debug)]
pub struct ProposedReport {
    /// The offset of the last report; 0 if there was none.
    pub after: Offset,
    pub numbers: (u32, u32),
    pub report: PresenceReport,
}

impl ProposedReport {
    /// The call that proposes it for the channel of this name.
    pub fn call(self, channel: &str) -> Call {
        let (timestamp, (users, connections)) = (Timestamp::now(), self.numbers);
        let record = match self.report {
            PresenceReport::Diff { joined, parted } => Record::Diff {
                timestamp,
                joined: joined.iter().map(|user| (user.name.to_string(), MemberView::of(user))).collect(),
                parted: parted.iter().map(ToString::to_string).collect(),
                users,
            },
            PresenceReport::Count => Record::Count { timestamp, users, connections },
        };
        Call::Announce { stream: format!("c{channel}"), after: self.after, record: record.encode() }
    }
}
