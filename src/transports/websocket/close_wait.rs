//! The time between the close frame and the end of a socket.

use super::context::Progress;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::SendQueue;
use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How long a peer may take to answer the server's close frame before the socket is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Additional time: after a pause of the process, the answer may be in the kernel's buffer and is read first.
const GRACE: Duration = Duration::from_millis(100);

/// Decides when a socket can be dropped after its close frame.
#[derive(Default)]
pub struct CloseWait {
    limit: Option<Box<CloseTimer>>,
}

struct CloseTimer {
    timer: Pin<Box<Sleep>>,
    has_passed: bool,
}

impl CloseTimer {
    fn poll(&mut self, context: &mut Context<'_>) -> Progress {
        while self.timer.as_mut().poll(context).is_ready() {
            if std::mem::replace(&mut self.has_passed, true) {
                return Progress::Done;
            }
            self.timer.as_mut().reset(Instant::now() + GRACE);
        }
        Progress::More
    }
}

impl CloseWait {
    /// Returns `Done` when the socket can be dropped. The close frame is in the send queue, or sent if `flushed`. After
    /// the answer to the peer's own close frame, and for a silent peer, there is nothing to wait for. Other peers get a
    /// short time to answer.
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
            // The peers of the first three cases may have sent their last frame already, and wait for the end. A slow
            // peer that was sent half a frame gets no close frame. The socket stays open for a short time (RFC 6455,
            // section 7.1.1): if a peer sends data to a dropped socket, the kernel resets the connection, and the peer
            // loses what it has not read.
            CloseReason::Protocol | CloseReason::InvalidText | CloseReason::TooBig | CloseReason::TooSlow
                if flushed =>
            {
                send_queue.shutdown_write();
            }
            _ => {}
        }
        self.poll_limit(context)
    }

    /// Returns `Done` when the peer has had enough time to close the socket.
    pub fn poll_limit(&mut self, context: &mut Context<'_>) -> Progress {
        let start =
            || Box::new(CloseTimer { timer: Box::pin(tokio::time::sleep(CLOSE_TIMEOUT)), has_passed: false });
        self.limit.get_or_insert_with(start).poll(context)
    }
}
