//! What each script does, as a Rust function on plain data.

mod expiry;
mod keys;
mod messages;
mod nodes;
mod presence;
mod rows;
mod streams;
mod views;

use super::call::{Call, KeyedRequest, NodeNumber, ScriptSettings, Sender};
use super::reply::Reply;
pub use keys::{Keys, Stored, is_temporary};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use uuid::Uuid;

fn number(number: impl Into<u64>) -> Reply {
    Reply::Number(number.into() as i64)
}

fn bytes(bytes: impl AsRef<[u8]>) -> Reply {
    Reply::Bytes(bytes.as_ref().to_vec())
}

fn status(text: &str) -> Reply {
    Reply::Status(text.into())
}

/// Bytes with their length in front.
fn field(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

#[derive(Clone, Debug)]
struct Term {
    run: String,
    term: u64,
    base: u64,
    stamp: u64,
    /// Streams of an earlier term get a new epoch.
    retire: u64,
    store: String,
    unreported: i64,
    last_beat: Option<u64>,
    resumed: u64,
    totals: Totals,
}

/// A sum of the cluster, by the name of its field.
const TOTALS: [&str; 5] = ["remembered", "users", "connections", "messages", "queued"];

/// The sums of the cluster, in the order of [`TOTALS`]. One that never changed is not stored.
type Totals = [Option<u64>; TOTALS.len()];

#[derive(Clone, Copy)]
enum Total {
    Remembered,
    Users,
    Connections,
    Messages,
    Queued,
}

/// A node as the others know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NodeState {
    /// It has reported in this term.
    Reported(u64),
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
    /// The id and all settings of a channel.
    channel: Option<(Uuid, String)>,
    interested: Vec<NodeNumber>,
    connections: u32,
    users: u32,
    numbers: u64,
    announced: u64,
    /// The present connections of the user of a private stream.
    present: u64,
    log: VecDeque<(u64, u64, Vec<u8>)>,
    history: VecDeque<Vec<u8>>,
    members: BTreeMap<String, Member>,
}

#[derive(Clone, Debug)]
struct Member {
    connections: u32,
    version: u64,
    view: Vec<u8>,
}

#[derive(Clone, Debug)]
struct User {
    version: u64,
    view: Vec<u8>,
    record: Vec<u8>,
}

/// What a node has stated.
#[derive(Clone, Debug, Default)]
struct Own {
    /// For each stream and user the connections, and how many of them are present.
    counts: BTreeMap<(String, String), (u32, u32)>,
    interests: BTreeSet<String>,
    rows: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Row {
    owner: NodeNumber,
    generation: u64,
    user: String,
    data: Vec<u8>,
    /// The owner whose row was freed.
    last_owner: Option<NodeNumber>,
}

/// How far a node has delivered.
#[derive(Clone, Debug)]
struct Mark {
    delivered: u64,
    laggards: BTreeMap<String, Vec<u8>>,
}

/// The last two marks of a node.
#[derive(Clone, Debug, Default)]
struct Marks {
    last: Option<Mark>,
    before: Option<Mark>,
}

/// A partition of Redis.
#[derive(Clone, Debug)]
pub struct Model {
    /// The time in µs.
    pub clock: u64,
    sender: Sender,
    ids: [u8; 16],
    term: Option<Term>,
    nodes: BTreeMap<NodeNumber, NodeState>,
    beats: BTreeMap<NodeNumber, u64>,
    info: BTreeMap<NodeNumber, String>,
    dead: BTreeSet<NodeNumber>,
    streams: BTreeMap<String, Stream>,
    users: BTreeMap<String, User>,
    own: BTreeMap<NodeNumber, Own>,
    expiry: BTreeMap<String, u64>,
    rows: BTreeMap<String, Row>,
    marks: BTreeMap<NodeNumber, Marks>,
    blocks: BTreeMap<String, Vec<u8>>,
    last_calls: BTreeMap<(Uuid, u64), (u64, Vec<u8>)>,
    /// What each process has counted.
    tallies: BTreeMap<Uuid, [u64; 2]>,
    cookie_secret: Option<String>,
    /// When sign-ins to the console have ended, by id.
    sign_outs: BTreeMap<String, u64>,
    /// What was used and is valid once.
    used: BTreeSet<String>,
    /// How the current call changes the sums.
    changed_totals: [i64; TOTALS.len()],
    /// The first request with a key, and the answers about its parts.
    keyed: BTreeMap<u128, (KeyedRequest, BTreeMap<u32, Vec<u8>>)>,
    mail: BTreeMap<NodeNumber, Vec<u8>>,
    /// Streams to whose logs the call has appended.
    longer: BTreeSet<String>,
    journal: Vec<JournalEntry>,
}

/// What was appended to a stream, for tests that keep an account of everything.
#[derive(Clone, Debug)]
pub struct JournalEntry {
    pub stream: String,
    pub epoch: String,
    pub offset: u64,
    pub stamp: u64,
    pub record: Vec<u8>,
}

impl Model {
    pub fn new(clock: u64, sender: Sender) -> Self {
        Self {
            clock,
            sender,
            ids: [0; 16],
            term: None,
            nodes: BTreeMap::new(),
            beats: BTreeMap::new(),
            info: BTreeMap::new(),
            dead: BTreeSet::new(),
            streams: BTreeMap::new(),
            users: BTreeMap::new(),
            own: BTreeMap::new(),
            expiry: BTreeMap::new(),
            rows: BTreeMap::new(),
            marks: BTreeMap::new(),
            blocks: BTreeMap::new(),
            last_calls: BTreeMap::new(),
            tallies: BTreeMap::new(),
            cookie_secret: None,
            sign_outs: BTreeMap::new(),
            used: BTreeSet::new(),
            changed_totals: Default::default(),
            keyed: BTreeMap::new(),
            mail: BTreeMap::new(),
            longer: BTreeSet::new(),
            journal: Vec::new(),
        }
    }

    /// Runs a script. Returns its reply, and what it sends to mailboxes.
    pub fn run(&mut self, call: &Call, sender: &Sender) -> (Reply, BTreeMap<NodeNumber, Vec<u8>>) {
        self.mail.clear();
        self.journal.clear();
        (self.sender, self.ids) = (*sender, *sender.seed.as_bytes());
        let reply = match self.refusal(call) {
            Some(refusal) => status(refusal),
            None => self.perform(call),
        };
        self.trim_logs();
        self.store_totals();
        (reply, std::mem::take(&mut self.mail))
    }

    /// Why the sender of a call may change nothing.
    fn refusal(&self, call: &Call) -> Option<&'static str> {
        match call {
            Call::Enlist { .. } | Call::Report { .. } | Call::Tally { .. } if self.term.is_none() => {
                return Some("NO_TERM");
            }
            Call::Adopt { .. } | Call::Enlist { .. } | Call::Report { .. } | Call::Beat { .. } => {
                return None;
            }
            Call::Read { .. } | Call::ReadUser { .. } | Call::Find { .. } | Call::Nodes => return None,
            Call::Blocks { .. } | Call::Channels { .. } | Call::Summaries { .. } => return None,
            Call::Sweep { .. } | Call::Send { .. } => return None,
            Call::Tally { .. } | Call::UseOnce { .. } | Call::CookieSecret { .. } | Call::SignOuts { .. } => {
                return None;
            }
            _ => {}
        }
        match &self.term {
            _ if !self.is_known(self.sender.node) => Some("FENCED"),
            Some(term) if term.unreported > 0 => Some("SETTLING"),
            _ => None,
        }
    }

    fn perform(&mut self, call: &Call) -> Reply {
        match call {
            Call::Adopt { known_term, run, stamp } => self.adopt(*known_term, run, stamp.0),
            Call::Enlist { earlier, info } => self.enlist(*earlier, info),
            Call::Report { stamp, streams } => self.report(stamp.0, streams),
            Call::Append { items } => {
                self.once(|model| items.iter().flat_map(|item| model.append_item(item)).collect())
            }
            Call::Change { stream, record, part } => {
                self.once(|model| model.publish_once(part.as_ref(), |model| model.change(stream, record)))
            }
            Call::Open { channels } => self.open_channels(channels),
            Call::Configure { channel } => self.configure(channel),
            Call::Follow { stream, after, max_bytes } => self.follow(stream, *after, *max_bytes),
            Call::Unfollow { streams } => {
                streams.iter().for_each(|stream| self.set_interest(self.sender.node, stream, false));
                status("OK")
            }
            Call::Set { is_quiet, counts } => {
                counts.iter().for_each(|count| self.set(count, *is_quiet));
                status("OK")
            }
            Call::Read { stream, after, with_history, with_members, max_bytes } => {
                self.read(stream, *after, *max_bytes, *with_history, *with_members)
            }
            Call::Announce { stream, after, record } => self.announce(stream, *after, record),
            Call::ReadUser { user } => self.read_user(user),
            Call::SetUser { user, expected, record, view, changed } => {
                self.set_user(user, *expected, record, view, changed)
            }
            Call::Sweep { node, is_quiet } => self.sweep(*node, *is_quiet),
            Call::Beat { info } => self.beat(info.as_deref()),
            Call::Leave { stay_ms } => self.leave(*stay_ms),
            Call::Nodes => self.list_nodes(),
            Call::Expire => self.expire(),
            Call::Tally { messages, queued } => self.tally([*messages, *queued]),
            Call::Send { to, bytes } => {
                self.mail.insert(*to, field(&[&[1, 2], &bytes[..]].concat()));
                number(1_u32)
            }
            _ => self.perform_on_rows(call),
        }
    }

    fn perform_on_rows(&mut self, call: &Call) -> Reply {
        let flags = |flags: Vec<bool>| Reply::List(flags.into_iter().map(number).collect());
        match call {
            Call::Claim { conn, user, data, most } => self.claim(conn, user, data, *most),
            Call::CookieSecret { proposal } => {
                bytes(self.cookie_secret.get_or_insert_with(|| proposal.expose().to_owned()))
            }
            Call::SignOuts { since, ended } => self.exchange_sign_outs(*since, ended),
            Call::UseOnce { name } => number(self.used.insert(name.clone())),
            Call::Release { conn, generation, data } => number(self.release(conn, *generation, data)),
            Call::Find { conn } => self.find(conn),
            Call::Store { rows } => {
                flags(rows.iter().map(|row| self.store(&row.conn, row.generation, &row.data)).collect())
            }
            Call::End { rows } => {
                flags(rows.iter().map(|(conn, generation)| self.end(conn, *generation)).collect())
            }
            Call::Mark { delivered, laggards } => self.mark(delivered.0, laggards),
            Call::SetBlock { user, record, until_ms } => self.set_block(user, record, *until_ms),
            Call::Unblock { user } => number(self.remove_block(user)),
            Call::Blocks { .. } => {
                let blocks = self.blocks.iter().flat_map(|(user, record)| [bytes(user), bytes(record)]);
                Reply::List(vec![bytes("0"), Reply::List(blocks.collect())])
            }
            Call::Channels { .. } => {
                let channels = self.streams.keys().filter(|name| name.starts_with('c')).map(bytes);
                Reply::List(vec![bytes("0"), Reply::List(channels.collect())])
            }
            Call::Summaries { streams } => {
                Reply::List(streams.iter().map(|stream| self.summary(stream)).collect())
            }
            other => panic!("{other:?} has no model"),
        }
    }

    /// The version of a user's record; 0 if there is none.
    pub fn version(&self, user: &str) -> u64 {
        self.users.get(user).map_or(0, |user| user.version)
    }

    /// Owner and generation of a row; zeros if there is none.
    pub fn owner(&self, conn: &str) -> (NodeNumber, u64) {
        self.rows.get(conn).map_or((0, 0), |row| (row.owner, row.generation))
    }

    fn term(&mut self) -> &mut Term {
        self.term.as_mut().unwrap()
    }

    fn next_stamp(&mut self) -> u64 {
        let clock = self.clock;
        let term = self.term();
        term.stamp = clock.max(term.stamp + 1);
        term.stamp
    }

    fn next_uuid(&mut self) -> Uuid {
        let last = u32::from_be_bytes(self.ids[12..].try_into().unwrap()).wrapping_add(1);
        self.ids[12..].copy_from_slice(&last.to_be_bytes());
        Uuid::from_bytes(self.ids)
    }

    /// A numbered call, of which 256 are remembered.
    fn once(&mut self, act: impl FnOnce(&mut Self) -> Vec<u8>) -> Reply {
        let (number, slot) = (self.sender.number, (self.sender.boot, self.sender.number % 256));
        match self.last_calls.get(&slot) {
            Some((last, reply)) if *last == number => Reply::Bytes(reply.clone()),
            Some((last, _)) if *last > number => status("OUTDATED"),
            _ => {
                let reply = act(self);
                self.last_calls.insert(slot, (number, reply.clone()));
                Reply::Bytes(reply)
            }
        }
    }
}
