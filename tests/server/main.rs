//! The server as a whole, over real sockets, and its commands as operators run them. One program for all these tests:
//! linking takes longer than compiling. Tests that need the machine to themselves are in `tests/load`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot continue must fail with a message"
)]

#[path = "../support/mod.rs"]
mod support;

// Connections and requests, as they arrive.
mod arrival;
mod bodies;
mod bounds;
mod limits;
mod request_bodies;
mod request_bytes;
mod slow_requests;

// Which requests the server accepts, and from where.
mod access;
mod ending;
mod exposure;
mod loopback;
mod origins;
mod proxies;

// Delivery.
mod cluster;
mod idempotency;
mod long_poll;
mod random_clients;
mod receipts;
mod scenarios;
mod sse;
mod tokens;
mod websocket;

// The console, the demos and the API's description.
mod console;
mod demos;
mod echo_cases;
mod limits_page;
mod openapi;

// The original.
mod replay;
mod replay_engine;

// The load generator of tools/load.
mod load_generator;

// Settings, commands, and the process.
mod cli;
mod engine_check;
mod faults;
mod log;
mod rotation;
mod settings;
mod stopping;
