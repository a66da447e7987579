//! Delivery marks: how far this node has delivered, as Redis stores it for the case that the node dies. Pure.
//!
//! At each beat a mark begins its way behind everything up to the stamp of the beat. When it returns with the sessions that
//! have not received everything, it is stored, behind all rows that have changed. So it never counts for a session that
//! has ended, or begun, without the row showing it.

use super::peers::Received;
use super::rows::{Behind, place_key};
use super::{Cluster, Ticket, ToLink};
use crate::broker::engine::call::{Call, Laggard};
use crate::broker::marking::{Laggards, LaggingSession};
use crate::broker::registry::state::RegistryState;
use crate::protocol::ids::{ChannelId, ConnKey, Stamp};
use rustc_hash::FxHashSet;

/// See the module's description.
#[derive(Debug, Default)]
pub struct Marks {
    /// The channels that have received something since the last mark began.
    touched: FxHashSet<ChannelId>,
    /// A mark is on its way.
    is_under_way: bool,
    /// The last mark that had room for all laggards.
    last: Option<Mark>,
    /// A mark, and the call that must be answered before it is stored.
    waiting: Option<(Ticket, Mark)>,
    /// The last call that stores rows, if it was not answered.
    unanswered: Option<Ticket>,
}

#[derive(Clone, Debug)]
struct Mark {
    delivered: Stamp,
    laggards: Vec<Laggard>,
}

impl Mark {
    fn call(&self) -> Call {
        Call::Mark { delivered: self.delivered, laggards: self.laggards.clone() }
    }
}

impl Marks {
    /// A channel has received something.
    pub fn touched(&mut self, channel: ChannelId) {
        self.touched.insert(channel);
    }

    /// A call that stores rows was sent.
    pub fn rows_sent(&mut self, ticket: Ticket) {
        self.unanswered = Some(ticket);
    }

    /// Whether a call that stores rows was not answered yet.
    pub fn are_rows_on_their_way(&self) -> bool {
        self.unanswered.is_some()
    }

    /// A call that stores rows was answered, or has failed. Returns the mark that may be stored now.
    fn rows_answered(&mut self, ticket: Ticket, is_stored: bool) -> Option<Mark> {
        self.unanswered.take_if(|last| *last == ticket);
        if !is_stored {
            self.waiting = None;
        }
        self.waiting.take_if(|(needed, _)| *needed == ticket).map(|(_, mark)| mark)
    }

    /// The connection to Redis broke.
    pub fn lost(&mut self) {
        (self.waiting, self.unanswered) = (None, None);
    }
}

impl Cluster {
    /// A beat: everything up to this stamp has arrived. Returns the channels through which a mark must pass, unless the last
    /// one is still on its way. A node that recovers stores none.
    pub fn begin_mark(&mut self, stamp: Stamp, state: &RegistryState) -> Option<Vec<ChannelId>> {
        if self.reloading.is_some() {
            return None;
        }
        state.stamps.follow(stamp);
        let may_begin = !std::mem::replace(&mut self.marks.is_under_way, true);
        may_begin.then(|| self.marks.touched.drain().collect())
    }

    /// A mark has come back.
    pub fn marked(&mut self, stamp: Stamp, laggards: Laggards, state: &RegistryState) {
        self.marks.is_under_way = false;
        if !self.is_joined || self.reloading.is_some() {
            return;
        }
        if !laggards.are_too_many {
            let laggards = laggards.sessions.iter().map(laggard).collect();
            self.marks.last = Some(Mark { delivered: stamp, laggards });
        }
        // With too many laggards the mark stays, and its time in Redis begins again.
        let Some(mark) = self.marks.last.clone() else { return };
        self.rows.mark_all_changed();
        self.store_rows(state);
        match self.marks.unanswered {
            Some(ticket) => self.marks.waiting = Some((ticket, mark)),
            None => self.outbox.push(ToLink::Call(mark.call(), None)),
        }
    }

    /// A call that stores rows was answered. If it failed, they are stored again, and the mark that relies on them is given up.
    pub(super) fn rows_stored(&mut self, ticket: Ticket, keys: Vec<ConnKey>, is_stored: bool) {
        if !is_stored {
            keys.into_iter().for_each(|key| self.rows.mark(key));
        }
        if let Some(mark) = self.marks.rows_answered(ticket, is_stored) {
            self.outbox.push(ToLink::Call(mark.call(), None));
        }
    }
}

fn laggard(session: &LaggingSession) -> Laggard {
    let behind = session.behind.iter();
    let behind: Behind =
        behind.map(|(name, offset)| (place_key(name.as_deref()), Received::UpTo(*offset))).collect();
    // The type contains nothing that JSON cannot express.
    let received = serde_json::to_vec(&behind).unwrap_or_default();
    Laggard { conn: session.conn_id.to_string(), received }
}
