//! Messages, edits and deletions from applications, already validated.

use super::time::Timestamp;
use super::value::Payload;
use indexmap::IndexSet;
use uuid::Uuid;

/// The receivers of a message, edit or deletion, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The channel. `None` for a private message.
    pub channel: Option<String>,
    /// If not empty, only these users receive it.
    pub pm_users: Vec<String>,
    /// Members that do not receive it.
    pub exclude_users: Vec<String>,
    /// Whether the channel must not store it in its history.
    pub no_history: bool,
}

impl Delivery {
    /// The users of a private item, each once, in the order of the request. None for an item with a channel.
    pub fn users(&self) -> IndexSet<&str> {
        match self.channel {
            Some(_) => IndexSet::new(),
            None => self.pm_users.iter().map(String::as_str).collect(),
        }
    }
}

/// One element of a POST /message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The id, chosen by the sender or random.
    pub uuid: Uuid,
    /// The time of the message: as given, or the time of arrival.
    pub timestamp: Timestamp,
    /// The name of the sender.
    pub user: String,
    /// The payload. May be omitted.
    pub message: Option<Payload>,
    /// The receivers.
    pub delivery: Delivery,
}

/// One element of a PATCH /message.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The id of the edited message.
    pub uuid: Uuid,
    /// The new time, if given.
    pub timestamp: Option<Timestamp>,
    /// The new sender, if given.
    pub user: Option<String>,
    /// The new payload, if given.
    pub message: Option<Payload>,
    /// The time of the edit: as given, or the time of arrival.
    pub edited: Timestamp,
    /// The receivers.
    pub delivery: Delivery,
}

/// One element of a DELETE /message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// The id of the deleted message.
    pub uuid: Uuid,
    /// The receivers.
    pub delivery: Delivery,
}
