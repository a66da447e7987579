//! An event stream as the body of a response that the HTTP stack sends: behind a prefix, on a kept-alive connection, or
//! with unusual headers. The stack takes bytes from the send queue only while its own buffer has room, so the capacity of
//! the queue limits what waits for the client.

use super::head::opening;
use crate::broker::hub::handle::HubHandle;
use crate::connection::body_pieces::PIECE;
use crate::connection::deadline::ConnectionDeadline;
use crate::limits::addresses::AddressSlot;
use crate::protocol::ids::SlotKey;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::{SendQueue, Transport};
use crate::telemetry::in_flight::Counted;
use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use uuid::Uuid;

/// See the module's description. The session leaves its hub when this is dropped.
pub struct EventBody {
    pub slot: SlotKey,
    hub: HubHandle,
    send_queue: Rc<SendQueue>,
    /// The first block, until it is sent.
    opening: Option<Bytes>,
    deadline: Option<Rc<ConnectionDeadline>>,
    _counted: Counted,
    /// The slot among the sockets of its address, if these are counted.
    _address_slot: Option<Box<AddressSlot>>,
}

impl EventBody {
    /// Opens a session. `client` is the client's address.
    pub fn open(
        conn_id: Uuid,
        client: Option<IpAddr>,
        hub: HubHandle,
        deadline: Option<Rc<ConnectionDeadline>>,
        address_slot: Option<Box<AddressSlot>>,
    ) -> Self {
        let retry_ms = super::head::retry_ms(hub.settings());
        let send_queue = Rc::new(SendQueue::events(None, hub.queue_bound(), hub.now_ms(), retry_ms));
        let slot = hub.open(conn_id, send_queue.clone(), client);
        let _counted = hub.count_session(Transport::Sse);
        let opening = Some(opening(retry_ms));
        Self { slot, hub, send_queue, opening, deadline, _counted, _address_slot: address_slot }
    }

    fn begin(&self) {
        if let Some(deadline) = &self.deadline {
            deadline.start_stream(self.hub.settings().pong_timeout);
        }
    }

    /// Whether the client has closed its connection. An EventSource never closes only the sending half.
    fn is_left(&self, context: &Context<'_>) -> bool {
        self.deadline.as_ref().is_some_and(|deadline| deadline.exchange.poll_half_closed(context).is_ready())
    }
}

impl MessageBody for EventBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        if let Some(opening) = this.opening.take() {
            this.begin();
            return Poll::Ready(Some(Ok(opening)));
        }
        this.send_queue.register(context);
        if this.is_left(context) {
            this.hub.close(this.slot, CloseReason::ByPeer(None));
            return Poll::Ready(None);
        }
        match this.send_queue.take(PIECE) {
            Some(bytes) => Poll::Ready(Some(Ok(bytes))),
            None if this.send_queue.closing().is_some() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl Drop for EventBody {
    fn drop(&mut self) {
        if self.opening.is_none() {
            self.hub.count_closed(self.send_queue.closing());
            // The end of the response has a deadline again.
            self.deadline.iter().for_each(|deadline| deadline.start_response());
        }
        self.hub.detach(self.slot);
    }
}
