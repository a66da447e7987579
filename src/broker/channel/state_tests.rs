//! Stories of a channel, and random commands against a simple model.

use super::*;
use crate::fixtures::{PLENTY, channel, conn, delete, edit, message, only, place, seen, time, view};
use crate::protocol::frame::Audience;

pub(super) const PART: CatchUpPart = CatchUpPart { index: 0, of: 1 };

impl ChannelState {
    /// Panics unless counts equal a recount.
    pub fn check(&self) {
        let here = self.members.iter().filter(|member| member.present);
        assert_eq!(here.count(), self.connections as usize);
        for (hub, sessions) in (0..).zip(&self.sessions) {
            let seated = self.members.iter().filter(|member| member.seated && member.hub == HubId(hub));
            assert_eq!(seated.count(), *sessions as usize);
        }
    }

    /// Its members, present or not.
    pub fn member_keys(&self) -> impl Iterator<Item = ConnKey> {
        self.members.iter().map(|member| member.conn)
    }

    /// Frames and messages it keeps.
    pub fn num_kept(&self) -> (usize, usize) {
        (self.frames.num_frames(), self.history.len())
    }
}

/// A channel and everything it has told hub 0, where the session of connection 9 listens to all.
struct Told {
    state: ChannelState,
    effects: ChannelEffects,
}

pub(super) fn noisy() -> ChannelSettings {
    ChannelSettings {
        notify_presence: true,
        notify_state: true,
        store_history: true,
        ..ChannelSettings::default()
    }
}

impl Told {
    fn new(settings: ChannelSettings) -> Self {
        let mut state = channel(settings, PLENTY);
        let mut effects = Vec::new();
        state.join(conn(9), view(9), Some(place(0, 9)), &time(0), &mut effects);
        effects.clear();
        Self { state, effects }
    }

    /// Of the user with the same number; all connections from 10 on are of user 1.
    fn join(&mut self, index: u32) {
        let user = if index < 10 { index } else { 1 };
        self.state.join(conn(index), view(user), None, &time(1), &mut self.effects);
    }

    fn leave(&mut self, index: u32) {
        self.state.leave(conn(index), &time(2), &mut self.effects);
    }

    fn part(&mut self, index: u32) {
        self.state.part(conn(index), &time(2), &mut self.effects);
    }

    fn post(&mut self, number: u128, audience: Audience) {
        self.publish(Publication::Post(message(number), audience));
    }

    fn publish(&mut self, publication: Publication) {
        self.state.publish(publication, None, &time(3), &mut self.effects);
    }

    /// What was broadcast since the last time: kind, user and action or number.
    fn heard(&mut self) -> Vec<String> {
        let frames = std::mem::take(&mut self.effects).into_iter().filter_map(|(_, message)| match message {
            ToHub::Deliver(_, stamped) => Some(stamped),
            _ => None,
        });
        let text = |stamped: Stamped| {
            let event = seen(&stamped.frame.live_element());
            match event.json["message"]["action"].as_str() {
                Some(action) => format!("{} {action}", event.json["user"].as_str().unwrap()),
                None => format!("{} {}", event.kind, event.number),
            }
        };
        frames.map(text).collect()
    }

    /// Attaches a session and returns what it catches up with; then it is gone again, with this cursor.
    fn catch_up(&mut self, index: u32, user: u32, cursor: Option<Offset>) -> Vec<crate::fixtures::Seen> {
        self.state.attach(conn(index), view(user), place(1, index), PART, &time(4), &mut self.effects);
        let Some((_, ToHub::Join(_, _, listen))) = self.effects.pop() else { panic!("no join") };
        self.state.detach(conn(index), cursor);
        listen.catchup.iter().map(|stamped| seen(&stamped.frame.catchup_element().concat())).collect()
    }

    fn numbers(&mut self, index: u32, cursor: Option<Offset>) -> Vec<u128> {
        self.catch_up(index, index, cursor).iter().map(|event| event.number).collect()
    }

    fn history(&mut self) -> Vec<u128> {
        let snapshot = self.state.snapshot(&Inspect { users: false, history: true });
        snapshot.history.iter().map(|kept| kept.message.uuid.as_u128()).collect()
    }
}

#[test]
fn presence_is_of_users_and_never_told_to_themselves() {
    let mut told = Told::new(noisy());
    told.join(1);
    let audience = match told.effects.last() {
        Some((_, ToHub::Deliver(_, stamped))) => stamped.frame.audience().clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(audience, Audience::all_but(UserId(1)));
    told.join(11);
    told.leave(1);
    assert_eq!(told.heard(), ["u1 joined"], "the second connection came and the first went");
    told.part(11);
    assert_eq!(told.heard(), ["u1 parted"]);
    told.part(11);
    told.leave(11);
    assert_eq!(told.heard(), [] as [&str; 0], "it had parted already");
    told.leave(12);
    assert_eq!(told.heard(), [] as [&str; 0], "it never was here");
}

#[test]
fn lists_of_users_are_caught_up_as_they_were() {
    let settings = ChannelSettings { broadcast_presence_with_user_lists: true, ..noisy() };
    let mut told = Told::new(settings);
    (1..6).for_each(|user| told.join(user));
    told.leave(3);
    told.part(4);
    let live: Vec<_> = std::mem::take(&mut told.effects);
    let live = live.iter().map(|(_, message)| match message {
        ToHub::Deliver(_, stamped) => seen(&stamped.frame.live_element()),
        other => panic!("{other:?}"),
    });
    let live: Vec<_> = live.collect();
    let names = |event: &crate::fixtures::Seen| {
        let users = event.json["users"].as_array().unwrap().iter();
        users.map(|of| of["user"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        live.iter().map(names).collect::<Vec<_>>(),
        [
            "u1 u9",
            "u1 u2 u9",
            "u1 u2 u3 u9",
            "u1 u2 u3 u4 u9",
            "u1 u2 u3 u4 u5 u9",
            "u1 u2 u4 u5 u9",
            "u1 u2 u5 u9"
        ]
    );
    let caught_up = told.catch_up(9, 9, None);
    let as_live = |mut event: crate::fixtures::Seen| {
        assert!(event.catchup);
        event.catchup = false;
        event.json["catchup"] = false.into();
        event
    };
    assert_eq!(caught_up.into_iter().map(as_live).collect::<Vec<_>>(), live);
}

#[test]
fn a_list_of_users_is_encoded_once_for_all_who_get_it_at_a_time() {
    let settings = ChannelSettings { broadcast_presence_with_user_lists: true, ..noisy() };
    let mut told = Told::new(settings);
    (0..3).for_each(|index| told.state.join(conn(index), view(8), None, &time(1), &mut Vec::new()));
    told.join(5);
    let live = match told.effects.pop() {
        Some((_, ToHub::Deliver(_, stamped))) => stamped.frame,
        other => panic!("{other:?}"),
    };
    let mut missed = |index| {
        told.state.attach(conn(index), view(8), place(1, index), PART, &time(2), &mut told.effects);
        match told.effects.pop() {
            Some((_, ToHub::Join(_, _, listen))) => listen.catchup[0].frame.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert!(Arc::ptr_eq(&missed(0), &live), "it is still on its way");
    let weak = Arc::downgrade(&live);
    drop(live);
    assert!(weak.upgrade().is_none(), "the channel keeps none");
    let one = missed(1);
    assert!(Arc::ptr_eq(&one, &missed(2)));
}

#[test]
fn whoever_comes_back_joins_again() {
    let mut told = Told::new(noisy());
    told.join(1);
    told.part(1);
    told.catch_up(1, 1, None);
    assert_eq!(told.heard(), ["u1 joined", "u1 parted", "u1 joined"]);
    told.part(1);
    told.state.return_present(conn(1), view(1), &time(1), &mut told.effects);
    assert_eq!(told.heard(), ["u1 parted", "u1 joined"]);
    assert_eq!(told.state.counts(), (2, 2, 0));
}

#[test]
fn lists_of_users_include_who_joins_and_exclude_who_parts() {
    let settings = ChannelSettings { broadcast_presence_with_user_lists: true, ..noisy() };
    let mut told = Told::new(settings);
    told.join(1);
    told.leave(1);
    let users = |told: &Told, at: usize| match &told.effects[at] {
        (_, ToHub::Deliver(_, stamped)) => {
            seen(&stamped.frame.live_element()).json["users"].as_array().unwrap().len()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!((users(&told, 0), users(&told, 1)), (2, 1));
}

#[test]
fn nobody_is_told_where_nobody_wants_to_know() {
    let mut told = Told::new(ChannelSettings::default());
    told.join(1);
    told.state.user_changed(view(1), Some("[]"), &time(5), &mut told.effects);
    told.leave(1);
    assert!(told.heard().is_empty());
    assert_eq!(*told.state.last_active(), time(0));
}

#[test]
fn state_changes_are_told_of_present_users() {
    let mut told = Told::new(noisy());
    told.state.user_changed(view(1), Some("[]"), &time(5), &mut told.effects);
    told.join(1);
    told.state.user_changed(view(1), None, &time(5), &mut told.effects);
    told.state.user_changed(view(1), Some("[]"), &time(5), &mut told.effects);
    let heard = told.heard();
    assert_eq!(heard.len(), 2);
    assert!(heard[1].starts_with("user_state_change"));
}

#[test]
fn history_keeps_the_last_ones() {
    let mut told = Told::new(ChannelSettings { history_size: 2, ..noisy() });
    for number in 1..=3 {
        told.post(number, if number == 2 { only(&[1]) } else { Audience::all() });
    }
    assert_eq!(told.history(), [2, 3], "private ones are kept as well");
    let mut quiet = message(4);
    quiet.delivery.no_history = true;
    told.publish(Publication::Post(quiet, Audience::all()));
    assert_eq!(told.history(), [2, 3]);
    told.state.configure(ChannelSettings { history_size: 1, ..noisy() });
    assert_eq!(told.history(), [2, 3], "a smaller size takes effect with the next message");
    told.post(5, Audience::all());
    assert_eq!(told.history(), [5]);
    told.state.configure(ChannelSettings { history_size: 0, ..noisy() });
    (6..30).for_each(|number| told.post(number, Audience::all()));
    assert_eq!(told.history().len(), 25, "size 0 never cuts");
    told.state.configure(ChannelSettings { store_history: false, ..noisy() });
    told.post(30, Audience::all());
    assert_eq!(told.history().len(), 25);
}

#[test]
fn the_servers_own_bound_cuts_any_history() {
    let keeping = Retention { history: 3, ..PLENTY };
    let mut state = channel(ChannelSettings { history_size: 0, ..noisy() }, keeping);
    for number in 0..9 {
        let post = Publication::Post(message(number), Audience::all());
        state.publish(post, None, &time(0), &mut Vec::new());
    }
    assert_eq!(state.counts().2, 3);
}

#[test]
fn edits_and_deletions_reach_history_and_catch_up() {
    let mut told = Told::new(ChannelSettings { store_history: true, ..ChannelSettings::default() });
    told.join(1);
    (1..=3).for_each(|number| told.post(number, Audience::all()));
    told.publish(Publication::Edit(edit(2, "{\"text\":\"new\"}"), Audience::all()));
    told.publish(Publication::Delete(delete(1), Audience::all()));
    assert_eq!(told.history(), [2, 3]);
    let events = told.catch_up(1, 1, None);
    let short: Vec<_> = events.iter().map(|event| (event.kind.as_str(), event.number)).collect();
    assert_eq!(
        short,
        [("message", 2), ("message", 3), ("message:edit", 2), ("message:delete", 1)],
        "the edited one in its place, the deleted one gone, and the events"
    );
    assert!(events.iter().all(|event| event.catchup));
    assert_eq!(events[0].json["message"]["text"], "new");
    assert_ne!(events[0].json["edited"], serde_json::Value::Null);
    assert_eq!(events[0].json["user"], "s", "what an edit leaves out stays");
    told.publish(Publication::Edit(edit(77, "{}"), Audience::all()));
    assert_eq!(told.heard().last().unwrap(), "message:edit 77", "an unknown one is told all the same");
}

#[test]
fn catch_up_begins_where_the_peer_got_to() {
    let mut told = Told::new(ChannelSettings::default());
    told.post(1, Audience::all());
    told.join(1);
    told.post(2, Audience::all());
    told.post(3, only(&[2]));
    told.post(4, only(&[1]));
    told.post(5, Audience::all_but(UserId(1)));
    assert_eq!(told.numbers(1, None), [2, 4], "from its subscription on, what is meant for it");
    assert_eq!(told.numbers(1, Some(2)), [2, 4], "it never got to listen");
    assert_eq!(told.numbers(1, Some(1)), [4]);
    assert_eq!(told.numbers(1, Some(5)), [4], "a cursor never goes back");
    assert_eq!(told.numbers(1, None), [] as [u128; 0]);
}

#[test]
fn without_frames_there_is_no_catch_up() {
    let mut told = Told::new(ChannelSettings::default());
    told.join(1);
    told.post(1, Audience::all());
    told.state.configure(ChannelSettings { store_frames: false, ..ChannelSettings::default() });
    told.post(2, Audience::all());
    assert!(told.numbers(1, None).is_empty());
    told.state.configure(ChannelSettings::default());
    told.post(3, Audience::all());
    assert_eq!(told.numbers(1, None), [3]);
}

#[test]
fn the_buffer_holds_so_many_frames() {
    let mut state = channel(ChannelSettings::default(), Retention { frames: 2, ..PLENTY });
    let mut effects = Vec::new();
    state.join(conn(1), view(1), None, &time(0), &mut effects);
    for number in 1..=5 {
        let post = Publication::Post(message(number), Audience::all());
        state.publish(post, None, &time(0), &mut effects);
    }
    state.attach(conn(1), view(1), place(0, 1), PART, &time(0), &mut effects);
    match effects.pop() {
        Some((_, ToHub::Join(_, _, listen))) => {
            assert_eq!(listen.catchup.iter().map(|stamped| stamped.offset).collect::<Vec<_>>(), [4, 5]);
            assert_eq!((listen.from, listen.through), (0, 5));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_hubs_with_sessions_hear_of_it() {
    let mut told = Told::new(ChannelSettings::default());
    for (hub, index) in [(2, 1), (2, 2)] {
        told.state.join(conn(index), view(index), Some(place(hub, index)), &time(0), &mut told.effects);
    }
    let hubs = |told: &mut Told| {
        told.effects.clear();
        told.post(1, Audience::all());
        told.effects.drain(..).map(|(hub, _)| hub.0).collect::<Vec<_>>()
    };
    assert_eq!(hubs(&mut told), [0, 2]);
    told.state.detach(conn(1), Some(0));
    assert_eq!(hubs(&mut told), [0, 2]);
    told.leave(2);
    assert_eq!(hubs(&mut told), [0]);
}

/// A channel has one for each of its connections.
#[test]
fn members_stay_small() {
    assert_eq!(size_of::<Member>(), 32);
}
