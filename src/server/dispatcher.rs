//! Inspects the first bytes of a new connection: a websocket handshake or a request for an event stream in its plainest
//! form starts a session here, every other connection goes to the HTTP stack.
//!
//! The first bytes of a client usually have arrived when its connection is accepted. They are peeked at and stay in the
//! socket's buffer, so that the HTTP stack reads them as well.

use crate::broker::handle::BrokerHandle;
use crate::config::AllowedOrigins;
use crate::connection::deadline_tracker::DeadlineTracker;
use crate::connection::framing::HeadRules;
use crate::connection::timed_socket::TimedSocket;
use crate::connection::turn::in_turns;
use crate::demo::sockets;
use crate::http::cors;
use crate::limits::addresses::{AddressSlot, Charge};
use crate::protocol::position::Since;
use crate::transports::admission::Charges;
use crate::transports::sse::plain_request::PlainEventRequest;
use crate::transports::sse::session::{EventRequest, EventSession};
use crate::transports::websocket::handshake::PlainHandshake;
use crate::transports::websocket::session::{Handshake, WebsocketSession};
use crate::transports::websocket::upgrade::{self, Upgrade};
use actix_http::{Protocol, Uri};
use actix_service::Service;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use socket2::SockRef;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use uuid::Uuid;

/// How long the dispatcher waits for a first byte. After that the HTTP stack waits, which has its own limit.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(1);
/// A longer handshake is handled by the HTTP stack.
const SCRATCH_BYTES: usize = 8 << 10;

/// The slot of a connection was taken when it was accepted, unless its peer is a proxy.
const CHARGES: Charges = Charges { behind_proxy: Charge::New, direct: None };

thread_local! {
    /// The buffer for the first bytes of connections, shared by all connections of the thread.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// A new connection in the form that the HTTP stack accepts.
pub type NewConnection = (TimedSocket, Protocol, Option<SocketAddr>);

/// The right of a connection to exist while it is not a session (yet). The number of permits is fixed.
pub struct ConnectionPermit {
    pub _permit: OwnedSemaphorePermit,
    /// Its slot among the sockets of its address, if these are counted.
    pub address_slot: Option<Box<AddressSlot>>,
}

/// Serves the new connections of a thread. `H` is the service for HTTP connections.
pub struct ConnectionDispatcher<H> {
    http: H,
    upgrade: Upgrade,
    deadlines: Rc<DeadlineTracker>,
}

/// The session that a request asks for, and what only this kind needs.
enum RequestedSession {
    Websocket { since: Option<Arc<Since>>, deflate: bool, answer: Vec<u8> },
    EventStream { since: Arc<Since>, page_headers: Vec<u8> },
}

/// A request for a session that is accepted.
struct SessionRequest {
    conn_id: Uuid,
    client: Option<IpAddr>,
    session: RequestedSession,
    /// Its address slot if its peer is a proxy. Other connections have one already.
    address_slot: Option<Box<AddressSlot>>,
    /// Bytes of the request.
    length: usize,
    /// Bytes that were in the buffer, request included.
    peeked: usize,
}

impl<H> ConnectionDispatcher<H>
where
    H: Service<NewConnection, Response = ()> + 'static,
{
    /// Dispatches to an HTTP stack and to the websocket sessions of its upgrade service.
    pub fn new(http: H, upgrade: Upgrade) -> Self {
        let BrokerHandle { settings, counters, drain, .. } = &**upgrade.broker;
        let rules = HeadRules {
            max_head_bytes: settings.max_head_bytes,
            is_websocket_path: |target| upgrade::serves(target, sockets::is_below_prefix),
            is_valid_target: |target| Uri::try_from(target).is_ok(),
        };
        let deadlines = DeadlineTracker::start(settings.clone(), counters.clone(), drain.clone(), rules);
        Self { http, upgrade, deadlines }
    }

    /// Serves a connection on this thread.
    pub fn dispatch(self: &Rc<Self>, socket: TcpStream, peer: SocketAddr, permit: ConnectionPermit) {
        let parsed = SCRATCH.with_borrow_mut(|scratch| {
            let peeked = recv(socket.as_raw_fd(), scratch, MsgFlags::MSG_PEEK)?;
            Ok(self.parse_request(&scratch[..peeked], peer))
        });
        match parsed {
            Ok(Some(request)) => self.start_session(socket, request, permit),
            Ok(None) => self.serve_http(socket, peer, permit),
            Err(Errno::EAGAIN) => drop(actix_rt::spawn(self.clone().wait(socket, peer, permit))),
            // The client has closed the connection already.
            Err(_) => {}
        }
    }

    async fn wait(self: Rc<Self>, socket: TcpStream, peer: SocketAddr, permit: ConnectionPermit) {
        let request = poll_fn(|context| self.poll_request(&socket, peer, context));
        match timeout(FIRST_BYTE_TIMEOUT, request).await {
            Ok(Ok(Some(request))) => self.start_session(socket, request, permit),
            Ok(Err(_)) => {}
            Ok(Ok(None)) | Err(_) => self.serve_http(socket, peer, permit),
        }
    }

    fn poll_request(
        &self,
        socket: &TcpStream,
        peer: SocketAddr,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<SessionRequest>>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut peeked = ReadBuf::new(scratch);
            ready!(socket.poll_peek(context, &mut peeked))?;
            Poll::Ready(Ok(self.parse_request(peeked.filled(), peer)))
        })
    }

    /// Checks the first bytes of a connection. `None` leaves the connection to the HTTP stack, which answers a request that
    /// is refused, in the form that the request asks for.
    fn parse_request(&self, bytes: &[u8], peer: SocketAddr) -> Option<SessionRequest> {
        // Another node may own the connection, which only the other services can ask for.
        (!self.upgrade.broker.is_clustered()).then_some(())?;
        match PlainHandshake::read(bytes) {
            Some(plain) => self.admit_websocket(&plain, peer, bytes.len()),
            None => self.admit_event_stream(&PlainEventRequest::read(bytes)?, peer, bytes.len()),
        }
    }

    fn admit_websocket(
        &self,
        plain: &PlainHandshake<'_>,
        peer: SocketAddr,
        peeked: usize,
    ) -> Option<SessionRequest> {
        let admission = self.upgrade.admission();
        let conn_id = plain.target.conn_id?;
        let since = plain.target.resume.read(&self.upgrade.hub).ok()?;
        // The upgrade service reads tokens, and refuses a handshake without one.
        (!admission.gate.settings.require_tokens).then_some(())?;
        admission.begin(|allowed| plain.origin.is_none_or(|origin| allowed.allows(origin))).ok()?;
        let deflate = admission.compresses(plain.deflate);
        let (client, address_slot) = self.admit_client(peer, &plain.forwarded_for)?;
        let answer = plain.answer(deflate);
        let session = RequestedSession::Websocket { since, deflate, answer };
        let length = plain.length;
        Some(SessionRequest { conn_id, client, session, address_slot, length, peeked })
    }

    fn admit_event_stream(
        &self,
        plain: &PlainEventRequest<'_>,
        peer: SocketAddr,
        peeked: usize,
    ) -> Option<SessionRequest> {
        let (admission, settings) = (self.upgrade.admission(), &self.upgrade.gate.settings);
        (!settings.enforce_https && !settings.require_tokens).then_some(())?;
        // Without an origin, other headers decide, which the HTTP stack reads.
        let is_allowed = |allowed: &AllowedOrigins| {
            plain.origin.map_or(allowed.is_empty(), |origin| allowed.allows(origin))
        };
        admission.begin(is_allowed).ok()?;
        let since = plain.target.read_since(plain.last_event_id, &self.upgrade.hub).ok()?;
        let (client, address_slot) = self.admit_client(peer, &plain.forwarded_for)?;
        let origin = plain.origin.and_then(|origin| std::str::from_utf8(origin).ok());
        let page_headers = cors::lines_for_events(settings, origin);
        let session = RequestedSession::EventStream { since, page_headers };
        let (conn_id, length) = (plain.target.conn_id, plain.length);
        Some(SessionRequest { conn_id, client, session, address_slot, length, peeked })
    }

    /// The client's address behind proxies, and its address slot, if the server has room for a session.
    fn admit_client(
        &self,
        peer: SocketAddr,
        forwarded_for: &[&str],
    ) -> Option<(Option<IpAddr>, Option<Box<AddressSlot>>)> {
        let admission = self.upgrade.admission();
        let lines = forwarded_for.iter().map(|line| line.as_bytes());
        let client = admission.gate.client_behind_proxies(peer, lines);
        let peer = peer.ip();
        let address_slot = admission.complete(Some(peer), client.or(Some(peer)), CHARGES).ok()?;
        Some((client, address_slot))
    }

    /// Reads a request from its socket and starts its session, which answers. A socket that breaks in between is dropped.
    fn start_session(&self, socket: TcpStream, request: SessionRequest, permit: ConnectionPermit) {
        let SessionRequest { conn_id, client, session, address_slot, length, peeked } = request;
        let (hub, address_slot) = (self.upgrade.hub.clone(), address_slot.or(permit.address_slot));
        SCRATCH.with_borrow_mut(|scratch| {
            let read = (&*SockRef::from(&socket)).read(&mut scratch[..peeked]).unwrap_or(0);
            let Some(rest) = scratch[..read].get(length..) else { return };
            match session {
                RequestedSession::Websocket { since, deflate, answer } => {
                    let handshake = Handshake { conn_id, since, client, deflate, answer: &answer, rest };
                    WebsocketSession::start(socket, handshake, hub, address_slot, None);
                }
                RequestedSession::EventStream { since, page_headers } => {
                    let request = EventRequest { conn_id, since, client, page_headers, rest };
                    EventSession::start(socket, request, hub, address_slot);
                }
            }
        });
    }

    fn serve_http(&self, socket: TcpStream, peer: SocketAddr, permit: ConnectionPermit) {
        let deadline = self.deadlines.new_deadline();
        let guard = self.deadlines.add(deadline.clone());
        let key = guard.key();
        let timed = TimedSocket::new(socket, deadline.clone());
        // Boxed: a task reserves space twice for what it moves into a function, and this future is most of a
        // connection's memory.
        let served = Box::pin(self.http.call((timed, Protocol::Http1, Some(peer))));
        let task = actix_rt::spawn(async move {
            // The stack has answered an error if the client could still receive it.
            let _ = in_turns(served, deadline).await;
            drop((guard, permit));
        });
        self.deadlines.set_task(key, task);
    }
}
