//! What each script does, as a Rust function on plain data.

mod keys;
mod streams;

use super::call::{Call, Count, Item, NodeNumber, Once, Retention, ScriptSettings};
pub use keys::{Keys, Stored};
use std::collections::{BTreeMap, VecDeque};

/// A reply of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Nil,
    Status(String),
    Number(i64),
    Bytes(Vec<u8>),
    List(Vec<Reply>),
}

impl Reply {
    fn text(text: impl ToString) -> Self {
        Self::Bytes(text.to_string().into_bytes())
    }

    fn ok() -> Self {
        Self::Status("OK".into())
    }
}

#[derive(Clone, Debug)]
struct Term {
    run: String,
    term: u64,
    base: u64,
    stamp: u64,
    /// Streams of an earlier term get a new epoch.
    retire: Option<u64>,
    store: String,
    unreported: i64,
}

/// A node as the others know it.
#[derive(Clone, Debug)]
enum NodeState {
    /// It has reported in this term.
    Alive(u64),
    /// It has a newer number.
    Old,
    Swept,
}

#[derive(Clone, Debug)]
struct Stream {
    epoch: String,
    previous: (String, u64),
    offset: u64,
    first: u64,
    floor: u64,
    stamp: u64,
    term: u64,
    settings: ScriptSettings,
    interested: Vec<NodeNumber>,
    connections: u32,
    users: u32,
    roster: u64,
    log: VecDeque<(u64, u64, Vec<u8>)>,
    history: VecDeque<Vec<u8>>,
    members: BTreeMap<String, Member>,
}

#[derive(Clone, Debug)]
struct Member {
    connections: u32,
    view: String,
}

/// What a node has stated.
#[derive(Clone, Debug, Default)]
struct Own {
    counts: BTreeMap<(String, String), u32>,
    interests: Vec<String>,
}

/// A partition of Redis.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The time in µs.
    pub clock: u64,
    term: Option<Term>,
    nodes: BTreeMap<NodeNumber, NodeState>,
    streams: BTreeMap<String, Stream>,
    own: BTreeMap<NodeNumber, Own>,
    last_calls: BTreeMap<String, (u64, Vec<u8>)>,
    idempotency_keys: BTreeMap<String, Vec<u8>>,
    mail: BTreeMap<NodeNumber, Vec<u8>>,
}

impl Model {
    pub fn new(clock: u64) -> Self {
        Self { clock, ..Self::default() }
    }

    /// Runs a script. Returns its reply, and what it sends to mailboxes.
    pub fn run(&mut self, call: &Call) -> (Reply, BTreeMap<NodeNumber, Vec<u8>>) {
        self.mail.clear();
        let reply = match self.refusal(call) {
            Some(refusal) => Reply::Status(refusal.into()),
            None => self.perform(call),
        };
        (reply, std::mem::take(&mut self.mail))
    }

    /// Why the node of a call may change nothing.
    fn refusal(&self, call: &Call) -> Option<&'static str> {
        let node = match call {
            Call::Append { node, .. } | Call::Change { node, .. } => node,
            Call::Configure { node, .. } | Call::Set { node, .. } => node,
            Call::Enlist { .. } | Call::Report { .. } if self.term.is_none() => return Some("NO_TERM"),
            _ => return None,
        };
        match (self.nodes.get(node), &self.term) {
            (Some(NodeState::Alive(_)), Some(term)) if term.unreported > 0 => Some("SETTLING"),
            (Some(NodeState::Alive(_)), _) => None,
            _ => Some("FENCED"),
        }
    }

    fn perform(&mut self, call: &Call) -> Reply {
        match call {
            Call::Adopt { node, known_term, run, epoch } => {
                self.adopt(*node, *known_term, run, &epoch.to_string())
            }
            Call::Enlist { number, earlier } => self.enlist(*number, *earlier),
            Call::Report { node, epoch, streams } => self.report(*node, &epoch.to_string(), streams),
            Call::Append { once, epoch, retention, items, .. } => self.once(*once, |model| {
                items.iter().flat_map(|item| model.append_item(item, &epoch.to_string(), retention)).collect()
            }),
            Call::Change { once, epoch, retention, stream, record, .. } => {
                self.once(*once, |model| model.change(stream, &epoch.to_string(), record, retention))
            }
            Call::Configure { epoch, retention, stream, settings, record, .. } => {
                self.open(stream, &epoch.to_string(), *settings);
                self.configure(stream, *settings);
                self.append(stream, record, retention.channel_frames);
                Reply::ok()
            }
            Call::Set { node, is_quiet, epoch, settings, uuid, retention, counts, interests } => {
                let epoch = epoch.to_string();
                for (stream, is_on) in interests {
                    if *is_on || self.streams.contains_key(stream) {
                        self.open_any(stream, &epoch, *settings);
                        self.set_interest(*node, stream, *is_on);
                    }
                }
                let mut ids = *uuid.as_bytes();
                for Count { stream, user, connections, view } in counts {
                    if *connections > 0 || self.streams.contains_key(stream) {
                        self.open_any(stream, &epoch, *settings);
                        self.count(*node, stream, user, *connections, view, &mut ids, retention, *is_quiet);
                    }
                }
                Reply::ok()
            }
            Call::Read { stream, after, with_history, with_members, max_bytes } => {
                self.read(stream, *after, *with_history, *with_members, *max_bytes)
            }
            Call::Sweep { node, is_quiet, uuid, retention } => {
                self.sweep(*node, *is_quiet, *uuid.as_bytes(), retention)
            }
        }
    }

    fn next_stamp(&mut self) -> u64 {
        let term = self.term.as_mut().unwrap();
        term.stamp = self.clock.max(term.stamp + 1);
        term.stamp
    }

    fn once(&mut self, once: Once, act: impl FnOnce(&mut Self) -> Vec<u8>) -> Reply {
        let boot = once.boot.as_simple().to_string();
        match self.last_calls.get(&boot) {
            Some((number, reply)) if *number >= once.number => Reply::Bytes(reply.clone()),
            _ => {
                let reply = act(self);
                self.last_calls.insert(boot, (once.number, reply.clone()));
                Reply::Bytes(reply)
            }
        }
    }

    fn adopt(&mut self, node: NodeNumber, known: u64, run: &str, store: &str) -> Reply {
        if self.term.as_ref().is_none_or(|term| term.run != run) {
            let before = self.term.take();
            let number = before.as_ref().map_or(0, |term| term.term).max(known) + 1;
            let base = before.as_ref().map_or(0, |term| term.stamp);
            let unreported =
                self.nodes.values().filter(|node| matches!(node, NodeState::Alive(at) if *at < number));
            self.term = Some(Term {
                run: run.into(),
                term: number,
                base,
                stamp: base,
                retire: before.and_then(|term| term.retire),
                store: store.into(),
                unreported: unreported.count() as i64,
            });
        }
        let term = self.term.as_ref().unwrap();
        let state = self.nodes.get(&node).map_or(Reply::Nil, |state| Reply::text(state));
        Reply::List(vec![Reply::text(term.term), Reply::text(term.base), Reply::text(&term.store), state])
    }

    fn enlist(&mut self, number: NodeNumber, earlier: NodeNumber) -> Reply {
        self.settle(earlier);
        if let Some(state @ NodeState::Alive(_)) = self.nodes.get_mut(&earlier) {
            *state = NodeState::Old;
        }
        self.nodes.insert(number, NodeState::Alive(self.term.as_ref().unwrap().term));
        Reply::ok()
    }

    /// A node is no longer one that must report. Returns whether it was.
    fn settle(&mut self, node: NodeNumber) -> bool {
        let Some(term) = &mut self.term else { return false };
        let is_late = matches!(self.nodes.get(&node), Some(NodeState::Alive(at)) if *at < term.term);
        term.unreported -= i64::from(is_late);
        is_late
    }

    fn report(&mut self, node: NodeNumber, epoch: &str, streams: &[String]) -> Reply {
        streams.iter().for_each(|stream| self.retire(stream, epoch));
        if self.settle(node) {
            self.nodes.insert(node, NodeState::Alive(self.term.as_ref().unwrap().term));
        }
        Reply::ok()
    }

    fn append_item(&mut self, item: &Item, epoch: &str, retention: &Retention) -> Vec<u8> {
        if let Some(before) = item.idempotency_key.as_ref().and_then(|key| self.idempotency_keys.get(key)) {
            return [&[2], &before[1..]].concat();
        }
        let Some(frames) = self.frames_of(&item.stream, retention) else {
            return [&[1][..], &[0; 28]].concat();
        };
        self.open(&item.stream, epoch, ScriptSettings::PRIVATE);
        self.append_history(&item.stream, &item.record, retention.history);
        self.append(&item.stream, &item.record, frames);
        let answer = self.answer(&item.stream);
        if let Some(key) = &item.idempotency_key {
            self.idempotency_keys.insert(key.clone(), answer.clone());
        }
        answer
    }

    /// Sweeps everything that the node has: at most 128 fields, below which Redis returns all of them at once.
    fn sweep(&mut self, node: NodeNumber, is_quiet: bool, mut ids: [u8; 16], retention: &Retention) -> Reply {
        if self.settle(node) {
            let term = self.term.as_mut().unwrap();
            term.retire = Some(term.term);
        }
        self.nodes.insert(node, NodeState::Swept);
        let Own { counts, mut interests } = self.own.get(&node).cloned().unwrap_or_default();
        interests.sort();
        interests.iter().for_each(|stream| self.set_interest(node, stream, false));
        // In the order of their text.
        let mut pairs: Vec<_> = counts.into_keys().collect();
        pairs.sort_by_key(|(stream, user)| format!("{stream}\0{user}"));
        for (stream, user) in pairs {
            self.count(node, &stream, &user, 0, "", &mut ids, retention, is_quiet);
        }
        self.own.remove(&node);
        Reply::Number(0)
    }
}

impl std::fmt::Display for NodeState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Alive(term) => write!(formatter, "{term}"),
            Self::Old => formatter.write_str("old"),
            Self::Swept => formatter.write_str("swept"),
        }
    }
}
