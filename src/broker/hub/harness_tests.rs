//! A hub without its actor, between a model of the channels and real clients.

#[path = "harness_clients_tests.rs"]
mod clients;

use super::fanout::Fanout;
use super::messages::{CatchUpPart, Detached, JoinedChannel, Stamped, Subscription, ToHub};
use super::recording::RecordedSessions;
use super::table::SessionTable;
use crate::fixtures::ledger::Ledger;
use crate::fixtures::{ENCODER, flush, message, pair, payload, read_to_end, seen, whole_frames};
use crate::protocol::frame::{Audience, Frame};
use crate::protocol::ids::{ChannelId, Epoch, HubId, Offset, ServerEpoch, SlotKey, Stamp, Stream, UserId};
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::{FrameSender, PushResult, QueueCapacity, SendQueue};
use crate::telemetry::recorder::{ConnectionEvent, Outcome, Recorder};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::Read;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use uuid::Uuid;

pub const CHANNELS: u32 = 3;
pub const CONNECTIONS: u32 = 5;
const PRIVATE: usize = CHANNELS as usize;

/// A session, and the client end of its transport.
pub struct Session {
    pub key: SlotKey,
    pub send_queue: Rc<SendQueue>,
    client: Option<TcpStream>,
    input: Vec<u8>,
}

/// The data of a connection in the channels and the registry.
struct Connection {
    user: UserId,
    cursors: BTreeMap<ChannelId, Offset>,
    private_cursor: Offset,
    session: Option<Session>,
}

pub struct Harness {
    pub table: SessionTable,
    pub fanout: Fanout,
    pub ledger: Ledger<u32>,
    pub closed: Vec<(u32, CloseReason)>,
    sockets: bool,
    max_queued: usize,
    logs: Vec<Vec<Stamped>>,
    private_logs: HashMap<UserId, Vec<Stamped>>,
    connections: Vec<Connection>,
    /// The commands of each channel, and last of the private messages, that the hub has not read yet.
    queues: Vec<VecDeque<ToHub>>,
    sent: u128,
    bytes: (usize, usize),
    recorder: Arc<Recorder>,
    /// The messages that the clients of each connection have read, in order.
    received: Vec<Vec<u128>>,
}

fn stream(channel: u32) -> Stream {
    Stream::Channel(ChannelId(channel))
}

impl SessionTable {
    /// Panics unless slots and members refer to each other.
    pub fn check(&self) {
        let mut known = 0;
        for (index, slot) in &self.slots {
            for (channel, at) in slot.channels.to_vec() {
                assert_eq!(self.channels[&channel].members[at as usize].slot as usize, index);
                known += 1;
            }
        }
        assert_eq!(
            self.channels.values().map(|channel| channel.members.len()).sum::<usize>(),
            known,
            "members without a slot"
        );
        assert!(self.channels.values().all(|channel| !channel.members.is_empty()));
    }
}

impl Harness {
    /// Uses sockets or polls, and sends to sockets through a ring or one by one.
    pub fn new(sockets: bool, ring: bool, max_queued: usize) -> Self {
        let mut ledger = Ledger::new();
        let user = |index: u32| UserId(index % 3);
        (0..CONNECTIONS).for_each(|index| ledger.begin(index, user(index), Stream::Private));
        let connection = |index| Connection {
            user: user(index),
            cursors: BTreeMap::new(),
            private_cursor: 0,
            session: None,
        };
        // All connections are recorded: recording must not change deliveries, and must be correct.
        let recorder = Arc::new(Recorder::new(1 << 30));
        (0..CONNECTIONS).for_each(|index| recorder.record_connection(Uuid::from_u128(index.into())));
        Self {
            table: SessionTable::new(HubId(0), ServerEpoch::new(1))
                .recording(RecordedSessions::new(recorder.clone())),
            recorder,
            received: vec![Vec::new(); CONNECTIONS as usize],
            fanout: Fanout::new(if ring { FrameSender::with_ring() } else { FrameSender::default() }),
            ledger,
            closed: Vec::new(),
            sockets,
            max_queued,
            logs: (0..CHANNELS).map(|_| Vec::new()).collect(),
            private_logs: (0..3).map(|user| (UserId(user), Vec::new())).collect(),
            connections: (0..CONNECTIONS).map(connection).collect(),
            queues: (0..=CHANNELS).map(|_| VecDeque::new()).collect(),
            sent: 0,
            bytes: (0, 0),
        }
    }

    fn bound(&self) -> QueueCapacity {
        QueueCapacity::new(self.max_queued, usize::MAX)
    }

    pub fn session(&self, index: u32) -> Option<&Session> {
        self.connections[index as usize].session.as_ref()
    }

    /// Opens a session. The channels and the private messages each send their part of its catch-up.
    pub async fn open(&mut self, index: u32) {
        if self.session(index).is_some() {
            return;
        }
        let (send_queue, client) = if self.sockets {
            let (server, client) = pair().await;
            (SendQueue::socket(server, self.bound(), 0), Some(client))
        } else {
            (SendQueue::poll(self.bound(), 0), None)
        };
        let send_queue = Rc::new(send_queue);
        let key = self.table.open(Uuid::from_u128(index.into()), send_queue.clone());
        self.table.begin_recording(key);
        let connection = &mut self.connections[index as usize];
        let (user, of) = (connection.user, connection.cursors.len() as u32 + 1);
        for (index, (channel, from)) in (0..).zip(&connection.cursors) {
            let subscription =
                subscription(&self.logs[channel.0 as usize], user, *from, Some(CatchUpPart { index, of }));
            self.queues[channel.0 as usize].push_back(ToHub::Join(joined(channel.0), key, subscription));
        }
        let part = CatchUpPart { index: of - 1, of };
        let subscription =
            subscription(&self.private_logs[&user], user, connection.private_cursor, Some(part));
        self.queues[PRIVATE].push_back(ToHub::JoinPrivate(key, subscription));
        connection.session = Some(Session { key, send_queue, client, input: Vec::new() });
    }

    pub fn subscribe(&mut self, index: u32, channel: u32) {
        let log = &self.logs[channel as usize];
        let connection = &mut self.connections[index as usize];
        if connection.cursors.contains_key(&ChannelId(channel)) {
            return;
        }
        let through = log.len() as Offset;
        connection.cursors.insert(ChannelId(channel), through);
        self.ledger.begin(index, connection.user, stream(channel));
        if let Some(session) = &connection.session {
            let subscription = subscription(log, connection.user, through, None);
            let join = ToHub::Join(joined(channel), session.key, subscription);
            self.queues[channel as usize].push_back(join);
        }
    }

    pub fn unsubscribe(&mut self, index: u32, channel: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.cursors.remove(&ChannelId(channel)).is_some() {
            self.ledger.end(index, stream(channel), connection.session.is_some());
            if let Some(session) = &connection.session {
                self.queues[channel as usize].push_back(ToHub::Leave(ChannelId(channel), session.key));
            }
        }
    }

    fn frame(&mut self, size: usize, audience: Audience) -> (u128, Arc<Frame>) {
        self.sent += 1;
        let mut message = message(self.sent);
        message.message = Some(payload(&format!("{{\"fill\":\"{}\"}}", "x".repeat(size))));
        (self.sent, Arc::new(ENCODER.message(&message, None, audience).0))
    }

    pub fn publish(&mut self, channel: u32, size: usize, audience: Audience) {
        let (number, frame) = self.frame(size, audience.clone());
        let log = &mut self.logs[channel as usize];
        let (offset, stamp) = (log.len() as Offset + 1, Stamp(self.sent as u64));
        let stamped = Stamped { offset, stamp, frame };
        log.push(stamped.clone());
        self.bytes.0 += stamped.frame.live().len();
        let id = ChannelId(channel);
        let message = match &audience.only {
            // To the sessions of the receivers, whether they subscribe to this channel or not.
            Some(users) if number % 2 == 0 => {
                let theirs = self.connections.iter().filter(|connection| users.contains(connection.user));
                let sessions = theirs.filter_map(|connection| connection.session.as_ref());
                ToHub::DeliverTo(id, sessions.map(|session| session.key).collect(), stamped)
            }
            _ => ToHub::Deliver(id, stamped),
        };
        self.queues[channel as usize].push_back(message);
        self.ledger.publish(stream(channel), number, audience);
    }

    pub fn publish_private(&mut self, users: &[UserId], size: usize) {
        let (number, frame) = self.frame(size, Audience::all());
        let audience = Audience { only: Some(users.into()), ..Audience::default() };
        self.ledger.publish(Stream::Private, number, audience);
        let (mut slots, stamp) = (Vec::new(), Stamp(number as u64));
        for user in users {
            let log = self.private_logs.get_mut(user).unwrap();
            let offset = log.len() as Offset + 1;
            log.push(Stamped { offset, stamp, frame: frame.clone() });
            let theirs = self.connections.iter().filter(|connection| connection.user == *user);
            let sessions = theirs.filter_map(|connection| connection.session.as_ref());
            slots.extend(sessions.map(|session| (session.key, offset)));
        }
        self.bytes.0 += frame.live().len();
        self.queues[PRIVATE].push_back(ToHub::DeliverPrivate(slots, stamp, frame));
    }

    /// Lets the hub read one command of a sender. False if there is none.
    pub async fn deliver(&mut self, sender: usize) -> bool {
        let Some(message) = self.queues[sender % (PRIVATE + 1)].pop_front() else { return false };
        let (key, pushed) = match message {
            ToHub::Deliver(channel, stamped) => {
                self.fanout.push(channel, stamped);
                return true;
            }
            ToHub::DeliverTo(channel, slots, stamped) => {
                self.fanout.push_to(channel, slots, stamped);
                return true;
            }
            ToHub::DeliverPrivate(slots, stamp, frame) => {
                self.fanout.push_private(slots, stamp, frame);
                return true;
            }
            ToHub::Join(channel, key, subscription) => (key, self.table.join(channel, key, subscription)),
            ToHub::JoinPrivate(key, subscription) => (key, self.table.join_private(key, subscription)),
            ToHub::Leave(channel, key) => {
                let pending = self.fanout.pending_in(channel);
                (key, self.table.leave(channel, key, pending))
            }
            other => panic!("{other:?}"),
        };
        self.apply_result(key, pushed).await;
        true
    }

    pub async fn slice(&mut self, budget: usize) {
        // A catch-up may stop anywhere and continues in a later turn.
        self.table.set_allowance(budget);
        while let Some(key) = self.table.unfinished() {
            let pushed = self.table.continue_catch_up(key);
            self.apply_result(key, pushed).await;
        }
        let slice = self.fanout.run(&mut self.table, budget);
        self.bytes.1 += slice.bytes;
        for (key, pushed) in slice.failed {
            self.apply_result(key, pushed).await;
        }
    }

    async fn apply_result(&mut self, key: SlotKey, pushed: PushResult) {
        let of = |c: &Connection| c.session.as_ref().is_some_and(|session| session.key == key);
        if let (PushResult::Overflow, Some(index)) = (pushed, self.connections.iter().position(of)) {
            self.close(index as u32, CloseReason::TooSlow).await;
        }
        assert_ne!(pushed, PushResult::Broken);
    }

    /// Reconnects every client and delivers everything in flight.
    pub async fn quiesce(&mut self) {
        loop {
            for index in 0..CONNECTIONS {
                self.open(index).await;
            }
            for sender in 0..=PRIVATE {
                while self.deliver(sender).await {}
            }
            while !self.fanout.is_idle() || self.table.has_unfinished() {
                self.slice(7).await;
            }
            let mut is_settled = true;
            for index in 0..CONNECTIONS {
                self.read(index).await;
                match self.session(index) {
                    Some(session) if !self.sockets && !session.send_queue.is_empty() => {
                        self.answer_poll(index).await;
                        is_settled = false;
                    }
                    Some(session) => {
                        is_settled &= session.send_queue.is_empty() && !session.send_queue.is_sealed()
                    }
                    None => is_settled = false,
                }
            }
            if is_settled {
                break;
            }
        }
        for index in 0..CONNECTIONS {
            self.detach(index).await;
        }
        self.ledger.check(true);
        (0..CONNECTIONS).for_each(|index| self.check_recording(index));
        assert_eq!(self.bytes.0, self.bytes.1, "bytes counted in and out");
        assert!(
            self.table.channels.is_empty() && self.table.keys().is_empty(),
            "a member or session is left"
        );
    }
}

fn subscription(log: &[Stamped], user: UserId, from: Offset, part: Option<CatchUpPart>) -> Subscription {
    let missed = log.iter().filter(|stamped| stamped.offset > from);
    let catchup = missed.filter(|stamped| stamped.frame.audience().admits(user)).cloned().collect();
    Subscription { user, from, through: log.len() as Offset, catchup, part, recovery: None }
}

pub fn joined(channel: u32) -> JoinedChannel {
    JoinedChannel {
        id: ChannelId(channel),
        name: format!("c{channel}").into(),
        epoch: Epoch::new(channel.into()),
    }
}
