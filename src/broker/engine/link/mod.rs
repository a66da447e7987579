//! The link: the way of all calls to Redis, and of the mail from there.
//!
//! [`open`] gives a handle for requesters and the [`Link`] itself, which runs as one task on the thread of the registry. It
//! owns the only connection, connects again when it breaks, keeps calls in order, and keeps the node alive for others.
//!
//! The crate's `ConnectionManager` is not used: it sends waiting calls before the server was checked, and does not record
//! subscriptions of sharded channels.

pub mod access;
pub mod batch;
mod connection;
pub mod counters;
mod handle;
mod join;
pub mod lease;
pub mod liveness;
pub mod problems;
mod pushes;
mod run;
pub mod seen;
pub mod server_info;
pub mod unit;
pub mod verdict;

pub use handle::LinkHandle;
#[cfg(test)]
pub(crate) use handle::{Owner, ToLink, open as open_handle};
pub use run::{Link, PATIENCE};

use super::call::{EngineConstants, NodeNumber};
use super::error::EngineError;
use super::reply::Reply;
use crate::protocol::ids::Stamp;
use access::Access;
use actix::Message;

/// Identifies a call of the registry; it may be any number.
pub type Ticket = u64;

/// The end of a call for one of its requesters.
pub type Outcome<O> = (O, Result<Reply, EngineError>);

/// What the registry receives, in order.
#[derive(Clone, Debug, PartialEq, Message)]
#[rtype(result = "()")]
pub enum FromEngine {
    /// The node has a number and may work: after the start, after each reconnect, and with another number after Redis has
    /// refused the last one. The registry states everything again, then calls [`LinkHandle::restated`].
    Joined {
        node: NodeNumber,
        /// The epoch of stamps.
        store: String,
        term: u64,
        /// The last stamp that survived the change of terms.
        base: Stamp,
        /// Whether Redis still knows what the node has stated under this number.
        is_same_node: bool,
    },
    /// The mail of a script; see [`super::entry::read_mail`].
    Mail(Vec<u8>),
    Reply(Ticket, Result<Reply, EngineError>),
    /// All mail up to this stamp has arrived.
    Stamp {
        stamp: Stamp,
        /// The epoch of stamps. It changes also within a term, if Redis turns out to have lost a node.
        store: String,
    },
    /// The connection broke. Until the next `Joined`, no mail arrives, and all replies are errors.
    Lost,
}

/// The settings of a link.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    pub access: Access,
    /// What all keys begin with.
    pub prefix: String,
    /// The time in which a call gets its reply or an error, in ms.
    pub timeout_ms: u64,
    /// The replicas that must have a message or another change before it is answered.
    pub wait_replicas: usize,
    /// The maximum of unanswered calls, and of unread mail, each in bytes.
    pub pending_bytes: usize,
    /// How long the members of this node stay after it has stopped, in ms.
    pub restart_grace_ms: u64,
    /// What other nodes show of this one, as JSON.
    pub info: String,
    pub constants: EngineConstants,
}

impl LinkSettings {
    /// What all keys of the partition begin with. There is one partition.
    pub fn partition(&self) -> String {
        format!("{}{{0}}:", self.prefix)
    }
}

/// Makes a link. It does nothing until [`Link::run`].
pub fn open(settings: LinkSettings) -> (LinkHandle, Link) {
    let (handle, inbox) = handle::open(settings.pending_bytes);
    let link = Link::new(settings, inbox, handle.shared());
    (handle, link)
}

#[cfg(test)]
mod calls_tests;
#[cfg(test)]
mod failures_tests;
#[cfg(test)]
mod harness_tests;
#[cfg(test)]
mod liveness_tests;
#[cfg(test)]
#[expect(dead_code, reason = "the tests of the whole server use the rest")]
#[path = "../../../../tests/support/proxy.rs"]
mod proxy_tests;
