//! One request of a connection and its response: what the socket, the HTTP stack's services and the handlers know of each
//! other's progress. It is reached from a request by the connection's [`ConnectionDeadline`].

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

/// Where a request is that waits with its body until the server asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Continue {
    /// The client does not wait.
    #[default]
    Sent,
    /// The client waits, and no handler has asked for the body.
    Expected,
    /// A handler has asked for the body.
    Wanted,
}

/// The progress of a request and its response.
#[derive(Default)]
pub struct Exchange {
    /// The stack has the request, and not yet all of its response.
    is_answering: Cell<bool>,
    /// Bytes of the response were given to the socket.
    has_begun: Cell<bool>,
    /// The request has been read to its end.
    is_whole: Cell<bool>,
    /// The kernel has all that was given to the socket.
    is_flushed: Cell<bool>,
    /// The response goes on when the kernel has it.
    waits_for_flush: Cell<bool>,
    continues: Cell<Continue>,
    is_half_closed: Cell<bool>,
    half_close: Cell<Option<Waker>>,
}

impl Exchange {
    /// The stack gets a request.
    pub(crate) fn begin(&self, expects_continue: bool) {
        self.is_answering.set(true);
        self.has_begun.set(false);
        self.is_whole.set(false);
        self.is_flushed.set(false);
        self.continues.set(if expects_continue { Continue::Expected } else { Continue::Sent });
    }

    /// The request has been read to its end.
    pub(crate) fn received(&self) {
        self.is_whole.set(true);
    }

    /// Whether the request has been read to its end.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole.get()
    }

    /// Whether the stack has a request, and not yet all of its response.
    pub(crate) fn is_answering(&self) -> bool {
        self.is_answering.get()
    }

    /// Bytes of the response are given to the socket.
    pub(crate) fn writes(&self) {
        self.has_begun.set(true);
        self.is_flushed.set(false);
        self.continues.set(Continue::Sent);
    }

    /// The request has its whole response, and another one may follow.
    pub(crate) fn end(&self) {
        self.has_begun.set(false);
    }

    /// Whether bytes of the current request's response were given to the socket.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    /// The kernel has all that was given to the socket. True if the response waits for that.
    pub(crate) fn set_flushed(&self) -> bool {
        self.is_flushed.set(true);
        self.waits_for_flush.take()
    }

    /// Waits until the kernel has all that was given to the socket. For the body of the response, which the
    /// connection's task polls again then.
    fn poll_flushed(&self) -> Poll<()> {
        if self.is_flushed.get() {
            return Poll::Ready(());
        }
        self.waits_for_flush.set(true);
        Poll::Pending
    }

    /// Whether the client is to be asked for the body now. True once.
    pub(crate) fn asks_for_body(&self) -> bool {
        self.continues.get() == Continue::Wanted && {
            self.continues.set(Continue::Sent);
            true
        }
    }

    /// The client has finished sending; it may still read.
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

/// Whether a client has taken its answer: the kernel has all of it.
///
/// A client that has finished sending looks like one that has hung up, so it counts as gone.
#[derive(Default)]
pub struct Taken {
    watch: Option<Rc<ConnectionDeadline>>,
}

impl Taken {
    /// The client of this connection.
    pub fn by(watch: Option<Rc<ConnectionDeadline>>) -> Self {
        Self { watch }
    }

    /// To be asked when the last of the answer was given to the socket.
    pub fn poll(&self) -> Poll<bool> {
        let Some(watch) = &self.watch else { return Poll::Ready(true) };
        ready!(watch.exchange.poll_flushed());
        // A client that has finished sending looks like one that has gone. Its events come again with the next poll:
        // twice is better than never.
        Poll::Ready(!watch.exchange.is_half_closed())
    }
}

/// A body that asks the client for itself when it is read for the first time (RFC 9110, section 10.1.1). A request that is
/// answered unread gets its answer without `100 Continue`.
struct AskedFor {
    body: Payload,
    watch: Rc<ConnectionDeadline>,
}

impl Stream for AskedFor {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let continues = &this.watch.exchange.continues;
        if continues.get() == Continue::Expected {
            continues.set(Continue::Wanted);
        }
        Pin::new(&mut this.body).poll_next(context)
    }
}

/// Makes the body ask for itself, if the client waits for that.
pub(crate) fn ask_when_read(watch: &Rc<ConnectionDeadline>, body: &mut Payload) {
    if watch.exchange.continues.get() == Continue::Expected {
        let inner = std::mem::replace(body, Payload::None);
        *body = Payload::Stream { payload: Box::pin(AskedFor { body: inner, watch: watch.clone() }) };
    }
}

/// The body of a response. When it is dropped, the stack has all of the response.
pub struct ResponseBody {
    body: BoxBody,
    watch: Option<Rc<ConnectionDeadline>>,
}

impl ResponseBody {
    /// A body of a response on this connection.
    pub fn new(body: BoxBody, watch: Option<Rc<ConnectionDeadline>>) -> Self {
        Self { body, watch }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.exchange.is_answering.set(false);
            // The handler that waited is gone.
            watch.exchange.half_close.take();
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
    use super::super::deadline::tests::watch;
    use super::*;
    use futures_util::FutureExt;
    use std::future::poll_fn;

    /// A client that hangs up while a part of its answer is still with the server has not got its events.
    #[actix_web::test]
    async fn an_answer_is_taken_when_the_kernel_has_all_of_it() {
        let watch = watch();
        let taken = Taken::by(Some(watch.clone()));
        let is_taken = || poll_fn(|_| taken.poll()).now_or_never();
        watch.exchange.begin(false);
        assert_eq!(is_taken(), None, "nothing was written yet");
        watch.is_taken();
        watch.writes();
        assert_eq!(is_taken(), None, "more is being written");
        assert!(watch.exchange.set_flushed(), "the body is to be polled again");
        assert_eq!(is_taken(), Some(true));
        watch.exchange.set_half_closed();
        assert_eq!(is_taken(), Some(false));
    }
}
