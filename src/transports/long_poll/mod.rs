//! Long-polls: the endpoint, the session's actor, and the list of events that answers a poll.

pub mod listen;
pub mod jsonp;
pub mod session;
mod event_list;
