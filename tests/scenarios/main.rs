//! What every browser may rely on, whatever its transport and however many threads serve it: each scenario runs
//! over websocket, long-poll and JSONP, with one worker and with two.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

#[path = "../support/mod.rs"]
mod support;
#[macro_use]
mod stage;
mod delivery;
mod catchup;
mod edits;
mod reconnect;
mod presence;
mod lifetime;
