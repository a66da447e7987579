//! The websockets of demo mode: their paths, checks and handlers.

use super::connection::{Accepted, DemoConnection};
use super::echo::{self, Echo};
use super::subscribers::ClientQueue;
use super::{Demo, actor_adapter, board, chat, guarded};
use crate::auth::Gate;
use crate::http_error::Refusal;
use crate::telemetry::in_flight::Counted;
use crate::transports::websocket::routes::{AdmittedSocket, SocketRoutes};
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

/// The sockets of demo mode, for the requests to which demo mode is served.
pub struct DemoSockets {
    /// The rules for all requests.
    pub gate: web::Data<Gate>,
    /// The demo's programs.
    pub demo: web::Data<Demo>,
}

/// A handshake that is admitted.
struct DemoSocket {
    demo: web::Data<Demo>,
    purpose: Purpose,
    counted: Counted,
}

/// Whether demo mode has a socket at this path, or refuses it by an answer of its own.
fn is_known(path: &str) -> bool {
    path.starts_with(board::PREFIX) || ROUTES.iter().any(|route| route.path == path)
}

/// Whether a path ends with one that demo mode has, behind any prefix of a proxy.
pub fn is_below_prefix(path: &str) -> bool {
    path.match_indices("/demo/").any(|(at, _)| is_known(&path[at..]))
}

impl SocketRoutes for DemoSockets {
    fn serves(&self, path: &str, head: &RequestHead) -> bool {
        is_known(path) && self.gate.serves_demo(head)
    }

    fn admit(&self, path: &str, head: &RequestHead) -> Result<Box<dyn AdmittedSocket>, Refusal> {
        let demo = &self.demo;
        let route = ROUTES.iter().find(|route| route.path == path).ok_or(Refusal::NoSuchSocket)?;
        if let Some(hook) = route.hook {
            hook(demo, head)?;
        }
        if demo.sockets.is_full() {
            return Err(Refusal::Busy);
        }
        let counted = Counted::new(demo.sockets.clone());
        Ok(Box::new(DemoSocket { demo: demo.clone(), purpose: route.purpose, counted }))
    }
}

impl AdmittedSocket for DemoSocket {
    /// actix-web-actors does not support compressed messages, and the other programs use it.
    fn may_deflate(&self) -> bool {
        self.purpose == Purpose::Echo
    }

    fn open(self: Box<Self>, socket: TcpStream, rest: &[u8], deflate: bool) {
        let Self { demo, purpose, counted } = *self;
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
            Purpose::Board => {
                DemoConnection::start(board::open(demo.board.clone(), queue), accepted, &demo, counted)
            }
        }
    }
}
