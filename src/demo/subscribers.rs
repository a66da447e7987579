//! The sockets to which an actor sends messages, on any thread. The messages in flight to each socket are limited.

use crate::telemetry::in_flight::BoundedCounter;
use actix::{Message, Recipient};
use bytes::Bytes;
use bytestring::ByteString;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The size of a message in a mailbox, in addition to its text.
const ENVELOPE_BYTES: usize = 128;

/// Identifies a socket. Ids are never reused, so that a late departure does not affect a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(u64);

impl ListenerId {
    /// Creates a unique id.
    pub fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A websocket message for a socket. All receivers share its bytes.
#[derive(Clone, Debug, Message, PartialEq, Eq)]
#[rtype(result = "()")]
pub enum DemoMessage {
    Text(ByteString),
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

/// Counts the messages in flight to one socket; shared by both ends.
#[derive(Debug)]
pub struct ClientQueue {
    in_flight: BoundedCounter,
    evicted: AtomicBool,
}

impl ClientQueue {
    /// Creates a queue that holds at most about `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self { in_flight: BoundedCounter::new(max_bytes), evicted: AtomicBool::new(false) }
    }

    /// Records that the socket's actor has taken this message out of its mailbox.
    pub fn record_received(&self, message: &DemoMessage) {
        self.in_flight.sub(message.cost());
    }

    /// Whether the socket did not keep up and must be closed.
    pub fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// A socket subscribes to an actor's messages.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Enter {
    /// The socket's id.
    pub id: ListenerId,
    /// The socket's actor.
    pub actor: Recipient<DemoMessage>,
    /// The counter of the messages in flight to it.
    pub queue: Arc<ClientQueue>,
}

/// A socket has closed.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Leave(pub ListenerId);

/// The sockets to which an actor sends messages. Mailboxes of actix grow without limit if the sender does not wait.
/// Therefore the messages in flight to each socket are counted, and a socket that does not keep up is removed: it is
/// marked, taken off the list and closed by its own actor.
#[derive(Default)]
pub struct Subscribers {
    listeners: HashMap<ListenerId, SubscriberListener>,
}

struct SubscriberListener {
    actor: Recipient<DemoMessage>,
    queue: Arc<ClientQueue>,
}

impl Subscribers {
    pub fn enter(&mut self, Enter { id, actor, queue }: Enter) {
        self.listeners.insert(id, SubscriberListener { actor, queue });
    }

    pub fn leave(&mut self, id: ListenerId) {
        self.listeners.remove(&id);
    }

    /// Sends a message to one socket.
    pub fn send(&mut self, id: ListenerId, message: &DemoMessage) {
        if self.listeners.get(&id).is_some_and(|listener| !listener.send(message)) {
            self.leave(id);
        }
    }

    /// Sends a message to all sockets.
    pub fn send_to_all(&mut self, message: &DemoMessage) {
        self.listeners.retain(|_, listener| listener.send(message));
    }
}

impl SubscriberListener {
    /// Sends a message. Returns false if the socket does not keep up.
    fn send(&self, message: &DemoMessage) -> bool {
        if self.queue.in_flight.is_full() {
            // Its mailbox is not empty, so its actor will run and check this flag.
            self.queue.evicted.store(true, Ordering::Relaxed);
            return false;
        }
        self.queue.in_flight.add(message.cost());
        self.actor.do_send(message.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix::{Actor, Context, Handler};

    /// Receives messages, but never reports that it has received them.
    struct StuckActor;

    impl Actor for StuckActor {
        type Context = Context<Self>;
    }

    impl Handler<DemoMessage> for StuckActor {
        type Result = ();

        fn handle(&mut self, _: DemoMessage, _: &mut Self::Context) {}
    }

    #[actix_rt::test]
    async fn only_sockets_that_do_not_keep_up_are_removed() {
        let mut subscribers = Subscribers::default();
        let queues = [1_000, 1_000_000].map(|max| Arc::new(ClientQueue::new(max)));
        for queue in &queues {
            let (id, actor) = (ListenerId::fresh(), StuckActor.start().recipient());
            subscribers.enter(Enter { id, actor, queue: queue.clone() });
        }
        let message = DemoMessage::Text("x".repeat(100).into());
        for _ in 0..10 {
            subscribers.send_to_all(&message);
        }
        assert_eq!(queues.each_ref().map(|queue| queue.is_evicted()), [true, false]);
        assert_eq!(subscribers.listeners.len(), 1);
        // Five were sent before a thousand bytes were in flight.
        assert_eq!(queues[0].in_flight.get(), 5 * message.cost());
        queues[1].record_received(&message);
        assert_eq!(queues[1].in_flight.get(), 9 * message.cost());
    }

    #[actix_rt::test]
    async fn a_late_departure_does_not_affect_other_sockets() {
        let mut subscribers = Subscribers::default();
        let (old, new) = (ListenerId::fresh(), ListenerId::fresh());
        let queue = Arc::new(ClientQueue::new(1_000));
        for id in [old, new] {
            subscribers.enter(Enter { id, actor: StuckActor.start().recipient(), queue: queue.clone() });
            subscribers.leave(old);
        }
        subscribers.leave(old);
        subscribers.send(old, &DemoMessage::Binary(Bytes::new()));
        subscribers.send(new, &DemoMessage::Binary(Bytes::new()));
        assert_eq!(queue.in_flight.get(), ENVELOPE_BYTES);
    }
}
