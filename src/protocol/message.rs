//! Messages, edits and deletions as a backend sends them, already checked.

use super::time::Timestamp;
use super::value::Payload;
use uuid::Uuid;

/// Whom a message, edit or deletion is for, in names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Channel it goes through; none for a purely private one.
    pub channel: Option<String>,
    /// When not empty, only these users get it.
    pub pm_users: Vec<String>,
    /// Members who do not get it.
    pub exclude_users: Vec<String>,
    /// Not to be kept in the channel's history.
    pub no_history: bool,
}

/// One element of a POST /message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Identity, chosen by the sender or at random.
    pub uuid: Uuid,
    /// When it was said, as given or now.
    pub timestamp: Timestamp,
    /// Who says it.
    pub user: String,
    /// What is said; may be left out.
    pub message: Option<Payload>,
    /// For whom.
    pub delivery: Delivery,
}

/// One element of a PATCH /message.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The message that changes.
    pub uuid: Uuid,
    /// Its new time, if given.
    pub timestamp: Option<Timestamp>,
    /// Its new speaker, if given.
    pub user: Option<String>,
    /// Its new payload, if given.
    pub message: Option<Payload>,
    /// When it was edited, as given or now.
    pub edited: Timestamp,
    /// For whom.
    pub delivery: Delivery,
}

/// One element of a DELETE /message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// The message that goes.
    pub uuid: Uuid,
    /// For whom.
    pub delivery: Delivery,
}
