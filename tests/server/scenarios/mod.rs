//! What every browser may rely on, for each transport and each number of workers: each scenario runs
//! over websocket, long-poll and JSONP, with one worker and with two.

#[macro_use]
mod stage;
mod delivery;
mod catchup;
mod edits;
mod reconnect;
mod presence;
mod presence_modes;
mod replay;
mod lifetime;
mod recovery;
