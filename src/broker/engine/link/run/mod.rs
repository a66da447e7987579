//! The task of the link.

mod turn;

pub use turn::PATIENCE;

use super::batch::Batch;
use super::connection::{Arrivals, Connection};
use super::handle::{Owner, Shared, ToLink};
use super::join::{Former, JoinError, Joined};
use super::liveness::Liveness;
use super::{FromEngine, LinkSettings};
use futures_util::future::BoxFuture;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use uuid::Uuid;

/// A request that is unanswered for so long shows that the connection or the server is dead.
pub(super) const UNANSWERED_LIMIT: Duration = Duration::from_secs(2);
/// While Redis waits for replicas it answers nothing else on the connection, so that it must not wait for longer than this.
const REPLICAS_LIMIT: Duration = Duration::from_secs(1);
/// Nodes that do not report are dead after `dead_ms` and one beat; changes that wait for longer by so much show that this
/// node itself may have to report.
const SETTLING_SLACK: Duration = Duration::from_secs(3);
/// Messages that are handled in one turn.
const TURN_MESSAGES: usize = 1_024;
/// The time until the next turn if nothing is due.
const LONGEST_TURN: Duration = Duration::from_secs(60);

/// Whether the node has a connection.
enum State {
    /// It waits until the next attempt.
    Waiting {
        until: Instant,
    },
    Joining(BoxFuture<'static, Result<Joined, JoinError>>),
    Connected(Connection),
}

/// What the task has to handle in a turn.
#[derive(Default)]
struct News {
    arrivals: Arrivals,
    joined: Option<Result<Joined, JoinError>>,
    messages: Vec<ToLink>,
    /// All handles are gone.
    is_abandoned: bool,
}

impl News {
    fn is_empty(&self) -> bool {
        self.arrivals.is_empty() && self.joined.is_none() && self.messages.is_empty() && !self.is_abandoned
    }
}

/// An orderly end.
struct Leaving {
    done: Vec<oneshot::Sender<()>>,
    until: Instant,
    /// Whether everything that was queued was answered, so that Redis learns that the node stops.
    is_last_call: bool,
}

/// The owner of the connection to Redis. [`Link::run`] is its task.
pub struct Link {
    settings: Arc<LinkSettings>,
    shared: Arc<Shared>,
    inbox: UnboundedReceiver<ToLink>,
    batch: Batch<Owner>,
    liveness: Liveness,
    state: State,
    /// Since when there has been no connection.
    disconnected_at: Option<Instant>,
    /// Failed attempts to join since the last connection.
    attempts: u32,
    last_error: String,
    former: Option<Former>,
    boot: Uuid,
    /// What other nodes show of this one, and whether Redis has it.
    info: String,
    is_info_sent: bool,
    /// When the last beat was sent, since the start of the machine.
    beat_sent: Duration,
    leaving: Option<Leaving>,
}

impl Link {
    pub(super) fn new(settings: LinkSettings, inbox: UnboundedReceiver<ToLink>, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        let timeout = Duration::from_millis(settings.timeout_ms);
        let settling_limit = SETTLING_SLACK + 2 * Duration::from_millis(settings.constants.dead_ms);
        Self {
            batch: Batch::new(timeout, settling_limit, shared.seen.clone(), shared.counters.clone())
                .waiting_for_replicas(settings.wait_replicas),
            liveness: Liveness::new(Duration::from_millis(settings.constants.beat_ms), now),
            info: settings.info.clone(),
            is_info_sent: false,
            beat_sent: Duration::ZERO,
            settings: Arc::new(settings),
            shared,
            inbox,
            state: State::Waiting { until: now },
            disconnected_at: Some(now),
            attempts: 0,
            last_error: String::new(),
            former: None,
            boot: Uuid::new_v4(),
            leaving: None,
        }
    }

    /// Runs until [`super::LinkHandle::leave`], or until all handles are gone. `deliver` hands on what the registry
    /// receives; it must not wait.
    pub async fn run(mut self, deliver: impl Fn(FromEngine)) {
        loop {
            let news = self.wait().await;
            let is_abandoned = news.is_abandoned;
            self.handle(news, &deliver);
            if is_abandoned || self.has_left() {
                break;
            }
        }
        self.shared.counters.up.set(0);
        let outcomes = self.batch.close();
        self.finish(outcomes, &deliver);
        for done in self.leaving.into_iter().flat_map(|leaving| leaving.done) {
            // An error means that the requester no longer waits.
            let _ = done.send(());
        }
    }

    /// Waits until something has arrived or is due.
    async fn wait(&mut self) -> News {
        let mut timer = pin!(tokio::time::sleep_until(self.next_wake().into()));
        poll_fn(|context| {
            let mut news = News::default();
            match &mut self.state {
                State::Waiting { .. } => {}
                State::Joining(joining) => {
                    if let Poll::Ready(joined) = joining.as_mut().poll(context) {
                        news.joined = Some(joined);
                    }
                }
                State::Connected(connection) => news.arrivals = connection.poll(context),
            }
            while news.messages.len() < TURN_MESSAGES
                && !news.is_abandoned
                && let Poll::Ready(message) = self.inbox.poll_recv(context)
            {
                news.is_abandoned = message.is_none();
                news.messages.extend(message);
            }
            if news.is_empty() && timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            Poll::Ready(news)
        })
        .await
    }

    fn next_wake(&self) -> Instant {
        let of_state = match &self.state {
            State::Waiting { until } => Some(*until),
            State::Joining(_) => None,
            State::Connected(connection) => {
                connection.oldest_unanswered().map(|sent| sent + UNANSWERED_LIMIT)
            }
        };
        let leaving = self.leaving.as_ref().map(|leaving| leaving.until);
        let times = [of_state, leaving, self.batch.next_deadline(), self.liveness.next_due()];
        times.into_iter().flatten().min().unwrap_or_else(|| Instant::now() + LONGEST_TURN)
    }

    /// Whether an orderly end is complete, or cannot be.
    fn has_left(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| {
            let is_connected = matches!(self.state, State::Connected(_));
            !is_connected || self.liveness.has_left() || leaving.until <= Instant::now()
        })
    }
}
