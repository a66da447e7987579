//! Whom an actor speaks to: sockets on any thread, each with a bound on what is on its way to it.

use crate::telemetry::in_flight::BoundedCounter;
use actix::{Message, Recipient};
use bytes::Bytes;
use bytestring::ByteString;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a message in a mailbox takes beside its text.
const ENVELOPE_BYTES: usize = 128;

/// A socket in an audience. Never used twice, so that a late goodbye harms no successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(u64);

impl ListenerId {
    /// One that no other socket has.
    pub fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A websocket message to be sent to a socket. Its bytes are shared by all who get it.
#[derive(Clone, Debug, Message, PartialEq, Eq)]
#[rtype(result = "()")]
pub enum DemoMessage {
    /// Text.
    Text(ByteString),
    /// Bytes.
    Binary(Bytes),
}

impl DemoMessage {
    fn cost(&self) -> usize {
        let bytes = match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        };
        bytes + ENVELOPE_BYTES
    }
}

/// The way to one socket, shared by both its ends.
#[derive(Debug)]
pub struct ClientQueue {
    under_way: BoundedCounter,
    evicted: AtomicBool,
}

impl ClientQueue {
    /// A way on which no more than about `max_bytes` are under way.
    pub fn new(max_bytes: usize) -> Self {
        Self { under_way: BoundedCounter::new(max_bytes), evicted: AtomicBool::new(false) }
    }

    /// The socket's actor has taken this out of its mailbox.
    pub fn arrived(&self, said: &DemoMessage) {
        self.under_way.sub(said.cost());
    }

    /// The socket did not keep up and must be closed.
    pub fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// A socket wants to hear what an actor says.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Enter {
    /// Its name.
    pub id: ListenerId,
    /// Its actor.
    pub actor: Recipient<DemoMessage>,
    /// The way to it.
    pub lane: Arc<ClientQueue>,
}

/// A socket is gone.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Leave(pub ListenerId);

/// The sockets that an actor speaks to.
///
/// Mailboxes of actix grow without bound when nobody waits; so what is on the way to each socket is counted, and one
/// that does not keep up is let go: it is marked, taken off the list and closed by its own actor.
#[derive(Default)]
pub struct Subscribers {
    listeners: HashMap<ListenerId, SubscriberListener>,
}

struct SubscriberListener {
    actor: Recipient<DemoMessage>,
    lane: Arc<ClientQueue>,
}

impl Subscribers {
    /// Takes a socket in.
    pub fn enter(&mut self, Enter { id, actor, lane }: Enter) {
        self.listeners.insert(id, SubscriberListener { actor, lane });
    }

    /// Forgets a socket.
    pub fn leave(&mut self, id: ListenerId) {
        self.listeners.remove(&id);
    }

    /// Tells one socket.
    pub fn tell(&mut self, id: ListenerId, said: &DemoMessage) {
        if self.listeners.get(&id).is_some_and(|listener| !listener.tell(said)) {
            self.leave(id);
        }
    }

    /// Tells everybody.
    pub fn tell_all(&mut self, said: &DemoMessage) {
        self.listeners.retain(|_, listener| listener.tell(said));
    }
}

impl SubscriberListener {
    /// Whether the socket keeps up.
    fn tell(&self, said: &DemoMessage) -> bool {
        if self.lane.under_way.is_full() {
            // Its mailbox is full, so it will wake and find this.
            self.lane.evicted.store(true, Ordering::Relaxed);
            return false;
        }
        self.lane.under_way.add(said.cost());
        self.actor.do_send(said.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix::{Actor, Context, Handler};

    /// Hears, but never says that it has heard.
    struct Deaf;

    impl Actor for Deaf {
        type Context = Context<Self>;
    }

    impl Handler<DemoMessage> for Deaf {
        type Result = ();

        fn handle(&mut self, _: DemoMessage, _: &mut Self::Context) {}
    }

    #[actix_rt::test]
    async fn who_does_not_keep_up_is_let_go_and_others_are_not() {
        let mut audience = Subscribers::default();
        let lanes = [1_000, 1_000_000].map(|max| Arc::new(ClientQueue::new(max)));
        for lane in &lanes {
            let (id, actor) = (ListenerId::fresh(), Deaf.start().recipient());
            audience.enter(Enter { id, actor, lane: lane.clone() });
        }
        let said = DemoMessage::Text("x".repeat(100).into());
        for _ in 0..10 {
            audience.tell_all(&said);
        }
        assert_eq!(lanes.each_ref().map(|lane| lane.is_evicted()), [true, false]);
        assert_eq!(audience.listeners.len(), 1);
        // Five were let through before a thousand bytes were under way.
        assert_eq!(lanes[0].under_way.get(), 5 * said.cost());
        lanes[1].arrived(&said);
        assert_eq!(lanes[1].under_way.get(), 9 * said.cost());
    }

    #[actix_rt::test]
    async fn a_late_goodbye_harms_nobody() {
        let mut audience = Subscribers::default();
        let (old, new) = (ListenerId::fresh(), ListenerId::fresh());
        let lane = Arc::new(ClientQueue::new(1_000));
        for id in [old, new] {
            audience.enter(Enter { id, actor: Deaf.start().recipient(), lane: lane.clone() });
            audience.leave(old);
        }
        audience.leave(old);
        audience.tell(old, &DemoMessage::Binary(Bytes::new()));
        audience.tell(new, &DemoMessage::Binary(Bytes::new()));
        assert_eq!(lane.under_way.get(), ENVELOPE_BYTES);
    }
}
