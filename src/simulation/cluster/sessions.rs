//! The sessions of clients, on the hubs of nodes.

use super::super::ToRegistry;
use super::World;
use super::resuming::Returns;
use crate::broker::registry::state::NextSession;
use crate::fixtures::{seen, whole_frames};
use crate::protocol::ids::{ConnectionSlot, HubId, SlotKey};
use crate::protocol::position::Since;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::simulated::Socket;
use crate::send_queue::{PushResult, QueueCapacity, SendQueue};
use bytes::Bytes;
use std::rc::Rc;
use std::sync::Arc;
use uuid::Uuid;

const HEARTBEAT_MS: u64 = 700;
const WAIT_MS: u64 = 800;
const ANSWER_MS: u64 = 1_000;
/// A client that has not taken a response after this time hangs up.
const TAKING_MS: u64 = 1_500;
const ALL: usize = usize::MAX / 2;

/// How a client opens a session.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    pub client: usize,
    pub polls: bool,
    pub hub: usize,
    /// Whether its kernel accepts bytes only when it reads.
    pub is_slow: bool,
    pub returns: Returns,
}

/// What a session requests from the registry.
pub struct Attaching {
    pub conn_id: Uuid,
    pub next: NextSession,
}

/// A session and its client.
pub struct Session {
    pub client: usize,
    /// The node, and which of its processes.
    pub node: usize,
    pub process: usize,
    pub hub: usize,
    pub key: SlotKey,
    send_queue: Rc<SendQueue>,
    socket: Rc<Socket>,
    since: Option<Arc<Since>>,
    is_slow: bool,
    input: Vec<u8>,
    /// A poll's response that is being sent.
    answer: Option<Vec<Bytes>>,
    wait_until: u64,
    release_at: Option<u64>,
    /// Its slot on the hub is free, since this time.
    pub ended_at: Option<u64>,
}

impl Session {
    pub fn attaching(&self, conn_id: Uuid) -> Attaching {
        let location = ConnectionSlot { hub: HubId(self.hub as u16), slot: self.key };
        let transport = self.send_queue.transport();
        Attaching { conn_id, next: NextSession { location, transport, since: self.since.clone() } }
    }
}

impl World {
    /// Opens a session at a node, where the connection of the client is now.
    pub fn open_session(&mut self, node: usize, opening: Opening) {
        let Opening { client, polls, hub, is_slow, returns } = opening;
        let number = self.sessions.len();
        let (process, running) = match &self.nodes[node].running {
            Some(running) => (running.boot, running.process.clone()),
            None => return,
        };
        let process_now = &mut *running.borrow_mut();
        let (socket, capacity) = (Rc::new(Socket::default()), QueueCapacity::new(ALL, usize::MAX));
        socket.make_room(if is_slow { 0 } else { ALL });
        let is_resuming = self.clients[client].is_resuming;
        let send_queue = match polls {
            true => SendQueue::poll(capacity, 0),
            false => SendQueue::simulated(socket.clone(), capacity),
        };
        let send_queue = Rc::new(send_queue.positioned(is_resuming));
        let life = process_now.life();
        let since =
            is_resuming.then(|| self.clients[client].begin(number, polls, returns, life, &self.truth));
        let conn_id = self.clients[client].conn_id;
        let hub_state = &mut process_now.hubs[hub];
        let key = hub_state.table.open(conn_id, send_queue.clone());
        hub_state.output.push_back(ToRegistry::Attach(number));
        self.sessions.push(Session {
            client,
            node,
            process,
            hub,
            key,
            send_queue,
            socket,
            since,
            is_slow,
            input: Vec::new(),
            answer: None,
            wait_until: self.clock.get() + WAIT_MS,
            release_at: None,
            ended_at: None,
        });
    }

    /// The process of a session, if it still runs.
    fn process_of(&self, number: usize) -> Option<Rc<std::cell::RefCell<super::process::Process>>> {
        let session = &self.sessions[number];
        let running = self.nodes[session.node].running.as_ref()?;
        (running.boot == session.process).then(|| running.process.clone())
    }

    fn is_alive(&self, number: usize) -> bool {
        let session = &self.sessions[number];
        let Some(process) = self.process_of(number) else { return false };
        process.borrow_mut().hubs[session.hub].table.slot(session.key).is_some()
    }

    /// The client reads what its kernel has accepted.
    pub fn receive(&mut self, number: usize) {
        let session = &mut self.sessions[number];
        let mut input = std::mem::take(&mut session.input);
        input.extend(session.socket.received());
        let (frames, rest) = whole_frames(&input);
        session.input = rest.to_vec();
        for (opcode, payload) in frames {
            if opcode == 1 && payload != b"[]" {
                self.read_element(number, &payload[1..payload.len() - 1]);
            }
        }
    }

    fn read_element(&mut self, number: usize, element: &[u8]) {
        let client = &mut self.clients[self.sessions[number].client];
        match client.is_resuming {
            true if client.memory.session == Some(number) => {
                client.read_element(&serde_json::from_slice(element).unwrap(), &mut self.truth);
            }
            // It has a newer session.
            true => {}
            false => client.read(&seen(element), &self.truth),
        }
    }

    /// Lets a client read everything that waits for it.
    pub fn read_all(&mut self, number: usize) {
        let session = &self.sessions[number];
        if session.send_queue.collects() || self.is_frozen(session.node) {
            return;
        }
        session.socket.make_room(ALL);
        session.send_queue.flush_simulated();
        self.receive(number);
        if self.sessions[number].is_slow {
            self.sessions[number].socket.make_room(0);
        }
    }

    fn detach(&mut self, number: usize) {
        self.receive(number);
        let Some(process) = self.process_of(number) else { return };
        let session = &mut self.sessions[number];
        let hub = &mut process.borrow_mut().hubs[session.hub];
        if let Some(detached) = hub.table.detach(session.key) {
            hub.output.push_back(ToRegistry::Detached(detached));
        }
        session.ended_at.get_or_insert(self.clock.get());
    }

    /// Ends a session whose client is gone.
    pub fn leave(&mut self, number: usize) {
        if self.is_frozen(self.sessions[number].node) {
            return;
        }
        self.detach(number);
        self.clients[self.sessions[number].client].is_steady = false;
        self.sessions[number].send_queue.clear();
    }

    /// Ends a session that its node refuses.
    pub fn refuse(&mut self, number: usize) {
        self.detach(number);
        self.sessions[number].send_queue.close(CloseReason::Ended);
    }

    /// Advances a poll: it gets its response, or its client takes it, or closes the connection.
    pub fn advance_poll(&mut self, number: usize, taken: bool) {
        let session = &mut self.sessions[number];
        if !session.send_queue.collects()
            || self.is_frozen(self.sessions[number].node)
            || !self.is_alive(number)
        {
            return;
        }
        let process = self.process_of(number).expect("the session is alive");
        let session = &mut self.sessions[number];
        match session.answer.take() {
            None => {
                process.borrow_mut().hubs[session.hub].table.end_response(session.key);
                session.send_queue.seal();
                session.answer = Some(session.send_queue.batch());
                session.release_at.get_or_insert(self.clock.get() + TAKING_MS);
            }
            Some(answer) => {
                if taken {
                    session.send_queue.clear();
                    answer.iter().for_each(|element| self.read_element(number, element));
                }
                self.leave(number);
            }
        }
    }

    /// The timers of sessions and hubs.
    pub fn pass_for_sessions(&mut self, before: u64) {
        let now = self.clock.get();
        let beats = before / HEARTBEAT_MS < now / HEARTBEAT_MS;
        for number in 0..self.sessions.len() {
            if self.sessions[number].ended_at.is_some()
                || self.is_frozen(self.sessions[number].node)
                || !self.is_alive(number)
            {
                continue;
            }
            let session = &self.sessions[number];
            if session.release_at.is_some_and(|at| at <= now) {
                self.leave(number);
            } else if let Some(keep_alive) = session.send_queue.transport().keep_alive() {
                if beats {
                    let process = self.process_of(number).expect("the session is alive");
                    let table = &mut process.borrow_mut().hubs[session.hub].table;
                    let cursor = table.cursor_heartbeat(&session.send_queue);
                    let heartbeat = cursor.as_ref().unwrap_or(keep_alive.heartbeat);
                    let pushed = session.send_queue.push_control(heartbeat);
                    assert!(pushed == PushResult::Accepted, "its queue has room");
                }
                self.receive(number);
            } else if session.answer.is_none()
                && (session.wait_until <= now || session.send_queue.has_frames())
            {
                self.advance_poll(number, true);
            }
        }
    }

    /// A hub closes a session.
    pub fn close_by_hub(&mut self, node: usize, hub: usize, key: SlotKey, reason: CloseReason) {
        let boot = self.nodes[node].running.as_ref().map(|running| running.boot);
        let is_it = |session: &Session| {
            (session.node, Some(session.process), session.hub, session.key) == (node, boot, hub, key)
        };
        let number = self.sessions.iter().rposition(is_it).expect("every session of a hub was opened");
        let Some(process) = self.process_of(number) else { return };
        let hub = &mut process.borrow_mut().hubs[hub];
        if reason == CloseReason::TakenOver && hub.table.is_answering(key) {
            self.sessions[number].release_at.get_or_insert(self.clock.get() + ANSWER_MS);
            return;
        }
        self.receive(number);
        if let Some(detached) = hub.table.close(key, reason, None) {
            hub.output.push_back(ToRegistry::Detached(detached));
            self.sessions[number].ended_at.get_or_insert(self.clock.get());
        }
    }
}
