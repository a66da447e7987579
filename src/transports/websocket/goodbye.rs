//! The time between a socket's goodbye and its end.

use super::context::Progress;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::SendQueue;
use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How long a peer may take to answer our goodbye before the socket is dropped.
const LIMIT: Duration = Duration::from_secs(2);
/// What comes on top of it: when the process was paused, the answer may lie in the kernel and is read first.
const MOMENT: Duration = Duration::from_millis(100);

/// Watches for the end of a socket that has been said goodbye to.
#[derive(Default)]
pub struct Goodbye {
    limit: Option<Box<GoodbyeLimit>>,
}

struct GoodbyeLimit {
    timer: Pin<Box<Sleep>>,
    has_passed: bool,
}

impl GoodbyeLimit {
    fn poll(&mut self, context: &mut Context<'_>) -> Progress {
        while self.timer.as_mut().poll(context).is_ready() {
            if std::mem::replace(&mut self.has_passed, true) {
                return Progress::Done;
            }
            self.timer.as_mut().reset(Instant::now() + MOMENT);
        }
        Progress::More
    }
}

impl Goodbye {
    /// The goodbye is queued in the send queue, or out if `flushed`. Done when the socket may be dropped: after our answer
    /// to the peer's own goodbye and towards a silent peer there is nothing to wait for, others get a moment to answer.
    pub fn poll(
        &mut self,
        reason: CloseReason,
        flushed: bool,
        send_queue: &SendQueue,
        context: &mut Context<'_>,
    ) -> Progress {
        match reason {
            CloseReason::ByPeer(_) if flushed => return Progress::Done,
            CloseReason::Silent => return Progress::Done,
            // The first three may have sent their last frame already, and wait for the end. A slow peer that was sent
            // half a frame gets no goodbye. The socket itself stays for a moment (RFC 6455, section 7.1.1): when a peer
            // sends something to a dropped one, the kernel resets the connection and loses what the peer has not read.
            CloseReason::Protocol | CloseReason::InvalidText | CloseReason::TooBig | CloseReason::TooSlow
                if flushed =>
            {
                send_queue.shutdown_write();
            }
            _ => {}
        }
        let start =
            || Box::new(GoodbyeLimit { timer: Box::pin(tokio::time::sleep(LIMIT)), has_passed: false });
        self.limit.get_or_insert_with(start).poll(context)
    }
}
