//! Frames of one channel and those who are to get them.

use super::fanout::Slice;
use super::messages::Stamped;
use super::recording::Receiver;
use super::slot::SessionSlot;
use super::table::{LocalMember, SessionTable};
use crate::protocol::frame::Frame;
use crate::protocol::ids::{ChannelId, Offset, SlotKey, Stream};
use crate::send_queue::{FrameBatch, FrameSender, PushResult, SendQueue, Sending};
use crate::telemetry::recorder::Outcome;
use std::ops::Range;

/// Bytes that cost as much as another member: so large frames go to fewer members in one turn.
const LARGE: usize = 64 << 10;

/// Frames of one channel on their way to its local members.
pub struct Group {
    /// The channel.
    pub channel: ChannelId,
    /// The frames, in order.
    pub frames: Vec<Stamped>,
    /// Those of the frames that are not for named users, if there are both kinds: most members are to get just these.
    common: Vec<Stamped>,
    joined: FrameBatch,
    restricted: bool,
    /// Members in front of this index are still to be served.
    remaining: usize,
    /// Those who are served in this slice.
    taken: Range<usize>,
}

impl Group {
    /// These frames, for all members that a channel has now.
    pub fn new(table: &SessionTable, channel: ChannelId, frames: Vec<Stamped>) -> Self {
        let mut common = Vec::new();
        if frames.iter().any(is_listed) {
            common.extend(frames.iter().filter(|stamped| !is_listed(stamped)).cloned());
        }
        let most = if common.is_empty() { &frames } else { &common };
        let joined = FrameBatch::live(Stream::Channel(channel), pairs(most));
        let restricted = frames.iter().any(|stamped| stamped.frame.audience().is_restricted());
        let remaining = table.channels.get(&channel).map_or(0, Vec::len);
        Self { channel, frames, common, joined, restricted, remaining, taken: 0..0 }
    }

    /// What most members are to get.
    fn common(&self) -> &[Stamped] {
        if self.common.is_empty() { &self.frames } else { &self.common }
    }

    /// Takes its next members for this slice, as many as `budget` pays for, and at least one.
    pub fn taking(mut self, table: &SessionTable, budget: &mut usize) -> Self {
        // Some may have left since the last slice.
        let end = self.remaining.min(table.channels.get(&self.channel).map_or(0, Vec::len));
        let cost = 1 + self.joined.bytes.len() / LARGE;
        let begin = end.saturating_sub((*budget / cost).max(1));
        // A group without members costs its own making. One that is not done ends the slice.
        let spent = if begin > 0 { *budget } else { ((end - begin) * cost).max(1) };
        *budget = budget.saturating_sub(spent);
        self.taken = begin..end;
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
        let members = table.channels.get(&self.channel);
        members.and_then(|members| members.get(self.taken.clone())).unwrap_or_default()
    }

    /// Serves those of this slice's members to whom nothing was sent with the others, and notes how far all are.
    /// `sent` gives what came of it for each.
    pub fn settle(
        &self,
        table: &mut SessionTable,
        sent: &mut impl Iterator<Item = Option<PushResult>>,
        slice: &mut Slice,
    ) {
        let Some(members) = table.channels.get_mut(&self.channel) else { return };
        let members = members.get_mut(self.taken.clone()).unwrap_or_default();
        let (stream, recording) = (Stream::Channel(self.channel), !table.tapes.is_empty());
        for (member, sent) in members.iter_mut().zip(sent) {
            let before = member.cursor;
            let (pushed, count) = match sent {
                Some(pushed) => (pushed, self.common().len()),
                None if member.send_queue.is_assembling() => {
                    if let Some(slot) = table.slots.get_mut(member.slot as usize) {
                        self.keep_for_assembly(slot);
                    }
                    for stamped in self.frames.iter().filter(|_| recording) {
                        table.tapes.note_frame(member.slot, stream, stamped, Outcome::Held);
                    }
                    continue;
                }
                None if self.is_for(member) => {
                    (member.send_queue.push_live(&self.joined, pairs(self.common())), self.common().len())
                }
                None => self.serve_some(member),
            };
            if recording {
                let (slot, user) = (member.slot, Some(member.user));
                let to = Receiver { slot, user, before, send_queue: &member.send_queue };
                table.tapes.note_live(&to, stream, &self.frames, pushed);
            }
            match pushed {
                PushResult::Accepted => {
                    slice.deliveries += count as u64;
                    let last = self.frames.last().map_or(0, |stamped| stamped.offset);
                    member.cursor = member.cursor.max(last);
                }
                PushResult::Sealed => {}
                PushResult::Overflow | PushResult::Broken => {
                    if let Some(slot) = table.slots.get(member.slot as usize) {
                        let key = SlotKey { index: member.slot, generation: slot.generation };
                        slice.failed.push((key, pushed));
                    }
                }
            }
        }
    }

    /// Whether a member is to get the common frames and no other, now.
    fn is_for(&self, member: &LocalMember) -> bool {
        let first = self.frames.first().map_or(0, |stamped| stamped.offset);
        let as_most = |stamped: &Stamped| {
            stamped.frame.audience().admits(member.user) == (self.common.is_empty() || !is_listed(stamped))
        };
        let admitted = || self.frames.iter().all(as_most);
        member.cursor < first && (!self.restricted || admitted()) && !member.send_queue.is_assembling()
    }

    /// For a member whose catch-up is not complete: live frames follow it.
    fn keep_for_assembly(&self, slot: &mut SessionSlot) {
        if let Some(assembly) = &mut slot.assembly {
            let stream = Stream::Channel(self.channel);
            assembly.live.extend(self.frames.iter().map(|stamped| (stream, stamped.clone())));
        }
    }

    /// For a member who has some of the frames already, or is not meant to have all.
    fn serve_some(&self, member: &LocalMember) -> (PushResult, usize) {
        let wanted = |stamped: &&Stamped| {
            stamped.offset > member.cursor && stamped.frame.audience().admits(member.user)
        };
        let frames: Vec<&Stamped> = self.frames.iter().filter(wanted).collect();
        if frames.is_empty() {
            // A cursor that moved on here would step over what was refused before.
            let pushed =
                if member.send_queue.is_sealed() { PushResult::Sealed } else { PushResult::Accepted };
            return (pushed, 0);
        }
        let pairs = frames.iter().map(|stamped| (stamped.offset, &*stamped.frame));
        let joined = FrameBatch::live(self.joined.stream, pairs.clone());
        (member.send_queue.push_live(&joined, pairs), frames.len())
    }
}

/// Sends to all of these groups' members who are to get their group's common frames and for whom nothing waits, at
/// once: nearly always to all. What came of it, group by group and in the members' order; `None` for the others, and for
/// who is in several of the groups and was sent something for an earlier one.
pub fn send(groups: &[Group], table: &SessionTable, sender: &mut FrameSender) -> Vec<Option<PushResult>> {
    let members = groups.iter().map(|group| group.taken.len()).sum();
    let mut ways: Vec<Option<(&SendQueue, &FrameBatch)>> = Vec::with_capacity(members);
    let mut batch: Vec<Sending<'_>> = Vec::with_capacity(members);
    for group in groups {
        for member in group.members(table) {
            let form =
                group.is_for(member).then(|| member.send_queue.form(&group.joined, pairs(group.common())));
            let sending = form.and_then(|form| member.send_queue.ready(form));
            ways.push(form.filter(|_| sending.is_some()).map(|form| (&*member.send_queue, form)));
            batch.extend(sending);
        }
    }
    let mut taken = sender.send(&batch).into_iter();
    let outcome = |way: Option<(&SendQueue, &FrameBatch)>| {
        way.and_then(|(send_queue, form)| Some(send_queue.sent(form, taken.next()?)))
    };
    ways.into_iter().map(outcome).collect()
}

fn pairs(frames: &[Stamped]) -> impl Iterator<Item = (Offset, &Frame)> + Clone {
    frames.iter().map(|stamped| (stamped.offset, &*stamped.frame))
}

/// Whether a frame is for named users only.
fn is_listed(stamped: &Stamped) -> bool {
    stamped.frame.audience().only.is_some()
}
