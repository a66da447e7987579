//! The websocket programs of demo mode, over real sockets.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot continue must fail with a message"
)]

#[path = "../support/mod.rs"]
mod support;
mod common;
mod echo;
mod guarded;
mod chat;
mod board;
mod pages;
mod switch;
