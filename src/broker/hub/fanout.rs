//! The fan-out: joins pending frames by channel, and writes them to every member in slices.
//!
//! Joining changes the order between channels within one turn, never the order within a channel, which is guaranteed.
//! Members may join and leave while a group is written. The loop runs from the end of the list to its front, so a
//! removal only moves members that are done, and cursors prevent that a client receives a frame twice.

use super::group::{Group, send};
use super::messages::Stamped;
use super::table::SessionTable;
use crate::protocol::frame::Frame;
use crate::protocol::ids::{ChannelId, Offset, SlotKey, Stamp, Stream};
use crate::send_queue::{FrameSender, PushResult};
use crate::telemetry::recorder::Outcome;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// The result of one slice of the fan-out.
#[derive(Debug, Default)]
pub struct Slice {
    /// The number of frames added to send queues.
    pub deliveries: u64,
    /// Bytes of frames that are fully delivered.
    pub bytes: usize,
    /// Sessions whose send queue did not accept a frame, with the reason.
    pub failed: Vec<(SlotKey, PushResult)>,
}

/// The pending frames of a hub.
#[derive(Default)]
pub struct Fanout {
    pending: VecDeque<Work>,
    round: VecDeque<Work>,
    current: Option<Group>,
    /// Whether the first entry of the round was delivered to some of its sessions.
    first_is_begun: bool,
    /// The number of rounds begun.
    rounds: u64,
    /// The last stamp of the current round. Frames arrive in the order of their stamps.
    last_of_round: Stamp,
    sender: FrameSender,
}

impl Fanout {
    /// Starts without pending frames. Sends through `sender`.
    pub fn new(sender: FrameSender) -> Self {
        Self { sender, ..Self::default() }
    }

    /// Adds a frame for all members of a channel.
    pub fn push(&mut self, channel: ChannelId, stamped: Stamped) {
        self.pending.push_back(Work::Channel(channel, vec![stamped]));
    }

    /// Adds a frame for these sessions.
    pub fn push_private(&mut self, slots: Vec<(SlotKey, Offset)>, stamp: Stamp, frame: Arc<Frame>) {
        self.pending.push_back(Work::Private(slots, stamp, frame));
    }

    /// Adds a frame for the listed sessions, if they are members of the channel.
    pub fn push_to(&mut self, channel: ChannelId, slots: Vec<SlotKey>, stamped: Stamped) {
        self.pending.push_back(Work::Few(channel, slots, stamped));
    }

    /// Whether nothing is pending.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.round.is_empty() && self.current.is_none()
    }

    /// The round that delivers everything pending now.
    pub fn next_round(&self) -> u64 {
        self.rounds + 1
    }

    /// Whether a round is over.
    pub fn is_past(&self, round: u64) -> bool {
        self.rounds > round || self.is_idle()
    }

    /// The pending frames of a channel. A session that leaves the channel still receives them.
    pub fn pending_in(&self, channel: ChannelId) -> Vec<Stamped> {
        let current =
            self.current.iter().filter(|group| group.channel == channel).flat_map(|group| &group.frames);
        let waiting = self.round.iter().chain(&self.pending).filter(|work| work.channel() == Some(channel));
        current.chain(waiting.flat_map(Work::frames)).cloned().collect()
    }

    /// Delivers to up to `budget` members.
    pub fn run(&mut self, table: &mut SessionTable, mut budget: usize) -> Slice {
        let mut slice = Slice::default();
        while budget > 0 {
            if let Some(group) = self.current.take() {
                self.deliver_groups(group, table, &mut budget, &mut slice);
                continue;
            }
            if self.round.is_empty() {
                table.covered = self.last_of_round.max(table.covered);
                self.last_of_round = self.pending.back().map_or(self.last_of_round, Work::stamp);
                self.round = by_channel(std::mem::take(&mut self.pending));
                self.rounds += 1;
            }
            match self.round.pop_front() {
                Some(Work::Channel(channel, frames)) => {
                    self.deliver_groups(Group::new(table, channel, frames), table, &mut budget, &mut slice);
                }
                Some(Work::Few(channel, mut slots, stamped)) => {
                    if !std::mem::take(&mut self.first_is_begun) {
                        table.note_not_meant(channel, &slots, &stamped);
                    }
                    let part = take(&mut slots, &mut budget);
                    deliver_to_few(table, channel, &part, &stamped, &mut slice);
                    match slots.is_empty() {
                        true => slice.bytes += stamped.frame.live().len(),
                        false => {
                            self.first_is_begun = true;
                            self.round.push_front(Work::Few(channel, slots, stamped));
                        }
                    }
                }
                Some(Work::Private(mut slots, stamp, frame)) => {
                    let part = take(&mut slots, &mut budget);
                    deliver_private(table, part, stamp, &frame, &mut slice);
                    match slots.is_empty() {
                        true => slice.bytes += frame.live().len(),
                        false => self.round.push_front(Work::Private(slots, stamp, frame)),
                    }
                }
                None => break,
            }
        }
        if self.round.is_empty() && self.current.is_none() {
            table.covered = self.last_of_round.max(table.covered);
        }
        slice
    }

    /// Delivers a group, and as many of the following groups as the budget allows, so that small groups share a system
    /// call.
    fn deliver_groups(
        &mut self,
        first: Group,
        table: &mut SessionTable,
        budget: &mut usize,
        slice: &mut Slice,
    ) {
        let mut groups = vec![first.select_members(table, budget)];
        while *budget > 0
            && let Some(work) = self.round.pop_front()
        {
            let Work::Channel(channel, frames) = work else {
                self.round.push_front(work);
                break;
            };
            groups.push(Group::new(table, channel, frames).select_members(table, budget));
        }
        let mut sent = send(&groups, table, &mut self.sender).into_iter();
        for group in groups {
            group.apply_results(table, &mut sent, slice);
            if group.is_done() {
                slice.bytes += group.bytes();
            } else {
                self.current = Some(group);
            }
        }
    }
}

/// Takes entries from the end, as many as the budget allows.
fn take<T>(slots: &mut Vec<T>, budget: &mut usize) -> Vec<T> {
    let part = slots.split_off(slots.len().saturating_sub(*budget));
    *budget = budget.saturating_sub(part.len().max(1));
    part
}

fn deliver_to_few(
    table: &mut SessionTable,
    channel: ChannelId,
    slots: &[SlotKey],
    stamped: &Stamped,
    slice: &mut Slice,
) {
    for key in slots {
        if table.is_in(channel, *key) {
            deliver_one(table, *key, Stream::Channel(channel), stamped, slice);
        }
    }
}

fn deliver_private(
    table: &mut SessionTable,
    slots: Vec<(SlotKey, Offset)>,
    stamp: Stamp,
    frame: &Arc<Frame>,
    slice: &mut Slice,
) {
    for (key, offset) in slots {
        let stamped = Stamped { offset, stamp, frame: frame.clone() };
        deliver_one(table, key, Stream::Private, &stamped, slice);
    }
}

fn deliver_one(table: &mut SessionTable, key: SlotKey, stream: Stream, stamped: &Stamped, slice: &mut Slice) {
    let Some(slot) = table.slot(key) else { return };
    if let Some(assembly) = &mut slot.assembly {
        assembly.live.push_back((stream, stamped.clone()));
        table.recording.note_frame(key.index, stream, stamped, Outcome::Held);
        return;
    }
    match table.push_one(key, stream, stamped) {
        PushResult::Accepted => slice.deliveries += 1,
        PushResult::Closed => {}
        pushed => slice.failed.push((key, pushed)),
    }
}

/// Pending frames for local sessions.
pub enum Work {
    /// For all members of a channel.
    Channel(ChannelId, Vec<Stamped>),
    /// For the listed sessions, if they are members of the channel.
    Few(ChannelId, Vec<SlotKey>, Stamped),
    /// For these sessions, each with the offset in its user's private stream.
    Private(Vec<(SlotKey, Offset)>, Stamp, Arc<Frame>),
}

impl Work {
    /// The channel of the frames.
    pub fn channel(&self) -> Option<ChannelId> {
        match self {
            Work::Channel(channel, _) | Work::Few(channel, ..) => Some(*channel),
            Work::Private(..) => None,
        }
    }

    /// The last stamp of its frames.
    fn stamp(&self) -> Stamp {
        match self {
            Work::Channel(_, frames) => frames.last().map_or(Stamp::default(), |stamped| stamped.stamp),
            Work::Few(_, _, stamped) => stamped.stamp,
            Work::Private(_, stamp, _) => *stamp,
        }
    }

    /// The frames of a channel; none for private frames.
    pub fn into_frames(self) -> Vec<Stamped> {
        match self {
            Work::Channel(_, frames) => frames,
            Work::Few(_, _, stamped) => vec![stamped],
            Work::Private(..) => Vec::new(),
        }
    }

    /// The frames of a channel; none for private frames.
    pub fn frames(&self) -> &[Stamped] {
        match self {
            Work::Channel(_, frames) => frames,
            Work::Few(_, _, stamped) => std::slice::from_ref(stamped),
            Work::Private(..) => &[],
        }
    }
}

/// Frames of one channel are joined up to this many bytes, because joining copies them within one turn.
const MAX_JOINED: usize = 1 << 20;

/// Joins the frames of each channel at the position of the channel's first frame. Frames for a few members stay
/// separate, unless there are frames for all members: then they join the group, which keeps the order.
pub fn by_channel(pending: VecDeque<Work>) -> VecDeque<Work> {
    if pending.len() < 2 {
        return pending;
    }
    let for_all = pending.iter().filter(|work| matches!(work, Work::Channel(..)));
    // The position and the bytes of each channel's group, once its first frame was found.
    let mut positions: FxHashMap<ChannelId, Option<(usize, usize)>> =
        for_all.filter_map(|work| Some((work.channel()?, None))).collect();
    let mut out: VecDeque<Work> = VecDeque::with_capacity(pending.len());
    for work in pending {
        let Some((channel, position)) =
            work.channel().and_then(|channel| Some((channel, positions.get_mut(&channel)?)))
        else {
            out.push_back(work);
            continue;
        };
        let bytes: usize = work.frames().iter().map(|stamped| stamped.frame.live().len()).sum();
        if let Some((at, before)) = position.filter(|(_, before)| before + bytes <= MAX_JOINED)
            && let Some(Work::Channel(_, group)) = out.get_mut(at)
        {
            group.extend(work.into_frames());
            *position = Some((at, before + bytes));
        } else {
            *position = Some((out.len(), bytes));
            out.push_back(Work::Channel(channel, work.into_frames()));
        }
    }
    out
}
