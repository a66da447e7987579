//! A realtime push server: web applications send requests to a small signed REST API, and browsers receive events over
//! websocket or long-poll.

// The folders in the order in which a message passes them. Only what the programs, tests and benchmarks use is public, so
// that the compiler reports code that nothing uses.
pub mod server;
pub mod http;
pub mod transports;
pub mod connection;
pub mod api;
pub mod auth;
pub mod broker;
mod send_queue;
// Shared by all of them. Each folder may use those below it.
pub mod config;
mod limits;
pub mod http_error;
pub mod telemetry;
pub mod protocol;
mod clock;
// Not on the path of a message.
pub mod console;
mod web;
mod demo;
pub mod cli;
// For tests only.
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod simulation;
