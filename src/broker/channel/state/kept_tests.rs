//! What a channel keeps: the history, and the frames that clients catch up with.

use super::tests::{PART, TestChannel, all_events};
use super::*;
use crate::broker::channel::messages::Publication;
use crate::fixtures::{PLENTY, channel, conn, delete, edit, location, message, only, time, view};
use crate::protocol::frame::Audience;

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
