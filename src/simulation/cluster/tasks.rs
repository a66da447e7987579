//! Requests as tasks: async functions that the scheduler polls when the seed says so, on the clock of the world.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

/// The time of the world, in ms.
pub type WorldClock = Rc<Cell<u64>>;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// A task and whether something has happened that it waits for.
pub struct Task<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    flag: Arc<Flag>,
}

impl<T> Task<T> {
    pub fn new(future: impl Future<Output = T> + 'static) -> Self {
        Self { future: Box::pin(future), flag: Arc::new(Flag(AtomicBool::new(true))) }
    }

    pub fn is_woken(&self) -> bool {
        self.flag.0.load(Relaxed)
    }

    /// Time has passed, which may be what it waits for.
    pub fn wake(&self) {
        self.flag.0.store(true, Relaxed);
    }

    /// Its result, if it ends now.
    pub fn poll(&mut self) -> Option<T> {
        self.flag.0.store(false, Relaxed);
        let waker = Waker::from(self.flag.clone());
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }
}

/// Waits until other stations may have run.
pub async fn turn() {
    let mut is_over = false;
    poll_fn(|context| {
        if std::mem::replace(&mut is_over, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

pub async fn sleep_until(clock: &WorldClock, at: u64) {
    poll_fn(|_| if clock.get() >= at { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// The result of a future, unless this time comes first.
pub async fn timeout_at<T>(clock: &WorldClock, at: u64, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if clock.get() >= at => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
