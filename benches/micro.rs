//! Single steps of a message's path, without sockets and actors: `cargo bench --bench micro`.

use bytes::Bytes;
use channelstream::api::body::RequestLimits;
use channelstream::api::message_post::{parse_messages, write_message_answer};
use channelstream::auth::signing::Keys;
use channelstream::broker::channel::messages::Inspect;
use channelstream::broker::channel::state::{ChannelEffects, ChannelState, Identity, Retention};
use channelstream::config::{Secret, Settings};
use channelstream::protocol::event::{Encoder, UserView};
use channelstream::protocol::frame::{Audience, Frame};
use channelstream::protocol::ids::{ChannelId, ConnKey, Epoch, UserId};
use channelstream::protocol::message::Message;
use channelstream::protocol::settings::ChannelSettings;
use channelstream::protocol::time::Timestamp;
use channelstream::protocol::user_set::UserSet;
use divan::{Bencher, black_box};
use std::sync::Arc;
use uuid::Uuid;

/// The time of all steps: late in 2025.
const NOW: u64 = 1_764_000_000;

fn main() {
    divan::main();
}

/// The body of a request as the load generator sends it, with messages of this length of content.
fn body(messages: usize, bytes: usize) -> String {
    let content = format!(r#"{{"n":"0000000000","p":"{}"}}"#, "x".repeat(bytes.saturating_sub(25)));
    let message = format!(r#"{{"user":"bench","channel":"crowd","message":{content}}}"#);
    format!("[{}]", vec![message; messages].join(","))
}

fn now() -> Timestamp {
    Timestamp::from_unix_micros(NOW as i64 * 1_000_000)
}

fn messages(count: usize, bytes: usize) -> Vec<Message> {
    let limits = RequestLimits::from(&Settings::default());
    let messages = parse_messages(body(count, bytes).as_bytes(), &limits, now()).unwrap_or_default();
    assert_eq!(messages.len(), count, "parsed messages");
    messages
}

#[divan::bench(args = [1, 2])]
fn verify_signature(bencher: Bencher<'_, '_>, secrets: usize) {
    let all: Vec<Secret> = (0..secrets).map(|index| Secret::new(format!("secret {index}"))).collect();
    let keys = Keys::new(&all);
    // The last secret signs, so that all the others are tried first.
    let token = Keys::new(&all[secrets - 1..]).sign("/message", NOW);
    bencher.bench_local(|| keys.verify(black_box(&token), NOW, Some(60)));
}

#[divan::bench(args = [1, 16], consts = [64, 1024])]
fn parse<const BYTES: usize>(bencher: Bencher<'_, '_>, count: usize) {
    let limits = RequestLimits::from(&Settings::default());
    let body = body(count, BYTES);
    bencher.bench_local(|| parse_messages(black_box(body.as_bytes()), &limits, now()));
}

#[divan::bench(args = [1, 16])]
fn write_answer(bencher: Bencher<'_, '_>, count: usize) {
    let messages = messages(count, 64);
    bencher.bench_local(|| {
        let mut out = Vec::new();
        write_message_answer(black_box(&messages), &mut out);
        out
    });
}

fn frame(message: &Message) -> Frame {
    Encoder { date: true }.message(message, None, Audience::all()).0
}

#[divan::bench(args = [64, 1024])]
fn encode_frame(bencher: Bencher<'_, '_>, bytes: usize) {
    let messages = messages(1, bytes);
    bencher.bench_local(|| black_box(&messages).iter().map(frame).collect::<Vec<_>>());
}

#[divan::bench(args = [64, 1024])]
fn deflate_frame(bencher: Bencher<'_, '_>, bytes: usize) {
    let messages = messages(1, bytes);
    // A frame stores its compressed form, so each call compresses a new one.
    let frames = || messages.iter().map(frame).collect::<Vec<_>>();
    bencher.with_inputs(frames).bench_local_values(|frames| {
        frames.iter().map(|frame| frame.deflated(0).clone()).collect::<Vec<Bytes>>()
    });
}

/// Selects from 10,000 members the receivers of a frame that excludes this many.
#[divan::bench(args = [0, 1, 10, 100])]
fn select_without_excluded(bencher: Bencher<'_, '_>, excluded: u32) {
    let except = (0..excluded).map(|index| UserId(index * 97)).collect();
    let audience = Audience { only: None, except };
    bencher.bench_local(|| admitted(black_box(&audience)));
}

/// Selects from 10,000 members the receivers of a frame that is for this many.
#[divan::bench(args = [1, 10, 100])]
fn select_private(bencher: Bencher<'_, '_>, receivers: u32) {
    let only = (0..receivers).map(|index| UserId(index * 97)).collect();
    let audience = Audience { only: Some(only), except: UserSet::default() };
    bencher.bench_local(|| admitted(black_box(&audience)));
}

fn admitted(audience: &Audience) -> usize {
    (0..10_000).filter(|user| audience.admits(UserId(*user))).count()
}

/// A channel with members that do not listen.
struct Crowd {
    channel: ChannelState,
    effects: ChannelEffects,
}

impl Crowd {
    fn new(settings: ChannelSettings, members: u32) -> Self {
        let identity = Identity { id: ChannelId(0), uuid: Uuid::nil(), name: "crowd".into() };
        let retention = Retention { frames: 100, history: 1_000 };
        let encoder = Encoder { date: true };
        let (settings_before, epoch) = (ChannelSettings::default(), Epoch::new(0));
        let channel = ChannelState::new(
            identity,
            settings_before,
            encoder,
            retention,
            now(),
            epoch,
            Default::default(),
        );
        let mut crowd = Self { channel, effects: ChannelEffects::new() };
        (0..members).for_each(|index| crowd.join(conn(index), &user(index)));
        crowd.channel.configure(settings);
        crowd
    }

    fn join(&mut self, conn: ConnKey, user: &Arc<UserView>) {
        self.channel.join(conn, user.clone(), None, &now(), &mut self.effects);
    }

    fn join_and_leave(&mut self, conn: ConnKey, user: &Arc<UserView>) {
        self.join(conn, user);
        self.channel.leave(conn, &now(), &mut self.effects);
    }
}

fn conn(index: u32) -> ConnKey {
    ConnKey { index, generation: 0 }
}

/// Users whose indexes have a different order from their names.
fn user(index: u32) -> Arc<UserView> {
    let name = format!("user-{:05}", index.wrapping_mul(7_919) % 100_003);
    Arc::new(UserView::new(UserId(index), name.into(), "{}", "{}"))
}

/// A member joins a channel of this many others and leaves it, without events.
#[divan::bench(args = [100, 1_000, 10_000])]
fn join_and_leave(bencher: Bencher<'_, '_>, members: u32) {
    measure_join_and_leave(bencher, ChannelSettings::default(), members);
}

/// The same with presence events, which the channel stores for clients that missed them.
#[divan::bench(args = [100, 1_000, 10_000])]
fn join_and_leave_with_presence(bencher: Bencher<'_, '_>, members: u32) {
    measure_join_and_leave(
        bencher,
        ChannelSettings { notify_presence: true, ..ChannelSettings::default() },
        members,
    );
}

/// The same with the list of users in each event.
#[divan::bench(args = [100, 1_000, 10_000])]
fn join_and_leave_with_lists(bencher: Bencher<'_, '_>, members: u32) {
    let settings = ChannelSettings {
        notify_presence: true,
        broadcast_presence_with_user_lists: true,
        ..ChannelSettings::default()
    };
    measure_join_and_leave(bencher, settings, members);
}

fn measure_join_and_leave(bencher: Bencher<'_, '_>, settings: ChannelSettings, members: u32) {
    let mut crowd = Crowd::new(settings, members);
    let (conn, user) = (conn(members), user(members));
    bencher.bench_local(|| crowd.join_and_leave(black_box(conn), &user));
}

/// A member joins and leaves, and an answer lists all users of the channel.
#[divan::bench(args = [100, 1_000, 10_000])]
fn list_users_after_a_change(bencher: Bencher<'_, '_>, members: u32) {
    let mut crowd = Crowd::new(ChannelSettings::default(), members);
    let (conn, user) = (conn(members), user(members));
    bencher.bench_local(|| {
        crowd.join_and_leave(black_box(conn), &user);
        let users = crowd.channel.snapshot(&Inspect { users: true, history: false }).users;
        let mut out = Vec::new();
        users.write_names(&mut out);
        users.write(&mut out, false);
        out
    });
}
