//! The fan-out: what is pending is joined by channel, and written to every member in slices.
//!
//! Joining changes the order between channels within one turn, never the order within one: that order is the
//! promise. While a group is being written, members may come and go: the walk runs from the end of the list to
//! its front, so a removal only moves members that are done, and cursors keep anybody from getting a frame twice.

use super::messages::Stamped;
use super::slot::Slot;
use super::table::{LocalMember, Table};
use super::tapes::Receiver;
use super::work::{Work, by_channel};
use crate::ids::{ChannelId, Offset, SlotKey, Stream};
use crate::observe::recorder::Outcome;
use crate::outbox::{Joined, Pushed, Sender, Sending};
use crate::wire::frame::Frame;
use std::collections::VecDeque;
use std::sync::Arc;

/// Frames of one channel on their way to its local members.
struct Group {
    channel: ChannelId,
    frames: Vec<Stamped>,
    /// Those of the frames that are not for named users, if there are both kinds: most members are to get just these.
    common: Vec<Stamped>,
    joined: Joined,
    restricted: bool,
    /// Members in front of this index are still to be served.
    remaining: usize,
}

/// What one slice of the fan-out did.
#[derive(Debug, Default)]
pub struct Slice {
    /// Frames handed to outboxes.
    pub deliveries: u64,
    /// Bytes of frames that are finished with.
    pub bytes: usize,
    /// Sessions that could not take theirs, and why.
    pub casualties: Vec<(SlotKey, Pushed)>,
}

/// What is pending on a hub.
#[derive(Default)]
pub struct Fanout {
    pending: VecDeque<Work>,
    round: VecDeque<Work>,
    current: Option<Group>,
    sender: Sender,
}

impl Fanout {
    /// Nothing pending; frames go out through `sender`.
    pub fn new(sender: Sender) -> Self {
        Self { sender, ..Self::default() }
    }

    /// Adds a frame for the members of a channel.
    pub fn push(&mut self, channel: ChannelId, stamped: Stamped) {
        self.pending.push_back(Work::Channel(channel, vec![stamped]));
    }

    /// Adds a frame for these sessions.
    pub fn push_private(&mut self, slots: Vec<(SlotKey, Offset)>, frame: Arc<Frame>) {
        self.pending.push_back(Work::Private(slots, frame));
    }

    /// Adds a frame for those of these sessions that are members of a channel.
    pub fn push_to(&mut self, channel: ChannelId, slots: Vec<SlotKey>, stamped: Stamped) {
        self.pending.push_back(Work::Few(channel, slots, stamped));
    }

    /// Whether nothing is left to do.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.round.is_empty() && self.current.is_none()
    }

    /// What is pending in a channel: a session that leaves it still gets this.
    pub fn pending_in(&self, channel: ChannelId) -> Vec<Stamped> {
        let current =
            self.current.iter().filter(|group| group.channel == channel).flat_map(|group| &group.frames);
        let waiting = self.round.iter().chain(&self.pending).filter(|work| work.channel() == Some(channel));
        current.chain(waiting.flat_map(Work::frames)).cloned().collect()
    }

    /// Serves up to `budget` members.
    pub fn run(&mut self, table: &mut Table, mut budget: usize) -> Slice {
        let mut slice = Slice::default();
        while budget > 0 {
            if let Some(mut group) = self.current.take() {
                group.serve(table, &mut self.sender, &mut budget, &mut slice);
                if group.remaining > 0 {
                    self.current = Some(group);
                } else {
                    slice.bytes +=
                        group.frames.iter().map(|stamped| stamped.frame.live().len()).sum::<usize>();
                }
                continue;
            }
            if self.round.is_empty() {
                self.round = by_channel(std::mem::take(&mut self.pending));
            }
            match self.round.pop_front() {
                Some(Work::Channel(channel, frames)) => {
                    self.current = Some(Group::new(table, channel, frames))
                }
                Some(Work::Few(channel, slots, stamped)) => {
                    budget = budget.saturating_sub(slots.len());
                    slice.bytes += stamped.frame.live().len();
                    serve_few(table, channel, &slots, &stamped, &mut slice);
                }
                Some(Work::Private(slots, frame)) => {
                    budget = budget.saturating_sub(slots.len());
                    slice.bytes += frame.live().len();
                    serve_private(table, slots, frame, &mut slice);
                }
                None => break,
            }
        }
        slice
    }
}

impl Group {
    fn new(table: &Table, channel: ChannelId, frames: Vec<Stamped>) -> Self {
        let mut common = Vec::new();
        if frames.iter().any(is_listed) {
            common.extend(frames.iter().filter(|stamped| !is_listed(stamped)).cloned());
        }
        let most = if common.is_empty() { &frames } else { &common };
        let joined = Joined::live(Stream::Channel(channel), pairs(most));
        let restricted = frames.iter().any(|stamped| stamped.frame.audience().is_restricted());
        let remaining = table.channels.get(&channel).map_or(0, Vec::len);
        Self { channel, frames, common, joined, restricted, remaining }
    }

    /// What most members are to get.
    fn common(&self) -> &[Stamped] {
        if self.common.is_empty() { &self.frames } else { &self.common }
    }

    fn serve(&mut self, table: &mut Table, sender: &mut Sender, budget: &mut usize, slice: &mut Slice) {
        let Some(members) = table.channels.get_mut(&self.channel) else {
            self.remaining = 0;
            return;
        };
        let end = self.remaining.min(members.len());
        let begin = end.saturating_sub(*budget);
        *budget -= end - begin;
        self.remaining = begin;
        let members = &mut members[begin..end];
        let sent = self.send(members, sender);
        let (stream, recording) = (Stream::Channel(self.channel), !table.tapes.is_empty());
        for (member, sent) in members.iter_mut().zip(sent) {
            let before = member.cursor;
            let (pushed, count) = match sent {
                Some(pushed) => (pushed, self.common().len()),
                None if member.outbox.is_assembling() => {
                    if let Some(slot) = table.slots.get_mut(member.slot as usize) {
                        self.keep_for_assembly(slot);
                    }
                    for stamped in self.frames.iter().filter(|_| recording) {
                        table.tapes.note_frame(member.slot, stream, stamped, Outcome::Held);
                    }
                    continue;
                }
                None if self.is_for(member) => {
                    (member.outbox.push_live(&self.joined, pairs(self.common())), self.common().len())
                }
                None => self.serve_some(member),
            };
            if recording {
                let (slot, user) = (member.slot, Some(member.user));
                let to = Receiver { slot, user, before, outbox: &member.outbox };
                table.tapes.note_live(&to, stream, &self.frames, pushed);
            }
            match pushed {
                Pushed::Accepted => {
                    slice.deliveries += count as u64;
                    let last = self.frames.last().map_or(0, |stamped| stamped.offset);
                    member.cursor = member.cursor.max(last);
                }
                Pushed::Sealed => {}
                Pushed::Overflow | Pushed::Broken => {
                    if let Some(slot) = table.slots.get(member.slot as usize) {
                        let key = SlotKey { index: member.slot, generation: slot.generation };
                        slice.casualties.push((key, pushed));
                    }
                }
            }
        }
    }

    /// Sends to all members who are to get the common frames and for whom nothing waits, at once: nearly always to
    /// all. What came of it, in the members' order; `None` for the others.
    fn send(&self, members: &[LocalMember], sender: &mut Sender) -> Vec<Option<Pushed>> {
        let mut forms: Vec<Option<&Joined>> = Vec::with_capacity(members.len());
        let mut batch: Vec<Sending<'_>> = Vec::with_capacity(members.len());
        for member in members {
            let form = self.is_for(member).then(|| member.outbox.form(&self.joined, pairs(self.common())));
            let sending = form.and_then(|form| member.outbox.ready(form));
            forms.push(form.filter(|_| sending.is_some()));
            batch.extend(sending);
        }
        let mut taken = sender.send(&batch).into_iter();
        let outcome =
            |(form, member): (Option<&Joined>, &LocalMember)| Some(member.outbox.sent(form?, taken.next()?));
        forms.into_iter().zip(members).map(outcome).collect()
    }

    /// Whether a member is to get the common frames and no other, now.
    fn is_for(&self, member: &LocalMember) -> bool {
        let first = self.frames.first().map_or(0, |stamped| stamped.offset);
        let as_most = |stamped: &Stamped| {
            stamped.frame.audience().admits(member.user) == (self.common.is_empty() || !is_listed(stamped))
        };
        let admitted = || self.frames.iter().all(as_most);
        member.cursor < first && (!self.restricted || admitted()) && !member.outbox.is_assembling()
    }

    /// For a member whose catch-up is not complete: live frames follow it.
    fn keep_for_assembly(&self, slot: &mut Slot) {
        if let Some(assembly) = &mut slot.assembly {
            let stream = Stream::Channel(self.channel);
            assembly.live.extend(self.frames.iter().map(|stamped| (stream, stamped.clone())));
        }
    }

    /// For a member who has some of the frames already, or is not meant to have all.
    fn serve_some(&self, member: &LocalMember) -> (Pushed, usize) {
        let wanted = |stamped: &&Stamped| {
            stamped.offset > member.cursor && stamped.frame.audience().admits(member.user)
        };
        let frames: Vec<&Stamped> = self.frames.iter().filter(wanted).collect();
        if frames.is_empty() {
            // A cursor that moved on here would step over what was refused before.
            let pushed = if member.outbox.is_sealed() { Pushed::Sealed } else { Pushed::Accepted };
            return (pushed, 0);
        }
        let pairs = frames.iter().map(|stamped| (stamped.offset, &*stamped.frame));
        let joined = Joined::live(self.joined.stream, pairs.clone());
        (member.outbox.push_live(&joined, pairs), frames.len())
    }
}

fn pairs(frames: &[Stamped]) -> impl Iterator<Item = (Offset, &Frame)> + Clone {
    frames.iter().map(|stamped| (stamped.offset, &*stamped.frame))
}

/// Whether a frame is for named users only.
fn is_listed(stamped: &Stamped) -> bool {
    stamped.frame.audience().only.is_some()
}

fn serve_few(table: &mut Table, channel: ChannelId, slots: &[SlotKey], stamped: &Stamped, slice: &mut Slice) {
    table.note_not_meant(channel, slots, stamped);
    for key in slots {
        if table.slot(*key).is_some_and(|slot| slot.index_in(channel).is_some()) {
            serve_one(table, *key, Stream::Channel(channel), stamped, slice);
        }
    }
}

fn serve_private(table: &mut Table, slots: Vec<(SlotKey, Offset)>, frame: Arc<Frame>, slice: &mut Slice) {
    for (key, offset) in slots {
        let stamped = Stamped { offset, frame: frame.clone() };
        serve_one(table, key, Stream::Inbox, &stamped, slice);
    }
}

fn serve_one(table: &mut Table, key: SlotKey, stream: Stream, stamped: &Stamped, slice: &mut Slice) {
    let Some(slot) = table.slot(key) else { return };
    if let Some(assembly) = &mut slot.assembly {
        assembly.live.push((stream, stamped.clone()));
        table.tapes.note_frame(key.index, stream, stamped, Outcome::Held);
        return;
    }
    match table.push_one(key, stream, stamped) {
        Pushed::Accepted => slice.deliveries += 1,
        Pushed::Sealed => {}
        pushed => slice.casualties.push((key, pushed)),
    }
}
