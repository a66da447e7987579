//! Invariants: those that always hold, those that hold when no message is in flight, and those that hold when all
//! clients are gone.

use super::page::Returns;
use super::peers::Session;
use super::{ANSWER_MS, TIMES, World};
use crate::broker::channel::messages::Inspect;
use crate::broker::registry::state::Phase;
use crate::fixtures::Seen;
use crate::protocol::ids::ChannelId;
use crate::send_queue::{Transport, queued_here};
use std::collections::BTreeSet;
use uuid::Uuid;

const ALL: usize = usize::MAX / 2;

impl World {
    /// Panics unless the counted queued memory is the actual queued memory, and all stores stay within their limits.
    pub fn check(&self) {
        let queued: usize = self.sessions.iter().map(|session| session.send_queue.queued_bytes()).sum();
        assert_eq!(queued_here(), queued, "queued bytes");
        for (state, _) in &self.channels {
            let (frames, history) = state.num_stored();
            assert!(frames <= self.rules.retention.frames, "{frames} frames are stored");
            assert!(history <= self.rules.retention.history, "{history} messages are stored");
        }
    }

    /// Presence events go to other users than the one concerned, and contain the final list of present users.
    pub fn check_presence(&self, number: usize, event: &Seen) {
        let known = self.registry.connection(self.sessions[number].conn_id);
        let user = known.and_then(|(_, connection)| self.registry.user(connection.user));
        let own = user.is_some_and(|user| event.json["user"] == *user.view.name);
        // A new member receives what is kept, also about its user before the server forgot that user.
        let own = own && !self.log.is_open(event.channel.as_deref().unwrap());
        assert!(!own, "presence is never sent to the user itself: {event:?}");
        let listed: Vec<&str> =
            event.json["users"].as_array().unwrap().iter().filter_map(|of| of["user"].as_str()).collect();
        assert!(listed.is_sorted(), "{event:?}");
        let here = listed.iter().any(|name| event.json["user"] == **name);
        let joined = event.json["message"]["action"] == "joined";
        let channel = event.channel.as_deref().unwrap();
        let has_list = self.rules.settings(channel).broadcast_presence_with_user_lists;
        // The event does not contain the number of users, which limits lists.
        let may_lack_list = self.rules.channel(channel).lists_up_to > 0 && listed.is_empty();
        assert!(here == (joined && has_list) || may_lack_list, "{event:?}");
    }

    /// Runs the stations until every queue is empty.
    pub fn drain_queues(&mut self) {
        while (0..64).filter(|choice| self.step(*choice, 5)).count() > 0 {}
        self.check_at_rest();
    }

    /// Without messages in flight all stations agree: each member is connected and subscribed, each attached connection
    /// has a session, and every session on a hub belongs to a connection.
    fn check_at_rest(&self) {
        self.check();
        self.check_admission();
        for receipts in &self.receipts {
            assert!(receipts.so_far().iter().all(Option::is_some), "a receipt is missing");
        }
        for (index, (state, _)) in (0..).zip(&self.channels) {
            state.check();
            let members: BTreeSet<_> = state.member_keys().collect();
            assert_eq!(members, self.registry.subscribed_to(ChannelId(index)), "members without connection");
        }
        let locations: BTreeSet<_> = self.registry.locations().collect();
        for (index, hub) in (0..).zip(&self.hubs) {
            hub.table.check();
            assert!(hub.fanout.is_idle() && hub.bytes.0 == hub.bytes.1, "bytes in flight: {:?}", hub.bytes);
            for key in hub.table.keys() {
                assert!(
                    locations.contains(&(index, key.index, key.generation)),
                    "session without connection on hub {index}"
                );
            }
        }
    }

    /// Reconnects all known connections and reads everything. Then no event may be missing.
    pub fn reconnect_all(&mut self, conn_ids: &[Uuid]) {
        self.drain_queues();
        self.refresh_all();
        let first = self.sessions.len();
        for (index, conn_id) in conn_ids.iter().enumerate() {
            self.open_socket(*conn_id, index % 2, ALL);
        }
        for (index, conn_id) in self.rules.returning.clone().into_iter().enumerate() {
            self.open_returning(conn_id, index % 2, ALL, Transport::Websocket, Returns::All);
        }
        self.drain_queues();
        // A poll whose response was never received is released now.
        self.pass(ANSWER_MS);
        self.drain_queues();
        (0..self.sessions.len()).for_each(|number| self.read(number, ALL));
        self.account.ledger.check(true);
        self.check_replicas();
        for (index, (state, _)) in (0..).zip(&mut self.channels) {
            let (users, connections) = self.registry.present_in(ChannelId(index));
            let snapshot = state.snapshot(&Inspect { users: true, history: false });
            let names: Vec<_> = snapshot.users.iter().map(|user| user.name.to_string()).collect();
            assert_eq!(snapshot.total_connections, connections, "in {}", snapshot.name);
            // Users that left shortly before still count.
            let has_left = |name: &String| state.next_due().is_some() && !users.contains(name);
            let names: Vec<_> = names.into_iter().filter(|name| !has_left(name)).collect();
            assert_eq!(names, users, "in {}", snapshot.name);
        }
        (first..self.sessions.len()).for_each(|number| self.leave(number));
        self.drain_queues();
    }

    /// No client connects any more, and time passes: all stations must become empty.
    pub fn expire_all(&mut self) {
        (0..self.sessions.len()).for_each(|number| self.leave(number));
        self.drain_queues();
        for _ in 0..2 {
            self.pass(TIMES.idle + TIMES.grace);
            self.drain_queues();
        }
        self.accept_revoked();
        self.pass(TIMES.user_idle);
        self.drain_queues();
        assert_eq!(self.registry.counts(), (0, 0, 0));
        self.registry.check_nothing_waits();
        assert!(self.private_messages.0.is_empty(), "a private stream without its user");
        for hub in &self.hubs {
            assert!(hub.table.keys().is_empty(), "a slot without its session");
        }
        for (state, _) in &self.channels {
            assert_eq!((state.counts().0, state.counts().1, state.member_keys().count()), (0, 0, 0));
            assert_eq!(state.next_due(), None, "{} waits for a time", state.identity().name);
        }
        assert!(self.sessions.iter().all(Session::is_released), "a station still holds a send queue");
        self.sessions.clear();
        assert_eq!(queued_here(), 0, "queued bytes without a receiver");
    }
}

impl Session {
    /// Whether only its client still holds its send queue.
    fn is_released(&self) -> bool {
        std::rc::Rc::strong_count(&self.send_queue) == 1
    }
}

impl crate::broker::registry::state::RegistryState {
    /// The connections subscribed to a channel.
    fn subscribed_to(&self, channel: ChannelId) -> BTreeSet<crate::protocol::ids::ConnKey> {
        let subscribed = self.all_connections().filter(|(_, of)| of.channels.contains(&channel));
        subscribed.map(|(key, _)| key).collect()
    }

    /// The registry's locations of sessions: hub, index, generation.
    fn locations(&self) -> impl Iterator<Item = (u16, u32, u32)> {
        let locations = self.all_connections().flat_map(|(_, connection)| match &connection.phase {
            Phase::Attached(location, _) => [Some(*location), None],
            Phase::Releasing(handover) => {
                [Some(handover.from), handover.to.as_ref().map(|next| next.location)]
            }
            Phase::Waiting | Phase::Lingering | Phase::Away => [None, None],
        });
        locations.flatten().map(|location| (location.hub.0, location.slot.index, location.slot.generation))
    }
}
