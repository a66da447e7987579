//! The progress of one request of a connection and its response, shared by the socket, the HTTP stack's services and the
//! handlers. A request has access to it through the connection's [`ConnectionDeadline`].

use super::deadline::ConnectionDeadline;
use actix_http::Payload;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;
use std::cell::Cell;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// Whether a client waits for `100 Continue` before it sends the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Continue {
    /// The client does not wait (any more).
    #[default]
    NotExpected,
    /// The client waits, and no handler has started to read the body.
    Expected,
    /// A handler reads the body, so `100 Continue` must be sent.
    Required,
}

/// The progress of a request and its response.
#[derive(Default)]
pub struct Exchange {
    /// The HTTP stack has the request, and not yet all of its response.
    is_answering: Cell<bool>,
    /// Bytes of the response were written to the socket.
    has_begun: Cell<bool>,
    /// The request has been read to its end.
    is_complete: Cell<bool>,
    /// The kernel has all bytes that were written to the socket.
    is_flushed: Cell<bool>,
    /// The response continues when the kernel has them.
    waits_for_flush: Cell<bool>,
    continues: Cell<Continue>,
    is_half_closed: Cell<bool>,
    half_close: Cell<Option<Waker>>,
}

impl Exchange {
    /// To be called when the HTTP stack receives a request.
    pub(crate) fn start(&self, expects_continue: bool) {
        self.is_answering.set(true);
        self.has_begun.set(false);
        self.is_complete.set(false);
        self.is_flushed.set(false);
        self.continues.set(if expects_continue { Continue::Expected } else { Continue::NotExpected });
    }

    /// To be called when the request has been read to its end.
    pub(crate) fn set_complete(&self) {
        self.is_complete.set(true);
    }

    /// Whether the request has been read to its end.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete.get()
    }

    /// Whether the HTTP stack has a request, and not yet all of its response.
    pub(crate) fn is_answering(&self) -> bool {
        self.is_answering.get()
    }

    /// To be called before bytes of the response are written to the socket.
    pub(crate) fn set_writing(&self) {
        self.has_begun.set(true);
        self.is_flushed.set(false);
        self.continues.set(Continue::NotExpected);
    }

    /// To be called when the response is complete and another request can follow.
    pub(crate) fn end(&self) {
        self.has_begun.set(false);
    }

    /// Whether bytes of the current response were written to the socket.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    /// To be called when the kernel has all bytes that were written to the socket. Returns whether the response waits for
    /// that.
    pub(crate) fn set_flushed(&self) -> bool {
        self.is_flushed.set(true);
        self.waits_for_flush.take()
    }

    /// Waits until the kernel has all bytes that were written to the socket. Used by the body of the response, which the
    /// connection's task then polls again.
    fn poll_flushed(&self) -> Poll<()> {
        if self.is_flushed.get() {
            return Poll::Ready(());
        }
        self.waits_for_flush.set(true);
        Poll::Pending
    }

    /// Whether `100 Continue` must be sent now. True once.
    pub(crate) fn take_continue(&self) -> bool {
        self.continues.get() == Continue::Required && {
            self.continues.set(Continue::NotExpected);
            true
        }
    }

    /// To be called when the client has finished sending; it may still read.
    pub(crate) fn set_half_closed(&self) {
        self.is_half_closed.set(true);
        if let Some(waiter) = self.half_close.take() {
            waiter.wake();
        }
    }

    /// Whether the client has finished sending.
    pub fn is_half_closed(&self) -> bool {
        self.is_half_closed.get()
    }

    /// Waits until the client has finished sending. One task can wait.
    pub fn poll_half_closed(&self, context: &Context<'_>) -> Poll<()> {
        if self.is_half_closed() {
            return Poll::Ready(());
        }
        let waiter = self.half_close.take().filter(|waiter| waiter.will_wake(context.waker()));
        self.half_close.set(Some(waiter.unwrap_or_else(|| context.waker().clone())));
        Poll::Pending
    }
}

/// Determines whether a client has received its answer, which means that the kernel has all of it.
///
/// A client that has closed its sending half cannot be distinguished from one that has disconnected, so it counts as
/// disconnected.
#[derive(Default)]
pub struct Taken {
    deadline: Option<Rc<ConnectionDeadline>>,
}

impl Taken {
    /// For the client of this connection.
    pub fn by(deadline: Option<Rc<ConnectionDeadline>>) -> Self {
        Self { deadline }
    }

    /// To be polled when the end of the answer was written to the socket.
    pub fn poll(&self) -> Poll<bool> {
        let Some(deadline) = &self.deadline else { return Poll::Ready(true) };
        ready!(deadline.exchange.poll_flushed());
        // If the sending half is closed, the next poll receives the same events again: twice is better than never.
        Poll::Ready(!deadline.exchange.is_half_closed())
    }
}

/// A body that causes `100 Continue` when it is read for the first time (RFC 9110, section 10.1.1). A request whose body is
/// not read is answered without it.
struct ContinueBody {
    body: Payload,
    deadline: Rc<ConnectionDeadline>,
}

impl Stream for ContinueBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let continues = &this.deadline.exchange.continues;
        if continues.get() == Continue::Expected {
            continues.set(Continue::Required);
        }
        Pin::new(&mut this.body).poll_next(context)
    }
}

/// Sends `100 Continue` when the body is read, if the client waits for that.
pub(crate) fn continue_when_read(deadline: &Rc<ConnectionDeadline>, body: &mut Payload) {
    if deadline.exchange.continues.get() == Continue::Expected {
        let inner = std::mem::replace(body, Payload::None);
        let deadline = deadline.clone();
        *body = Payload::Stream { payload: Box::pin(ContinueBody { body: inner, deadline }) };
    }
}

/// The body of a response. When it is dropped, the HTTP stack has all of the response.
pub struct ResponseBody {
    body: BoxBody,
    deadline: Option<Rc<ConnectionDeadline>>,
}

impl ResponseBody {
    /// A body of a response on this connection.
    pub fn new(body: BoxBody, deadline: Option<Rc<ConnectionDeadline>>) -> Self {
        Self { body, deadline }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(deadline) = &self.deadline {
            deadline.exchange.is_answering.set(false);
            // The handler that waited has ended.
            deadline.exchange.half_close.take();
        }
    }
}

impl MessageBody for ResponseBody {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

#[cfg(test)]
mod tests {
    use super::super::deadline::tests::deadline;
    use super::*;
    use futures_util::FutureExt;
    use std::future::poll_fn;

    /// A client that disconnects while the server still has a part of its answer has not received its events.
    #[actix_web::test]
    async fn an_answer_is_received_when_the_kernel_has_all_of_it() {
        let deadline = deadline();
        let taken = Taken::by(Some(deadline.clone()));
        let is_received = || poll_fn(|_| taken.poll()).now_or_never();
        deadline.exchange.start(false);
        assert_eq!(is_received(), None, "nothing was written yet");
        deadline.flushed();
        deadline.before_write();
        assert_eq!(is_received(), None, "more is being written");
        assert!(deadline.exchange.set_flushed(), "the body must be polled again");
        assert_eq!(is_received(), Some(true));
        deadline.exchange.set_half_closed();
        assert_eq!(is_received(), Some(false));
    }
}
