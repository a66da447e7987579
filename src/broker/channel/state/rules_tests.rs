//! A channel for which the operator has set rules.

use super::tests::{TestChannel, all_events};
use super::*;
use crate::fixtures::{PLENTY, channel, conn, location, seen, time, view};
use crate::protocol::frame::Audience;

#[test]
fn long_lists_of_users_are_left_out_where_the_rules_say_so() {
    let settings = ChannelSettings { broadcast_presence_with_user_lists: true, ..all_events() };
    let rules = ChannelRules { lists_up_to: 2, frames: Some(3), ..ChannelRules::default() };
    let mut channel = TestChannel::of(channel(settings, PLENTY).with_rules(rules.into()));
    channel.state.join(conn(9), view(9), Some(location(0, 9)), &time(0), &mut channel.effects);
    channel.effects.clear();
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
fn new_members_receive_what_is_kept_where_the_rules_say_so() {
    for (replay, expected) in [(Replay::Absence, vec![]), (Replay::Members, vec![3, 4])] {
        let rules = ChannelRules { replay, frames: Some(2), ..ChannelRules::default() };
        let mut channel =
            TestChannel::of(channel(ChannelSettings::default(), PLENTY).with_rules(rules.into()));
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
    let mut channel = TestChannel::of(channel(settings, PLENTY).with_rules(rules.into()));
    assert!(!channel.state.needs_clock(), "stamps suffice");
    channel.join(1);
    channel.join(2);
    channel.at(10).post(1, Audience::all());
    channel.at(1_500_000).post(2, Audience::all());
    assert_eq!(channel.state.num_stored().0, 4);
    assert_eq!(channel.at(2_000_010).numbers(1, None), [1, 2], "the first message has exactly this age");
    assert_eq!(channel.at(2_000_011).numbers(1, None), [2], "old frames are removed when they are read");
    channel.at(3_500_001).post(3, Audience::all());
    assert_eq!(channel.state.num_stored().0, 1, "and when others are published");
    assert_eq!(channel.numbers(1, None), [3]);
    assert_eq!(channel.history(), [1, 2, 3], "the history has no times");
}

#[test]
fn frames_that_were_published_after_the_clock_went_back_stay_longer() {
    let rules = ChannelRules { frames_age_s: 2, ..ChannelRules::default() };
    let mut channel = TestChannel::of(channel(ChannelSettings::default(), PLENTY).with_rules(rules.into()));
    channel.at(9_000_000).post(1, Audience::all());
    channel.at(3_000_000).post(2, Audience::all());
    channel.at(11_000_001).post(3, Audience::all());
    assert_eq!(channel.state.num_stored().0, 2, "the second frame has the stamp after the first one");
    channel.at(13_000_002).post(4, Audience::all());
    assert_eq!(channel.state.num_stored().0, 1);
}
