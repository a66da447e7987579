//! What nodes ask each other about the connections that they own. A node answers what it is asked, in any order.

use super::listing::{ListedConnection, ListedDetails, ListedUser};
use crate::broker::engine::call::NodeNumber;
use crate::broker::requests::Ending;
use crate::protocol::ids::{Offset, Stamp};
use crate::protocol::websocket::close::CloseReason;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio::sync::oneshot;
use uuid::Uuid;

/// What a node sends to another one.
#[derive(Debug, Serialize, Deserialize)]
pub enum Post {
    Ask {
        from: NodeNumber,
        id: u64,
        question: Question,
    },
    Answer {
        id: u64,
        answer: Answer,
    },
    /// The sender counts a connection that it got from this node.
    Raised {
        conn_id: Uuid,
    },
}

/// What the owner of a connection does for another node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Question {
    /// Gives the connection up.
    Release {
        conn_id: Uuid,
    },
    /// Connects the connection of this user again, and subscribes it. The channels exist.
    Connect {
        conn_id: Uuid,
        user: String,
        channels: Vec<String>,
    },
    /// Subscribes a connection. The channels exist.
    Subscribe {
        conn_id: Uuid,
        channels: Vec<String>,
    },
    Unsubscribe {
        conn_id: Uuid,
        channels: Vec<String>,
    },
    Disconnect {
        conn_id: Uuid,
        why: PostedEnding,
    },
    /// Ends connections of a user, a limited number.
    DisconnectUser {
        user: String,
        why: PostedEnding,
    },
    /// Lists some connections, from the place that the last answer has named; see
    /// [`BrowseConnections`](crate::broker::requests::BrowseConnections).
    List {
        from: usize,
        channel: Option<String>,
        user: Option<String>,
    },
    /// Describes a connection.
    Describe {
        conn_id: Uuid,
    },
    /// Describes the connections of a user.
    DescribeUser {
        user: String,
    },
}

impl Question {
    /// The connection that the owner must have to answer.
    pub fn conn_id(&self) -> Option<Uuid> {
        match self {
            Self::Release { conn_id }
            | Self::Connect { conn_id, .. }
            | Self::Subscribe { conn_id, .. }
            | Self::Unsubscribe { conn_id, .. }
            | Self::Disconnect { conn_id, .. } => Some(*conn_id),
            Self::DisconnectUser { .. }
            | Self::List { .. }
            | Self::Describe { .. }
            | Self::DescribeUser { .. } => None,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The node does not own the connection, or does not know the user.
    Unknown,
    /// The row of the connection contains where its client is, and has no owner.
    Released,
    /// All channels of the connection, and those that have changed.
    Subscribed {
        channels: Vec<String>,
        changed: Vec<String>,
    },
    /// A limit is reached: its name and its bound.
    OverLimit {
        limit: String,
        bound: u64,
    },
    Ended {
        ended: usize,
        left: usize,
    },
    /// Connections, and where the next ones are.
    Listed {
        rows: Vec<ListedConnection>,
        next: Option<usize>,
    },
    Described(Box<ListedDetails>),
    DescribedUser(ListedUser),
    /// The node cannot answer now.
    Busy,
}

/// Why connections are ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PostedEnding {
    reason: String,
    text: Option<String>,
}

impl PostedEnding {
    pub fn of(why: &Ending) -> Self {
        Self { reason: why.reason.name().to_owned(), text: why.text.as_deref().map(str::to_owned) }
    }

    pub fn read(self) -> Ending {
        let reason = CloseReason::ALL.into_iter().find(|reason| reason.name() == self.reason);
        Ending { reason: reason.unwrap_or(CloseReason::Ended), text: self.text.map(Into::into) }
    }
}

/// A connection on its way to another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedConnection {
    pub conn_id: Uuid,
    pub user: String,
    /// Its channels, and where it is in each of them.
    pub channels: BTreeMap<String, MovedPlace>,
    /// Where it is in the private stream of its user.
    pub private: MovedPlace,
    pub is_present: bool,
    /// The stamp that it took when it was created.
    pub born: u64,
    /// When its token expires: in Unix seconds, and in ms from now.
    pub token: Option<(u64, u64)>,
}

/// Where a connection is in a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedPlace {
    /// Where the stream was when the connection subscribed.
    pub joined_offset: Offset,
    pub joined_stamp: u64,
    /// How far the client has received the stream.
    pub received: Received,
}

/// How far a client has received a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Received {
    UpTo(Offset),
    /// Everything up to this stamp.
    Until(u64),
}

impl Default for Received {
    fn default() -> Self {
        Self::UpTo(0)
    }
}

impl MovedPlace {
    /// The place in a stream in which the connection has received everything up to this stamp.
    pub fn until(born: Stamp, received: Stamp) -> Self {
        Self { joined_offset: 0, joined_stamp: born.0, received: Received::Until(received.0) }
    }
}

impl Post {
    pub fn write(&self) -> Vec<u8> {
        // These types contain nothing that JSON cannot express.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what another node has sent. `None` if its version of the server sends what this one does not know.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// Questions of ended requests that are kept at most, in addition to as many as there are others.
const PRUNE_FROM: usize = 64;

/// The questions of this node that are not answered yet.
#[derive(Debug, Default)]
pub struct Questions {
    waiting: FxHashMap<u64, oneshot::Sender<Answer>>,
    last: u64,
    /// The number of questions at which those of ended requests are removed.
    prune_at: usize,
}

impl Questions {
    /// Numbers a question. The receiver gets its answer.
    pub fn ask(&mut self) -> (u64, oneshot::Receiver<Answer>) {
        if self.waiting.len() >= self.prune_at {
            // Requests that have ended no longer wait.
            self.waiting.retain(|_, waiter| !waiter.is_closed());
            self.prune_at = 2 * self.waiting.len() + PRUNE_FROM;
        }
        self.last += 1;
        let (waiter, answer) = oneshot::channel();
        self.waiting.insert(self.last, waiter);
        (self.last, answer)
    }

    pub fn answered(&mut self, id: u64, answer: Answer) {
        if let Some(waiter) = self.waiting.remove(&id) {
            let _ = waiter.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_read_as_it_was_written() {
        let question = Question::Release { conn_id: Uuid::from_u128(1) };
        let post = Post::Ask { from: 1 << 52, id: 7, question };
        let Some(Post::Ask { from, id: 7, question }) = Post::read(&post.write()) else {
            panic!("another post")
        };
        assert_eq!((from, question.conn_id()), (1 << 52, Some(Uuid::from_u128(1))));
        assert!(Post::read(b"{\"Later\":{}}").is_none());
    }

    #[test]
    fn a_reason_survives_the_way() {
        for reason in CloseReason::ALL {
            let ending = PostedEnding::of(&reason.into()).read();
            assert_eq!(ending.reason.name(), reason.name());
        }
    }

    #[test]
    fn an_answer_reaches_its_question() {
        let mut questions = Questions::default();
        let (first, mut answer) = questions.ask();
        let (second, ended) = questions.ask();
        drop(ended);
        questions.answered(second, Answer::Unknown);
        questions.answered(first, Answer::Busy);
        assert!(matches!(answer.try_recv(), Ok(Answer::Busy)));
        (0..200).for_each(|_| drop(questions.ask()));
        assert!(questions.waiting.len() <= PRUNE_FROM + 1);
    }
}
