//! The end of a task's turn while it still has work.

use std::future::Future;
use std::pin::pin;
use std::task::Context;

/// Has the current task polled again after the runtime has polled the I/O driver and the other ready tasks.
///
/// A task that wakes itself is polled again before the driver: the sockets of all other clients wait for it.
pub fn yield_now(context: &mut Context<'_>) {
    // The first poll of this future hands the waker to the runtime, which keeps it until the driver has been polled.
    let _ = pin!(tokio::task::yield_now()).poll(context);
}
