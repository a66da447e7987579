//! The console's endpoints: who may call them, what they return, what they change.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot continue must fail with a message"
)]

#[path = "../support/mod.rs"]
mod support;
mod operator;
mod access;
mod lists;
mod figures;
mod limits;
mod commands;
mod recorder;
