//! What the applications have done for each client, and so what the client must receive and what it may receive. Old
//! clients count what they read; those that ask for positions are in `resuming.rs`.

use super::resuming::Memory;
use super::truth::{Entry, Truth};
use crate::fixtures::Seen;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

/// From the first entry on, up to the second one.
type Interval = (usize, Option<usize>);

/// A stream of which a connection is a member.
#[derive(Debug, Default)]
pub struct Membership {
    /// The entries that the client must receive if they are meant for it.
    required: Vec<Interval>,
    /// Those that it may receive.
    allowed: Vec<Interval>,
}

fn contains(intervals: &[Interval], at: usize) -> bool {
    intervals.iter().any(|(from, until)| *from <= at && until.is_none_or(|until| at < until))
}

fn close(intervals: &mut [Interval], at: usize) {
    if let Some((_, until @ None)) = intervals.last_mut() {
        *until = Some(at);
    }
}

fn open(intervals: &mut Vec<Interval>, at: usize) {
    if intervals.last().is_none_or(|(_, until)| until.is_some()) {
        intervals.push((at, None));
    }
}

/// See the module's description.
pub struct Client {
    pub conn_id: Uuid,
    /// The id as it is in rows.
    pub conn_text: String,
    pub user: String,
    /// Whether it asks for positions.
    pub is_resuming: bool,
    /// Its streams, by their keys.
    memberships: BTreeMap<String, Membership>,
    /// Whether its connection exists.
    pub is_alive: bool,
    /// The processes that have not answered requests about it yet.
    requests: Vec<usize>,
    /// Its session was attached when everything was at rest, and nothing has ended it since.
    pub is_steady: bool,
    /// Requests overlapped or failed, so that nothing is known of its channels until it has none.
    pub is_uncertain: bool,
    /// A failure has hit its session or its connection, so that it may receive frames again, and older ones.
    pub may_repeat: bool,
    /// How often it has received each item of a stream, and the last entry in each stream.
    got: HashMap<(String, u128), u32>,
    last: HashMap<String, usize>,
    pub memory: Memory,
}

impl Client {
    pub fn new(conn_id: Uuid, user: String, is_resuming: bool) -> Self {
        Self {
            conn_id,
            conn_text: conn_id.to_string(),
            user,
            is_resuming,
            memberships: BTreeMap::new(),
            is_alive: false,
            requests: Vec::new(),
            is_steady: false,
            is_uncertain: false,
            may_repeat: false,
            got: HashMap::new(),
            last: HashMap::new(),
            memory: Memory::default(),
        }
    }

    /// A request about it begins. One that overlaps another leaves in doubt what becomes of both.
    pub fn begin_request(&mut self, by: usize, now: usize) {
        self.requests.push(by);
        self.is_steady = false;
        if self.requests.len() > 1 {
            self.doubt(now);
        }
    }

    pub fn end_request(&mut self, by: usize) {
        let at = self.requests.iter().position(|of| *of == by).expect("it has begun");
        self.requests.swap_remove(at);
    }

    /// A process has ended without answering.
    pub fn abandon_requests(&mut self, by: usize, now: usize) {
        let before = self.requests.len();
        self.requests.retain(|of| *of != by);
        if self.requests.len() < before {
            self.doubt(now);
        }
    }

    /// Everything is at rest: its connection is a member of these streams.
    pub fn resolve(&mut self, streams: &BTreeSet<String>, now: usize) {
        if !std::mem::take(&mut self.is_uncertain) {
            return;
        }
        for stream in streams {
            self.memberships.entry(stream.clone()).or_default();
        }
        for (stream, membership) in &mut self.memberships {
            match streams.contains(stream) {
                true => open(&mut membership.required, now),
                false => close(&mut membership.allowed, now),
            }
        }
    }

    /// A request that makes it a member of streams begins.
    pub fn may_join(&mut self, streams: &[String], now: usize) {
        for stream in streams {
            open(&mut self.memberships.entry(stream.clone()).or_default().allowed, now);
        }
    }

    /// Such a request was answered.
    pub fn joined(&mut self, streams: &[String], now: usize) {
        if self.is_alive && !self.is_uncertain {
            for stream in streams {
                open(&mut self.memberships.entry(stream.clone()).or_default().required, now);
            }
        }
    }

    /// A request that ends memberships begins. What has not reached a session by then need not arrive.
    pub fn may_leave(&mut self, streams: &[String]) {
        for stream in streams {
            self.memberships.entry(stream.clone()).or_default().required.clear();
        }
    }

    /// Such a request was answered.
    pub fn left(&mut self, streams: &[String], now: usize) {
        if !self.is_uncertain {
            for stream in streams {
                close(&mut self.memberships.entry(stream.clone()).or_default().allowed, now);
            }
        }
    }

    /// It is not known what became of requests.
    pub fn doubt(&mut self, now: usize) {
        self.is_uncertain = true;
        for membership in self.memberships.values_mut() {
            close(&mut membership.required, now);
            membership.allowed = vec![(0, None)];
        }
    }

    /// Its connection has ended. What it has not received it never will.
    pub fn end(&mut self, now: usize) {
        self.is_alive = false;
        for membership in self.memberships.values_mut() {
            membership.required.clear();
            // What is on its way is delivered.
            if !self.is_uncertain && self.requests.is_empty() {
                close(&mut membership.allowed, now);
            }
        }
        self.memory.forget();
    }

    pub fn streams(&self) -> impl Iterator<Item = &String> {
        self.memberships.keys()
    }

    pub fn is_required(&self, at: usize, entry: &Entry) -> bool {
        let is_checked = entry.number.is_some() || (self.is_resuming && entry.kind == "presence");
        is_checked
            && entry.is_meant_for(&self.user)
            && self
                .memberships
                .get(&entry.stream)
                .is_some_and(|membership| contains(&membership.required, at))
    }

    pub fn is_allowed(&self, at: usize, entry: &Entry) -> bool {
        entry.is_meant_for(&self.user)
            && self.memberships.get(&entry.stream).is_some_and(|membership| contains(&membership.allowed, at))
    }

    /// Whether it is a member of a channel for certain.
    pub fn is_member(&self, stream: &str) -> bool {
        let membership = self.memberships.get(stream);
        membership.is_some_and(|membership| contains(&membership.required, usize::MAX))
    }

    /// The key of the stream of an event.
    pub fn stream_of(&self, event: &Seen) -> String {
        match &event.channel {
            Some(channel) => format!("c{channel}"),
            None => format!("u{}", self.user),
        }
    }

    /// An old client reads an event.
    pub fn read(&mut self, event: &Seen, truth: &Truth) {
        let Some(number) =
            super::super::account::number_of(&event.kind, event.number, &event.json["message"])
        else {
            return;
        };
        let stream = self.stream_of(event);
        let Some(at) = truth.find(&stream, number) else { panic!("{stream} never had {event:?}") };
        let entry = &truth.entries[at];
        let who = format!("client {} of {} in {stream}", self.conn_id.as_u128(), self.user);
        assert!(entry.is_meant_for(&self.user), "{who} receives what is not meant for it: {entry:?}");
        assert!(
            self.may_repeat || self.is_allowed(at, entry),
            "{who} receives what is from outside of its membership: {at} {entry:?} {:?}",
            self.memberships.get(&stream)
        );
        let times = self.got.entry((stream.clone(), number)).or_default();
        *times += 1;
        assert!(*times == 1 || self.may_repeat, "{who} receives {at} twice: {entry:?}");
        if *times == 1 {
            let last = self.last.insert(stream.clone(), at).unwrap_or(0);
            // What Redis has lost was appended earlier in the place of others.
            let is_ordered = last <= at || truth.entries[last].is_lost || entry.is_lost;
            assert!(is_ordered || self.may_repeat, "{who} receives {at} after {last}");
        }
    }

    /// Panics if it lacks something, after everything has arrived.
    pub fn check_complete(&self, truth: &Truth) {
        for (stream, at, entry) in self.required(truth) {
            let has = match self.is_resuming {
                true => self.memory.has(at, entry),
                false => entry.number.is_some_and(|number| self.got.contains_key(&(stream.clone(), number))),
            };
            assert!(
                has,
                "client {} of {} lacks {at} {entry:?} {:?}, accepted: {}",
                self.conn_id.as_u128(),
                self.user,
                self.memberships[stream],
                truth.is_accepted(entry)
            );
        }
    }

    /// What it must receive, as far as streams keep it.
    fn required<'a>(&'a self, truth: &'a Truth) -> impl Iterator<Item = (&'a String, usize, &'a Entry)> {
        let entries =
            |stream: &'a String| truth.of_stream(stream).map(move |(at, entry)| (stream, at, entry));
        let all = self.memberships.keys().flat_map(entries);
        all.filter(|(_, at, entry)| entry.is_kept() && self.is_required(*at, entry))
    }
}
