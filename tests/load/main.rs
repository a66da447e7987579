//! Tests that use all the machine, or measure it: only one of them runs at a time. `.config/nextest.toml` ensures the
//! same for cargo-nextest, which starts a process for each test.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot continue must fail with a message"
)]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "these tests use only a part of it")]
mod support;

mod cases;
mod crowd;
mod restart;
mod slow;
mod soak;
mod system_calls;
mod turns;

use tokio::sync::Mutex;

/// Each test holds it to its end.
static ALONE: Mutex<()> = Mutex::const_new(());
