//! A session's place on its hub, and the assembly of its catch-up.

use super::memberships::Memberships;
use super::messages::{CatchUpPart, Stamped, Subscription, Transport};
use crate::protocol::ids::{ChannelId, Offset, Stream, UserId};
use crate::send_queue::SendQueue;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use uuid::Uuid;

/// A session as its hub sees it.
pub struct SessionSlot {
    /// Tells it from an earlier one at the same index.
    pub generation: u32,
    /// The connection it asked for.
    pub conn_id: Uuid,
    /// What it is.
    pub transport: Transport,
    /// When it came, in s of the hub's clock.
    pub opened_s: u32,
    /// Where its peer is, unless its socket says so: proxies and polls. Rare, so it has a box of its own.
    pub client: Option<Box<IpAddr>>,
    /// The way to its peer.
    pub send_queue: Rc<SendQueue>,
    /// Whose it is, once it listens to something.
    pub user: Option<UserId>,
    /// The channels it listens to, each with the index of its entry there.
    pub channels: Memberships,
    /// How far its peer got in its user's private messages.
    pub inbox: Option<Offset>,
    /// Its catch-up, while parts are missing.
    pub assembly: Option<Box<Assembly>>,
    /// When the next heartbeat is due, in ms of the hub's clock.
    pub heartbeat_at: u64,
    /// When the next ping is due.
    pub ping_at: u64,
}

impl SessionSlot {
    /// A slot that listens to nothing yet.
    pub fn new(generation: u32, conn_id: Uuid, transport: Transport, send_queue: Rc<SendQueue>) -> Self {
        Self {
            generation,
            conn_id,
            transport,
            opened_s: 0,
            client: None,
            send_queue,
            user: None,
            channels: Memberships::default(),
            inbox: None,
            assembly: None,
            heartbeat_at: u64::MAX,
            ping_at: u64::MAX,
        }
    }

    /// Where its peer is, if that can be known.
    pub fn address(&self) -> Option<IpAddr> {
        self.client.as_deref().copied().or_else(|| self.send_queue.peer())
    }

    /// The index of this session's entry in a channel.
    pub fn index_in(&self, channel: ChannelId) -> Option<u32> {
        self.channels.get(channel)
    }
}

/// One stream's catch-up.
#[derive(Debug)]
pub struct CatchUp {
    /// The stream.
    pub stream: Stream,
    /// What is missing, oldest first.
    pub frames: VecDeque<Stamped>,
    /// Where the peer stands after it.
    pub through: Offset,
}

/// Catch-ups of several streams on their way to one peer, and what came live meanwhile.
#[derive(Debug, Default)]
pub struct Assembly {
    parts: Vec<Option<CatchUp>>,
    missing: usize,
    /// Parts at the front that have been handed over.
    over: usize,
    /// Live frames that came meanwhile, in order.
    pub live: VecDeque<(Stream, Stamped)>,
}

impl Assembly {
    /// An assembly that waits for so many parts.
    pub fn new(of: u32) -> Self {
        let parts = (0..of).map(|_| None).collect();
        Self { parts, missing: of as usize, over: 0, live: VecDeque::new() }
    }

    /// Takes a part; true when nothing is missing any more.
    pub fn take(&mut self, part: CatchUpPart, stream: Stream, listen: Subscription) -> bool {
        if let Some(place) = self.parts.get_mut(part.index as usize)
            && place.is_none()
        {
            *place = Some(CatchUp { stream, frames: listen.catchup.into(), through: listen.through });
            self.missing -= 1;
        }
        self.missing == 0
    }

    /// A stream is left before its catch-up has gone out: what the peer still is to get of it joins the catch-up.
    /// Without a catch-up of that stream it comes back, and can go out at once.
    pub fn leave(
        &mut self,
        stream: Stream,
        user: UserId,
        cursor: Offset,
        pending: Vec<Stamped>,
    ) -> Vec<Stamped> {
        let (left, live) = std::mem::take(&mut self.live).into_iter().partition(|(of, _)| *of == stream);
        self.live = live;
        let mut last: Vec<Stamped> = left.into_iter().map(|(_, stamped)| stamped).collect();
        last.extend(pending);
        let Some(part) = self.parts.iter_mut().flatten().find(|part| part.stream == stream) else {
            return last;
        };
        for stamped in last {
            if stamped.offset > part.through.max(cursor) {
                part.through = stamped.offset;
                part.frames.extend(stamped.frame.audience().admits(user).then_some(stamped));
            }
        }
        Vec::new()
    }

    /// What the peer gets next, in the order of the parts: one of them, or the first `frames` frames of a long one.
    pub fn next(&mut self, frames: usize) -> Option<CatchUp> {
        while let Some(place) = self.parts.get_mut(self.over) {
            match place {
                Some(part) if part.frames.len() > frames => {
                    let first: VecDeque<Stamped> = part.frames.drain(..frames).collect();
                    let through = first.back().map_or(0, |stamped| stamped.offset);
                    return Some(CatchUp { stream: part.stream, frames: first, through });
                }
                _ => {
                    self.over += 1;
                    if let Some(part) = place.take() {
                        return Some(part);
                    }
                }
            }
        }
        None
    }
}
