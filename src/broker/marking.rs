//! The way of a delivery mark: behind everything up to a stamp, through the streams and then the hubs, back to the registry.
//! So the registry learns what the sessions have not received of it. Only the Redis engine takes marks.

use crate::protocol::ids::{Offset, Stamp};
use actix::Message;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// Laggards, and streams of laggards, that a mark contains at most: Redis stores them once per beat.
const MOST_LAGGARDS: usize = 1_000;
const MOST_STREAMS: usize = 4_000;

/// A session that has not received everything up to the stamp of a mark.
#[derive(Debug, PartialEq, Eq)]
pub struct LaggingSession {
    pub conn_id: Uuid,
    /// The streams that it has not received, and how far it has received each. The private stream has no name.
    pub behind: Vec<(Option<Arc<str>>, Offset)>,
}

/// The laggards of all hubs.
#[derive(Debug, Default)]
pub struct Laggards {
    pub sessions: Vec<LaggingSession>,
    streams: usize,
    /// There are more than a mark may contain.
    pub are_too_many: bool,
}

impl Laggards {
    /// Adds a session. False if no more fit.
    pub fn add(&mut self, session: LaggingSession) -> bool {
        self.streams += session.behind.len();
        self.are_too_many |= self.sessions.len() >= MOST_LAGGARDS || self.streams > MOST_STREAMS;
        if !self.are_too_many {
            self.sessions.push(session);
        }
        !self.are_too_many
    }
}

/// Everything up to this stamp has reached the send queues of the sessions, but for the laggards.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Marked {
    pub stamp: Stamp,
    pub laggards: Laggards,
}

/// The ends of the way of a mark.
pub trait MarkRoute: Debug + Send + Sync {
    /// Sends a mark to all hubs.
    fn to_hubs(&self, marking: &Arc<Marking>);

    /// Sends the result to the registry.
    fn to_registry(&self, marked: Marked);
}

/// Collects laggards. Clones of its `Arc` travel to the hubs; when the last one is dropped, the registry receives the result.
#[derive(Debug)]
pub struct Marking {
    stamp: Stamp,
    laggards: Mutex<Laggards>,
    route: Arc<dyn MarkRoute>,
}

impl Marking {
    /// Begins a mark behind everything that the streams have received so far. Clones of the value must travel through the
    /// mailboxes of all streams that may not have handled something.
    pub fn begin(stamp: Stamp, route: Arc<dyn MarkRoute>) -> Arc<MarkPassage> {
        Arc::new(MarkPassage(Arc::new(Self { stamp, laggards: Mutex::default(), route })))
    }

    /// Lets a hub add its laggards.
    pub fn collect(&self, add: impl FnOnce(&mut Laggards)) {
        add(&mut self.laggards.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Marking {
    fn drop(&mut self) {
        let laggards = std::mem::take(self.laggards.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.route.to_registry(Marked { stamp: self.stamp, laggards });
    }
}

/// Travels through the mailboxes of streams, which only drop it. Then everything ahead of it has been sent to the hubs, and
/// the mark follows.
#[derive(Debug)]
pub struct MarkPassage(Arc<Marking>);

impl Drop for MarkPassage {
    fn drop(&mut self) {
        self.0.route.to_hubs(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(streams: usize) -> LaggingSession {
        LaggingSession { conn_id: Uuid::nil(), behind: vec![(None, 1); streams] }
    }

    #[test]
    fn a_mark_contains_a_limited_number_of_laggards() {
        let mut laggards = Laggards::default();
        assert!((0..MOST_LAGGARDS).all(|_| laggards.add(session(1))));
        assert!(!laggards.are_too_many);
        assert!(!laggards.add(session(1)));
        assert_eq!((laggards.are_too_many, laggards.sessions.len()), (true, MOST_LAGGARDS));
        let mut laggards = Laggards::default();
        assert!(laggards.add(session(MOST_STREAMS)));
        assert!(!laggards.add(session(1)));
    }
}
