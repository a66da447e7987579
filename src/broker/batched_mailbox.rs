//! Messages from one thread to an actor on another thread, delivered as one batch per turn of the sending thread.
//!
//! An ordinary mailbox wakes the actor's thread with the first of several messages. The actor then starts while the
//! others are still being created, and the output of one write is split into two. Here messages wait, in order, until
//! the sending thread has finished its turn, and then go to the mailbox as one message.

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::Notify;

/// All waiting messages, in order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Batch<M>(pub Vec<M>);

/// Messages that wait for one actor. It has no bound of its own: the in-flight counters include its messages.
pub struct BatchedMailbox<M: Message<Result = ()> + Send> {
    waiting: Mutex<Vec<M>>,
    receiver: OnceLock<(Recipient<M>, Recipient<Batch<M>>)>,
}

impl<M: Message<Result = ()> + Send + 'static> BatchedMailbox<M> {
    /// A mailbox without a receiver. Messages sent before [`BatchedMailbox::set_receiver`] are lost.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), receiver: OnceLock::new() })
    }

    /// Sets the actor. Later calls have no effect.
    pub fn set_receiver<A>(&self, receiver: Addr<A>)
    where
        A: Actor + Handler<M> + Handler<Batch<M>>,
        A::Context: ToEnvelope<A, M> + ToEnvelope<A, Batch<M>>,
    {
        let _ = self.receiver.set((receiver.clone().recipient(), receiver.recipient()));
    }

    /// Delivers all waiting messages, so that a message sent directly to the actor cannot overtake them.
    pub fn flush(&self) {
        let mut waiting = self.waiting();
        if !waiting.is_empty()
            && let Some((_, receiver)) = self.receiver.get()
        {
            // Holds the lock while sending: otherwise two threads that flush could reorder their batches.
            receiver.do_send(Batch(std::mem::take(&mut *waiting)));
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<M>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of a [`BatchedMailbox`] that does not depend on the type of its messages.
pub trait FlushMailbox: Send + Sync {
    /// Delivers all waiting messages, so that a message sent directly to the actor cannot overtake them.
    fn flush(&self);
}

impl<M: Message<Result = ()> + Send + 'static> FlushMailbox for BatchedMailbox<M> {
    fn flush(&self) {
        BatchedMailbox::flush(self);
    }
}

impl<M: Message<Result = ()> + Send> fmt::Debug for BatchedMailbox<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BatchedMailbox")
    }
}

/// The sending end of a [`BatchedMailbox`] on one thread.
#[derive(Debug)]
pub struct MailboxSender<M: Message<Result = ()> + Send> {
    mailbox: Arc<BatchedMailbox<M>>,
    /// Wakes the task that flushes at the end of a turn. `None` if the actor runs on the same thread.
    end_of_turn: Option<Arc<Notify>>,
}

impl<M: Message<Result = ()> + Send + 'static> MailboxSender<M> {
    /// For an actor on the current thread. Messages go directly to its mailbox, because the actor only runs after this
    /// turn anyway.
    pub fn within_thread(mailbox: Arc<BatchedMailbox<M>>) -> Self {
        Self { mailbox, end_of_turn: None }
    }

    /// From the current thread to an actor on another thread.
    pub fn between_threads(mailbox: Arc<BatchedMailbox<M>>) -> Self {
        let end_of_turn = Arc::new(Notify::new());
        let (notified, waiting) = (end_of_turn.clone(), mailbox.clone());
        // A separate task runs after the tasks that are already ready.
        actix_rt::spawn(async move {
            loop {
                notified.notified().await;
                waiting.flush();
            }
        });
        Self { mailbox, end_of_turn: Some(end_of_turn) }
    }

    pub fn send(&self, message: M) {
        if let Some(end_of_turn) = &self.end_of_turn {
            self.mailbox.waiting().push(message);
            end_of_turn.notify_one();
        } else if let Some((receiver, _)) = self.mailbox.receiver.get() {
            receiver.do_send(message);
        }
    }

    /// Calls [`BatchedMailbox::flush`], which includes the messages of all threads.
    pub fn flush(&self) {
        self.mailbox.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix::Context;
    use actix_rt::{Arbiter, ArbiterHandle};
    use std::sync::mpsc;
    use std::time::Duration;

    #[derive(Debug, Message, PartialEq)]
    #[rtype(result = "()")]
    struct Number(u32);

    /// Forwards the numbers of each call.
    struct MailboxListener(mpsc::Sender<Vec<u32>>);

    impl Actor for MailboxListener {
        type Context = Context<Self>;
    }

    impl Handler<Number> for MailboxListener {
        type Result = ();

        fn handle(&mut self, number: Number, _: &mut Self::Context) {
            self.0.send(vec![number.0]).unwrap();
        }
    }

    impl Handler<Batch<Number>> for MailboxListener {
        type Result = ();

        fn handle(&mut self, batch: Batch<Number>, _: &mut Self::Context) {
            self.0.send(batch.0.into_iter().map(|number| number.0).collect()).unwrap();
        }
    }

    type Calls = mpsc::Receiver<Vec<u32>>;

    fn listen(thread: &ArbiterHandle) -> (Arc<BatchedMailbox<Number>>, Addr<MailboxListener>, Calls) {
        let (calls, called) = mpsc::channel();
        let addr = MailboxListener::start_in_arbiter(thread, |_| MailboxListener(calls));
        let mailbox = BatchedMailbox::new();
        mailbox.set_receiver(addr.clone());
        (mailbox, addr, called)
    }

    /// Runs other tasks of this thread until the listener is called.
    async fn next(called: &Calls) -> Vec<u32> {
        let call = async {
            loop {
                match called.try_recv() {
                    Ok(call) => return call,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), call).await.unwrap()
    }

    #[actix_web::test]
    async fn another_thread_receives_one_batch_per_turn() {
        let (mailbox, _addr, called) = listen(&Arbiter::new().handle());
        let sender = MailboxSender::between_threads(mailbox);
        for turn in [0, 100] {
            (turn..turn + 16).for_each(|number| sender.send(Number(number)));
            assert_eq!(next(&called).await, (turn..turn + 16).collect::<Vec<_>>());
        }
    }

    #[actix_web::test]
    async fn the_same_thread_receives_each_message_separately() {
        let (mailbox, _addr, called) = listen(&Arbiter::current());
        let sender = MailboxSender::within_thread(mailbox);
        sender.send(Number(1));
        sender.send(Number(2));
        assert_eq!([next(&called).await, next(&called).await], [[1], [2]]);
    }

    #[actix_web::test]
    async fn direct_messages_do_not_overtake_flushed_ones() {
        let (mailbox, addr, called) = listen(&Arbiter::new().handle());
        let sender = MailboxSender::between_threads(mailbox);
        sender.send(Number(1));
        sender.send(Number(2));
        sender.flush();
        addr.do_send(Number(3));
        sender.send(Number(4));
        assert_eq!(next(&called).await, [1, 2]);
        assert_eq!(next(&called).await, [3]);
        assert_eq!(next(&called).await, [4]);
    }
}
