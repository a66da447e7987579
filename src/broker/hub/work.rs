//! The pending frames of a hub, and how they are joined before they are written.

use super::messages::Stamped;
use crate::protocol::frame::Frame;
use crate::protocol::ids::{ChannelId, Offset, SlotKey};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Pending frames for local sessions.
pub enum Work {
    /// For all members of a channel.
    Channel(ChannelId, Vec<Stamped>),
    /// For the listed sessions, if they are members of the channel.
    Few(ChannelId, Vec<SlotKey>, Stamped),
    /// For these sessions, each with the offset in its user's private stream.
    Private(Vec<(SlotKey, Offset)>, Arc<Frame>),
}

impl Work {
    /// The channel of the frames.
    pub fn channel(&self) -> Option<ChannelId> {
        match self {
            Work::Channel(channel, _) | Work::Few(channel, ..) => Some(*channel),
            Work::Private(..) => None,
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
