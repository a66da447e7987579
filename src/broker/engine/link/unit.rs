//! A call on its way to Redis, with its requesters. Pure.

use super::super::call::{Call, Item};
use super::super::entry::{Published, read_answers};
use super::super::error::EngineError;
use super::super::reply::Reply;
use super::Outcome;
use super::seen::Seen;
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What a call takes in memory beside its texts.
const OVERHEAD: usize = 128;

/// The bytes of calls that were not answered yet.
#[derive(Debug, Default)]
pub struct Pending(AtomicU64);

impl Pending {
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts a call until the charge is dropped. `None` if there are more than `limit` bytes then.
    pub fn charge(self: &Arc<Self>, call: &Call, limit: usize) -> Option<Charge> {
        let bytes = size(call) as u64;
        let charge = Charge { pending: self.clone(), bytes };
        // The charge takes the bytes back if they are too many.
        (self.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= limit as u64).then_some(charge)
    }
}

/// The bytes that a call takes.
#[derive(Debug)]
pub struct Charge {
    pending: Arc<Pending>,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.pending.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The approximate bytes of a call.
pub fn size(call: &Call) -> usize {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.len()).sum::<usize>();
    OVERHEAD
        + match call {
            Call::Adopt { run, .. } => run.len(),
            Call::Enlist { info, .. } => info.len(),
            Call::Report { streams, .. } => streams.iter().map(|(stream, _)| stream.len() + OVERHEAD).sum(),
            Call::Unfollow { streams } | Call::Summaries { streams } => {
                streams.iter().map(|stream| stream.len() + OVERHEAD).sum()
            }
            Call::Append { items } => items.iter().map(item_size).sum(),
            Call::Change { stream, record, .. } | Call::Announce { stream, record, .. } => {
                stream.len() + record.len()
            }
            Call::Open { channels } => {
                channels.iter().map(|channel| OVERHEAD + texts(&[&channel.stream, &channel.text])).sum()
            }
            Call::Configure { channel } => texts(&[&channel.stream, &channel.text]),
            Call::Follow { stream, .. } | Call::Read { stream, .. } => stream.len(),
            Call::Set { counts, .. } => counts
                .iter()
                .map(|count| OVERHEAD + texts(&[&count.stream, &count.user]) + count.view.len())
                .sum(),
            Call::ReadUser { user } | Call::Unblock { user } => user.len(),
            Call::SetUser { user, record, view, changed, .. } => {
                user.len() + record.len() + view.len() + changed.as_ref().map_or(0, String::len)
            }
            Call::Beat { info } => info.as_ref().map_or(0, String::len),
            Call::Send { bytes, .. } => bytes.len(),
            Call::UseOnce { name } => name.len(),
            Call::SignOuts { ended, .. } => ended.len() * size_of::<u128>(),
            Call::CookieSecret { proposal } => proposal.expose().len(),
            Call::Claim { conn, user, data, .. } => texts(&[conn, user]) + data.len(),
            Call::Release { conn, data, .. } => conn.len() + data.len(),
            Call::Find { conn } => conn.len(),
            Call::Store { rows } => rows.iter().map(|row| OVERHEAD + row.conn.len() + row.data.len()).sum(),
            Call::End { rows } => rows.iter().map(|(conn, _)| OVERHEAD + conn.len()).sum(),
            Call::Mark { laggards, .. } => {
                laggards.iter().map(|laggard| OVERHEAD + laggard.conn.len() + laggard.received.len()).sum()
            }
            Call::SetBlock { user, record, .. } => user.len() + record.len(),
            Call::Sweep { .. }
            | Call::Leave { .. }
            | Call::Nodes
            | Call::Expire
            | Call::Blocks { .. }
            | Call::Channels { .. }
            | Call::Tally { .. } => 0,
        }
}

fn item_size(item: &Item) -> usize {
    OVERHEAD + item.stream.len() + item.record.len()
}

/// Whether a call changes nothing, so that it need not wait for a pipeline of changing calls.
pub fn is_reading(call: &Call) -> bool {
    call.script().is_reading()
}

/// Whether only Redis has what the call changes. Nodes state everything else again after a failover.
pub fn must_replicate(call: &Call) -> bool {
    matches!(
        call,
        Call::Append { .. }
            | Call::Change { .. }
            | Call::Configure { .. }
            | Call::SetUser { .. }
            | Call::SetBlock { .. }
            | Call::Unblock { .. }
    )
}

/// The number of answers in the reply.
fn items(call: &Call) -> usize {
    match call {
        Call::Append { items } => items.len(),
        _ => 1,
    }
}

/// A requester of a call, or of some items of it.
#[derive(Debug)]
struct Part<O> {
    /// `None` if it has its reply, because its deadline has passed.
    owner: Option<O>,
    deadline: Option<Instant>,
    items: usize,
    _charge: Option<Charge>,
}

/// A call of a script, made of one call or of several that append.
#[derive(Debug)]
pub struct Unit<O> {
    pub call: Call,
    /// The number with which Redis recognizes the call if it is sent again; 0 as long as the call has none.
    pub number: u64,
    /// Whether Redis may have run it, although the connection broke before the reply.
    pub is_uncertain: bool,
    pub bytes: usize,
    parts: SmallVec<[Part<O>; 1]>,
}

impl<O> Unit<O> {
    pub fn new(call: Call, owner: O, deadline: Option<Instant>, charge: Option<Charge>) -> Self {
        let part = Part { owner: Some(owner), deadline, items: items(&call), _charge: charge };
        Self { bytes: size(&call), call, number: 0, is_uncertain: false, parts: smallvec![part] }
    }

    /// The call, after its connection broke.
    pub fn into_uncertain(self) -> Self {
        Self { is_uncertain: true, ..self }
    }

    pub fn items(&self) -> usize {
        items(&self.call)
    }

    /// Whether items of another call can be added to this one.
    pub fn is_open(&self) -> bool {
        self.number == 0 && matches!(self.call, Call::Append { .. })
    }

    /// Adds the items of another call that appends.
    pub fn absorb(&mut self, other: Self) {
        if let (Call::Append { items }, Call::Append { items: more }) = (&mut self.call, other.call) {
            items.extend(more);
            self.bytes += other.bytes;
            self.parts.extend(other.parts);
        }
    }

    /// The calls of which it was made, without a number. Only of a call that has certainly not run.
    pub fn split(self) -> Vec<Self> {
        let Call::Append { items } = self.call else {
            return vec![Self { number: 0, ..self }];
        };
        let mut items = items.into_iter();
        let parts = self.parts.into_iter().map(|part| {
            let call = Call::Append { items: items.by_ref().take(part.items).collect() };
            Self { bytes: size(&call), call, number: 0, is_uncertain: false, parts: smallvec![part] }
        });
        parts.collect()
    }

    /// The earliest deadline of its requesters that wait: the one of the first, because the others came later.
    pub fn deadline(&self) -> Option<Instant> {
        self.parts.iter().find(|part| part.owner.is_some())?.deadline
    }

    pub fn is_abandoned(&self) -> bool {
        self.parts.iter().all(|part| part.owner.is_none())
    }

    /// Takes the requesters whose deadline has passed.
    pub fn take_expired(&mut self, now: Instant) -> impl Iterator<Item = O> {
        let expired = self.parts.iter_mut().filter(move |part| part.deadline.is_some_and(|at| at <= now));
        expired.filter_map(|part| part.owner.take())
    }

    /// Ends the call with the same error for all.
    pub fn fail(self, error: &EngineError, outcomes: &mut Vec<Outcome<O>>) {
        let owners = self.parts.into_iter().filter_map(|part| part.owner);
        outcomes.extend(owners.map(|owner| (owner, Err(error.clone()))));
    }

    /// Ends the call, which is not sent again.
    pub fn give_up(self, outcomes: &mut Vec<Outcome<O>>) {
        let error = match self.is_uncertain && !is_reading(&self.call) {
            true => EngineError::Timeout { was_sent: true },
            false => EngineError::Unavailable,
        };
        self.fail(&error, outcomes);
    }

    /// Ends the call, which Redis has run, although too few replicas have what it changed: a failover may undo it.
    pub fn lacks_replicas(self, reply: &Reply, seen: &Seen, outcomes: &mut Vec<Outcome<O>>) {
        self.note(reply, seen);
        self.fail(&EngineError::Timeout { was_sent: true }, outcomes);
    }

    /// Ends the call with its reply, and notes the stamps in it.
    pub fn answer(self, reply: Reply, seen: &Seen, outcomes: &mut Vec<Outcome<O>>) {
        self.note(&reply, seen);
        let (all, mut at) = (self.items(), 0);
        if let [_] = self.parts[..] {
            let owner = self.parts.into_iter().find_map(|part| part.owner);
            outcomes.extend(owner.map(|owner| (owner, Ok(reply))));
            return;
        }
        for part in self.parts {
            let own = slice(&reply, at, part.items, all);
            at += part.items;
            let result = own.ok_or_else(|| EngineError::Refused("malformed reply".into()));
            outcomes.extend(part.owner.map(|owner| (owner, result)));
        }
    }

    fn note(&self, reply: &Reply, seen: &Seen) {
        let streams: SmallVec<[&String; 1]> = match &self.call {
            Call::Append { items } => items.iter().map(|item| &item.stream).collect(),
            Call::Change { stream, .. } => smallvec![stream],
            _ => return,
        };
        let answers = reply.bytes().and_then(read_answers).unwrap_or_default();
        for (stream, answer) in streams.into_iter().zip(answers) {
            if let Published::At(item) = answer.published {
                seen.note(stream, item.stamp, item.position.offset);
            }
        }
    }
}

/// The answers of some items, of a reply with answers of equal length for all items.
fn slice(reply: &Reply, at: usize, count: usize, all: usize) -> Option<Reply> {
    let Reply::Bytes(bytes) = reply else {
        return Some(reply.clone());
    };
    let length = bytes.len() / all.max(1);
    if length * all != bytes.len() {
        return None;
    }
    bytes.get(at * length..(at + count) * length).map(|own| Reply::Bytes(own.to_vec()))
}
