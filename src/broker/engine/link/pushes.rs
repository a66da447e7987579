//! The pushes that a connection has read and the link has not handled: a bounded queue without waiting.

use futures_util::task::AtomicWaker;
use redis::aio::{AsyncPushSender, SendError};
use redis::{PushInfo, PushKind, Value};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

/// The crate reads a connection at any speed and must not be blocked. What exceeds the bound is discarded, and the
/// connection is useless from then on.
#[derive(Debug)]
pub struct Pushes {
    limit: usize,
    state: Mutex<State>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    mail: Vec<Vec<u8>>,
    bytes: usize,
    end: Option<End>,
}

/// Why a connection delivers no more pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The connection broke.
    Closed,
    /// The link did not handle the pushes fast enough.
    Overrun,
    /// Redis has cancelled the subscription of the mailbox.
    Unsubscribed,
    /// Sentinels name another master.
    Moved,
}

impl Pushes {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default(), waker: AtomicWaker::new() })
    }

    /// Takes everything that has arrived, and the end if the connection has ended.
    pub fn take(&self) -> (Vec<Vec<u8>>, Option<End>) {
        let mut state = self.lock();
        state.bytes = 0;
        (std::mem::take(&mut state.mail), state.end)
    }

    /// Wakes this task at the next push, from now on.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(&self, push: PushInfo) {
        let mut state = self.lock();
        match (push.kind, push.data.into_iter().nth(1)) {
            _ if state.end.is_some() => return,
            (PushKind::SMessage, Some(Value::BulkString(mail))) => {
                state.bytes += mail.len();
                if state.bytes > self.limit {
                    state.end = Some(End::Overrun);
                } else {
                    state.mail.push(mail);
                }
            }
            (PushKind::Disconnection, _) => state.end = Some(End::Closed),
            (PushKind::SUnsubscribe, _) => state.end = Some(End::Unsubscribed),
            _ => return,
        }
        drop(state);
        self.waker.wake();
    }
}

/// The end of the queue that the crate fills.
pub struct PushSender(pub Arc<Pushes>);

impl AsyncPushSender for PushSender {
    fn send(&self, push: PushInfo) -> Result<(), SendError> {
        self.0.accept(push);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(bytes: &[u8]) -> PushInfo {
        let data = vec![Value::BulkString(b"box".to_vec()), Value::BulkString(bytes.to_vec())];
        PushInfo { kind: PushKind::SMessage, data }
    }

    #[test]
    fn mail_is_taken_once_in_order() {
        let pushes = Pushes::new(100);
        pushes.accept(mail(b"a"));
        pushes.accept(PushInfo { kind: PushKind::SSubscribe, data: Vec::new() });
        pushes.accept(mail(b"b"));
        assert_eq!(pushes.take(), (vec![b"a".to_vec(), b"b".to_vec()], None));
        assert_eq!(pushes.take(), (Vec::new(), None));
    }

    #[test]
    fn mail_above_the_bound_ends_the_queue() {
        let pushes = Pushes::new(3);
        pushes.accept(mail(b"abc"));
        pushes.accept(mail(b"d"));
        pushes.accept(mail(b""));
        pushes.accept(PushInfo { kind: PushKind::Disconnection, data: Vec::new() });
        assert_eq!(pushes.take(), (vec![b"abc".to_vec()], Some(End::Overrun)));
    }

    #[test]
    fn mail_that_was_taken_does_not_count() {
        let pushes = Pushes::new(3);
        for _ in 0..5 {
            pushes.accept(mail(b"abc"));
            assert_eq!(pushes.take(), (vec![b"abc".to_vec()], None));
        }
    }
}
