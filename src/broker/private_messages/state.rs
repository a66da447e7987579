//! Every user's stream of private messages. Pure.

use crate::broker::channel::buffer::{Buffer, encode};
use crate::broker::channel::messages::StoredMessage;
use crate::broker::hub::messages::{CatchUpPart, Stamped, Subscription, ToHub};
use crate::protocol::event::Encoder;
use crate::protocol::frame::{Audience, Frame};
use crate::protocol::ids::{ConnKey, ConnectionSlot, HubId, Offset, SlotKey, UserId};
use crate::protocol::message::{Delete, Edit, Message};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// What is to be told to hubs, in order.
pub type PrivateEffects = Vec<(HubId, ToHub)>;

/// A user something private is for, and where its sessions are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The user. It has connections: nobody else could ever catch up.
    pub user: UserId,
    /// The places of its attached connections.
    pub places: Vec<ConnectionSlot>,
}

#[derive(Debug, Default)]
struct Inbox {
    offset: Offset,
    frames: Buffer,
    /// How far connections got that have no session, or had none when they began. A connection that is missing
    /// here is older than the inbox, and got nothing yet.
    cursors: FxHashMap<ConnKey, Offset>,
}

impl Inbox {
    fn cursor(&self, conn: ConnKey) -> Offset {
        self.cursors.get(&conn).copied().unwrap_or(0)
    }
}

/// See the module's description. An inbox begins with its user's first private message: most users never get one.
#[derive(Debug)]
pub struct PrivateMessagesState {
    users: FxHashMap<UserId, Inbox>,
    encoder: Encoder,
    max_frames: usize,
}

impl PrivateMessagesState {
    /// No private message streams yet; each will keep up to `max_frames` frames for catch-up.
    pub fn new(encoder: Encoder, max_frames: usize) -> Self {
        Self { users: FxHashMap::default(), encoder, max_frames }
    }

    /// A connection of a user begins: it gets what is sent from now on.
    pub fn open(&mut self, user: UserId, conn: ConnKey) {
        if let Some(inbox) = self.users.get_mut(&user) {
            inbox.cursors.insert(conn, inbox.offset);
        }
    }

    /// A connection of a user ends; with its last one its inbox does.
    pub fn close(&mut self, user: UserId, conn: ConnKey, last: bool) {
        if last {
            self.users.remove(&user);
        } else if let Some(inbox) = self.users.get_mut(&user) {
            inbox.cursors.remove(&conn);
        }
    }

    /// A session attaches: what its peer misses, then what comes.
    pub fn attach(
        &mut self,
        user: UserId,
        conn: ConnKey,
        place: ConnectionSlot,
        part: CatchUpPart,
        effects: &mut PrivateEffects,
    ) {
        let (from, through, catchup) = match self.users.get_mut(&user) {
            Some(inbox) => {
                let from = inbox.cursor(conn);
                (from, inbox.offset, inbox.frames.since(from, user, self.encoder))
            }
            None => (0, 0, Vec::new()),
        };
        let listen = Subscription { user, from, through, catchup, part: Some(part) };
        effects.push((place.hub, ToHub::JoinInbox(place.slot, listen)));
    }

    /// A session is gone; its peer got this far.
    pub fn detach(&mut self, user: UserId, conn: ConnKey, cursor: Option<Offset>) {
        let (Some(inbox), Some(cursor)) = (self.users.get_mut(&user), cursor) else { return };
        let known = inbox.cursors.entry(conn).or_default();
        *known = cursor.max(*known);
    }

    /// A private message.
    pub fn post(&mut self, message: Message, recipients: &[Recipient], effects: &mut PrivateEffects) {
        let (frame, kept) = encode(StoredMessage { message, edited: None }, Audience::all(), self.encoder);
        self.send(frame, Some(kept), recipients, effects);
    }

    /// A change of a private message, for those whom the change names.
    pub fn edit(&mut self, edit: &Edit, recipients: &[Recipient], effects: &mut PrivateEffects) {
        for recipient in recipients {
            if let Some(inbox) = self.users.get_mut(&recipient.user) {
                inbox.frames.edit(edit, self.encoder);
            }
        }
        let frame = self.encoder.edit(edit, Audience::all());
        self.send(Arc::new(frame), None, recipients, effects);
    }

    /// The end of a private message, for those whom the deletion names.
    pub fn delete(&mut self, delete: &Delete, recipients: &[Recipient], effects: &mut PrivateEffects) {
        for recipient in recipients {
            if let Some(inbox) = self.users.get_mut(&recipient.user) {
                inbox.frames.delete(delete.uuid);
            }
        }
        let frame = self.encoder.delete(delete.uuid, None, Audience::all());
        self.send(Arc::new(frame), None, recipients, effects);
    }

    /// Whether nobody has an inbox.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    fn send(
        &mut self,
        frame: Arc<Frame>,
        kept: Option<Arc<StoredMessage>>,
        recipients: &[Recipient],
        effects: &mut PrivateEffects,
    ) {
        let mut by_hub: FxHashMap<HubId, Vec<(SlotKey, Offset)>> = FxHashMap::default();
        for recipient in recipients {
            let inbox = self.users.entry(recipient.user).or_default();
            inbox.offset += 1;
            for place in &recipient.places {
                by_hub.entry(place.hub).or_default().push((place.slot, inbox.offset));
            }
            let stamped = Stamped { offset: inbox.offset, frame: frame.clone() };
            inbox.frames.push(stamped, kept.clone(), self.max_frames);
        }
        for (hub, slots) in by_hub {
            effects.push((hub, ToHub::DeliverPrivate(slots, frame.clone())));
        }
    }
}

#[cfg(test)]
#[path = "state_model_tests.rs"]
mod model_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::Delivery;
    use crate::protocol::time::Timestamp;
    use uuid::Uuid;

    const USER: UserId = UserId(7);
    const PART: CatchUpPart = CatchUpPart { index: 0, of: 1 };

    fn conn(index: u32) -> ConnKey {
        ConnKey { index, generation: 0 }
    }

    fn place(index: u32) -> ConnectionSlot {
        ConnectionSlot { hub: HubId(0), slot: SlotKey { index, generation: 0 } }
    }

    fn away(user: UserId) -> Recipient {
        Recipient { user, places: Vec::new() }
    }

    fn message() -> Message {
        Message {
            uuid: Uuid::new_v4(),
            timestamp: Timestamp::now(),
            user: "s".into(),
            message: None,
            delivery: Delivery { pm_users: vec!["u".into()], ..Delivery::default() },
        }
    }

    fn caught_up(state: &mut PrivateMessagesState, index: u32) -> Vec<Offset> {
        let mut effects = Vec::new();
        state.attach(USER, conn(index), place(index), PART, &mut effects);
        match &effects[..] {
            [(_, ToHub::JoinInbox(_, listen))] => listen.catchup.iter().map(|s| s.offset).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_came_while_away_is_caught_up_once() {
        let mut state = PrivateMessagesState::new(Encoder { date: true }, 2);
        state.open(USER, conn(1));
        let mut effects = Vec::new();
        for _ in 0..3 {
            state.post(message(), &[away(USER), away(UserId(8))], &mut effects);
        }
        assert!(effects.is_empty(), "nobody is attached");
        assert_eq!(caught_up(&mut state, 1), [2, 3], "the buffer holds two");
        state.detach(USER, conn(1), Some(2));
        assert_eq!(caught_up(&mut state, 1), [3]);
    }

    #[test]
    fn a_new_connection_gets_nothing_old() {
        let mut state = PrivateMessagesState::new(Encoder { date: true }, 5);
        state.open(USER, conn(1));
        state.post(message(), &[away(USER)], &mut Vec::new());
        state.open(USER, conn(2));
        assert_eq!(caught_up(&mut state, 2), [] as [Offset; 0]);
    }

    #[test]
    fn one_message_reaches_every_session_of_every_user_on_a_hub_at_once() {
        let mut state = PrivateMessagesState::new(Encoder { date: true }, 5);
        let recipients = [
            Recipient { user: USER, places: vec![place(1), place(2)] },
            Recipient { user: UserId(8), places: vec![place(3)] },
        ];
        let mut effects = Vec::new();
        state.post(message(), &recipients, &mut effects);
        match &effects[..] {
            [(_, ToHub::DeliverPrivate(slots, _))] => assert_eq!(slots.len(), 3),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn inboxes_end_with_the_last_connection() {
        let mut state = PrivateMessagesState::new(Encoder { date: true }, 5);
        state.post(message(), &[away(USER)], &mut Vec::new());
        state.close(USER, conn(1), false);
        assert_eq!(state.users.len(), 1);
        state.close(USER, conn(2), true);
        assert!(state.users.is_empty());
    }
}
