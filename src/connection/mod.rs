//! One HTTP connection: its socket, its deadlines, one request head at a time, large bodies in pieces, and the rejection of
//! connections before HTTP.

pub mod framing;
pub(crate) mod turn;
pub(crate) mod exchange;
pub(crate) mod body_pieces;
pub(crate) mod reject;
pub(crate) mod peer_timeout;
pub(crate) mod deadline;
pub(crate) mod deadline_tracker;
pub(crate) mod timed_socket;
