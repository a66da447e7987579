//! Clients: they open sockets and polls, read as fast or as slowly as they like, hang up or just vanish. What their
//! kernel has taken counts as got: what is lost behind it is outside of what a server can promise.

use super::account::{number_of_delete, number_of_edit};
use super::{ANSWER_MS, ToRegistry, WAIT_MS, World};
use crate::broker::hub::messages::Transport;
use crate::fixtures::{Seen, seen, whole_frames};
use crate::protocol::ids::{ConnKey, ConnectionSlot, HubId, SlotKey};
use crate::protocol::websocket::HEARTBEAT;
use crate::protocol::websocket::close::CloseReason;
use crate::send_queue::simulated::Socket;
use crate::send_queue::{PushResult, QueueCapacity, SendQueue};
use bytes::Bytes;
use std::rc::Rc;
use uuid::Uuid;

const HEARTBEAT_MS: u64 = 700;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
/// What a heartbeat holds.
const NOTHING: &[u8] = b"[]";

/// A session and the client behind it.
pub struct Session {
    pub hub: usize,
    pub key: SlotKey,
    pub conn_id: Uuid,
    pub transport: Transport,
    pub send_queue: Rc<SendQueue>,
    /// The connection to which it was attached.
    pub owner: Option<ConnKey>,
    /// A poll's answer on its way.
    answer: Option<Vec<Bytes>>,
    wait_until: u64,
    /// Its successor waits for the receipt of its answer until then.
    release_at: Option<u64>,
    /// A websocket's kernel.
    socket: Rc<Socket>,
    /// Half a frame.
    input: Vec<u8>,
    /// The frame of which half is here was counted when the session was taken over.
    counted: bool,
    /// Its client takes nothing in any more.
    deaf: bool,
    is_closed: bool,
    is_broken: bool,
}

impl Session {
    pub fn location(&self) -> ConnectionSlot {
        ConnectionSlot { hub: HubId(self.hub as u16), slot: self.key }
    }
}

impl World {
    /// Does something with a session, counted back from the newest.
    pub fn with_session(&mut self, back: usize, act: impl FnOnce(&mut Self, usize)) {
        if let Some(last) = self.sessions.len().checked_sub(1) {
            act(self, last - back % self.sessions.len());
        }
    }

    /// A client opens a socket, from which it reads nothing until it is told to.
    pub fn open_socket(&mut self, conn_id: Uuid, hub: usize, max_queued: usize) {
        let socket = Rc::new(Socket::default());
        let send_queue = SendQueue::simulated(socket.clone(), QueueCapacity::new(max_queued, usize::MAX));
        self.open(conn_id, hub, Transport::Websocket, send_queue, socket);
    }

    /// A client polls. It is answered early if more than `max_queued` bytes come together.
    pub fn open_poll(&mut self, conn_id: Uuid, hub: usize, max_queued: usize) {
        let send_queue = SendQueue::poll(QueueCapacity::new(max_queued, usize::MAX), 0);
        self.open(conn_id, hub, Transport::LongPoll, send_queue, Rc::default());
    }

    fn open(
        &mut self,
        conn_id: Uuid,
        hub: usize,
        transport: Transport,
        send_queue: SendQueue,
        socket: Rc<Socket>,
    ) {
        let send_queue = Rc::new(send_queue);
        let key = self.hubs[hub].table.open(conn_id, transport, send_queue.clone());
        self.hubs[hub].output.push_back(ToRegistry::Attach(self.sessions.len()));
        self.sessions.push(Session {
            hub,
            key,
            conn_id,
            transport,
            send_queue,
            owner: None,
            answer: None,
            wait_until: self.now + WAIT_MS,
            release_at: None,
            socket,
            input: Vec::new(),
            counted: false,
            deaf: false,
            is_closed: false,
            is_broken: false,
        });
    }

    fn is_alive(&mut self, number: usize) -> bool {
        let session = &self.sessions[number];
        self.hubs[session.hub].table.slot(session.key).is_some()
    }

    /// Out of its hub; it may be out already.
    fn detach(&mut self, number: usize) {
        self.absorb(number);
        let session = &self.sessions[number];
        let hub = &mut self.hubs[session.hub];
        hub.output.extend(hub.table.detach(session.key).map(ToRegistry::Detached));
    }

    /// The session takes itself out, and nobody is there to say goodbye to.
    pub fn leave(&mut self, number: usize) {
        self.detach(number);
        self.sessions[number].send_queue.clear();
    }

    /// The session takes itself out, and says so.
    pub fn say_goodbye(&mut self, number: usize, reason: CloseReason) {
        self.detach(number);
        self.sessions[number].send_queue.close(reason);
    }

    /// The client says goodbye: it hears nothing any more, whatever comes.
    pub fn close(&mut self, number: usize) {
        if self.is_alive(number) && self.sessions[number].transport == Transport::Websocket {
            self.say_goodbye(number, CloseReason::ByPeer(Some(1000)));
            self.sessions[number].deaf = true;
        }
    }

    /// The client breaks the protocol, and goes on reading.
    pub fn offend(&mut self, number: usize) {
        if self.is_alive(number) && self.sessions[number].transport == Transport::Websocket {
            let (hub, key) = (self.sessions[number].hub, self.sessions[number].key);
            self.dismiss(hub, key, CloseReason::Protocol);
        }
    }

    /// The client is gone. Its session learns it from the next write, or when time has passed.
    pub fn cut(&mut self, number: usize) {
        self.absorb(number);
        let session = &mut self.sessions[number];
        session.is_broken = true;
        session.socket.break_down();
    }

    /// A socket's peer makes room for so many bytes, and takes in what comes.
    pub fn read(&mut self, number: usize, bytes: usize) {
        let session = &self.sessions[number];
        if session.transport == Transport::Websocket && !session.is_broken {
            session.socket.make_room(bytes);
            session.send_queue.flush_simulated();
            self.absorb(number);
        }
    }

    /// A poll goes on: it is answered, or its answer has been taken, or its client has hung up on it.
    pub fn go_on(&mut self, number: usize, taken: bool) {
        if self.sessions[number].transport == Transport::Websocket || !self.is_alive(number) {
            return;
        }
        let session = &mut self.sessions[number];
        match session.answer.take() {
            None => {
                session.send_queue.seal();
                session.answer = Some(session.send_queue.batch());
            }
            Some(answer) => {
                if taken && !session.is_broken {
                    session.send_queue.clear();
                    answer.iter().for_each(|element| self.note(number, &seen(element)));
                }
                self.leave(number);
            }
        }
    }

    /// What the hub's wheel and the sessions' own timers do.
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
            } else if session.transport == Transport::Websocket {
                let (hub, key) = (session.hub, session.key);
                let pushed =
                    if beats { session.send_queue.push_control(&HEARTBEAT) } else { PushResult::Accepted };
                self.settle(hub, key, pushed);
            } else if session.answer.is_none()
                && (session.wait_until <= now || !session.send_queue.is_empty())
            {
                self.go_on(number, true);
            }
        }
    }

    /// The hub tells a session to go.
    pub fn dismiss(&mut self, hub: usize, key: SlotKey, reason: CloseReason) {
        let of = |session: &Session| (session.hub, session.key) == (hub, key);
        let number = self.sessions.iter().rposition(of).expect("hubs know no session that was never opened");
        let taken_over = reason == CloseReason::TakenOver;
        if taken_over && self.hubs[hub].table.is_answering(key) {
            self.sessions[number].release_at.get_or_insert(self.now + ANSWER_MS);
            return;
        }
        self.absorb(number);
        let detached = self.hubs[hub].table.close(key, reason);
        let gone = detached.is_some();
        self.hubs[hub].output.extend(detached.map(ToRegistry::Detached));
        if gone && reason.has_next_session() {
            self.count_begun(number);
        }
        if gone && reason == CloseReason::TooSlow {
            let left = self.sessions[number].send_queue.queued_bytes();
            assert!(left <= reason.frame().len(), "{left} bytes stay behind for a peer that does not read");
        }
    }

    /// The frame of which part is out goes out whole, and counts from here on, as if the kernel had all of it: the
    /// successor does not get it.
    fn count_begun(&mut self, number: usize) {
        let session = &self.sessions[number];
        if session.input.is_empty() {
            return;
        }
        let rest = session.send_queue.batch();
        let mut whole = session.input.clone();
        whole.extend_from_slice(rest.first().expect("the rest of a frame waits"));
        let (frames, left) = whole_frames(&whole);
        assert!(left.is_empty() && frames.len() == 1, "half a frame is followed by its other half");
        let (opcode, payload) = frames[0];
        if opcode == TEXT && payload != NOTHING {
            self.note(number, &text(payload));
            self.sessions[number].counted = true;
        }
    }

    /// What the kernel has taken by now, the peer gets.
    fn absorb(&mut self, number: usize) {
        let session = &mut self.sessions[number];
        let mut input = std::mem::take(&mut session.input);
        input.extend(session.socket.received());
        let (frames, rest) = whole_frames(&input);
        session.input = rest.to_vec();
        for (opcode, payload) in frames {
            let session = &mut self.sessions[number];
            assert!(!session.is_closed, "nothing follows a goodbye");
            session.is_closed = opcode == CLOSE;
            if opcode == TEXT && payload != NOTHING && !std::mem::take(&mut session.counted) && !session.deaf
            {
                self.note(number, &text(payload));
            }
        }
    }

    fn note(&mut self, number: usize, event: &Seen) {
        let owner = self.sessions[number].owner.expect("nobody gets anything before it is attached");
        match event.kind.as_str() {
            "message" => {
                if let Some(edit) = event.json["message"]["edit"].as_u64() {
                    let edits = self.account.edits.get(&event.number);
                    assert!(edits.is_some_and(|edits| edits.contains(&edit.into())), "{event:?}");
                    assert!(event.catchup, "what is live is as it was said: {event:?}");
                }
                self.note_number(owner, event.number);
            }
            "message:edit" => {
                let serial = event.json["message"]["edit"].as_u64().unwrap();
                self.note_number(owner, number_of_edit(serial.into()));
            }
            "message:delete" => self.note_number(owner, number_of_delete(event.number)),
            "presence" => self.check_presence(number, event),
            kind => assert_eq!(kind, "user_state_change"),
        }
    }

    fn note_number(&mut self, owner: ConnKey, number: u128) {
        let stream = self.account.ledger.stream_of(number);
        self.account.ledger.got(owner, stream, number);
    }
}

/// What a websocket's frame holds.
fn text(payload: &[u8]) -> Seen {
    seen(&payload[1..payload.len() - 1])
}
