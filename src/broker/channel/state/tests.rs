//! Single scenarios of a channel.

use super::*;
use crate::broker::channel::messages::Publication;
use crate::broker::hub::messages::CatchUpPart;
use crate::fixtures::{PLENTY, channel, conn, delete, edit, location, message, only, seen, time, view};
use crate::protocol::frame::Audience;

pub(super) const PART: CatchUpPart = CatchUpPart { index: 0, of: 1 };

impl ChannelState {
    /// Panics unless the counts equal a recount.
    pub fn check(&self) {
        let here = self.members.iter().filter(|member| member.present);
        assert_eq!(here.count(), self.connections as usize);
        for (hub, sessions) in (0..).zip(&self.sessions) {
            let with_session =
                self.members.iter().filter(|member| member.has_session && member.hub == HubId(hub));
            assert_eq!(with_session.count(), *sessions as usize);
        }
    }

    /// All members, present or absent.
    pub fn member_keys(&self) -> impl Iterator<Item = ConnKey> {
        self.members.iter().map(|member| member.conn)
    }

    /// The number of buffered frames and of stored messages.
    pub fn num_stored(&self) -> (usize, usize) {
        (self.frames.num_frames(), self.history.len())
    }
}

/// A channel and its commands to hub 0, where the session of connection 9 is subscribed.
struct TestChannel {
    state: ChannelState,
    effects: ChannelEffects,
}

pub(super) fn all_events() -> ChannelSettings {
    ChannelSettings {
        notify_presence: true,
        notify_state: true,
        store_history: true,
        ..ChannelSettings::default()
    }
}

impl TestChannel {
    fn new(settings: ChannelSettings) -> Self {
        let mut state = channel(settings, PLENTY);
        let mut effects = Vec::new();
        state.join(conn(9), view(9), Some(location(0, 9)), &time(0), &mut effects);
        effects.clear();
        Self { state, effects }
    }

    /// Joins a connection of the user with the same number. Connections from 10 on belong to user 1.
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

    /// The broadcasts since the last call: user and action, or kind and number.
    fn broadcasts(&mut self) -> Vec<String> {
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

    /// Attaches a session, returns its catch-up, and detaches it with this cursor.
    fn catch_up(&mut self, index: u32, user: u32, cursor: Option<Offset>) -> Vec<crate::fixtures::Seen> {
        self.state.attach(
            conn(index),
            view(user),
            location(1, index),
            Attaching { part: PART, resume: None },
            &time(4),
            &mut self.effects,
        );
        let Some((_, ToHub::Join(_, _, subscription))) = self.effects.pop() else { panic!("no join") };
        self.state.detach(conn(index), cursor);
        subscription
            .catchup
            .iter()
            .map(|stamped| seen(&stamped.frame.catchup_element(None).concat()))
            .collect()
    }

    fn numbers(&mut self, index: u32, cursor: Option<Offset>) -> Vec<u128> {
        self.catch_up(index, index, cursor).iter().map(|event| event.number).collect()
    }

    fn history(&mut self) -> Vec<u128> {
        let snapshot = self.state.snapshot(&Inspect { users: false, history: true });
        snapshot.history.iter().map(|stored| stored.message.uuid.as_u128()).collect()
    }
}

#[test]
fn presence_events_are_per_user_and_exclude_that_user() {
    let mut channel = TestChannel::new(all_events());
    channel.join(1);
    let audience = match channel.effects.last() {
        Some((_, ToHub::Deliver(_, stamped))) => stamped.frame.audience().clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(audience, Audience::all_but(UserId(1)));
    channel.join(11);
    channel.leave(1);
    assert_eq!(channel.broadcasts(), ["u1 joined"], "the second connection joined and the first left");
    channel.part(11);
    assert_eq!(channel.broadcasts(), ["u1 parted"]);
    channel.part(11);
    channel.leave(11);
    assert_eq!(channel.broadcasts(), [] as [&str; 0], "the connection had already parted");
    channel.leave(12);
    assert_eq!(channel.broadcasts(), [] as [&str; 0], "the connection was never a member");
}

#[test]
fn catch_up_keeps_each_events_list_of_users() {
    let settings = ChannelSettings { broadcast_presence_with_user_lists: true, ..all_events() };
    let mut channel = TestChannel::new(settings);
    (1..6).for_each(|user| channel.join(user));
    channel.leave(3);
    channel.part(4);
    let live: Vec<_> = std::mem::take(&mut channel.effects);
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
    let caught_up = channel.catch_up(9, 9, None);
    let without_catchup_flag = |mut event: crate::fixtures::Seen| {
        assert!(event.catchup);
        event.catchup = false;
        event.json["catchup"] = false.into();
        event
    };
    assert_eq!(caught_up.into_iter().map(without_catchup_flag).collect::<Vec<_>>(), live);
}

#[test]
fn concurrent_receivers_share_one_encoded_list_of_users() {
    let settings = ChannelSettings { broadcast_presence_with_user_lists: true, ..all_events() };
    let mut channel = TestChannel::new(settings);
    (0..3).for_each(|index| channel.state.join(conn(index), view(8), None, &time(1), &mut Vec::new()));
    channel.join(5);
    let live = match channel.effects.pop() {
        Some((_, ToHub::Deliver(_, stamped))) => stamped.frame,
        other => panic!("{other:?}"),
    };
    let mut missed = |index| {
        channel.state.attach(
            conn(index),
            view(8),
            location(1, index),
            Attaching { part: PART, resume: None },
            &time(2),
            &mut channel.effects,
        );
        match channel.effects.pop() {
            Some((_, ToHub::Join(_, _, subscription))) => subscription.catchup[0].frame.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert!(Arc::ptr_eq(&missed(0), &live), "the frame is still in flight");
    let weak = Arc::downgrade(&live);
    drop(live);
    assert!(weak.upgrade().is_none(), "the channel keeps no frame alive");
    let one = missed(1);
    assert!(Arc::ptr_eq(&one, &missed(2)));
}

#[test]
fn a_returning_connection_joins_again() {
    let mut channel = TestChannel::new(all_events());
    channel.join(1);
    channel.part(1);
    channel.catch_up(1, 1, None);
    assert_eq!(channel.broadcasts(), ["u1 joined", "u1 parted", "u1 joined"]);
    channel.part(1);
    channel.state.return_present(conn(1), view(1), &time(1), &mut channel.effects);
    assert_eq!(channel.broadcasts(), ["u1 parted", "u1 joined"]);
    assert_eq!(channel.state.counts(), (2, 2, 0));
}

#[test]
fn lists_of_users_include_the_joining_and_exclude_the_parting_user() {
    let settings = ChannelSettings { broadcast_presence_with_user_lists: true, ..all_events() };
    let mut channel = TestChannel::new(settings);
    channel.join(1);
    channel.leave(1);
    let users = |channel: &TestChannel, at: usize| match &channel.effects[at] {
        (_, ToHub::Deliver(_, stamped)) => {
            seen(&stamped.frame.live_element()).json["users"].as_array().unwrap().len()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!((users(&channel, 0), users(&channel, 1)), (2, 1));
}

#[test]
fn long_lists_of_users_are_left_out_where_the_rules_say_so() {
    let settings = ChannelSettings { broadcast_presence_with_user_lists: true, ..all_events() };
    let rules = ChannelRules { lists_up_to: 2, frames: Some(3), ..ChannelRules::default() };
    let mut state = channel(settings, PLENTY).with_rules(rules.into());
    let mut effects = Vec::new();
    state.join(conn(9), view(9), Some(location(0, 9)), &time(0), &mut effects);
    effects.clear();
    let mut channel = TestChannel { state, effects };
    (1..4).for_each(|user| channel.join(user));
    (2..4).for_each(|user| channel.leave(user));
    let listed = |event: &serde_json::Value| event["users"].as_array().unwrap().len();
    let live: Vec<usize> = channel
        .effects
        .iter()
        .map(|(_, message)| match message {
            ToHub::Deliver(_, stamped) => listed(&seen(&stamped.frame.live_element()).json),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(live, [2, 0, 0, 0, 2]);
    let missed: Vec<usize> = channel.catch_up(9, 9, None).iter().map(|event| listed(&event.json)).collect();
    assert_eq!(missed, [0, 0, 2], "the rules limit the number of frames");
}

#[test]
fn no_events_are_sent_without_the_settings() {
    let mut channel = TestChannel::new(ChannelSettings::default());
    channel.join(1);
    channel.state.user_changed(view(1), Some("[]"), &time(5), &mut channel.effects);
    channel.leave(1);
    assert!(channel.broadcasts().is_empty());
    assert_eq!(*channel.state.last_active(), time(0));
}

#[test]
fn only_present_users_cause_state_change_events() {
    let mut channel = TestChannel::new(all_events());
    channel.state.user_changed(view(1), Some("[]"), &time(5), &mut channel.effects);
    channel.join(1);
    channel.state.user_changed(view(1), None, &time(5), &mut channel.effects);
    channel.state.user_changed(view(1), Some("[]"), &time(5), &mut channel.effects);
    let broadcasts = channel.broadcasts();
    assert_eq!(broadcasts.len(), 2);
    assert!(broadcasts[1].starts_with("user_state_change"));
}

#[test]
fn history_keeps_the_last_messages() {
    let mut channel = TestChannel::new(ChannelSettings { history_size: 2, ..all_events() });
    for number in 1..=3 {
        channel.post(number, if number == 2 { only(&[1]) } else { Audience::all() });
    }
    assert_eq!(channel.history(), [2, 3], "messages for named users are stored as well");
    let mut unstored = message(4);
    unstored.delivery.no_history = true;
    channel.publish(Publication::Post(unstored, Audience::all()));
    assert_eq!(channel.history(), [2, 3]);
    channel.state.configure(ChannelSettings { history_size: 1, ..all_events() });
    assert_eq!(channel.history(), [2, 3], "a smaller size takes effect with the next message");
    channel.post(5, Audience::all());
    assert_eq!(channel.history(), [5]);
    channel.state.configure(ChannelSettings { history_size: 0, ..all_events() });
    (6..30).for_each(|number| channel.post(number, Audience::all()));
    assert_eq!(channel.history().len(), 25, "size 0 means no limit");
    channel.state.configure(ChannelSettings { store_history: false, ..all_events() });
    channel.post(30, Audience::all());
    assert_eq!(channel.history().len(), 25);
}

#[test]
fn the_servers_limit_applies_to_every_history() {
    let retention = Retention { history: 3, ..PLENTY };
    let mut state = channel(ChannelSettings { history_size: 0, ..all_events() }, retention);
    for number in 0..9 {
        let post = Publication::Post(message(number), Audience::all());
        state.publish(post, None, &time(0), &mut Vec::new());
    }
    assert_eq!(state.counts().2, 3);
}

#[test]
fn edits_and_deletions_reach_history_and_catch_up() {
    let mut channel = TestChannel::new(ChannelSettings { store_history: true, ..ChannelSettings::default() });
    channel.join(1);
    (1..=3).for_each(|number| channel.post(number, Audience::all()));
    channel.publish(Publication::Edit(edit(2, "{\"text\":\"new\"}"), Audience::all()));
    channel.publish(Publication::Delete(delete(1), Audience::all()));
    assert_eq!(channel.history(), [2, 3]);
    let events = channel.catch_up(1, 1, None);
    let short: Vec<_> = events.iter().map(|event| (event.kind.as_str(), event.number)).collect();
    assert_eq!(
        short,
        [("message", 2), ("message", 3), ("message:edit", 2), ("message:delete", 1)],
        "the edited message at its position, no deleted message, and the events"
    );
    assert!(events.iter().all(|event| event.catchup));
    assert_eq!(events[0].json["message"]["text"], "new");
    assert_ne!(events[0].json["edited"], serde_json::Value::Null);
    assert_eq!(events[0].json["user"], "s", "fields that an edit omits stay");
    channel.publish(Publication::Edit(edit(77, "{}"), Audience::all()));
    assert_eq!(
        channel.broadcasts().last().unwrap(),
        "message:edit 77",
        "edits of unknown messages are sent too"
    );
}

#[test]
fn catch_up_begins_at_the_clients_cursor() {
    let mut channel = TestChannel::new(ChannelSettings::default());
    channel.post(1, Audience::all());
    channel.join(1);
    channel.post(2, Audience::all());
    channel.post(3, only(&[2]));
    channel.post(4, only(&[1]));
    channel.post(5, Audience::all_but(UserId(1)));
    assert_eq!(channel.numbers(1, None), [2, 4], "everything for this user since the subscription");
    assert_eq!(channel.numbers(1, Some(2)), [2, 4], "the session never subscribed");
    assert_eq!(channel.numbers(1, Some(1)), [4]);
    assert_eq!(channel.numbers(1, Some(5)), [4], "a cursor never moves back");
    assert_eq!(channel.numbers(1, None), [] as [u128; 0]);
}

#[test]
fn without_frames_there_is_no_catch_up() {
    let mut channel = TestChannel::new(ChannelSettings::default());
    channel.join(1);
    channel.post(1, Audience::all());
    channel.state.configure(ChannelSettings { store_frames: false, ..ChannelSettings::default() });
    channel.post(2, Audience::all());
    assert!(channel.numbers(1, None).is_empty());
    channel.state.configure(ChannelSettings::default());
    channel.post(3, Audience::all());
    assert_eq!(channel.numbers(1, None), [3]);
}

#[test]
fn the_buffer_holds_a_limited_number_of_frames() {
    let mut state = channel(ChannelSettings::default(), Retention { frames: 2, ..PLENTY });
    let mut effects = Vec::new();
    state.join(conn(1), view(1), None, &time(0), &mut effects);
    for number in 1..=5 {
        let post = Publication::Post(message(number), Audience::all());
        state.publish(post, None, &time(0), &mut effects);
    }
    state.attach(
        conn(1),
        view(1),
        location(0, 1),
        Attaching { part: PART, resume: None },
        &time(0),
        &mut effects,
    );
    match effects.pop() {
        Some((_, ToHub::Join(_, _, subscription))) => {
            assert_eq!(subscription.catchup.iter().map(|stamped| stamped.offset).collect::<Vec<_>>(), [4, 5]);
            assert_eq!((subscription.from, subscription.through), (0, 5));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn new_members_receive_what_is_kept_where_the_rules_say_so() {
    for (replay, expected) in [(Replay::Absence, vec![]), (Replay::Members, vec![3, 4])] {
        let rules = ChannelRules { replay, frames: Some(2), ..ChannelRules::default() };
        let mut channel = TestChannel {
            state: channel(ChannelSettings::default(), PLENTY).with_rules(rules.into()),
            effects: Vec::new(),
        };
        (1..=3).for_each(|number| channel.post(number, Audience::all()));
        channel.post(4, Audience::all_but(UserId(2)));
        channel.join(1);
        channel.join(2);
        assert_eq!(channel.numbers(1, Some(4)), expected);
        assert_eq!(channel.numbers(1, None), [] as [u128; 0], "only once");
        assert_eq!(channel.numbers(2, None), if expected.is_empty() { vec![] } else { vec![3] });
        // A connection subscribes while it has a session.
        channel.state.join(conn(3), view(3), Some(location(0, 3)), &time(1), &mut channel.effects);
        match channel.effects.pop() {
            Some((_, ToHub::Join(_, _, subscription))) => {
                assert_eq!(subscription.catchup.len(), expected.len())
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn frames_are_kept_for_a_limited_time_where_the_rules_say_so() {
    let rules = ChannelRules { frames_age_s: 2, ..ChannelRules::default() };
    let settings = ChannelSettings { broadcast_presence_with_user_lists: true, ..all_events() };
    let mut channel =
        TestChannel { state: channel(settings, PLENTY).with_rules(rules.into()), effects: Vec::new() };
    assert!(channel.state.needs_clock());
    channel.join(1);
    channel.join(2);
    channel.post(1, Audience::all());
    channel.state.set_clock(1_500);
    channel.post(2, Audience::all());
    assert_eq!(channel.state.num_stored().0, 4);
    channel.state.set_clock(2_001);
    assert_eq!(channel.numbers(1, None), [2], "old frames are removed when they are read");
    channel.state.set_clock(3_501);
    channel.post(3, Audience::all());
    assert_eq!(channel.state.num_stored().0, 1, "and when others are published");
    assert_eq!(channel.numbers(1, None), [3]);
    assert_eq!(channel.history(), [1, 2, 3], "the history has no times");
}

#[test]
fn only_hubs_with_sessions_receive_frames() {
    let mut channel = TestChannel::new(ChannelSettings::default());
    for (hub, index) in [(2, 1), (2, 2)] {
        channel.state.join(
            conn(index),
            view(index),
            Some(location(hub, index)),
            &time(0),
            &mut channel.effects,
        );
    }
    let hubs = |channel: &mut TestChannel| {
        channel.effects.clear();
        channel.post(1, Audience::all());
        channel.effects.drain(..).map(|(hub, _)| hub.0).collect::<Vec<_>>()
    };
    assert_eq!(hubs(&mut channel), [0, 2]);
    channel.state.detach(conn(1), Some(0));
    assert_eq!(hubs(&mut channel), [0, 2]);
    channel.leave(2);
    assert_eq!(hubs(&mut channel), [0]);
}

/// A channel has one member for each of its connections.
#[test]
fn members_stay_small() {
    assert_eq!(size_of::<Member>(), 48);
}
