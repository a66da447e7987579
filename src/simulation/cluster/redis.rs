//! Redis as the nodes reach it: the model of the scripts behind connections, on which calls and replies take time.

use super::super::Rng;
use crate::broker::engine::call::{Call, EngineConstants, NodeNumber, Retention, Sender};
use crate::broker::engine::link::unit::is_reading;
use crate::broker::engine::link::verdict::Failure;
use crate::broker::engine::model::{JournalEntry, Model};
use crate::broker::engine::reply::Reply;
use crate::protocol::ids::Epoch;
use std::collections::VecDeque;
use uuid::Uuid;

/// When the world begins, in µs since 1970.
pub const START_US: u64 = 1_700_000_000_000_000;
/// The states that Redis may fall back to.
const STATES: usize = 24;

/// What a request of a link contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Pipeline,
    Urgent,
}

/// What a link receives, in the order of the wire.
#[derive(Debug)]
pub enum Arriving {
    Mail(Vec<u8>),
    Replies(Sent, Vec<Result<Reply, Failure>>),
    /// The connection is closed.
    End,
}

struct Command {
    call: Call,
    sender: Sender,
    sent: Sent,
    is_last: bool,
}

/// What Redis has lost when it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loses {
    Nothing,
    /// The last changes.
    Last(usize),
    Everything,
}

/// A connection of a node.
pub struct Wire {
    mailbox: NodeNumber,
    to_redis: VecDeque<Command>,
    pub from_redis: VecDeque<Arriving>,
    /// The replies to the request that is being answered.
    replies: Vec<Result<Reply, Failure>>,
    /// When the unanswered requests were sent.
    pub sent_at: VecDeque<u64>,
    is_open: bool,
    /// Nothing passes, and neither end notices it.
    pub is_stalled: bool,
}

/// The state of Redis, and its connections.
pub struct Redis {
    pub model: Model,
    run: u64,
    constants: EngineConstants,
    wires: Vec<Wire>,
    rng: Rng,
    /// Whether a script's own mail reaches its caller before the reply.
    mail_first: bool,
    /// Earlier states, newest last. Empty in worlds that never lose one.
    states: Option<VecDeque<Model>>,
    /// What was appended since it was last taken, with the number of the call.
    journal: Vec<JournalEntry>,
    /// Mail of the caller that follows its reply.
    late: Vec<(NodeNumber, Vec<u8>)>,
}

pub fn constants(frames: u32, history: u32, max_rows_ms: u64) -> EngineConstants {
    EngineConstants {
        retention: Retention { channel_frames: frames, user_frames: frames, history },
        key_window_ms: 60_000,
        max_channels: 0,
        max_blocks: 9,
        user_idle_ms: 20_000,
        channel_idle_ms: 0,
        grace_ms: max_rows_ms,
        beat_ms: 1_000,
        dead_ms: 3_000,
    }
}

impl Redis {
    pub fn new(constants: EngineConstants, mut rng: Rng, loses: bool) -> Self {
        let sender = Sender {
            node: 0,
            boot: Uuid::nil(),
            number: 0,
            epoch: Epoch::new(0),
            seed: Uuid::nil(),
            settings: constants,
        };
        Self {
            model: Model::new(START_US, sender),
            run: 1,
            constants,
            wires: Vec::new(),
            mail_first: rng.once_in(2),
            rng,
            states: loses.then(VecDeque::new),
            journal: Vec::new(),
            late: Vec::new(),
        }
    }

    pub fn run_id(&self) -> String {
        format!("run{}", self.run)
    }

    pub fn constants(&self) -> EngineConstants {
        self.constants
    }

    /// Opens a connection, and closes the former one so that no call of it runs any more.
    pub fn connect(&mut self, former: Option<usize>) -> usize {
        if let Some(former) = former {
            self.close(former, 0, 0);
        }
        self.wires.push(Wire {
            mailbox: 0,
            to_redis: VecDeque::new(),
            from_redis: VecDeque::new(),
            replies: Vec::new(),
            sent_at: VecDeque::new(),
            is_open: true,
            is_stalled: false,
        });
        self.wires.len() - 1
    }

    pub fn wire(&mut self, wire: usize) -> &mut Wire {
        &mut self.wires[wire]
    }

    /// The connection gets the mail of this node.
    pub fn subscribe(&mut self, wire: usize, node: NodeNumber) {
        self.wires[wire].mailbox = node;
    }

    /// Breaks a connection. Of the calls on their way, the first `run` run nevertheless; of what is on its way to the node,
    /// the first `arrive` arrive.
    pub fn close(&mut self, wire: usize, run: usize, arrive: usize) {
        for _ in 0..run {
            self.run_next(wire);
        }
        let wire = &mut self.wires[wire];
        if wire.is_open {
            wire.to_redis.clear();
            wire.from_redis.truncate(arrive);
            wire.from_redis.push_back(Arriving::End);
            (wire.is_open, wire.is_stalled) = (false, false);
        }
    }

    /// The node has closed the connection. Redis may have received calls that it has not run.
    pub fn forget(&mut self, wire: usize, run: usize) {
        for _ in 0..run {
            self.run_next(wire);
        }
        let wire = &mut self.wires[wire];
        wire.to_redis.clear();
        wire.from_redis.clear();
        wire.is_open = false;
    }

    pub fn pending_calls(&self, wire: usize) -> usize {
        self.wires[wire].to_redis.len()
    }

    pub fn send(&mut self, wire: usize, sent: Sent, calls: Vec<(Call, Sender)>, now: u64) {
        let wire = &mut self.wires[wire];
        let last = calls.len().saturating_sub(1);
        wire.sent_at.push_back(now);
        let commands = calls.into_iter().enumerate();
        wire.to_redis.extend(commands.map(|(index, (call, sender))| Command {
            call,
            sender,
            sent,
            is_last: index == last,
        }));
    }

    /// Whether a call of this connection can run.
    pub fn is_ready(&self, wire: usize) -> bool {
        let wire = &self.wires[wire];
        wire.is_open && !wire.is_stalled && !wire.to_redis.is_empty()
    }

    /// Runs the next call of a connection.
    pub fn run_next(&mut self, wire: usize) {
        let Some(Command { call, sender, sent, is_last }) = self.wires[wire].to_redis.pop_front() else {
            return;
        };
        let reply = self.call(&call, &sender);
        let wire = &mut self.wires[wire];
        wire.replies.push(Ok(reply));
        if is_last {
            let replies = std::mem::take(&mut wire.replies);
            wire.from_redis.push_back(Arriving::Replies(sent, replies));
        }
        // What the caller itself gets behind the reply.
        self.deliver_late();
    }

    /// Runs a call of a node that is not a part of a pipeline.
    pub fn call_now(&mut self, call: &Call, sender: &Sender) -> Reply {
        let reply = self.call(call, sender);
        self.deliver_late();
        reply
    }

    fn call(&mut self, call: &Call, sender: &Sender) -> Reply {
        if let Some(states) = self.states.as_mut().filter(|_| !is_reading(call)) {
            if states.len() == STATES {
                states.pop_front();
            }
            states.push_back(self.model.clone());
        }
        self.model.clock += 1;
        let (reply, mails) = self.model.run(call, sender);
        self.journal.extend_from_slice(self.model.journal());
        for (number, bytes) in mails {
            match number == sender.node && !self.mail_first {
                true => self.late.push((number, bytes)),
                false => self.deliver(number, bytes),
            }
        }
        reply
    }

    fn deliver_late(&mut self) {
        for (number, bytes) in std::mem::take(&mut self.late) {
            self.deliver(number, bytes);
        }
    }

    fn deliver(&mut self, number: NodeNumber, bytes: Vec<u8>) {
        let mut subscribed =
            self.wires.iter_mut().rev().filter(|wire| wire.is_open && wire.mailbox == number);
        if let Some(wire) = subscribed.next() {
            wire.from_redis.push_back(Arriving::Mail(bytes));
        }
    }

    /// Redis ends and starts again with what it had `lost` changes before, or without anything.
    pub fn restart(&mut self, lost: Loses) {
        self.run += 1;
        let clock = self.model.clock;
        let states = self.states.get_or_insert_default();
        match lost {
            Loses::Nothing => {}
            Loses::Last(changes) => {
                for _ in 0..changes {
                    if let Some(state) = states.pop_back() {
                        self.model = state;
                    }
                }
            }
            Loses::Everything => {
                let sender = self.draw_sender(0, Uuid::nil(), 0);
                self.model = Model::new(clock, sender);
            }
        }
        self.model.clock = clock;
        self.states.get_or_insert_default().clear();
    }

    /// Redis has stopped: all connections break.
    pub fn break_all(&mut self) {
        (0..self.wires.len()).for_each(|wire| self.close(wire, 0, 0));
    }

    /// Time passes.
    pub fn pass(&mut self, now: u64) {
        self.model.clock = self.model.clock.max(START_US + 1_000 * now);
    }

    pub fn take_journal(&mut self) -> Vec<JournalEntry> {
        std::mem::take(&mut self.journal)
    }

    pub fn draw_sender(&mut self, node: NodeNumber, boot: Uuid, number: u64) -> Sender {
        let (epoch, seed) = (Epoch::new(self.rng.next()), uuid_of(&mut self.rng));
        Sender { node, boot, number, epoch, seed, settings: self.constants }
    }
}

pub fn uuid_of(rng: &mut Rng) -> Uuid {
    Uuid::from_u64_pair(rng.next(), rng.next())
}
