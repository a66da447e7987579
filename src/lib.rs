//! A realtime push server: web applications send requests to a small signed REST API, and browsers receive events over
//! websocket or long-poll.

// The folders in the order in which a message passes them.
pub mod server;
pub mod http;
pub mod transports;
pub mod connection;
pub mod api;
pub mod auth;
pub mod broker;
pub mod send_queue;
// Shared by all of them. Each folder may use those below it.
pub mod config;
pub mod limits;
pub mod http_error;
pub mod telemetry;
pub mod protocol;
pub mod clock;
// Not on the path of a message.
pub mod console;
pub mod web;
pub mod demo;
pub mod cli;
// For tests only.
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod simulation;
