//! Long-polls: the endpoint, the session's actor, and the list of events in the response.

pub(crate) mod listen;
pub(crate) mod jsonp;
pub(crate) mod session;
mod event_list;
