//! Series of calls that random calls seldom are: how a cluster begins, fails over, loses a node.

use super::super::call::{
    Call, ChannelToOpen, Count, EngineConstants, Item, Laggard, NodeNumber, Retention, RowUpdate,
    ScriptSettings, Sender,
};
use super::super::record::{MemberView, Record};
use super::calls::{NODES, Step, stream, text};
use crate::protocol::ids::{Epoch, Stamp};
use crate::protocol::message::{Delivery, Message};
use crate::protocol::time::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

/// A sender whose random parts do not matter.
fn plain(node: NodeNumber, epoch: u64, settings: EngineConstants) -> Sender {
    let (boot, seed) = (Uuid::nil(), Uuid::from_u128(epoch.into()));
    Sender { node, boot, number: 0, epoch: Epoch::new(epoch), seed, settings }
}

/// What a cluster does first.
pub fn beginning(settings: EngineConstants) -> Vec<Step> {
    let step = |node, call| Step { call, sender: plain(node, 1, settings), passed: 1 };
    let adopt = Call::Adopt { known_term: 0, run: "r".into(), stamp: Stamp(0) };
    let enlist = |node| step(node, Call::Enlist { earlier: 0, info: "{}".into() });
    [vec![step(NODES[0], adopt)], NODES[..4].iter().map(|node| enlist(*node)).collect()].concat()
}

/// What a cluster does in a failover: some nodes report, and the other ones are declared dead.
pub fn failover(settings: EngineConstants) -> impl Strategy<Value = Vec<Step>> {
    let reports = NODES.map(|_| prop::option::weighted(0.6, vec((stream(), 0_u64..30), 0..3)));
    // A beat of the second node, and the beats that find it dead or nearly so.
    let silence = 1_499_i64..1_502;
    (text(&["r", "s", "t"]), any::<u64>(), reports, silence, any::<bool>()).prop_map(
        move |(run, epoch, reports, silence, is_quiet)| {
            let step = |node, passed, call| Step { call, sender: plain(node, epoch, settings), passed };
            let stamp = Stamp(0);
            let adopt = step(NODES[0], 1, Call::Adopt { known_term: 1, run, stamp });
            let reports = NODES
                .into_iter()
                .zip(reports)
                .filter_map(|(node, streams)| Some(step(node, 1, Call::Report { stamp, streams: streams? })));
            let beats = [(0, 1), (1, 5), (0, 1_500), (0, silence)];
            let beats = beats.map(|(node, passed)| step(NODES[node], passed, Call::Beat { info: None }));
            let report = step(NODES[0], 1, Call::Report { stamp, streams: Vec::new() });
            // The first ones may find that another node has not reported.
            let sweeps = [NODES, NODES].concat().into_iter();
            let sweeps = sweeps.map(|node| step(NODES[0], 1, Call::Sweep { node, is_quiet }));
            let claim = |node, data: &[u8]| {
                step(
                    node,
                    1,
                    Call::Claim { conn: "1".into(), user: "x".into(), data: data.to_vec(), most: 0 },
                )
            };
            let marks = [b"m", b"n"].map(|received| {
                let laggards = vec![Laggard { conn: "1".into(), received: received.to_vec() }];
                step(NODES[1], 1, Call::Mark { delivered: Stamp(7), laggards })
            });
            let before = std::iter::once(claim(NODES[1], b"1")).chain(marks).chain([adopt]);
            let after = [report].into_iter().chain(sweeps).chain([claim(NODES[0], b"0")]);
            before.chain(reports).chain(beats).chain(after).collect()
        },
    )
}

/// A call that fails in the middle, and what happens before and after.
pub struct Failure {
    pub before: Vec<Step>,
    pub fails: Step,
    /// The key that has the wrong type when the call runs.
    pub spoiled: &'static str,
    pub after: Vec<Step>,
}

/// A call that has changed a stream, the term and the mail of two nodes when it fails. The calls after it use the same.
pub fn failure() -> Failure {
    let settings = settings();
    let by = |node: usize, call| Step { call, sender: plain(NODES[node], 1, settings), passed: 1 };
    let step = |call| by(0, call);
    let numbered = |number, streams: &[&str]| {
        let item = |stream: &&str| Item { stream: (*stream).into(), record: message(), part: None };
        let mut step = step(Call::Append { items: streams.iter().map(item).collect() });
        step.sender.number = number;
        step
    };
    let follow =
        |node, stream: &str| by(node, Call::Follow { stream: stream.into(), after: 0, max_bytes: 0 });
    let read = |stream: &str| {
        let (after, max_bytes) = (0, 1 << 20);
        step(Call::Read { stream: stream.into(), after, with_history: true, with_members: true, max_bytes })
    };
    let channels = ["ca", "cb"].map(|stream| channel(stream.into())).to_vec();
    let mut before = beginning(settings);
    before.push(step(Call::Open { channels }));
    before.extend([follow(0, "ca"), follow(1, "ca"), follow(1, "cb"), numbered(1, &["cb"])]);
    // With one stream only, the first command that stores something is the one that fails.
    let fails = numbered(2, &["ca", "ca"]);
    let set = Call::Set { is_quiet: false, counts: vec![count("ca", "x".into())] };
    let after = vec![
        by(1, Call::Mark { delivered: Stamp(7), laggards: vec![] }),
        numbered(3, &["cb"]),
        step(set),
        read("ca"),
        read("cb"),
        step(Call::Announce { stream: "ca".into(), after: 0, record: b"r".to_vec() }),
    ];
    Failure { before, fails, spoiled: "log:ca", after }
}

fn message() -> Vec<u8> {
    let delivery = Delivery { channel: Some("c".into()), ..Delivery::default() };
    let timestamp = Timestamp::from_unix_micros(1);
    let message = Message { uuid: Uuid::from_u128(1), timestamp, user: "x".into(), message: None, delivery };
    Record::Message { message, edited: None }.encode()
}

fn settings() -> EngineConstants {
    let retention = Retention { channel_frames: 8, user_frames: 3, history: 4 };
    EngineConstants {
        retention,
        key_window_ms: 1,
        max_channels: 0,
        max_blocks: 1,
        user_idle_ms: 1,
        channel_idle_ms: 0,
        grace_ms: 1,
        beat_ms: 1,
        dead_ms: 3,
    }
}

fn channel(stream: String) -> ChannelToOpen {
    let settings = ScriptSettings::PRIVATE;
    ChannelToOpen { stream, uuid: Uuid::nil(), settings, text: "{}".into(), offset: 0 }
}

fn count(stream: &str, user: String) -> Count {
    let view = MemberView { state: "{}".into(), public_state: "{}".into() }.encode();
    Count { stream: stream.into(), user, connections: 1, present: 0, view }
}

/// The life and the death of a node with many members, rows and streams.
pub fn large_node(members: usize) -> Vec<Step> {
    let settings = settings();
    let by = |node: usize, passed, call| Step { call, sender: plain(NODES[node], 1, settings), passed };
    let channels = |prefix: &str| (0..members).map(|number| format!("{prefix}{number}")).collect::<Vec<_>>();
    let claim = |conn: String| by(1, 0, Call::Claim { conn, user: "x".into(), data: vec![], most: 0 });
    let store = |conn: String| RowUpdate { conn, generation: 0, data: vec![] };
    let mut steps = beginning(settings);
    steps.push(by(1, 1, Call::Open { channels: channels("c").into_iter().map(channel).collect() }));
    steps.push(by(
        1,
        1,
        Call::Set {
            is_quiet: false,
            counts: channels("u").into_iter().map(|user| count("c0", user)).collect(),
        },
    ));
    steps.extend(channels("k").into_iter().take(300).map(claim));
    steps.push(by(1, 1, Call::Store { rows: channels("k").into_iter().map(store).collect() }));
    steps.push(by(1, 1, Call::Unfollow { streams: channels("c") }));
    steps.extend([1, 1_900, 1_900].map(|passed| by(0, passed, Call::Beat { info: None })));
    steps.push(by(0, 1, Call::Sweep { node: NODES[1], is_quiet: false }));
    steps
}
