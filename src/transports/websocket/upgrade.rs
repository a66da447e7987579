//! The upgrade service: it receives every websocket handshake and bypasses the App and its middleware.
//!
//! The service takes over the socket after the handshake. It calls the same functions on the request's head that
//! middleware calls for other requests.

use super::routes::{AdmittedSocket, SocketRoutes};
use super::session::{Handshake, WebsocketSession};
use super::target::SessionTarget;
use super::token::{self, TokenRefresher};
use crate::auth::Gate;
use crate::auth::allowed_origins;
use crate::auth::guard::now_unix;
use crate::auth::proxy::single_slashes;
use crate::auth::public_paths::Exposure;
use crate::broker::handle::BrokerHandle;
use crate::broker::hub::handle::HubHandle;
use crate::broker::requests::TokenGrant;
use crate::connection::timed_socket::TimedSocket;
use crate::http_error::{self, Refusal};
use crate::limits::addresses::{AddressSlot, Charge};
use crate::protocol::position::Since;
use crate::protocol::websocket::deflate;
use crate::transports::admission::{Admission, Charges};
use crate::transports::query::missing_conn_id;
use actix_codec::{Framed, FramedParts};
use actix_http::body::{BodySize, MessageBody};
use actix_http::h1::{Codec, Message};
use actix_http::{ConnectionType, Request, RequestHead, Response, StatusCode, header, ws};
use actix_web::web;
use bytes::Bytes;
use futures_util::SinkExt;
use percent_encoding::percent_decode_str;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use uuid::Uuid;

/// The state of the service on each thread.
#[derive(Clone)]
pub struct Upgrade {
    pub gate: web::Data<Gate>,
    /// Reports whether the server is stopping.
    pub broker: web::Data<BrokerHandle>,
    pub hub: HubHandle,
    /// The websockets beside `/ws`.
    pub routes: Option<Rc<dyn SocketRoutes>>,
    /// The endpoints that this listener serves.
    pub exposure: Exposure,
}

/// A handshake that passed the checks of its request.
struct Admitted {
    target: AdmittedHandshake,
    response: Response<()>,
    /// The address slot of its socket.
    address_slot: Option<Box<AddressSlot>>,
    /// What its token grants, until the registry has applied it.
    grant: Option<TokenGrant>,
    has_token: bool,
}

/// The target of a handshake.
enum AdmittedHandshake {
    /// A session of this connection, and what its client has.
    Session(Uuid, Option<Arc<Since>>),
    /// One of the other websockets.
    Other(Box<dyn AdmittedSocket>),
}

impl AdmittedHandshake {
    fn may_deflate(&self) -> bool {
        match self {
            Self::Session(..) => true,
            Self::Other(socket) => socket.may_deflate(),
        }
    }
}

/// A connection has a slot of its client's address already. The session takes its own, for its connection ends.
const CHARGES: Charges = Charges { behind_proxy: Charge::New, direct: Some(Charge::Upgrade) };

impl Upgrade {
    pub fn admission(&self) -> Admission<'_> {
        Admission { gate: &self.gate, broker: &self.broker }
    }

    /// Handles one handshake.
    ///
    /// # Errors
    /// The socket's errors.
    pub async fn handle(
        self,
        mut request: Request,
        mut framed: Framed<TimedSocket, Codec>,
    ) -> Result<(), actix_web::Error> {
        // The client must read the response in time, as it must every response.
        framed.io_ref().deadline.start_response();
        // Some header line names a websocket. It need not be the first one, which `ws::handshake` reads.
        let named = header::HeaderValue::from_static("websocket");
        request.headers_mut().insert(header::UPGRADE, named);
        match self.admit_with_token(request.head()).await {
            Ok(Admitted { target, mut response, address_slot, has_token, .. }) => {
                let client = self.client_behind_proxies(request.head());
                let is_offered = target.may_deflate() && offers_deflate(request.head());
                let deflate = self.admission().compresses(is_offered);
                if deflate {
                    let answer = header::HeaderValue::from_static(deflate::ANSWER);
                    response.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, answer);
                }
                match target {
                    AdmittedHandshake::Session(conn_id, since) => {
                        let refresher = has_token.then(|| self.token_refresher(conn_id, request.head()));
                        let parts = flush_pending(framed, response).await?;
                        let (socket, rest) = parts.io.into_socket()?;
                        let (answer, rest) = (&parts.write_buf[..], &rest[..]);
                        let handshake = Handshake { conn_id, since, client, deflate, answer, rest };
                        WebsocketSession::start(socket, handshake, self.hub, address_slot, refresher);
                    }
                    AdmittedHandshake::Other(other) => {
                        framed.send(Message::Item((response, BodySize::None))).await?;
                        let (socket, rest) = framed.into_parts().io.into_socket()?;
                        other.open(socket, &rest, deflate);
                    }
                }
            }
            Err(refusal) => {
                self.broker.count(&refusal);
                self.gate.log_refusal(request.head(), &refusal);
                refuse(&mut framed, &refusal, http_error::accept(&request.head().headers)).await?;
            }
        }
        Ok(())
    }

    /// Admits a handshake, and lets the registry create or extend the connection of its token.
    async fn admit_with_token(&self, head: &RequestHead) -> Result<Admitted, Refusal> {
        let mut admitted = self.admit(head)?;
        if let Some(grant) = admitted.grant.take()
            && let AdmittedHandshake::Session(conn_id, _) = &mut admitted.target
        {
            *conn_id = self.admission().grant(grant).await?;
        }
        if let AdmittedHandshake::Session(conn_id, _) = admitted.target {
            self.broker.bring(conn_id).await?;
        }
        Ok(admitted)
    }

    fn token_refresher(&self, conn_id: Uuid, head: &RequestHead) -> TokenRefresher {
        TokenRefresher {
            gate: self.gate.clone(),
            broker: self.broker.clone(),
            conn_id,
            peer: head.peer_addr.map(|peer| peer.ip()),
            is_local: self.gate.may_use_well_known(head),
        }
    }

    fn client_behind_proxies(&self, head: &RequestHead) -> Option<IpAddr> {
        let peer = head.peer_addr.map(|peer| peer.ip().to_canonical());
        self.gate.client_address(head).filter(|client| Some(*client) != peer)
    }

    fn admit(&self, head: &RequestHead) -> Result<Admitted, Refusal> {
        let path = self.gate.inner_path(head);
        self.gate.admit_scheme(head, &path)?;
        if self.exposure.accepts_signatures() {
            self.gate.caller(head, now_unix())?;
        }
        let routes = self.routes.as_ref().filter(|routes| routes.serves(&path, head));
        if routes.is_none() && path != "/ws" {
            return Err(Refusal::NotFound(path.into_owned()));
        }
        let admission = self.admission();
        admission.begin(|allowed| allowed_origins::allows_handshake(allowed, head))?;
        let mut grant = None;
        let target = match routes {
            None => {
                let target = SessionTarget::read(head.uri.query().unwrap_or_default())?;
                let since = target.resume.read(&self.hub)?;
                let token = target.token.as_deref().or_else(|| token::offered_token(head));
                grant = admission.check_token(token, target.conn_id, head)?;
                let granted = grant.as_ref().and_then(|grant| grant.connect.conn_id);
                let conn_id = target.conn_id.or(granted).ok_or_else(missing_conn_id)?;
                AdmittedHandshake::Session(conn_id, since)
            }
            Some(routes) => AdmittedHandshake::Other(routes.admit(&path, head)?),
        };
        let mut response = ws::handshake(head).map_err(|_| Refusal::UpgradeRequired)?;
        let has_session = matches!(target, AdmittedHandshake::Session(..));
        let address_slot = match target {
            AdmittedHandshake::Session(..) => {
                let peer = head.peer_addr.map(|peer| peer.ip());
                admission.complete(peer, self.gate.client_address(head), CHARGES)?
            }
            AdmittedHandshake::Other(_) => None,
        };
        if has_session && token::offers_subprotocol(head) {
            response.insert_header((header::SEC_WEBSOCKET_PROTOCOL, token::SUBPROTOCOL));
        }
        let has_token = grant.is_some();
        Ok(Admitted { target, response: response.finish().drop_body(), address_slot, grant, has_token })
    }
}

/// Flushes earlier responses, and returns the socket with the bytes of this response, which the session sends itself.
async fn flush_pending(
    mut framed: Framed<TimedSocket, Codec>,
    response: Response<()>,
) -> io::Result<FramedParts<TimedSocket, Codec>> {
    SinkExt::<Message<(Response<()>, BodySize)>>::flush(&mut framed).await?;
    Pin::new(&mut framed).write(Message::Item((response, BodySize::None)))?;
    Ok(framed.into_parts())
}

/// Whether a websocket is served at this target, with any prefix of a proxy. `is_other` checks for a path beside `/ws` at the
/// end of the target. Handshakes for other targets are ordinary requests.
pub(crate) fn serves(target: &str, is_other: fn(&str) -> bool) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let path = percent_decode_str(path).decode_utf8_lossy();
    let path = single_slashes(&path);
    path.ends_with("/ws") || is_other(&path)
}

pub(crate) fn offers_deflate(head: &RequestHead) -> bool {
    let offers = head.headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS);
    offers.filter_map(|offer| offer.to_str().ok()).any(deflate::accepts)
}

async fn refuse(
    framed: &mut Framed<TimedSocket, Codec>,
    refusal: &Refusal,
    accept: Option<&str>,
) -> Result<(), actix_web::Error> {
    let response: Response<_> = refusal.response(accept).into();
    let (mut head, body) = response.into_parts();
    let bytes: Bytes = body.try_into_bytes().unwrap_or_default();
    // A header does not suffice here: the codec writes its own `Connection` header, and for this request it would be an
    // upgrade.
    head.head_mut().set_connection_type(ConnectionType::Close);
    if head.status() == StatusCode::UPGRADE_REQUIRED {
        head.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
        head.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, header::HeaderValue::from_static("13"));
    }
    let size = BodySize::Sized(bytes.len() as u64);
    framed.feed(Message::Item((head, size))).await?;
    framed.feed(Message::Chunk(Some(bytes))).await?;
    framed.feed(Message::Chunk(None)).await?;
    SinkExt::<Message<(Response<()>, BodySize)>>::flush(framed).await?;
    SinkExt::<Message<(Response<()>, BodySize)>>::close(framed).await.or_else(not_connected)?;
    Ok(())
}

/// A peer that is gone needs no orderly close.
fn not_connected(error: io::Error) -> Result<(), io::Error> {
    if error.kind() == io::ErrorKind::NotConnected { Ok(()) } else { Err(error) }
}
