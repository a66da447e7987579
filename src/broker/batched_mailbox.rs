//! Messages from a thread to an actor of another one, which is woken once for all that a turn of the sender's thread
//! has for it.
//!
//! An actor's mailbox wakes its thread with the first message of many. It begins while the others are still being made,
//! and what could have gone out in one write goes out in two. Here messages wait, in order, until the sender's thread
//! has done all it had to do, and then go to the mailbox as one.

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::Notify;

/// All that waited, in order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Batch<M>(pub Vec<M>);

/// What waits for one actor. Without a bound of its own: the gauges count its messages as they count a mailbox's.
pub struct Handoff<M: Message<Result = ()> + Send> {
    waiting: Mutex<Vec<M>>,
    receiver: OnceLock<(Recipient<M>, Recipient<Batch<M>>)>,
}

impl<M: Message<Result = ()> + Send + 'static> Handoff<M> {
    /// For an actor that is named later; what is sent before that is lost.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), receiver: OnceLock::new() })
    }

    /// Names the actor. The first one stays.
    pub fn set_receiver<A>(&self, receiver: Addr<A>)
    where
        A: Actor + Handler<M> + Handler<Batch<M>>,
        A::Context: ToEnvelope<A, M> + ToEnvelope<A, Batch<M>>,
    {
        let _ = self.receiver.set((receiver.clone().recipient(), receiver.recipient()));
    }

    /// Hands over what waits: what is sent to the actor's mailbox next shall not overtake it.
    pub fn flush(&self) {
        let mut waiting = self.waiting();
        if !waiting.is_empty()
            && let Some((_, receiver)) = self.receiver.get()
        {
            // Under the lock: two threads that flush must not change the order of what each took.
            receiver.do_send(Batch(std::mem::take(&mut *waiting)));
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<M>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What others may ask of a [`Handoff`], whatever its messages are.
pub trait FlushMailbox: Send + Sync {
    /// Hands over what waits: what is sent to the actor's mailbox next shall not overtake it.
    fn flush(&self);
}

impl<M: Message<Result = ()> + Send + 'static> FlushMailbox for Handoff<M> {
    fn flush(&self) {
        Handoff::flush(self);
    }
}

impl<M: Message<Result = ()> + Send> fmt::Debug for Handoff<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Handoff")
    }
}

/// A thread's end of a [`Handoff`].
#[derive(Debug)]
pub struct MailboxSender<M: Message<Result = ()> + Send> {
    handoff: Arc<Handoff<M>>,
    /// Wakes the task that flushes at the end of a turn; none if the actor is of the same thread.
    end_of_turn: Option<Arc<Notify>>,
}

impl<M: Message<Result = ()> + Send + 'static> MailboxSender<M> {
    /// To an actor of the current thread, straight to its mailbox: it begins when our turn has ended anyway.
    pub fn within_thread(handoff: Arc<Handoff<M>>) -> Self {
        Self { handoff, end_of_turn: None }
    }

    /// From the current thread to an actor of another one.
    pub fn between_threads(handoff: Arc<Handoff<M>>) -> Self {
        let end_of_turn = Arc::new(Notify::new());
        let (notified, waiting) = (end_of_turn.clone(), handoff.clone());
        // A task of its own: its turn comes after those that are ready already.
        actix_rt::spawn(async move {
            loop {
                notified.notified().await;
                waiting.flush();
            }
        });
        Self { handoff, end_of_turn: Some(end_of_turn) }
    }

    /// Sends a message.
    pub fn send(&self, message: M) {
        if let Some(end_of_turn) = &self.end_of_turn {
            self.handoff.waiting().push(message);
            end_of_turn.notify_one();
        } else if let Some((receiver, _)) = self.handoff.receiver.get() {
            receiver.do_send(message);
        }
    }

    /// As [`Handoff::flush`], of what all threads have sent.
    pub fn flush(&self) {
        self.handoff.flush();
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

    /// Tells what it was told, call by call.
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

    fn listen(thread: &ArbiterHandle) -> (Arc<Handoff<Number>>, Addr<MailboxListener>, Calls) {
        let (calls, called) = mpsc::channel();
        let addr = MailboxListener::start_in_arbiter(thread, |_| MailboxListener(calls));
        let handoff = Handoff::new();
        handoff.set_receiver(addr.clone());
        (handoff, addr, called)
    }

    /// Lets other tasks of this thread run until the listener is called.
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
    async fn another_thread_gets_all_of_a_turn_at_once() {
        let (handoff, _addr, called) = listen(&Arbiter::new().handle());
        let sender = MailboxSender::between_threads(handoff);
        for turn in [0, 100] {
            (turn..turn + 16).for_each(|number| sender.send(Number(number)));
            assert_eq!(next(&called).await, (turn..turn + 16).collect::<Vec<_>>());
        }
    }

    #[actix_web::test]
    async fn the_same_thread_gets_each_by_itself() {
        let (handoff, _addr, called) = listen(&Arbiter::current());
        let sender = MailboxSender::within_thread(handoff);
        sender.send(Number(1));
        sender.send(Number(2));
        assert_eq!([next(&called).await, next(&called).await], [[1], [2]]);
    }

    #[actix_web::test]
    async fn what_is_flushed_is_not_overtaken() {
        let (handoff, addr, called) = listen(&Arbiter::new().handle());
        let sender = MailboxSender::between_threads(handoff);
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
