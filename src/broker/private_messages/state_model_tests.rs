//! Random private messages, edits, deletions, attachments and detachments, against plain lists.

use super::*;
use crate::broker::hub::messages::CatchUpPart;
use crate::fixtures::stream::PlainStream;
use crate::fixtures::{ENCODER, conn, delete, edit, location, message, payload, time};
use proptest::prelude::*;
use rand::SeedableRng;
use std::collections::BTreeMap;

const USERS: u32 = 3;
/// Two for each user.
const CONNECTIONS: u32 = 6;
const PART: CatchUpPart = CatchUpPart { index: 0, of: 1 };

#[derive(Clone, Debug)]
enum Step {
    /// To the users whose bits are set.
    Post {
        users: u8,
    },
    /// To the users that the edit names, conn_index need not be the recipients of the message.
    Edit {
        users: u8,
        back: usize,
        text: Option<u8>,
    },
    Delete {
        users: u8,
        back: usize,
    },
    Open {
        conn_index: u32,
    },
    Close {
        conn_index: u32,
    },
    Attach {
        conn_index: u32,
    },
    /// The client received the stream up to this offset (modulo its length), or the session never subscribed.
    Detach {
        conn_index: u32,
        cursor: Option<u64>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (conn_index, users) = (|| 0..CONNECTIONS, || 1u8..8);
    prop_oneof![
        6 => users().prop_map(|users| Step::Post { users }),
        4 => (users(), 0usize..6, any::<Option<u8>>())
            .prop_map(|(users, back, text)| Step::Edit { users, back, text }),
        2 => (users(), 0usize..6).prop_map(|(users, back)| Step::Delete { users, back }),
        2 => conn_index().prop_map(|conn_index| Step::Open { conn_index }),
        1 => conn_index().prop_map(|conn_index| Step::Close { conn_index }),
        3 => conn_index().prop_map(|conn_index| Step::Attach { conn_index }),
        3 => (conn_index(), any::<Option<u64>>()).prop_map(|(conn_index, cursor)| Step::Detach { conn_index, cursor }),
    ]
}

/// A user with open connections, and how far each has received the stream.
#[derive(Default)]
struct User {
    stream: PlainStream,
    cursors: BTreeMap<u32, Offset>,
}

struct Model {
    users: BTreeMap<u32, User>,
    posted: u128,
    max: usize,
}

impl Model {
    /// The named users that have connections: no other user receives anything.
    fn each(&mut self, users: u8, mut act: impl FnMut(&mut PlainStream)) -> Vec<Recipient> {
        let named = self.users.iter_mut().filter(|(id, _)| users >> *id & 1 == 1);
        let here = named.map(|(id, user)| {
            act(&mut user.stream);
            Recipient { user: UserId(*id), locations: Vec::new() }
        });
        here.collect()
    }
}

fn attach(state: &mut PrivateMessagesState, model: &Model, conn_index: u32) {
    let id = conn_index % USERS;
    let Some((user, cursor)) =
        model.users.get(&id).and_then(|user| Some((user, *user.cursors.get(&conn_index)?)))
    else {
        return;
    };
    let mut effects = Vec::new();
    state.attach(
        UserId(id),
        conn(conn_index),
        location(0, conn_index),
        Attaching { part: PART, resume: None },
        &mut effects,
    );
    let Some((_, ToHub::JoinPrivate(_, subscription))) = effects.pop() else { panic!("no join") };
    user.stream.check_catch_up(&subscription, cursor, id);
}

fn act(state: &mut PrivateMessagesState, model: &mut Model, step: &Step) {
    let (max, effects) = (model.max, &mut Vec::new());
    let nth = |back: usize, model: &Model| model.posted.saturating_sub(back as u128);
    match *step {
        Step::Post { users } => {
            model.posted += 1;
            let number = model.posted;
            let recipients = model.each(users, |stream| stream.post(number, None, max));
            state.post(message(number), &recipients, &time(1), effects);
        }
        Step::Edit { users, back, text } => {
            let (number, text) = (nth(back, model), text.map(|text| format!("edit {text}")));
            let recipients = model.each(users, |stream| stream.edit(number, text.as_deref(), max));
            let message = text.map(|text| payload(&format!("{{\"text\":\"{text}\"}}")));
            state.edit(&Edit { message, ..edit(number, "{}") }, &recipients, &time(1), effects);
        }
        Step::Delete { users, back } => {
            let number = nth(back, model);
            let recipients = model.each(users, |stream| stream.delete(number, max));
            state.delete(&delete(number), &recipients, &time(1), effects);
        }
        Step::Open { conn_index } => {
            let user = model.users.entry(conn_index % USERS).or_default();
            if !user.cursors.contains_key(&conn_index) {
                user.cursors.insert(conn_index, user.stream.offset);
                state.open(UserId(conn_index % USERS), conn(conn_index));
            }
        }
        Step::Close { conn_index } => {
            let Some(user) = model.users.get_mut(&(conn_index % USERS)) else { return };
            if user.cursors.remove(&conn_index).is_some() {
                let last = user.cursors.is_empty();
                state.close(UserId(conn_index % USERS), conn(conn_index), last);
                model.users.retain(|_, user| !user.cursors.is_empty());
            }
        }
        Step::Attach { conn_index } => attach(state, model, conn_index),
        Step::Detach { conn_index, cursor } => {
            let Some(user) = model.users.get_mut(&(conn_index % USERS)) else { return };
            let cursor = cursor.map(|part| part % (user.stream.offset + 1));
            if let Some(known) = user.cursors.get_mut(&conn_index) {
                state.detach(UserId(conn_index % USERS), conn(conn_index), cursor);
                *known = cursor.unwrap_or(0).max(*known);
            }
        }
    }
}

proptest! {
    #[test]
    fn streams_follow_plain_lists(
        max in 1usize..15,
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let mut state = PrivateMessagesState::new(ENCODER, max, StdRng::seed_from_u64(1), Arc::default());
        let mut model = Model { users: BTreeMap::new(), posted: 0, max };
        steps.iter().for_each(|step| act(&mut state, &mut model, step));
        (0..CONNECTIONS).for_each(|conn_index| attach(&mut state, &model, conn_index));
    }
}
