//! Random private messages, edits, deletions, comings and goings, against plain lists.

use super::*;
use crate::fixtures::stream::{PlainStream, event_line};
use crate::fixtures::{ENCODER, Seen, conn, delete, edit, message, payload, place, seen};
use proptest::prelude::*;
use std::collections::BTreeMap;

const USERS: u32 = 3;
/// Two of each user.
const CONNECTIONS: u32 = 6;
const PART: CatchUpPart = CatchUpPart { index: 0, of: 1 };

#[derive(Clone, Debug)]
enum Step {
    /// For users by bits.
    Post {
        users: u8,
    },
    /// For those whom the change names, who may be others than had the message.
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
        who: u32,
    },
    Close {
        who: u32,
    },
    Come {
        who: u32,
    },
    /// Its peer has got as far as this part of what there is; or it never got to listen.
    Go {
        who: u32,
        cursor: Option<u64>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (who, users) = (|| 0..CONNECTIONS, || 1u8..8);
    prop_oneof![
        6 => users().prop_map(|users| Step::Post { users }),
        4 => (users(), 0usize..6, any::<Option<u8>>())
            .prop_map(|(users, back, text)| Step::Edit { users, back, text }),
        2 => (users(), 0usize..6).prop_map(|(users, back)| Step::Delete { users, back }),
        2 => who().prop_map(|who| Step::Open { who }),
        1 => who().prop_map(|who| Step::Close { who }),
        3 => who().prop_map(|who| Step::Come { who }),
        3 => (who(), any::<Option<u64>>()).prop_map(|(who, cursor)| Step::Go { who, cursor }),
    ]
}

/// A user with open connections, and how far each got.
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
    /// Who is here of those named: nobody else is ever told.
    fn each(&mut self, users: u8, mut act: impl FnMut(&mut PlainStream)) -> Vec<Recipient> {
        let named = self.users.iter_mut().filter(|(id, _)| users >> *id & 1 == 1);
        let here = named.map(|(id, user)| {
            act(&mut user.stream);
            Recipient { user: UserId(*id), places: Vec::new() }
        });
        here.collect()
    }
}

fn come(state: &mut PrivateMessagesState, model: &Model, who: u32) {
    let id = who % USERS;
    let Some((user, cursor)) = model.users.get(&id).and_then(|user| Some((user, *user.cursors.get(&who)?)))
    else {
        return;
    };
    let mut effects = Vec::new();
    state.attach(UserId(id), conn(who), place(0, who), PART, &mut effects);
    let Some((_, ToHub::JoinInbox(_, listen))) = effects.pop() else { panic!("no join") };
    assert_eq!((listen.from, listen.through), (cursor, user.stream.offset));
    let events: Vec<Seen> =
        listen.catchup.iter().map(|stamped| seen(&stamped.frame.catchup_element().concat())).collect();
    let offsets = listen.catchup.iter().map(|stamped| stamped.offset);
    let lines: Vec<_> = offsets.zip(events.iter().map(event_line)).collect();
    assert_eq!(lines, user.stream.since(cursor, id));
    user.stream.check_latest(&events);
}

fn act(state: &mut PrivateMessagesState, model: &mut Model, step: &Step) {
    let (max, effects) = (model.max, &mut Vec::new());
    let nth = |back: usize, model: &Model| model.posted.saturating_sub(back as u128);
    match *step {
        Step::Post { users } => {
            model.posted += 1;
            let number = model.posted;
            let recipients = model.each(users, |stream| stream.post(number, None, max));
            state.post(message(number), &recipients, effects);
        }
        Step::Edit { users, back, text } => {
            let (number, text) = (nth(back, model), text.map(|text| format!("edit {text}")));
            let recipients = model.each(users, |stream| stream.edit(number, text.as_deref(), max));
            let message = text.map(|text| payload(&format!("{{\"text\":\"{text}\"}}")));
            state.edit(&Edit { message, ..edit(number, "{}") }, &recipients, effects);
        }
        Step::Delete { users, back } => {
            let number = nth(back, model);
            let recipients = model.each(users, |stream| stream.delete(number, max));
            state.delete(&delete(number), &recipients, effects);
        }
        Step::Open { who } => {
            let user = model.users.entry(who % USERS).or_default();
            if !user.cursors.contains_key(&who) {
                user.cursors.insert(who, user.stream.offset);
                state.open(UserId(who % USERS), conn(who));
            }
        }
        Step::Close { who } => {
            let Some(user) = model.users.get_mut(&(who % USERS)) else { return };
            if user.cursors.remove(&who).is_some() {
                let last = user.cursors.is_empty();
                state.close(UserId(who % USERS), conn(who), last);
                model.users.retain(|_, user| !user.cursors.is_empty());
            }
        }
        Step::Come { who } => come(state, model, who),
        Step::Go { who, cursor } => {
            let Some(user) = model.users.get_mut(&(who % USERS)) else { return };
            let cursor = cursor.map(|part| part % (user.stream.offset + 1));
            if let Some(known) = user.cursors.get_mut(&who) {
                state.detach(UserId(who % USERS), conn(who), cursor);
                *known = cursor.unwrap_or(0).max(*known);
            }
        }
    }
}

proptest! {
    #[test]
    fn inboxes_follow_plain_lists(
        max in 1usize..15,
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let mut state = PrivateMessagesState::new(ENCODER, max);
        let mut model = Model { users: BTreeMap::new(), posted: 0, max };
        steps.iter().for_each(|step| act(&mut state, &mut model, step));
        (0..CONNECTIONS).for_each(|who| come(&mut state, &model, who));
    }
}
