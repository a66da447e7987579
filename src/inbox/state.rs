//! Every user's stream of private messages. Pure.

use crate::channel::buffer::{Buffer, encode};
use crate::channel::messages::Kept;
use crate::hub::messages::{Listen, Part, Stamped, ToHub};
use crate::ids::{ConnKey, HubId, Offset, Place, SlotKey, UserId};
use crate::wire::event::Encoder;
use crate::wire::frame::{Audience, Frame};
use crate::wire::message::{Delete, Edit, Message};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// What is to be told to hubs, in order.
pub type Effects = Vec<(HubId, ToHub)>;

#[derive(Debug)]
struct Reader {
    conn: ConnKey,
    /// How far its peer got, while it has no session; then its hub knows.
    cursor: Offset,
    place: Option<Place>,
}

#[derive(Debug, Default)]
struct Inbox {
    offset: Offset,
    frames: Buffer,
    readers: Vec<Reader>,
}

/// See the module's description. Users without connections have no entry: nobody could ever catch up.
#[derive(Debug)]
pub struct InboxState {
    users: FxHashMap<UserId, Inbox>,
    encoder: Encoder,
    max_frames: usize,
}

impl InboxState {
    /// No inboxes yet; each will keep up to `max_frames` frames for catch-up.
    pub fn new(encoder: Encoder, max_frames: usize) -> Self {
        Self { users: FxHashMap::default(), encoder, max_frames }
    }

    /// A connection of a user begins: it gets what is sent from now on.
    pub fn open(&mut self, user: UserId, conn: ConnKey) {
        let inbox = self.users.entry(user).or_default();
        inbox.readers.push(Reader { conn, cursor: inbox.offset, place: None });
    }

    /// A connection of a user ends.
    pub fn close(&mut self, user: UserId, conn: ConnKey) {
        let Some(inbox) = self.users.get_mut(&user) else { return };
        inbox.readers.retain(|reader| reader.conn != conn);
        if inbox.readers.is_empty() {
            self.users.remove(&user);
        }
    }

    fn reader(&mut self, user: UserId, conn: ConnKey) -> Option<&mut Reader> {
        self.users.get_mut(&user)?.readers.iter_mut().find(|reader| reader.conn == conn)
    }

    /// A session attaches: what its peer misses, then what comes.
    pub fn attach(&mut self, user: UserId, conn: ConnKey, place: Place, part: Part, effects: &mut Effects) {
        let Some(inbox) = self.users.get_mut(&user) else { return };
        let Some(reader) = inbox.readers.iter_mut().find(|reader| reader.conn == conn) else { return };
        reader.place = Some(place);
        let catchup = inbox.frames.since(reader.cursor, user);
        let listen = Listen { user, from: reader.cursor, upto: inbox.offset, catchup, part: Some(part) };
        effects.push((place.hub, ToHub::JoinInbox(place.slot, listen)));
    }

    /// A session is gone; its peer got this far.
    pub fn detach(&mut self, user: UserId, conn: ConnKey, cursor: Option<Offset>) {
        let Some(reader) = self.reader(user, conn) else { return };
        reader.place = None;
        if let Some(cursor) = cursor {
            reader.cursor = reader.cursor.max(cursor);
        }
    }

    /// A private message.
    pub fn post(&mut self, message: Message, users: &[UserId], effects: &mut Effects) {
        let (frame, kept) = encode(Kept { message, edited: None }, Audience::all(), self.encoder);
        self.send(frame, Some(kept), users, effects);
    }

    /// A change of a private message, for those whom the change names.
    pub fn edit(&mut self, edit: &Edit, users: &[UserId], effects: &mut Effects) {
        for user in users {
            if let Some(inbox) = self.users.get_mut(user) {
                inbox.frames.edit(edit, self.encoder);
            }
        }
        let frame = self.encoder.edit(edit, Audience::all());
        self.send(Arc::new(frame), None, users, effects);
    }

    /// The end of a private message, for those whom the deletion names.
    pub fn delete(&mut self, delete: &Delete, users: &[UserId], effects: &mut Effects) {
        for user in users {
            if let Some(inbox) = self.users.get_mut(user) {
                inbox.frames.delete(delete.uuid);
            }
        }
        let frame = self.encoder.delete(delete.uuid, None, Audience::all());
        self.send(Arc::new(frame), None, users, effects);
    }

    fn send(&mut self, frame: Arc<Frame>, kept: Option<Arc<Kept>>, users: &[UserId], effects: &mut Effects) {
        let mut by_hub: FxHashMap<HubId, Vec<(SlotKey, Offset)>> = FxHashMap::default();
        for user in users {
            let Some(inbox) = self.users.get_mut(user) else { continue };
            inbox.offset += 1;
            for place in inbox.readers.iter().filter_map(|reader| reader.place) {
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
mod tests {
    use super::*;
    use crate::wire::message::Delivery;
    use crate::wire::time::Timestamp;
    use uuid::Uuid;

    const USER: UserId = UserId(7);
    const PART: Part = Part { index: 0, of: 1 };

    fn conn(index: u32) -> ConnKey {
        ConnKey { index, generation: 0 }
    }

    fn place(index: u32) -> Place {
        Place { hub: HubId(0), slot: SlotKey { index, generation: 0 } }
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

    fn caught_up(state: &mut InboxState, index: u32) -> Vec<Offset> {
        let mut effects = Vec::new();
        state.attach(USER, conn(index), place(index), PART, &mut effects);
        match &effects[..] {
            [(_, ToHub::JoinInbox(_, listen))] => listen.catchup.iter().map(|s| s.offset).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_came_while_away_is_caught_up_once() {
        let mut state = InboxState::new(Encoder { date: true }, 2);
        state.open(USER, conn(1));
        let mut effects = Vec::new();
        for _ in 0..3 {
            state.post(message(), &[USER, UserId(8)], &mut effects);
        }
        assert!(effects.is_empty(), "nobody is attached");
        assert_eq!(caught_up(&mut state, 1), [2, 3], "the buffer holds two");
        state.detach(USER, conn(1), Some(2));
        assert_eq!(caught_up(&mut state, 1), [3]);
    }

    #[test]
    fn a_new_connection_gets_nothing_old() {
        let mut state = InboxState::new(Encoder { date: true }, 5);
        state.open(USER, conn(1));
        state.post(message(), &[USER], &mut Vec::new());
        state.open(USER, conn(2));
        assert_eq!(caught_up(&mut state, 2), [] as [Offset; 0]);
    }

    #[test]
    fn one_message_reaches_every_session_of_every_user_on_a_hub_at_once() {
        let mut state = InboxState::new(Encoder { date: true }, 5);
        for (user, index) in [(USER, 1), (USER, 2), (UserId(8), 3)] {
            state.open(user, conn(index));
            state.attach(user, conn(index), place(index), PART, &mut Vec::new());
        }
        let mut effects = Vec::new();
        state.post(message(), &[USER, UserId(8), UserId(9)], &mut effects);
        match &effects[..] {
            [(_, ToHub::DeliverPrivate(slots, _))] => assert_eq!(slots.len(), 3),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn inboxes_of_users_without_connections_are_gone() {
        let mut state = InboxState::new(Encoder { date: true }, 5);
        state.open(USER, conn(1));
        state.close(USER, conn(1));
        assert!(state.users.is_empty());
    }
}
