//! The answers to sessions that asked for positions: `attached`, `subscribed` and `cursor` elements.

use super::messages::{Recovery, Subscription};
use super::table::SessionTable;
use crate::broker::recovery::Verdict;
use crate::protocol::frame_batch::IdBase;
use crate::protocol::ids::{ChannelId, Epoch, Offset, Position, ServerEpoch, SlotKey, Stamp, Stream};
use crate::protocol::position::{Cursor, LossReason};
use crate::send_queue::{SendQueue, StreamElement};
use crate::telemetry::recorder::RecoveryAnswer;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;
use uuid::Uuid;

/// An element about the streams of a session. It contains an empty message, for clients that pass it on to code that
/// expects one.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Element<'a> {
    /// The first element of a session.
    Attached {
        conn_id: Uuid,
        message: Empty,
        streams: BTreeMap<&'a str, &'a Verdict>,
        #[serde(skip_serializing_if = "Option::is_none")]
        private: Option<&'a Verdict>,
        /// Names in the client's positions to which the connection does not subscribe.
        unknown: Vec<&'a str>,
    },
    /// The connection was subscribed to a channel while it was attached, or since the client's last poll.
    Subscribed {
        channel: &'a str,
        #[serde(serialize_with = "as_text")]
        epoch: Epoch,
        offset: Offset,
        #[serde(flatten)]
        loss: Option<LossElement>,
        message: Empty,
    },
    /// The client has everything up to this moment.
    Cursor {
        #[serde(serialize_with = "as_text")]
        cursor: Cursor,
        message: Empty,
    },
}

#[derive(Serialize)]
struct Empty {}

/// Frames may be lost.
#[derive(Serialize)]
struct LossElement {
    recovered: bool,
    reason: LossReason,
}

fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl Element<'_> {
    fn encode(&self) -> StreamElement {
        let (name, cursor) = match self {
            Self::Attached { .. } => ("attached", None),
            Self::Subscribed { .. } => ("subscribed", None),
            Self::Cursor { cursor, .. } => ("cursor", Some(*cursor)),
        };
        // Texts and numbers always have a JSON form.
        StreamElement { name, object: serde_json::to_string(self).unwrap_or_default(), cursor }
    }
}

/// The answer about the streams in `named`. `all` are the streams of the connection.
fn attached<'a>(conn_id: Uuid, all: &'a [Recovery], named: &[&'a Recovery]) -> Element<'a> {
    let (private, channels): (Vec<&Recovery>, _) =
        named.iter().partition(|recovery| recovery.name.is_empty());
    let streams = channels.iter().map(|recovery| (&*recovery.name, &recovery.verdict)).collect();
    let known: HashSet<&str> = all.iter().map(|recovery| &*recovery.name).collect();
    let positions = all.first().into_iter().flat_map(|first| first.resume.since.positions.keys());
    Element::Attached {
        conn_id,
        message: Empty {},
        streams,
        private: private.first().map(|recovery| &recovery.verdict),
        unknown: positions.map(|name| &**name).filter(|name| !known.contains(name)).collect(),
    }
}

fn subscribed(channel: &str, epoch: Epoch, offset: Offset) -> Element<'_> {
    Element::Subscribed { channel, epoch, offset, loss: None, message: Empty {} }
}

impl SessionTable {
    /// The ids of live events of a channel now.
    pub(super) fn ids_of(&self, channel: ChannelId) -> IdBase {
        let epoch = self.channels.get(&channel).map(|channel| channel.epoch);
        IdBase { server: self.server, covered: self.covered, epoch }
    }

    /// The ids of live events of a stream for one session now. Before its catch-up is complete, and the frames that
    /// arrived meanwhile are enqueued, the session has not received what others have.
    pub(super) fn ids_in(&mut self, key: SlotKey, stream: Stream) -> IdBase {
        let slot = self.slot(key);
        let is_behind = slot.as_ref().is_some_and(|slot| slot.assembly.is_some());
        let private_epoch = slot.and_then(|slot| slot.private).and_then(|private| private.epoch);
        let ids = match stream {
            Stream::Channel(channel) => self.ids_of(channel),
            Stream::Private => IdBase { server: self.server, covered: self.covered, epoch: private_epoch },
        };
        let covered = if is_behind { Stamp::default() } else { ids.covered };
        IdBase { covered, ..ids }
    }

    /// Queues the answer to a session that returned, before its catch-up. A poll that names a cursor only learns what it
    /// cannot know: streams with a loss, and new subscriptions.
    pub(super) fn answer_return(&mut self, key: SlotKey, recoveries: &[Recovery]) {
        let (Some(slot), Some(first)) = (self.slot(key), recoveries.first()) else { return };
        let (conn_id, send_queue) = (slot.conn_id, slot.send_queue.clone());
        if let Some(assembly) = &mut slot.assembly {
            assembly.returned = Some(first.resume.attached);
        }
        let is_brief = send_queue.collects() && first.resume.since.cursor.is_some();
        let is_named = |recovery: &&Recovery| !is_brief || !recovery.verdict.recovered;
        let named: Vec<&Recovery> = recoveries.iter().filter(is_named).collect();
        // A queue that refuses these elements also refuses the catch-up, which reports it.
        if !named.is_empty() {
            let _ = send_queue.push_element(&attached(conn_id, recoveries, &named).encode());
        }
        let is_announced =
            |recovery: &&Recovery| is_brief && recovery.verdict.recovered && recovery.is_news();
        for recovery in recoveries.iter().filter(is_announced) {
            let Verdict { epoch, replay_after, .. } = recovery.verdict;
            let _ = send_queue.push_element(&subscribed(&recovery.name, epoch, replay_after).encode());
        }
        self.allowance = self.allowance.saturating_sub(recoveries.len());
    }

    /// The announcement of a channel that a session joins while it is attached, if its client asked for positions.
    pub(super) fn announcement(
        &self,
        send_queue: &SendQueue,
        stream: Stream,
        from: Offset,
    ) -> Option<StreamElement> {
        let Stream::Channel(channel) = stream else { return None };
        let channel = self.channels.get(&channel).filter(|_| send_queue.is_positioned())?;
        Some(subscribed(&channel.name, channel.epoch, from).encode())
    }

    /// Queues the first cursor of a session, behind its catch-up.
    pub(super) fn finish_return(&mut self, key: SlotKey) {
        let Some(slot) = self.slot(key) else { return };
        let returned = slot.assembly.as_mut().and_then(|assembly| assembly.returned.take());
        let (Some(stamp), send_queue) = (returned, slot.send_queue.clone()) else { return };
        send_queue.cover(stamp);
        // The response of a poll ends with a later cursor.
        if !send_queue.collects() {
            let _ = send_queue.push_element(&self.cursor_at(stamp));
        }
    }

    /// Queues the last element of a poll's response: a cursor that covers its events. A poll whose catch-up is not
    /// complete has none.
    pub fn end_response(&mut self, key: SlotKey) {
        let covered = self.covered;
        let Some(slot) = self.slot(key) else { return };
        let send_queue = slot.send_queue.clone();
        if let Some(stamp) = send_queue.covered(covered) {
            let _ = send_queue.push_element(&self.cursor_at(stamp));
        }
    }

    /// A heartbeat with a cursor, if more is covered than at the last one. The sessions of a thread share it.
    pub fn cursor_heartbeat(&mut self, send_queue: &SendQueue) -> Option<Bytes> {
        let stamp = send_queue.cover_more(self.covered)?;
        let form = usize::from(send_queue.writes_events());
        if self.last_cursor[form].0 != stamp {
            self.last_cursor[form] = (stamp, send_queue.element(&self.cursor_at(stamp)));
        }
        Some(self.last_cursor[form].1.clone())
    }

    /// A channel continues in another life. Sessions that asked for positions learn that frames may be lost.
    pub fn renew(&mut self, channel: ChannelId, Position { epoch, offset }: Position) {
        let Some(local) = self.channels.get_mut(&channel) else { return };
        local.epoch = epoch;
        let loss = Some(LossElement { recovered: false, reason: LossReason::Epoch });
        let element = Element::Subscribed { channel: &local.name, epoch, offset, loss, message: Empty {} };
        let element = element.encode();
        for member in local.members.iter().filter(|member| member.send_queue.is_positioned()) {
            // A queue that refuses the element reports with the next frame that it is full.
            let _ = member.send_queue.push_element(&element);
        }
    }

    /// The private stream of a session continues in another life. True if the session asked for positions.
    pub fn renew_private(&mut self, key: SlotKey, epoch: Epoch) -> bool {
        let Some(slot) = self.slot(key) else { return false };
        let is_positioned = slot.send_queue.is_positioned();
        if let Some(private) = &mut slot.private {
            private.epoch = private.epoch.map(|_| epoch);
        }
        is_positioned
    }

    /// Stamps belong to this life of the server from now on.
    pub fn begin_life(&mut self, server: ServerEpoch) {
        (self.server, self.last_cursor) = (server, Default::default());
    }

    /// An element with the cursor of this moment.
    fn cursor_at(&self, stamp: Stamp) -> StreamElement {
        let cursor = Cursor { server: self.server, stamp, frame: None };
        Element::Cursor { cursor, message: Empty {} }.encode()
    }
}

impl Subscription {
    /// The answer to a session that asked for positions, for the recorder.
    pub fn recovery_answer(&self) -> Option<RecoveryAnswer> {
        let Verdict { from, offset, loss, .. } = &self.recovery.as_ref()?.verdict;
        let reason = loss.as_ref().map(|loss| loss.reason.name());
        Some(RecoveryAnswer { from: *from, offset: *offset, reason })
    }
}

impl Recovery {
    /// Whether the client cannot know of this subscription yet.
    fn is_news(&self) -> bool {
        self.verdict.is_new && !self.name.is_empty()
    }
}
