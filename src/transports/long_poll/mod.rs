//! Long-polls: the endpoint, the session's actor, and the list of events in the response.

pub mod listen;
pub mod jsonp;
pub mod session;
mod event_list;
