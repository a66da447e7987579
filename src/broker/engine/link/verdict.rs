//! What Redis means by an answer. Pure.

use super::super::error::EngineError;
use super::super::reply::Reply;
use super::counters::ScriptError;

/// The reply to a change as long as nodes have not reported what they saw before a failover.
const SETTLING: &str = "SETTLING";

/// The error of a call whose library is not loaded.
const NO_FUNCTION: &str = "Function not found";

/// An error of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The first word.
    pub code: String,
    pub text: String,
}

/// What the link must do before the next calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Load the scripts.
    Scripts,
    /// Connect again.
    Connection(Loss),
}

/// Why the link gives up a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    Closed,
    /// A call was not answered for long.
    Silent,
    Overrun,
    Unsubscribed,
    /// Sentinels name another master.
    Moved,
    /// Redis is a replica, loads its data, or has lost its master.
    NotReady,
    /// Redis does not know the number of this node.
    Fenced,
    /// Nodes that have not reported hold up all changes for too long. This one may be one of them, if the server was a
    /// replica for a moment.
    Unsettled,
    /// Redis ran a call although it had refused one that was sent before it, or replied with something unknown.
    Disordered,
}

/// What Redis means by an answer.
#[derive(Debug)]
pub enum Verdict {
    Done(Result<Reply, EngineError>),
    /// Nothing was done, and changes have to wait until all nodes have reported.
    Settling(Reply),
    /// Nothing was done, because the script is not loaded.
    NotLoaded,
    /// Nothing was done, because of the server or this node.
    Lost(Loss),
}

impl Verdict {
    /// Reads an answer; an error also as what is counted.
    pub fn read(answer: Result<Reply, Failure>) -> (Self, Option<ScriptError>) {
        let failure = match answer {
            Ok(reply) => {
                let verdict = match reply.status() {
                    Some("FENCED" | "NO_TERM") => Self::Lost(Loss::Fenced),
                    Some(SETTLING) => Self::Settling(reply),
                    // Redis no longer knows whether it ran the call.
                    Some("OUTDATED") => Self::Done(Err(EngineError::Timeout { was_sent: true })),
                    _ => Self::Done(Ok(reply)),
                };
                return (verdict, None);
            }
            Err(failure) => failure,
        };
        let (verdict, error) = match failure.code.as_str() {
            "ERR" if failure.text.ends_with(NO_FUNCTION) => (Self::NotLoaded, ScriptError::NotLoaded),
            "OOM" => (Self::Done(Err(EngineError::Full)), ScriptError::Full),
            "READONLY" | "LOADING" | "MASTERDOWN" => (Self::Lost(Loss::NotReady), ScriptError::NotReady),
            _ => (Self::Done(Err(EngineError::Refused(failure.text))), ScriptError::Other),
        };
        (verdict, Some(error))
    }
}
