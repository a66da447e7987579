//! The deliveries that the simulated world expects: which client must receive which event, and which events it may
//! miss.

use super::Kept;
use crate::broker::channel::messages::Publication;
use crate::broker::hub::messages::Stamped;
use crate::broker::private_messages::state::Recipient;
use crate::broker::receipts::StreamReceipt;
use crate::fixtures::ledger::Ledger;
use crate::protocol::frame::Audience;
use crate::protocol::ids::{ChannelId, ConnKey, Epoch, Offset, Position, Stream, UserId};
use std::collections::{HashMap, HashSet};

pub struct ExpectedDeliveries {
    pub ledger: Ledger<ConnKey>,
    /// Messages, and their edits.
    pub edits: HashMap<u128, Vec<u128>>,
    /// The events published in each channel, by offset.
    positions: HashMap<ChannelId, Vec<(Offset, u128)>>,
    /// When each frame of a channel was published, in order.
    times: HashMap<ChannelId, Vec<u64>>,
    /// The events in each user's private stream since it began.
    private: HashMap<UserId, Vec<u128>>,
    /// The members of each channel, and whether they have a session.
    pub seats: HashMap<(ChannelId, ConnKey), bool>,
    /// The last position of each stream, and the epochs of all streams so far.
    reached: HashMap<StreamOf, Position>,
    epochs: HashSet<Epoch>,
}

/// A stream, and the user of a private one.
type StreamOf = (Stream, Option<UserId>);

impl ExpectedDeliveries {
    pub fn new() -> Self {
        Self {
            ledger: Ledger::new(),
            edits: HashMap::new(),
            positions: HashMap::new(),
            times: HashMap::new(),
            private: HashMap::new(),
            seats: HashMap::new(),
            reached: HashMap::new(),
            epochs: HashSet::new(),
        }
    }

    /// Records an event published in a stream. Returns its number.
    pub fn publish(&mut self, stream: Stream, publication: &Publication) -> u128 {
        let (number, audience) = match publication {
            Publication::Post(message, audience) => (message.uuid.as_u128(), audience),
            Publication::Edit(edit, audience) => {
                let text = edit.message.as_ref().unwrap();
                let json: serde_json::Value = serde_json::from_slice(text.as_bytes()).unwrap();
                let serial = u128::from(json["edit"].as_u64().unwrap());
                self.edits.entry(edit.uuid.as_u128()).or_default().push(serial);
                (number_of_edit(serial), audience)
            }
            Publication::Delete(delete, audience) => {
                // A client that has not received it by now never will.
                self.ledger.excuse_all(delete.uuid.as_u128());
                (number_of_delete(delete.uuid.as_u128()), audience)
            }
        };
        self.ledger.publish(stream, number, audience.clone());
        number
    }

    /// Records that an event was published in its channel. Panics unless its receipt has the number of attached sessions.
    pub fn pass_through(&mut self, channel: ChannelId, receipt: &StreamReceipt, number: u128) {
        let seated = self.seats.iter().filter(|((of, _), has_session)| *of == channel && **has_session);
        assert_eq!(receipt.online as usize, seated.count(), "the receipt of event {number}");
        let offset = receipt.position.expect("a channel has a position").offset;
        self.positions.entry(channel).or_default().push((offset, number));
    }

    /// A connection gets a session in a channel whose offset is `through` and which keeps these frames. It may miss older
    /// ones.
    pub fn excuse_displaced(&mut self, conn: ConnKey, channel: ChannelId, through: Offset, kept: Kept) {
        let kept_after = self.kept_after(channel, through, kept);
        for (offset, number) in self.positions.get(&channel).into_iter().flatten() {
            if *offset <= kept_after {
                self.ledger.excuse(conn, Stream::Channel(channel), *number);
            }
        }
    }

    /// The last frame that a channel does not certainly keep when its offset is `through`.
    pub fn kept_after(&self, channel: ChannelId, through: Offset, kept: Kept) -> Offset {
        let times = self.times.get(&channel).map_or(&[][..], Vec::as_slice);
        let old = times.partition_point(|time| *time < kept.since) as Offset;
        old.max(through.saturating_sub(kept.frames))
    }

    /// Records that the frames of a channel up to this offset are published by now.
    pub fn set_published(&mut self, channel: ChannelId, offset: Offset, now: u64) {
        self.times.entry(channel).or_default().resize(offset as usize, now);
    }

    /// Panics if a channel sends frames to a returning client that are too old.
    pub fn check_ages<'a>(&self, channel: ChannelId, frames: impl Iterator<Item = &'a Stamped>, kept: Kept) {
        for Stamped { offset, .. } in frames {
            let time = self.times[&channel][*offset as usize - 1];
            assert!(time >= kept.since, "frame {offset} of {channel:?} is too old");
        }
    }

    /// Panics unless a stream keeps its epoch while it exists, and its offset only grows. A stream that begins has an
    /// epoch of its own.
    pub fn advance(&mut self, stream: StreamOf, position: Position) {
        match self.reached.insert(stream, position) {
            Some(before) => {
                assert_eq!(position.epoch, before.epoch, "the epoch of {stream:?} changed");
                assert!(
                    position.offset >= before.offset,
                    "{stream:?} went back from {before:?} to {position:?}"
                );
            }
            None => assert!(self.epochs.insert(position.epoch), "{stream:?} has the epoch of another stream"),
        }
    }

    /// Records an event published for these users only.
    pub fn publish_private(&mut self, publication: &Publication, recipients: &[Recipient]) {
        let number = self.publish(Stream::Private, publication);
        for recipient in recipients {
            self.private.entry(recipient.user).or_default().push(number);
        }
    }

    /// A connection returns to its private stream, which stores `kept` frames. It may miss older ones.
    pub fn excuse_private(&mut self, conn: ConnKey, user: UserId, kept: usize) {
        let sent = self.private.get(&user).map_or(&[][..], Vec::as_slice);
        let gone = sent.len().saturating_sub(kept);
        sent[..gone].iter().for_each(|number| self.ledger.excuse(conn, Stream::Private, *number));
    }

    /// The user's private stream ends.
    pub fn forget_private(&mut self, user: UserId) {
        self.private.remove(&user);
        self.reached.remove(&(Stream::Private, Some(user)));
    }
}

/// Only these users.
pub fn to(recipients: &[Recipient]) -> Audience {
    let users: Vec<UserId> = recipients.iter().map(|recipient| recipient.user).collect();
    Audience { only: Some(users.into()), ..Audience::default() }
}

/// The number in the ledger of a message, of an edit or deletion of a message; other frames have none.
pub fn number_of(kind: &str, message: u128, content: &serde_json::Value) -> Option<u128> {
    match kind {
        "message" => Some(message),
        "message:edit" => Some(number_of_edit(content["edit"].as_u64().unwrap().into())),
        "message:delete" => Some(number_of_delete(message)),
        _ => None,
    }
}

/// The number of an edit or deletion in the ledger. Messages have their own numbers.
pub fn number_of_edit(serial: u128) -> u128 {
    1 << 64 | serial
}

pub fn number_of_delete(message: u128) -> u128 {
    2 << 64 | message
}
