//! What every browser may rely on, for each transport, each number of workers and each engine: each scenario runs over
//! websocket, long-poll, JSONP and server-sent events, with one worker and with two; and, apart from JSONP, with one node
//! on Redis and with three that take turns.

#[macro_use]
mod stage;
pub use stage::fast_settings;
mod delivery;
mod catchup;
mod edits;
mod reconnect;
mod presence;
mod presence_modes;
mod replay;
mod lifetime;
mod recovery;
