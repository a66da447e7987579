//! A realtime push server: web applications talk to it over a small signed REST API, browsers listen over
//! websocket or long-poll.

// The stations of a message's road, in road order.
pub mod app;
pub mod settings;
pub mod ids;
pub mod error;
pub mod edge;
pub mod api;
pub mod gate;
pub mod signing;
pub mod registry;
pub mod inbox;
pub mod channel;
pub mod session;
pub mod hub;
pub mod outbox;
// The vocabulary beside the road.
pub mod wire;
pub mod handoff;
pub mod rows;
pub mod clock;
pub mod turn;
// Side roads.
pub mod admin;
pub mod demo;
pub mod observe;
pub mod cli;
pub mod replay;
// What tests share.
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod simulation;
