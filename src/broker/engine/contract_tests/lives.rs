//! Series of calls that random calls seldom are: how a cluster begins, fails over, loses a node.

use super::super::call::{
    Call, ChannelRecord, Count, EngineConstants, Laggard, NodeNumber, Retention, RowUpdate, ScriptSettings,
    Sender,
};
use super::super::record::MemberView;
use super::calls::{NODES, Step, stream, text};
use crate::protocol::ids::{Epoch, Stamp};
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
                step(node, 1, Call::Claim { conn: "1".into(), user: "x".into(), data: data.to_vec() })
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

/// The life and the death of a node with many members, rows and streams.
pub fn large_node(members: usize) -> Vec<Step> {
    let retention = Retention { channel_frames: 8, user_frames: 3, history: 4 };
    let settings = EngineConstants {
        retention,
        key_window_ms: 1,
        max_channels: 0,
        max_blocks: 1,
        user_idle_ms: 1,
        channel_idle_ms: 0,
        grace_ms: 1,
        beat_ms: 1,
        dead_ms: 3,
    };
    let by = |node: usize, passed, call| Step { call, sender: plain(NODES[node], 1, settings), passed };
    let channels = |prefix: &str| (0..members).map(|number| format!("{prefix}{number}")).collect::<Vec<_>>();
    let channel = |stream: String| ChannelRecord {
        stream,
        uuid: Uuid::nil(),
        settings: ScriptSettings::PRIVATE,
        text: "{}".into(),
        offset: 0,
    };
    let count = |user: String| Count {
        stream: "c0".into(),
        user,
        connections: 1,
        view: MemberView { state: "{}".into(), public_state: "{}".into() }.encode(),
    };
    let claim = |conn: String| by(1, 0, Call::Claim { conn, user: "x".into(), data: vec![] });
    let store = |conn: String| RowUpdate { conn, generation: 0, data: vec![] };
    let mut steps = beginning(settings);
    steps.push(by(1, 1, Call::Open { channels: channels("c").into_iter().map(channel).collect() }));
    steps.push(by(
        1,
        1,
        Call::Set { is_quiet: false, counts: channels("u").into_iter().map(count).collect() },
    ));
    steps.extend(channels("k").into_iter().take(300).map(claim));
    steps.push(by(1, 1, Call::Store { rows: channels("k").into_iter().map(store).collect() }));
    steps.push(by(1, 1, Call::Unfollow { streams: channels("c") }));
    steps.extend([1, 1_900, 1_900].map(|passed| by(0, passed, Call::Beat { info: None })));
    steps.push(by(0, 1, Call::Sweep { node: NODES[1], is_quiet: false }));
    steps
}
