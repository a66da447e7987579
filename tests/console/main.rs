//! The console's side of the server: who may ask it, what it answers, what it does.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on shall say so")]

#[path = "../support/mod.rs"]
mod support;
mod operator;
mod access;
mod lists;
mod figures;
mod limits;
mod commands;
mod recorder;
