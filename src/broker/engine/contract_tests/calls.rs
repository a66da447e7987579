//! Random calls: of old and unknown nodes, with repeated numbers, in several terms, with a clock that moves.

use super::super::call::{
    Call, ChannelToOpen, Count, EngineConstants, Item, KeyedPart, KeyedRequest, Laggard, NodeNumber,
    Retention, RowUpdate, ScriptSettings, Sender,
};
use super::super::record::{MemberView, Record};
use super::lives::{beginning, failover};
use crate::config::Secret;
use crate::fixtures::payload;
use crate::protocol::ids::{Epoch, Stamp};
use crate::protocol::message::{Delete, Delivery, Edit, Message};
use crate::protocol::time::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

/// The numbers of nodes. They are as large as the ones that nodes draw.
pub const NODES: [NodeNumber; 5] = [(1 << 53) - 1, (1 << 53) - 2, 12, 123, 3];
/// Stands for a number that Redis has drawn.
pub const CURRENT: u64 = u64::MAX;
/// Stands for the size of the first entry that a call reads.
pub const FIRST_ENTRY: u32 = u32::MAX;

/// A call, its sender, and the change of the clock before it in µs, which may go back.
#[derive(Clone, Debug)]
pub struct Step {
    pub call: Call,
    pub sender: Sender,
    pub passed: i64,
}

fn node() -> impl Strategy<Value = NodeNumber> {
    prop_oneof![4 => Just(NODES[0]), 3 => Just(NODES[1]), 2 => Just(NODES[2]), 2 => Just(NODES[3]), 1 => Just(NODES[4])]
}

pub fn text(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(of).prop_map(str::to_owned)
}

pub fn stream() -> impl Strategy<Value = String> {
    prop_oneof![3 => channel(), 1 => text(&["ux", "uy"])]
}

fn channel() -> impl Strategy<Value = String> {
    text(&["ca", "cb", "cc\0x"])
}

fn user() -> impl Strategy<Value = String> {
    text(&["x", "y", "z\u{e9}"])
}

fn conn() -> impl Strategy<Value = String> {
    text(&["1", "2", "3"])
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..4)
}

/// A number that Redis has drawn, or another one.
fn drawn() -> impl Strategy<Value = u64> {
    prop_oneof![5 => Just(CURRENT), 1 => 0_u64..3]
}

fn message_id() -> impl Strategy<Value = Uuid> {
    (1_u128..5).prop_map(Uuid::from_u128)
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let names = || vec(user(), 0..2);
    (names(), names(), prop::bool::weighted(0.2)).prop_map(|(pm_users, exclude_users, no_history)| Delivery {
        channel: Some("c".into()),
        pm_users,
        exclude_users,
        no_history,
    })
}

fn time() -> impl Strategy<Value = Timestamp> {
    let offset = prop::option::of(-90_i16..90);
    (1_i64..1000, offset).prop_map(|(micros, offset)| Timestamp::from_parts(micros, offset).unwrap())
}

fn content() -> impl Strategy<Value = Option<crate::protocol::value::Payload>> {
    prop::option::of("[a-z]{1,5}".prop_map(|text| payload(&format!("{{\"t\":\"{text}\"}}"))))
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    (message_id(), time(), "[a-z]{1,3}", content(), delivery()).prop_map(
        |(uuid, timestamp, user, message, delivery)| {
            let message = Message { uuid, timestamp, user, message, delivery };
            Record::Message { message, edited: None }.encode()
        },
    )
}

fn view() -> impl Strategy<Value = Vec<u8>> {
    ("[a-z]{0,3}", "[a-z]{0,3}").prop_map(|(state, public_state)| MemberView { state, public_state }.encode())
}

fn edit_or_deletion() -> impl Strategy<Value = Vec<u8>> {
    let edit = (
        message_id(),
        prop::option::of(time()),
        prop::option::of("[a-z]{1,3}"),
        content(),
        time(),
        delivery(),
    );
    let edit = edit.prop_map(|(uuid, timestamp, user, message, edited, delivery)| {
        let edit = Edit { uuid, timestamp, user, message, edited, delivery };
        Record::Edit { edit, is_of_deleted: false }.encode()
    });
    let delete = (message_id(), delivery())
        .prop_map(|(uuid, delivery)| Record::Delete(Delete { uuid, delivery }).encode());
    prop_oneof![3 => edit, 2 => delete]
}

fn channel_record() -> impl Strategy<Value = ChannelToOpen> {
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.7), any::<bool>(), any::<bool>());
    let frames = prop::option::weighted(0.3, 0_u32..12);
    (channel(), any::<u128>(), flags, 0_u32..6, frames, "[a-z]{1,3}", 0_u64..4).prop_map(
        |(stream, uuid, flags, history_size, frames, text, offset)| {
            let (notify_presence, store_history, store_frames, notify_state, quiet) = flags;
            let quiet_presence = quiet && !notify_state;
            let settings = ScriptSettings {
                notify_presence,
                store_history,
                store_frames,
                notify_state,
                quiet_presence,
                history_size,
                frames,
            };
            ChannelToOpen { stream, uuid: Uuid::from_u128(uuid), settings, text, offset }
        },
    )
}

fn of_nodes() -> impl Strategy<Value = Call> {
    let streams = || vec((stream(), 0_u64..30), 0..3);
    let stamp =
        || prop_oneof![4 => Just(0), 1 => 0_u64..40].prop_map(|later| Stamp(super::START_US + 500 + later));
    prop_oneof![
        1 => (0_u64..4, text(&["r", "s"]), stamp())
            .prop_map(|(known_term, run, stamp)| Call::Adopt { known_term, run, stamp }),
        4 => (prop_oneof![3 => Just(0), 1 => node()], text(&["i", "j"]))
            .prop_map(|(earlier, info)| Call::Enlist { earlier, info }),
        4 => (stamp(), streams()).prop_map(|(stamp, streams)| Call::Report { stamp, streams }),
        6 => prop::option::weighted(0.2, text(&["k", ""])).prop_map(|info| Call::Beat { info }),
        1 => (0_u64..9).prop_map(|stay_ms| Call::Leave { stay_ms }),
        1 => Just(Call::Nodes),
        2 => (0_u64..9, 0_u64..9).prop_map(|(messages, queued)| Call::Tally { messages, queued }),
        4 => (node(), prop::bool::weighted(0.2)).prop_map(|(node, is_quiet)| Call::Sweep { node, is_quiet }),
        4 => Just(Call::Expire),
        1 => (node(), bytes()).prop_map(|(to, bytes)| Call::Send { to, bytes }),
    ]
}

/// Parts of few requests, so that keys are often used again.
fn part() -> impl Strategy<Value = Option<KeyedPart>> {
    let request = (0_u128..3, 0_u128..2, 1_i64..9).prop_map(|(key, fingerprint, micros)| KeyedRequest {
        key,
        fingerprint,
        time: Timestamp::from_unix_micros(micros),
    });
    let part = (request, 0_u32..3).prop_map(|(request, number)| KeyedPart { request, number });
    prop::option::weighted(0.3, part)
}

fn of_streams() -> impl Strategy<Value = Call> {
    let item = (stream(), message(), part()).prop_map(|(stream, record, part)| Item { stream, record, part });
    let size = || select(&[0, 1, FIRST_ENTRY, 200, 1 << 20][..]);
    let offset = || prop_oneof![0_u64..6, 0_u64..20];
    prop_oneof![
        12 => vec(item, 1..6).prop_map(|items| Call::Append { items }),
        8 => (stream(), edit_or_deletion(), part()).prop_map(|(stream, record, part)| Call::Change { stream, record, part }),
        6 => vec(channel_record(), 0..3).prop_map(|channels| Call::Open { channels }),
        3 => channel_record().prop_map(|channel| Call::Configure { channel }),
        10 => (stream(), offset(), size())
            .prop_map(|(stream, after, max_bytes)| Call::Follow { stream, after, max_bytes }),
        2 => vec(stream(), 0..3).prop_map(|streams| Call::Unfollow { streams }),
        4 => (stream(), offset(), size(), any::<bool>(), any::<bool>()).prop_map(
            |(stream, after, max_bytes, with_history, with_members)| {
                Call::Read { stream, after, max_bytes, with_history, with_members }
            },
        ),
        4 => (stream(), prop_oneof![Just(0), 0_u64..30], vec(any::<u8>(), 0..3))
            .prop_map(|(stream, after, record)| Call::Announce { stream, after, record }),
        1 => Just(Call::Channels { cursor: 0 }),
        1 => vec(stream(), 0..4).prop_map(|streams| Call::Summaries { streams }),
    ]
}

fn of_users() -> impl Strategy<Value = Call> {
    let streams = || prop_oneof![2 => channel(), 1 => text(&["ux", "uy"])];
    let count = (streams(), user(), 0_u32..3, 0_u32..3, view()).prop_map(
        |(stream, user, connections, present, view)| {
            let present = if stream.starts_with('u') { present.min(connections) } else { 0 };
            Count { stream, user, connections, present, view }
        },
    );
    let changed = || prop::option::of(text(&["{}", "{\"a\":1}"]));
    prop_oneof![
        8 => (prop::bool::weighted(0.2), vec(count, 0..5))
            .prop_map(|(is_quiet, counts)| Call::Set { is_quiet, counts }),
        1 => user().prop_map(|user| Call::ReadUser { user }),
        4 => (user(), drawn(), bytes(), view(), changed()).prop_map(
            |(user, expected, record, view, changed)| Call::SetUser { user, expected, record, view, changed },
        ),
        2 => (user(), bytes(), prop_oneof![Just(0), 0_u64..5]).prop_map(|(user, record, later)| {
            let until_ms = if later == 0 { 0 } else { super::START_US / 1000 + later };
            Call::SetBlock { user, record, until_ms }
        }),
        1 => user().prop_map(|user| Call::Unblock { user }),
        1 => Just(Call::Blocks { cursor: 0 }),
    ]
}

fn of_rows() -> impl Strategy<Value = Call> {
    let update =
        (conn(), drawn(), bytes()).prop_map(|(conn, generation, data)| RowUpdate { conn, generation, data });
    prop_oneof![
        8 => (conn(), prop_oneof![5 => Just("x".to_owned()), 1 => user()], bytes(), select(&[0, 0, 1, 2][..]))
            .prop_map(|(conn, user, data, most)| Call::Claim { conn, user, data, most }),
        1 => text(&["a", "b"]).prop_map(|name| Call::UseOnce { name }),
        1 => (0_u64..40, vec(0_u128..3, 0..3))
            .prop_map(|(since, ended)| Call::SignOuts { since: super::START_US + since, ended }),
        1 => text(&["s", "t"]).prop_map(|text| Call::CookieSecret { proposal: Secret::new(text) }),
        3 => (conn(), proptest::option::of(drawn()), bytes())
            .prop_map(|(conn, generation, data)| Call::Release { conn, generation, data }),
        2 => conn().prop_map(|conn| Call::Find { conn }),
        3 => vec(update, 0..3).prop_map(|rows| Call::Store { rows }),
        1 => vec((conn(), drawn()), 0..3).prop_map(|rows| Call::End { rows }),
        3 => (0_u64..9, vec((conn(), bytes()), 0..3)).prop_map(|(stamp, laggards)| {
            let laggard = |(conn, received)| Laggard { conn, received };
            let laggards = laggards.into_iter().map(laggard).collect();
            Call::Mark { delivered: Stamp(stamp), laggards }
        }),
    ]
}

fn constants() -> impl Strategy<Value = EngineConstants> {
    let frames = prop_oneof![6 => Just(8), 1 => Just(0)];
    (frames, select(&[0, 4][..]), 0_u32..3, select(&[0, 3][..])).prop_map(
        |(channel_frames, history, max_channels, channel_idle_ms)| EngineConstants {
            retention: Retention { channel_frames, user_frames: 3, history },
            key_window_ms: 60_000,
            max_channels,
            max_blocks: 2,
            user_idle_ms: 2,
            channel_idle_ms,
            grace_ms: 2,
            beat_ms: 1,
            dead_ms: 3,
        },
    )
}

fn sender(settings: EngineConstants) -> impl Strategy<Value = Sender> {
    let number = prop_oneof![4 => 1_u64..300, 1 => 1_u64..4, 1 => 257_u64..260];
    (node(), 1_u128..3, number, any::<u64>(), any::<u128>()).prop_map(
        move |(node, boot, number, epoch, seed)| Sender {
            node,
            boot: Uuid::from_u128(boot),
            number,
            epoch: Epoch::new(epoch),
            seed: Uuid::from_u128(seed),
            settings,
        },
    )
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    constants().prop_flat_map(|settings| {
        let call = prop_oneof![3 => of_nodes(), 6 => of_streams(), 4 => of_users(), 3 => of_rows()];
        let passed = prop_oneof![20 => -5_i64..20, 4 => 300_i64..2_000, 1 => Just(3_600_000_000)];
        let step = (call, sender(settings), passed)
            .prop_map(|(call, sender, passed)| vec![Step { call, sender, passed }]);
        let turn = prop_oneof![40 => step, 1 => failover(settings)];
        vec(turn, 1..80).prop_map(move |turns| [vec![beginning(settings)], turns].concat().concat())
    })
}
