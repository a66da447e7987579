//! Clients: they open sockets and polls, read, hang up. What a peer has not read its kernel has not taken either,
//! so nothing is in flight when it goes.

use super::{ToRegistry, World};
use crate::fixtures::seen;
use crate::hub::messages::Transport;
use crate::ids::{ConnKey, HubId, Place, SlotKey};
use crate::outbox::Outbox;
use bytes::Bytes;
use std::rc::Rc;
use uuid::Uuid;

/// A session and the client behind it.
pub struct Session {
    hub: usize,
    key: SlotKey,
    pub conn_id: Uuid,
    pub transport: Transport,
    outbox: Rc<Outbox>,
    /// The connection to which it was attached.
    pub owner: Option<ConnKey>,
    /// A poll's answer on its way.
    answer: Option<Vec<Bytes>>,
}

impl Session {
    pub fn place(&self) -> Place {
        Place { hub: HubId(self.hub as u16), slot: self.key }
    }
}

impl World {
    pub fn num_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// A client comes. Its poll is answered early if more than `max_queued` bytes come together.
    pub fn open(&mut self, conn_id: Uuid, hub: usize, transport: Transport, max_queued: usize) {
        let hub = hub % self.hubs.len();
        // A socket's outbox would write by itself; this one waits for the peer to read.
        let outbox = Rc::new(Outbox::poll(max_queued, 0));
        let key = self.hubs[hub].table.open(conn_id, transport, outbox.clone());
        self.hubs[hub].output.push_back(ToRegistry::Attach(self.sessions.len()));
        self.sessions.push(Session { hub, key, conn_id, transport, outbox, owner: None, answer: None });
    }

    pub fn is_alive(&mut self, number: usize) -> bool {
        let session = &self.sessions[number];
        self.hubs[session.hub].table.slot(session.key).is_some()
    }

    /// The session takes itself out; it may be out already.
    pub fn leave(&mut self, number: usize) {
        let session = &self.sessions[number];
        let hub = &mut self.hubs[session.hub];
        hub.output.extend(hub.table.detach(session.key).map(ToRegistry::Detached));
        // What was not read by now never will be.
        session.outbox.forget();
    }

    /// A socket's peer reads what there is.
    pub fn read(&mut self, number: usize) {
        let session = &self.sessions[number];
        if session.transport == Transport::Websocket {
            let batch = session.outbox.batch();
            session.outbox.forget();
            self.note(number, &batch);
            // It was closed for being too slow, or its queue is full.
            if self.sessions[number].outbox.is_sealed() {
                self.leave(number);
            }
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
                session.outbox.seal();
                session.answer = Some(session.outbox.batch());
            }
            Some(answer) => {
                if taken {
                    session.outbox.forget();
                    self.note(number, &answer);
                }
                self.leave(number);
            }
        }
    }

    fn note(&mut self, number: usize, elements: &[Bytes]) {
        for event in elements.iter().map(|element| seen(element)) {
            let owner = self.sessions[number].owner.expect("nobody gets anything before it is attached");
            if event.kind == "message" {
                let stream = self.ledger.stream_of(event.number);
                self.ledger.got(owner, stream, event.number);
            } else {
                let known = self.registry.connection(self.sessions[number].conn_id);
                let user = known.and_then(|(_, connection)| self.registry.user(connection.user));
                let own = user.is_some_and(|user| event.json["user"] == *user.view.name);
                assert!(!own, "presence is never told to the user itself: {event:?}");
                let listed: Vec<&str> = event.json["users"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(|of| of["user"].as_str())
                    .collect();
                assert!(listed.is_sorted(), "{event:?}");
                let here = listed.iter().any(|name| event.json["user"] == **name);
                assert_eq!(here, event.json["message"]["action"] == "joined", "{event:?}");
            }
        }
    }

    /// Every queue runs empty.
    pub fn settle_all(&mut self) {
        while (0..64).filter(|choice| self.step(*choice, 5)).count() > 0 {}
    }

    /// Everybody whose connection is known comes back and reads everything; then nothing may be missing.
    pub fn reunite(&mut self, conn_ids: &[Uuid]) {
        self.settle_all();
        let first = self.sessions.len();
        for (index, conn_id) in conn_ids.iter().enumerate() {
            self.open(*conn_id, index, Transport::Websocket, usize::MAX / 2);
        }
        self.settle_all();
        (0..self.sessions.len()).for_each(|number| self.read(number));
        self.ledger.check(true);
        for (index, (state, _)) in (0..).zip(&mut self.channels) {
            let (users, connections) = self.registry.present_in(crate::ids::ChannelId(index));
            let snapshot = state.snapshot(&crate::channel::messages::Inspect { users: true, history: false });
            let names: Vec<_> = snapshot.users.iter().map(|user| user.name.to_string()).collect();
            assert_eq!((names, snapshot.total_connections), (users, connections), "in {}", snapshot.name);
        }
        (first..self.sessions.len()).for_each(|number| self.leave(number));
        self.settle_all();
    }

    /// Nobody comes any more, and time passes: nothing and nobody is left.
    pub fn die_out(&mut self) {
        (0..self.sessions.len()).for_each(|number| self.leave(number));
        self.settle_all();
        for _ in 0..2 {
            self.pass(super::TIMES.idle + super::TIMES.grace);
            self.settle_all();
        }
        self.pass(super::TIMES.user_idle);
        assert_eq!(self.registry.counts(), (0, 0, 0));
        assert!(self.hubs.iter().all(|hub| hub.table.keys().is_empty()));
        for (state, _) in &self.channels {
            assert_eq!((state.counts().0, state.counts().1), (0, 0));
        }
    }
}
