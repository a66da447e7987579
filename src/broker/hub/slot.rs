//! The slot of a session on its hub, and the assembly of its catch-up.

use super::memberships::Memberships;
use super::messages::{CatchUpPart, Recovery, Stamped, Subscription};
use crate::config::Settings;
use crate::protocol::ids::{ChannelId, Epoch, Offset, Stamp, Stream, UserId};
use crate::send_queue::{SendQueue, StreamElement};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use uuid::Uuid;

/// The interval of cursors if heartbeats are off.
const CURSOR_INTERVAL_MS: u64 = 25_000;

/// The hub's data of a session.
pub struct SessionSlot {
    /// Distinguishes this session from an earlier one at the same index.
    pub generation: u32,
    /// The connection that the client requested.
    pub conn_id: Uuid,
    /// When the session was opened, in s of the hub's clock.
    pub opened_s: u32,
    /// The client's address, if the socket does not show it (proxies and polls). Boxed because it is rare.
    pub client: Option<Box<IpAddr>>,
    pub send_queue: Rc<SendQueue>,
    /// The session's user, once it subscribes to a stream.
    pub user: Option<UserId>,
    /// The session's channels, each with the index of its member entry.
    pub channels: Memberships,
    /// The subscription to the user's private messages.
    pub private: Option<PrivateSubscription>,
    /// The catch-up, while parts of it are missing or not enqueued.
    pub assembly: Option<Box<Assembly>>,
    /// When the next heartbeat is due, in ms of the hub's clock.
    pub heartbeat_at: u64,
    /// When the next ping is due, in ms of the hub's clock.
    pub ping_at: u64,
}

/// A session's subscription to the private messages of its user.
#[derive(Clone, Copy, Debug)]
pub struct PrivateSubscription {
    /// The offset of the last frame added to the send queue.
    pub cursor: Offset,
    /// The epoch of the stream, if the client asked for positions.
    pub epoch: Option<Epoch>,
}

impl SessionSlot {
    /// Creates a slot without subscriptions.
    pub fn new(generation: u32, conn_id: Uuid, send_queue: Rc<SendQueue>) -> Self {
        Self {
            generation,
            conn_id,
            opened_s: 0,
            client: None,
            send_queue,
            user: None,
            channels: Memberships::default(),
            private: None,
            assembly: None,
            heartbeat_at: u64::MAX,
            ping_at: u64::MAX,
        }
    }

    /// The interval of heartbeats, in ms; 0 for none. A client that asked for positions always receives some, because they
    /// carry cursors.
    pub fn heartbeat_ms(&self, settings: &Settings) -> u64 {
        match settings.heartbeat_interval_ms {
            0 if self.send_queue.is_positioned() => CURSOR_INTERVAL_MS,
            interval => interval,
        }
    }

    /// When the client will have been silent for too long, in ms of the hub's clock; `u64::MAX` without a limit.
    pub fn silent_at(&self, pong_timeout: u64) -> u64 {
        let max =
            self.send_queue.transport().keep_alive().map_or(u64::MAX, |it| it.max_silence_ms(pong_timeout));
        self.send_queue.last_received_ms().saturating_add(max)
    }

    /// The client's address, if it is known.
    pub fn address(&self) -> Option<IpAddr> {
        self.client.as_deref().copied().or_else(|| self.send_queue.peer())
    }

    /// The index of this session's member entry in a channel.
    pub fn index_in(&self, channel: ChannelId) -> Option<u32> {
        self.channels.get(channel)
    }
}

/// The catch-up of one stream.
#[derive(Debug)]
pub struct CatchUp {
    pub stream: Stream,
    /// The missed frames, oldest first.
    pub frames: VecDeque<Stamped>,
    /// The cursor after these frames.
    pub through: Offset,
    /// An element that precedes the frames: the announcement of a channel that was joined while attached.
    pub announcement: Option<StreamElement>,
}

impl CatchUp {
    pub fn new(stream: Stream, subscription: Subscription) -> Self {
        let (frames, through) = (subscription.catchup.into(), subscription.through);
        Self { stream, frames, through, announcement: None }
    }
}

/// The catch-ups of several streams for one session, and the live frames that arrive meanwhile.
#[derive(Debug, Default)]
pub struct Assembly {
    parts: Vec<Option<CatchUp>>,
    missing: usize,
    /// The number of parts, from the front, that were enqueued.
    num_enqueued: usize,
    /// The answers to a session that asked for positions, in the order of the parts.
    recoveries: Vec<(u32, Recovery)>,
    /// The moment at which such a session attached, until its first cursor is queued.
    pub returned: Option<Stamp>,
    /// Live frames that arrived meanwhile, in order.
    pub live: VecDeque<(Stream, Stamped)>,
}

impl Assembly {
    /// Creates an assembly that waits for this many parts.
    pub fn new(of: u32) -> Self {
        let parts = (0..of).map(|_| None).collect();
        Self { parts, missing: of as usize, ..Self::default() }
    }

    /// Adds a part. True when no part is missing.
    pub fn add(&mut self, part: CatchUpPart, stream: Stream, mut subscription: Subscription) -> bool {
        if let Some(entry) = self.parts.get_mut(part.index as usize)
            && entry.is_none()
        {
            self.recoveries.extend(subscription.recovery.take().map(|recovery| (part.index, *recovery)));
            *entry = Some(CatchUp::new(stream, subscription));
            self.missing -= 1;
        }
        self.missing == 0
    }

    /// Adds a stream that the session joins before its catch-up is enqueued. It follows the other parts.
    pub fn append(&mut self, joined: CatchUp) {
        self.parts.push(Some(joined));
    }

    /// Takes the answers of all streams, in the order of the catch-up.
    pub fn take_recoveries(&mut self) -> Vec<Recovery> {
        let mut recoveries = std::mem::take(&mut self.recoveries);
        recoveries.sort_unstable_by_key(|(index, _)| *index);
        recoveries.into_iter().map(|(_, recovery)| recovery).collect()
    }

    /// The session leaves a stream before its catch-up was enqueued: the remaining frames of the stream join the
    /// catch-up. Without a catch-up of that stream they are returned, and can be sent immediately.
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
        let Some(part) = self.parts.iter_mut().rev().flatten().find(|part| part.stream == stream) else {
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

    /// The next part for the client, in order, or the first `frames` frames of a long one.
    pub fn next(&mut self, frames: usize) -> Option<CatchUp> {
        while let Some(entry) = self.parts.get_mut(self.num_enqueued) {
            match entry {
                Some(part) if part.frames.len() > frames => {
                    let first: VecDeque<Stamped> = part.frames.drain(..frames).collect();
                    let through = first.back().map_or(0, |stamped| stamped.offset);
                    let announcement = part.announcement.take();
                    return Some(CatchUp { stream: part.stream, frames: first, through, announcement });
                }
                _ => {
                    self.num_enqueued += 1;
                    if let Some(part) = entry.take() {
                        return Some(part);
                    }
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small() {
        assert_eq!((size_of::<SessionSlot>(), size_of::<SendQueue>()), (120, 128));
    }
}
