//! The first look at a new connection: a websocket's handshake in its plainest form is answered here, all else is left
//! to the HTTP stack.
//!
//! What a client sends first mostly is there when its connection is taken from the listener. It is looked at and left
//! where it lies, so that the stack finds it as well.

use crate::broker::handle::BrokerHandle;
use crate::connection::deadline_tracker::DeadlineTracker;
use crate::connection::framing::HeadRules;
use crate::connection::timed_socket::TimedSocket;
use crate::connection::turn::in_turns;
use crate::demo::sockets;
use crate::limits::addresses::{AddressSlot, Charge};
use crate::transports::admission::Charges;
use crate::transports::websocket::handshake::Plain;
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
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use uuid::Uuid;

/// How long a first byte is waited for here; then the HTTP stack waits, and has a limit of its own.
const PATIENCE: Duration = Duration::from_secs(1);
/// A handshake that is longer goes the long way.
const SCRATCH_BYTES: usize = 8 << 10;

/// The slot of a connection was taken when it was accepted, unless its peer is a proxy.
const CHARGES: Charges = Charges { behind_proxy: Charge::New, direct: None };

thread_local! {
    /// Where the beginnings of connections are looked at: one for the thread.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// A new connection, as the HTTP stack takes it.
pub type NewConnection = (TimedSocket, Protocol, Option<SocketAddr>);

/// A connection's place among those that are not websockets, or not yet; there are so many and no more.
pub struct ConnectionPermit {
    /// The place itself.
    pub permit: OwnedSemaphorePermit,
    /// Its seat among the sockets of its address, if these are counted.
    pub seat: Option<Box<AddressSlot>>,
}

/// A thread's way in. `H` serves connections by HTTP.
pub struct ConnectionDispatcher<H> {
    http: H,
    upgrade: Upgrade,
    watches: Rc<DeadlineTracker>,
}

/// A websocket that may come in.
struct ParsedHandshake {
    conn_id: Uuid,
    client: Option<IpAddr>,
    deflate: bool,
    answer: Vec<u8>,
    /// Its seat, if its peer is a proxy; else it has one already.
    seat: Option<Box<AddressSlot>>,
    /// Bytes of its handshake, and of all that was there.
    length: usize,
    there: usize,
}

impl<H> ConnectionDispatcher<H>
where
    H: Service<NewConnection, Response = ()> + 'static,
{
    /// The way to a stack, and past it to the sessions of its upgrade service.
    pub fn new(http: H, upgrade: Upgrade) -> Self {
        let BrokerHandle { settings, counters, drain, .. } = &**upgrade.broker;
        let rules = HeadRules {
            max_head_bytes: settings.max_head_bytes,
            is_socket: |target| upgrade::serves(target, sockets::is_below_prefix),
            is_target: |target| Uri::try_from(target).is_ok(),
        };
        let watches = DeadlineTracker::start(settings.clone(), counters.clone(), drain.clone(), rules);
        Self { http, upgrade, watches }
    }

    /// Serves a connection on this thread.
    pub fn take(self: &Rc<Self>, socket: TcpStream, peer: SocketAddr, place: ConnectionPermit) {
        let seen = SCRATCH.with_borrow_mut(|scratch| {
            let there = recv(socket.as_raw_fd(), scratch, MsgFlags::MSG_PEEK)?;
            Ok(self.look(&scratch[..there], peer))
        });
        match seen {
            Ok(Some(guest)) => self.let_in(socket, guest, place),
            Ok(None) => self.serve(socket, peer, place),
            Err(Errno::EAGAIN) => drop(actix_rt::spawn(self.clone().wait(socket, peer, place))),
            // It is gone already.
            Err(_) => {}
        }
    }

    async fn wait(self: Rc<Self>, socket: TcpStream, peer: SocketAddr, place: ConnectionPermit) {
        match timeout(PATIENCE, poll_fn(|context| self.poll_look(&socket, peer, context))).await {
            Ok(Ok(Some(guest))) => self.let_in(socket, guest, place),
            Ok(Err(_)) => {}
            Ok(Ok(None)) | Err(_) => self.serve(socket, peer, place),
        }
    }

    fn poll_look(
        &self,
        socket: &TcpStream,
        peer: SocketAddr,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<ParsedHandshake>>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut there = ReadBuf::new(scratch);
            ready!(socket.poll_peek(context, &mut there))?;
            Poll::Ready(Ok(self.look(there.filled(), peer)))
        })
    }

    /// Judges what a connection begins with. `None`: the HTTP stack shall.
    fn look(&self, bytes: &[u8], peer: SocketAddr) -> Option<ParsedHandshake> {
        let admission = self.upgrade.admission();
        let plain = Plain::read(bytes)?;
        // A refusal is answered by the upgrade service, in the form that the client asks for.
        admission.begin(|allowed| plain.origin.is_none_or(|origin| allowed.allows(origin))).ok()?;
        let deflate = admission.compresses(plain.deflate);
        let lines = plain.forwarded_for.iter().map(|line| line.as_bytes());
        let client = admission.gate.client_behind_proxies(peer, lines);
        let peer = peer.ip();
        let seat = admission.complete(Some(peer), client.or(Some(peer)), CHARGES).ok()?;
        Some(ParsedHandshake {
            conn_id: plain.conn_id,
            client,
            deflate,
            seat,
            answer: plain.answer(deflate),
            length: plain.length,
            there: bytes.len(),
        })
    }

    /// Takes a handshake from its socket and starts its session, which answers. A socket that breaks meanwhile is
    /// dropped.
    fn let_in(&self, socket: TcpStream, guest: ParsedHandshake, place: ConnectionPermit) {
        let ParsedHandshake { conn_id, client, deflate, answer, seat, length, there } = guest;
        SCRATCH.with_borrow_mut(|scratch| {
            let read = (&*SockRef::from(&socket)).read(&mut scratch[..there]).unwrap_or(0);
            if read >= length {
                let rest = &scratch[length..read];
                let handshake = Handshake { conn_id, client, deflate, answer: &answer, rest };
                let hub = self.upgrade.hub.clone();
                WebsocketSession::start(socket, &handshake, hub, seat.or(place.seat));
            }
        });
    }

    fn serve(&self, socket: TcpStream, peer: SocketAddr, place: ConnectionPermit) {
        let watch = self.watches.watch();
        let guard = self.watches.add(watch.clone());
        let key = guard.key();
        let watched = TimedSocket::new(socket, watch.clone());
        // In a box: a task has a second place for what it moves into a function, and this is most of a connection.
        let served = Box::pin(self.http.call((watched, Protocol::Http1, Some(peer))));
        let served = actix_rt::spawn(async move {
            // What went wrong is the client's affair, and it has been told if it could be.
            let _ = in_turns(served, watch).await;
            drop((guard, place));
        });
        self.watches.set_task(key, served);
    }
}
