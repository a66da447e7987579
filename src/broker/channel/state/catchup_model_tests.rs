//! Catch-ups and history after random messages, edits, deletions and settings, against plain lists.

use super::tests::PART;
use super::*;
use crate::broker::channel::messages::Publication;
use crate::fixtures::stream::PlainStream;
use crate::fixtures::{channel, conn, delete, edit, location, message, only, payload, time, view};
use crate::protocol::frame::Audience;
use crate::protocol::message::Edit;
use proptest::prelude::*;
use std::collections::BTreeMap;

const USERS: u32 = 3;
/// One user has two connections.
const CONNECTIONS: u32 = 4;

#[derive(Clone, Debug)]
enum Step {
    /// To the users whose bits are set; to all users if none is.
    Post {
        users: u8,
        no_history: bool,
    },
    /// Edits any earlier message, even if it was deleted or dropped. Without a text only its time changes.
    Edit {
        back: usize,
        text: Option<u8>,
    },
    Delete {
        back: usize,
    },
    Configure {
        store_frames: bool,
        store_history: bool,
        history_size: u64,
    },
    Join {
        conn_index: u32,
    },
    Leave {
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
    let conn_index = || 0..CONNECTIONS;
    prop_oneof![
        6 => (0u8..12, any::<bool>()).prop_map(|(users, no_history)| Step::Post { users, no_history }),
        4 => (0usize..8, any::<Option<u8>>()).prop_map(|(back, text)| Step::Edit { back, text }),
        2 => (0usize..8).prop_map(|back| Step::Delete { back }),
        1 => (prop::bool::weighted(0.7), any::<bool>(), 0u64..6).prop_map(
            |(store_frames, store_history, history_size)| Step::Configure {
                store_frames, store_history, history_size
            }
        ),
        1 => conn_index().prop_map(|conn_index| Step::Join { conn_index }),
        1 => conn_index().prop_map(|conn_index| Step::Leave { conn_index }),
        3 => conn_index().prop_map(|conn_index| Step::Attach { conn_index }),
        3 => (conn_index(), any::<Option<u64>>()).prop_map(|(conn_index, cursor)| Step::Detach { conn_index, cursor }),
    ]
}

struct Model {
    retention: Retention,
    settings: ChannelSettings,
    stream: PlainStream,
    /// Number, text, whether edited.
    history: Vec<(u128, String, bool)>,
    posted: u128,
    /// How far each subscribed connection has received the stream.
    cursors: BTreeMap<u32, Offset>,
}

impl Model {
    fn post(&mut self, users: &[u32], no_history: bool) -> u128 {
        self.posted += 1;
        let max = self.max_frames();
        self.stream.post(self.posted, (!users.is_empty()).then(|| users.to_vec()), max);
        if self.settings.store_history && !no_history {
            self.history.push((self.posted, "as it was".into(), false));
            let size = self.settings.history_size as usize;
            let size = if size == 0 { self.retention.history } else { size.min(self.retention.history) };
            self.history.drain(..self.history.len().saturating_sub(size));
        }
        self.posted
    }

    fn edit(&mut self, number: u128, text: Option<&str>) {
        self.stream.edit(number, text, self.max_frames());
        for entry in self.history.iter_mut().filter(|entry| entry.0 == number) {
            entry.2 = true;
            text.into_iter().for_each(|text| entry.1 = text.into());
        }
    }

    fn delete(&mut self, number: u128) {
        self.stream.delete(number, self.max_frames());
        self.history.retain(|entry| entry.0 != number);
    }

    fn max_frames(&self) -> usize {
        if self.settings.store_frames { self.retention.frames } else { 0 }
    }
}

fn publish(state: &mut ChannelState, publication: Publication) {
    state.publish(publication, None, &time(0), &mut Vec::new());
}

/// Attaches a session and checks its catch-up.
fn attach(state: &mut ChannelState, model: &Model, conn_index: u32) {
    let (user, mut effects) = (conn_index % USERS, Vec::new());
    state.attach(
        conn(conn_index),
        view(user),
        location(0, conn_index),
        Attaching { part: PART, resume: None },
        &time(0),
        &mut effects,
    );
    let Some(cursor) = model.cursors.get(&conn_index).copied() else {
        assert!(effects.is_empty(), "the connection is not subscribed");
        return;
    };
    let Some((_, ToHub::Join(_, _, subscription))) = effects.pop() else { panic!("no join") };
    model.stream.check_catch_up(&subscription, cursor, user);
}

fn act(state: &mut ChannelState, model: &mut Model, step: &Step) {
    let nth = |back: usize, model: &Model| model.posted.saturating_sub(back as u128);
    match *step {
        Step::Post { users, no_history } => {
            let users: Vec<u32> = (0..USERS).filter(|user| users >> user & 1 == 1).collect();
            let audience = if users.is_empty() { Audience::all() } else { only(&users) };
            let mut post = message(model.post(&users, no_history));
            post.delivery.no_history = no_history;
            publish(state, Publication::Post(post, audience));
        }
        Step::Edit { back, text } => {
            let (number, text) = (nth(back, model), text.map(|text| format!("edit {text}")));
            model.edit(number, text.as_deref());
            let message = text.map(|text| payload(&format!("{{\"text\":\"{text}\"}}")));
            publish(state, Publication::Edit(Edit { message, ..edit(number, "{}") }, Audience::all()));
        }
        Step::Delete { back } => {
            model.delete(nth(back, model));
            publish(state, Publication::Delete(delete(nth(back, model)), Audience::all()));
        }
        Step::Configure { store_frames, store_history, history_size } => {
            model.settings =
                ChannelSettings { store_frames, store_history, history_size, ..ChannelSettings::default() };
            if !store_frames {
                model.stream.clear();
            }
            state.configure(model.settings.clone());
        }
        Step::Join { conn_index } => {
            state.join(conn(conn_index), view(conn_index % USERS), None, &time(0), &mut Vec::new());
            model.cursors.entry(conn_index).or_insert(model.stream.offset);
        }
        Step::Leave { conn_index } => {
            state.leave(conn(conn_index), &time(0), &mut Vec::new());
            model.cursors.remove(&conn_index);
        }
        Step::Attach { conn_index } => attach(state, model, conn_index),
        Step::Detach { conn_index, cursor } => {
            let cursor = cursor.map(|part| part % (model.stream.offset + 1));
            state.detach(conn(conn_index), cursor);
            model.cursors.entry(conn_index).and_modify(|known| *known = cursor.unwrap_or(0).max(*known));
        }
    }
}

proptest! {
    #[test]
    fn stored_messages_follow_plain_lists(
        frames in 1usize..20,
        history in 1usize..8,
        steps in proptest::collection::vec(step(), 0..150),
    ) {
        let retention = Retention { frames, history };
        let settings = ChannelSettings { store_history: true, ..ChannelSettings::default() };
        let mut state = channel(settings.clone(), retention);
        let (stream, cursors) = (PlainStream::default(), BTreeMap::new());
        let mut model = Model { retention, settings, stream, history: Vec::new(), posted: 0, cursors };
        (0..CONNECTIONS).for_each(|conn_index| act(&mut state, &mut model, &Step::Join { conn_index }));
        for step in &steps {
            act(&mut state, &mut model, step);
            let snapshot = state.snapshot(&Inspect { users: false, history: true });
            let stored = snapshot.history.iter().map(|stored| {
                let text = stored.message.message.as_ref().unwrap().as_bytes();
                let json: serde_json::Value = serde_json::from_slice(text).unwrap();
                let text = json["text"].as_str().unwrap().to_owned();
                (stored.message.uuid.as_u128(), text, stored.edited.is_some())
            });
            prop_assert_eq!(stored.collect::<Vec<_>>(), &model.history[..]);
            prop_assert_eq!(state.position().offset, model.stream.offset);
            prop_assert!(state.num_stored().0 <= frames);
        }
        (0..CONNECTIONS).for_each(|conn_index| attach(&mut state, &model, conn_index));
    }
}
