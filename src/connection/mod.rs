//! One HTTP connection: its socket, its deadlines, one request head at a time, large bodies in pieces, and the rejection of
//! connections before HTTP.

pub mod framing;
pub mod turn;
pub mod exchange;
pub mod body_pieces;
pub mod reject;
pub mod deadline;
pub mod deadline_tracker;
pub mod timed_socket;
