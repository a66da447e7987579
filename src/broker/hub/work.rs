//! What is pending on a hub, and how it is joined before it is written.

use super::messages::Stamped;
use crate::protocol::frame::Frame;
use crate::protocol::ids::{ChannelId, Offset, SlotKey};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Frames on their way to local members.
pub enum Work {
    /// For all members of a channel.
    Channel(ChannelId, Vec<Stamped>),
    /// For those of these sessions that are members of a channel.
    Few(ChannelId, Vec<SlotKey>, Stamped),
    /// For these sessions, each with the offset in its user's private stream.
    Private(Vec<(SlotKey, Offset)>, Arc<Frame>),
}

impl Work {
    /// The channel it belongs to.
    pub fn channel(&self) -> Option<ChannelId> {
        match self {
            Work::Channel(channel, _) | Work::Few(channel, ..) => Some(*channel),
            Work::Private(..) => None,
        }
    }

    /// Its frames, if they are of a channel.
    pub fn into_frames(self) -> Vec<Stamped> {
        match self {
            Work::Channel(_, frames) => frames,
            Work::Few(_, _, stamped) => vec![stamped],
            Work::Private(..) => Vec::new(),
        }
    }

    /// Its frames, if they are of a channel.
    pub fn frames(&self) -> &[Stamped] {
        match self {
            Work::Channel(_, frames) => frames,
            Work::Few(_, _, stamped) => std::slice::from_ref(stamped),
            Work::Private(..) => &[],
        }
    }
}

/// Frames of one channel are joined up to so many bytes: joining copies them, in one turn.
const MAX_JOINED: usize = 1 << 20;

/// Joins what belongs to one channel, at the place of its first frame. What is for few of its members stays by itself,
/// unless there is something for all of them: then it must keep its turn.
pub fn by_channel(pending: VecDeque<Work>) -> VecDeque<Work> {
    if pending.len() < 2 {
        return pending;
    }
    let for_all = pending.iter().filter(|work| matches!(work, Work::Channel(..)));
    // Where the group of a channel is, once its first frame has come, and its bytes.
    let mut places: FxHashMap<ChannelId, Option<(usize, usize)>> =
        for_all.filter_map(|work| Some((work.channel()?, None))).collect();
    let mut out: VecDeque<Work> = VecDeque::with_capacity(pending.len());
    for work in pending {
        let Some((channel, place)) =
            work.channel().and_then(|channel| Some((channel, places.get_mut(&channel)?)))
        else {
            out.push_back(work);
            continue;
        };
        let bytes: usize = work.frames().iter().map(|stamped| stamped.frame.live().len()).sum();
        if let Some((at, before)) = place.filter(|(_, before)| before + bytes <= MAX_JOINED)
            && let Some(Work::Channel(_, group)) = out.get_mut(at)
        {
            group.extend(work.into_frames());
            *place = Some((at, before + bytes));
        } else {
            *place = Some((out.len(), bytes));
            out.push_back(Work::Channel(channel, work.into_frames()));
        }
    }
    out
}
