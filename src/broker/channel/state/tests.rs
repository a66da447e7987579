//! A channel without its actor: members, presence, recipients.

use super::*;
use crate::broker::channel::messages::Publication;
use crate::broker::hub::messages::CatchUpPart;
use crate::fixtures::{PLENTY, channel, conn, location, message, seen, time, view};
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
pub(super) struct TestChannel {
    pub(super) state: ChannelState,
    pub(super) effects: ChannelEffects,
    /// The time at which messages are published and sessions attach.
    now: Timestamp,
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
    pub(super) fn new(settings: ChannelSettings) -> Self {
        let mut state = channel(settings, PLENTY);
        let mut effects = Vec::new();
        state.join(conn(9), view(9), Some(location(0, 9)), &time(0), &mut effects);
        effects.clear();
        Self { effects, ..Self::of(state) }
    }

    /// A channel in this state, without a session.
    pub(super) fn of(state: ChannelState) -> Self {
        Self { state, effects: Vec::new(), now: time(3) }
    }

    /// Sets the time.
    pub(super) fn at(&mut self, micros: i64) -> &mut Self {
        self.now = time(micros);
        self
    }

    /// Joins a connection of the user with the same number. Connections from 10 on belong to user 1.
    pub(super) fn join(&mut self, index: u32) {
        let user = if index < 10 { index } else { 1 };
        self.state.join(conn(index), view(user), None, &time(1), &mut self.effects);
    }

    pub(super) fn leave(&mut self, index: u32) {
        self.state.leave(conn(index), &time(2), &mut self.effects);
    }

    pub(super) fn part(&mut self, index: u32) {
        self.state.part(conn(index), &time(2), &mut self.effects);
    }

    pub(super) fn post(&mut self, number: u128, audience: Audience) {
        self.publish(Publication::Post(message(number), audience));
    }

    pub(super) fn publish(&mut self, publication: Publication) {
        self.state.publish(publication, None, &self.now, &mut self.effects);
    }

    /// The broadcasts since the last call: user and action, or kind and number.
    pub(super) fn broadcasts(&mut self) -> Vec<String> {
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
    pub(super) fn catch_up(
        &mut self,
        index: u32,
        user: u32,
        cursor: Option<Offset>,
    ) -> Vec<crate::fixtures::Seen> {
        self.state.attach(
            conn(index),
            view(user),
            location(1, index),
            Attaching { part: PART, resume: None },
            &self.now,
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

    pub(super) fn numbers(&mut self, index: u32, cursor: Option<Offset>) -> Vec<u128> {
        self.catch_up(index, index, cursor).iter().map(|event| event.number).collect()
    }

    pub(super) fn history(&mut self) -> Vec<u128> {
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
