//! The time between a socket's goodbye and its end.

use super::context::Step;
use crate::wire::websocket::close::CloseReason;
use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;
use tokio::time::Sleep;

/// How long a peer may take to answer our goodbye before the socket is dropped.
const LIMIT: Duration = Duration::from_secs(2);

/// Watches for the end of a socket that has been said goodbye to.
#[derive(Default)]
pub struct Goodbye {
    limit: Option<Pin<Box<Sleep>>>,
}

impl Goodbye {
    /// The goodbye is queued, or out if `flushed`. Done when the socket may be dropped: after our answer to the peer's
    /// own goodbye and towards a peer that does not read there is nothing to wait for, others get a moment to answer.
    pub fn poll(&mut self, reason: CloseReason, flushed: bool, context: &mut Context<'_>) -> Step {
        let is_final = match reason {
            CloseReason::ByPeer(_) => flushed,
            CloseReason::TooSlow | CloseReason::Silent => true,
            _ => false,
        };
        if is_final {
            return Step::Done;
        }
        let limit = self.limit.get_or_insert_with(|| Box::pin(tokio::time::sleep(LIMIT)));
        if limit.as_mut().poll(context).is_ready() { Step::Done } else { Step::More }
    }
}
