//! The websockets of demo mode: their paths, checks and handlers.

use super::connection::{Accepted, DemoConnection};
use super::echo::{self, Echo};
use super::subscribers::ClientQueue;
use super::{Demo, actor_adapter, board, chat, guarded};
use crate::http_error::Refusal;
use crate::limits::in_flight::Counted;
use actix_http::RequestHead;
use actix_web::web;
use tokio::net::TcpStream;

/// A check before a socket is accepted. It receives the handshake, and may refuse it with any HTTP response.
type Hook = fn(&Demo, &RequestHead) -> Result<(), Refusal>;

/// The handler of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Echo,
    Chat,
    Board,
}

struct Route {
    path: &'static str,
    hook: Option<Hook>,
    purpose: Purpose,
}

const ROUTES: [Route; 4] = [
    Route { path: "/demo/echo", hook: None, purpose: Purpose::Echo },
    Route { path: "/demo/guarded/echo", hook: Some(guarded::check_token), purpose: Purpose::Echo },
    Route { path: "/demo/chat", hook: None, purpose: Purpose::Chat },
    Route { path: "/demo/board/socket", hook: None, purpose: Purpose::Board },
];

/// An accepted handshake.
pub struct AdmittedSocket {
    demo: web::Data<Demo>,
    purpose: Purpose,
    counted: Counted,
}

/// Whether the demo handles this path, even if only to refuse it.
pub fn handles(path: &str) -> bool {
    path.starts_with(board::PREFIX) || ROUTES.iter().any(|route| route.path == path)
}

/// Checks a handshake to one of the demo's paths.
///
/// # Errors
/// The socket does not exist, the hook refuses the handshake, or there are too many sockets.
pub fn admit(demo: &web::Data<Demo>, path: &str, handshake: &RequestHead) -> Result<AdmittedSocket, Refusal> {
    let route = ROUTES.iter().find(|route| route.path == path).ok_or(Refusal::NoSuchSocket)?;
    if let Some(hook) = route.hook {
        hook(demo, handshake)?;
    }
    if demo.sockets.is_full() {
        return Err(Refusal::Busy);
    }
    let counted = Counted::new(demo.sockets.clone());
    Ok(AdmittedSocket { demo: demo.clone(), purpose: route.purpose, counted })
}

impl AdmittedSocket {
    /// Whether compression may be negotiated: actix-web-actors does not support it.
    pub fn may_deflate(&self) -> bool {
        self.purpose == Purpose::Echo
    }

    /// Starts the socket's actor on this thread, after the handshake.
    pub fn open(self, socket: TcpStream, rest: &[u8], deflate: bool) {
        let Self { demo, purpose, counted } = self;
        let max_message =
            if purpose == Purpose::Echo { echo::MAX_MESSAGE } else { actor_adapter::MAX_MESSAGE };
        let accepted = Accepted { socket, rest, max_message, deflate };
        let queue = ClientQueue::new(demo.settings.max_queued_bytes);
        match purpose {
            Purpose::Echo => {
                let deflate_from = deflate.then_some(demo.settings.compression_threshold_bytes);
                DemoConnection::start(Echo { deflate_from }, accepted, &demo, counted);
            }
            Purpose::Chat => {
                DemoConnection::start(chat::join(demo.room.clone(), queue), accepted, &demo, counted)
            }
            Purpose::Board => DemoConnection::start(
                board::socket::open(demo.board.clone(), queue),
                accepted,
                &demo,
                counted,
            ),
        }
    }
}
