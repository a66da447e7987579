//! Frames of one channel and the members that receive them.

use super::fanout::Slice;
use super::messages::Stamped;
use super::recording::Receiver;
use super::slot::SessionSlot;
use super::table::{LocalMember, SessionTable};
use crate::protocol::frame::Frame;
use crate::protocol::frame_batch::FrameBatch;
use crate::protocol::ids::{ChannelId, Offset, SlotKey, Stream};
use crate::send_queue::{FrameSender, PushResult, SendQueue, Sending};
use crate::telemetry::recorder::Outcome;
use std::ops::Range;

/// Bytes that cost as much as one more member, so that large frames go to fewer members per turn.
const LARGE: usize = 64 << 10;

/// Frames of one channel for its local members.
pub struct Group {
    pub channel: ChannelId,
    pub frames: Vec<Stamped>,
    /// The frames that are not limited to named users, if there are both kinds. Most members receive only these.
    common: Vec<Stamped>,
    joined: FrameBatch,
    restricted: bool,
    /// Members before this index have not been served yet.
    remaining: usize,
    /// The members that this slice serves.
    selected: Range<usize>,
}

impl Group {
    /// Creates a group of these frames for all current members of a channel.
    pub fn new(table: &SessionTable, channel: ChannelId, frames: Vec<Stamped>) -> Self {
        let mut common = Vec::new();
        if frames.iter().any(is_listed) {
            common.extend(frames.iter().filter(|stamped| !is_listed(stamped)).cloned());
        }
        let most = if common.is_empty() { &frames } else { &common };
        let joined = FrameBatch::live(Stream::Channel(channel), table.ids_of(channel), pairs(most));
        let restricted = frames.iter().any(|stamped| stamped.frame.audience().is_restricted());
        let remaining = table.members(channel).len();
        Self { channel, frames, common, joined, restricted, remaining, selected: 0..0 }
    }

    /// The frames that most members receive.
    fn common(&self) -> &[Stamped] {
        if self.common.is_empty() { &self.frames } else { &self.common }
    }

    /// Selects the next members for this slice: as many as `budget` allows, and at least one.
    pub fn select_members(mut self, table: &SessionTable, budget: &mut usize) -> Self {
        // Members may have left since the last slice.
        let end = self.remaining.min(table.members(self.channel).len());
        let cost = 1 + self.joined.bytes.len() / LARGE;
        let begin = end.saturating_sub((*budget / cost).max(1));
        // A group without members still costs 1. A group that is not done ends the slice.
        let spent = if begin > 0 { *budget } else { ((end - begin) * cost).max(1) };
        *budget = budget.saturating_sub(spent);
        self.selected = begin..end;
        self.remaining = begin;
        self
    }

    /// Whether all members have been served.
    pub fn is_done(&self) -> bool {
        self.remaining == 0
    }

    /// Bytes of its frames.
    pub fn bytes(&self) -> usize {
        self.frames.iter().map(|stamped| stamped.frame.live().len()).sum()
    }

    /// The members of this slice.
    fn members<'a>(&self, table: &'a SessionTable) -> &'a [LocalMember] {
        table.members(self.channel).get(self.selected.clone()).unwrap_or_default()
    }

    /// Serves the members of this slice that were not part of the common send, and advances the cursors of all.
    /// `sent` returns the result of the common send for each member.
    pub fn apply_results(
        &self,
        table: &mut SessionTable,
        sent: &mut impl Iterator<Item = Option<PushResult>>,
        slice: &mut Slice,
    ) {
        let Some(channel) = table.channels.get_mut(&self.channel) else { return };
        let members = channel.members.get_mut(self.selected.clone()).unwrap_or_default();
        let (stream, is_recording) = (Stream::Channel(self.channel), !table.recording.is_empty());
        for (member, sent) in members.iter_mut().zip(sent) {
            let before = member.cursor;
            let (pushed, count) = match sent {
                Some(pushed) => (pushed, self.common().len()),
                None if member.send_queue.is_assembling() => {
                    if let Some(slot) = table.slots.get_mut(member.slot as usize) {
                        self.hold_for_assembly(slot);
                    }
                    for stamped in self.frames.iter().filter(|_| is_recording) {
                        table.recording.note_frame(member.slot, stream, stamped, Outcome::Held);
                    }
                    continue;
                }
                None if self.takes_common_frames(member) => {
                    (member.send_queue.push_live(&self.joined, pairs(self.common())), self.common().len())
                }
                None => self.push_individually(member),
            };
            if is_recording {
                let (slot, user) = (member.slot, Some(member.user));
                let to = Receiver { slot, user, before, send_queue: &member.send_queue };
                table.recording.note_live(&to, stream, &self.frames, pushed);
            }
            match pushed {
                PushResult::Accepted => {
                    slice.deliveries += count as u64;
                    let last = self.frames.last().map_or(0, |stamped| stamped.offset);
                    member.cursor = member.cursor.max(last);
                }
                PushResult::Closed => {}
                PushResult::Overflow | PushResult::Broken => {
                    if let Some(slot) = table.slots.get(member.slot as usize) {
                        let key = SlotKey { index: member.slot, generation: slot.generation };
                        slice.failed.push((key, pushed));
                    }
                }
            }
        }
    }

    /// Whether a member can receive the common frames, and no others, now.
    fn takes_common_frames(&self, member: &LocalMember) -> bool {
        let first = self.frames.first().map_or(0, |stamped| stamped.offset);
        let same_as_common = |stamped: &Stamped| {
            stamped.frame.audience().admits(member.user) == (self.common.is_empty() || !is_listed(stamped))
        };
        let admitted = || self.frames.iter().all(same_as_common);
        member.cursor < first && (!self.restricted || admitted()) && !member.send_queue.is_assembling()
    }

    /// Stores live frames of a member until its catch-up is complete.
    fn hold_for_assembly(&self, slot: &mut SessionSlot) {
        if let Some(assembly) = &mut slot.assembly {
            let stream = Stream::Channel(self.channel);
            assembly.live.extend(self.frames.iter().map(|stamped| (stream, stamped.clone())));
        }
    }

    /// Serves a member that already has some of the frames, or is not in the audience of all.
    fn push_individually(&self, member: &LocalMember) -> (PushResult, usize) {
        let is_missing = |stamped: &&Stamped| {
            stamped.offset > member.cursor && stamped.frame.audience().admits(member.user)
        };
        let frames: Vec<&Stamped> = self.frames.iter().filter(is_missing).collect();
        if frames.is_empty() {
            // The cursor must not advance here: it would skip frames that were refused before.
            let pushed =
                if member.send_queue.is_sealed() { PushResult::Closed } else { PushResult::Accepted };
            return (pushed, 0);
        }
        let pairs = frames.iter().map(|stamped| (stamped.offset, &*stamped.frame));
        let joined = FrameBatch::live(self.joined.stream, self.joined.ids, pairs.clone());
        (member.send_queue.push_live(&joined, pairs), frames.len())
    }
}

/// Sends the common frames of all groups in one call to those members that can receive them and have an empty queue:
/// nearly always to all. Returns the results by group, in the order of the members. `None` for all other members, and
/// for a member of several groups that already received frames of an earlier one.
pub fn send(groups: &[Group], table: &SessionTable, sender: &mut FrameSender) -> Vec<Option<PushResult>> {
    let members = groups.iter().map(|group| group.selected.len()).sum();
    let mut targets: Vec<Option<(&SendQueue, &FrameBatch)>> = Vec::with_capacity(members);
    let mut batch: Vec<Sending<'_>> = Vec::with_capacity(members);
    for group in groups {
        for member in group.members(table) {
            let form = group
                .takes_common_frames(member)
                .then(|| member.send_queue.form(&group.joined, pairs(group.common())))
                .flatten();
            let sending = form.and_then(|form| member.send_queue.ready(form));
            targets.push(form.filter(|_| sending.is_some()).map(|form| (&*member.send_queue, form)));
            batch.extend(sending);
        }
    }
    let mut taken = sender.send(&batch).into_iter();
    let outcome = |target: Option<(&SendQueue, &FrameBatch)>| {
        target.and_then(|(send_queue, form)| Some(send_queue.sent(form, taken.next()?)))
    };
    targets.into_iter().map(outcome).collect()
}

fn pairs(frames: &[Stamped]) -> impl Iterator<Item = (Offset, &Frame)> + Clone {
    frames.iter().map(|stamped| (stamped.offset, &*stamped.frame))
}

/// Whether a frame is limited to named users.
fn is_listed(stamped: &Stamped) -> bool {
    stamped.frame.audience().only.is_some()
}
