//! Clients: they open sockets and polls, read at any speed, close connections or disappear. Data that their kernel has
//! accepted counts as received, because a server cannot guarantee more.

use super::page::Returns;
use super::{ANSWER_MS, ToRegistry, WAIT_MS, World};
use crate::protocol::ids::{ConnKey, ConnectionSlot, HubId, SlotKey};
use crate::protocol::position::Since;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::simulated::Socket;
use crate::send_queue::{PushResult, QueueCapacity, SendQueue, Transport};
use bytes::Bytes;
use std::rc::Rc;
use std::sync::Arc;
use uuid::Uuid;

const HEARTBEAT_MS: u64 = 700;

/// A session and its client.
pub struct Session {
    pub hub: usize,
    pub key: SlotKey,
    pub conn_id: Uuid,
    pub send_queue: Rc<SendQueue>,
    /// What its client has, if it asks for positions.
    pub since: Option<Arc<Since>>,
    /// The connection to which it is attached.
    pub owner: Option<ConnKey>,
    /// When it was attached.
    pub attached: Option<u64>,
    /// A poll's response that is being sent.
    answer: Option<Vec<Bytes>>,
    wait_until: u64,
    /// Its successor waits until then for the receipt of its response.
    release_at: Option<u64>,
    /// The kernel's side of a websocket.
    pub socket: Rc<Socket>,
    /// Part of a frame.
    pub input: Vec<u8>,
    /// The partly received frame was counted when the session was taken over.
    pub counted: bool,
    /// Its client ignores all further data.
    pub ignores_input: bool,
    pub is_closed: bool,
    is_broken: bool,
}

impl Session {
    pub fn location(&self) -> ConnectionSlot {
        ConnectionSlot { hub: HubId(self.hub as u16), slot: self.key }
    }
}

impl World {
    /// Applies an action to a session, counted back from the newest.
    pub fn with_session(&mut self, back: usize, act: impl FnOnce(&mut Self, usize)) {
        if let Some(last) = self.sessions.len().checked_sub(1) {
            act(self, last - back % self.sessions.len());
        }
    }

    /// A client opens a socket. It reads only when `read` is called.
    pub fn open_socket(&mut self, conn_id: Uuid, hub: usize, max_queued: usize) {
        let socket = Rc::new(Socket::default());
        let send_queue = SendQueue::simulated(socket.clone(), QueueCapacity::new(max_queued, usize::MAX));
        self.open(conn_id, hub, send_queue, socket, Returns::All);
    }

    /// A client that asks for positions opens a session.
    pub fn open_returning(
        &mut self,
        conn_id: Uuid,
        hub: usize,
        max_queued: usize,
        transport: Transport,
        returns: Returns,
    ) {
        let (socket, max) = (Rc::new(Socket::default()), QueueCapacity::new(max_queued, usize::MAX));
        let send_queue = match transport {
            Transport::Websocket => SendQueue::simulated(socket.clone(), max),
            Transport::LongPoll => SendQueue::poll(max, 0),
            Transport::Sse => SendQueue::simulated_events(socket.clone(), max),
        };
        self.open(conn_id, hub, send_queue.positioned(true), socket, returns);
    }

    /// A client polls. The response comes early if more than `max_queued` bytes are queued.
    pub fn open_poll(&mut self, conn_id: Uuid, hub: usize, max_queued: usize) {
        let send_queue = SendQueue::poll(QueueCapacity::new(max_queued, usize::MAX), 0);
        self.open(conn_id, hub, send_queue, Rc::default(), Returns::All);
    }

    fn open(
        &mut self,
        conn_id: Uuid,
        hub: usize,
        send_queue: SendQueue,
        socket: Rc<Socket>,
        returns: Returns,
    ) {
        let number = self.sessions.len();
        let page = self.pages.get_mut(&conn_id).filter(|_| send_queue.is_positioned());
        let since = page.map(|page| page.begin(&self.log, conn_id, number, send_queue.collects(), returns));
        let send_queue = Rc::new(send_queue);
        let key = self.hubs[hub].table.open(conn_id, send_queue.clone());
        self.hubs[hub].output.push_back(ToRegistry::Attach(self.sessions.len()));
        self.sessions.push(Session {
            hub,
            key,
            conn_id,
            send_queue,
            since,
            owner: None,
            attached: None,
            answer: None,
            wait_until: self.now + WAIT_MS,
            release_at: None,
            socket,
            input: Vec::new(),
            counted: false,
            ignores_input: false,
            is_closed: false,
            is_broken: false,
        });
    }

    fn is_alive(&mut self, number: usize) -> bool {
        let session = &self.sessions[number];
        self.hubs[session.hub].table.slot(session.key).is_some()
    }

    /// Removes a session from its hub, if it is still there.
    fn detach(&mut self, number: usize) {
        self.receive(number);
        let session = &self.sessions[number];
        let hub = &mut self.hubs[session.hub];
        hub.output.extend(hub.table.detach(session.key).map(ToRegistry::Detached));
    }

    /// Ends a session whose client is gone.
    pub fn leave(&mut self, number: usize) {
        self.detach(number);
        self.sessions[number].send_queue.clear();
    }

    /// Ends a session with a close frame.
    pub fn close_session(&mut self, number: usize, reason: CloseReason) {
        self.detach(number);
        self.sessions[number].send_queue.close(reason);
    }

    /// The client sends a close frame, and ignores all further data.
    pub fn close(&mut self, number: usize) {
        if self.is_alive(number) && self.sessions[number].send_queue.transport() == Transport::Websocket {
            self.close_session(number, CloseReason::ByPeer(Some(1000)));
            self.sessions[number].ignores_input = true;
        }
    }

    /// The client violates the protocol, and continues to read.
    pub fn violate_protocol(&mut self, number: usize) {
        if self.is_alive(number) && self.sessions[number].send_queue.transport() == Transport::Websocket {
            let (hub, key) = (self.sessions[number].hub, self.sessions[number].key);
            self.close_by_hub(hub, key, CloseReason::Protocol);
        }
    }

    /// The client disappears. Its session notices it with the next write, or after some time.
    pub fn disappear(&mut self, number: usize) {
        self.receive(number);
        let session = &mut self.sessions[number];
        session.is_broken = true;
        session.socket.break_down();
    }

    /// A client accepts this many bytes, and reads what arrives.
    pub fn read(&mut self, number: usize, bytes: usize) {
        let session = &self.sessions[number];
        if !session.send_queue.collects() && !session.is_broken {
            session.socket.make_room(bytes);
            session.send_queue.flush_simulated();
            self.receive(number);
        }
    }

    /// Advances a poll: it gets its response, or the client receives the response, or the client closes the connection.
    pub fn advance_poll(&mut self, number: usize, taken: bool) {
        if !self.sessions[number].send_queue.collects() || !self.is_alive(number) {
            return;
        }
        let session = &mut self.sessions[number];
        match session.answer.take() {
            None => {
                self.hubs[session.hub].table.end_response(session.key);
                session.send_queue.seal();
                session.answer = Some(session.send_queue.batch());
            }
            Some(answer) => {
                if taken && !session.is_broken {
                    session.send_queue.clear();
                    answer.iter().for_each(|element| self.read_element(number, element));
                }
                self.leave(number);
            }
        }
    }

    /// The work of the hub's timer wheel and of the sessions' own timers.
    pub fn pass_for_sessions(&mut self, before: u64) {
        let now = self.now;
        let beats = before / HEARTBEAT_MS < now / HEARTBEAT_MS;
        for number in 0..self.sessions.len() {
            if !self.is_alive(number) {
                continue;
            }
            let session = &self.sessions[number];
            if session.is_broken || session.release_at.is_some_and(|at| at <= now) {
                self.leave(number);
            } else if let Some(keep_alive) = session.send_queue.transport().keep_alive() {
                let (hub, key) = (session.hub, session.key);
                let cursor = self.hubs[hub].table.cursor_heartbeat(&session.send_queue).filter(|_| beats);
                let heartbeat = cursor.as_ref().unwrap_or(keep_alive.heartbeat);
                let pushed =
                    if beats { session.send_queue.push_control(heartbeat) } else { PushResult::Accepted };
                self.apply_result(hub, key, pushed);
            } else if session.answer.is_none()
                && (session.wait_until <= now || session.send_queue.has_frames())
            {
                self.advance_poll(number, true);
            }
        }
    }

    /// The hub closes a session.
    pub fn close_by_hub(&mut self, hub: usize, key: SlotKey, reason: CloseReason) {
        let of = |session: &Session| (session.hub, session.key) == (hub, key);
        let number = self.sessions.iter().rposition(of).expect("every session of a hub was opened");
        let taken_over = reason == CloseReason::TakenOver;
        if taken_over && self.hubs[hub].table.is_answering(key) {
            self.sessions[number].release_at.get_or_insert(self.now + ANSWER_MS);
            return;
        }
        self.receive(number);
        let detached = self.hubs[hub].table.close(key, reason, None);
        let gone = detached.is_some();
        self.hubs[hub].output.extend(detached.map(ToRegistry::Detached));
        if gone && reason.has_next_session() {
            self.count_begun(number);
        }
        if gone && reason == CloseReason::TooSlow {
            let left = self.sessions[number].send_queue.queued_bytes();
            let end = self.sessions[number].send_queue.transport().close(reason, None, 0);
            assert!(
                left <= end.map_or(0, |end| end.len()),
                "{left} bytes stay queued for a peer that does not read"
            );
        }
    }
}
