//! Requests of a node whose decisions Redis makes. Each makes current on this node what it needs, then runs in the
//! registry as on a single server, then waits until Redis knows what has changed.

mod channels;
mod connections;
mod ending;
pub mod listing;
mod moving;
mod publishing;
mod reading;
mod tokens;
mod users;

use super::BrokerHandle;
use crate::broker::engine::call::Call;
use crate::broker::engine::error::EngineError;
use crate::broker::engine::link::{LinkHandle, PATIENCE};
use crate::broker::engine::reply::Reply;
use crate::broker::registry::Registry;
use crate::broker::registry::cluster::errands::Errand;
use crate::broker::registry::messages::Ask;
use crate::http_error::Refusal;
use actix::Addr;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

/// A request of this node, and the way to Redis.
#[derive(Clone, Copy)]
pub(super) struct ClusterRequest<'a> {
    broker: &'a BrokerHandle,
    link: &'a LinkHandle,
}

/// The streams that a request needs. They stay current at least until this is dropped.
pub(super) struct HeldStreams {
    registry: Addr<Registry>,
    keys: Vec<Arc<str>>,
}

impl Drop for HeldStreams {
    fn drop(&mut self) {
        let keys = std::mem::take(&mut self.keys);
        self.registry.do_send(Ask(move |registry: &mut Registry, _: &mut _| registry.release_streams(&keys)));
    }
}

/// A request is on an errand until this is dropped, also if its client has hung up.
pub(super) struct OnErrand {
    registry: Addr<Registry>,
    errand: Errand,
    request: Uuid,
    /// What the request may have claimed in Redis is given up by this call, unless the connection is here in the end.
    give_up: Option<Call>,
}

impl Drop for OnErrand {
    fn drop(&mut self) {
        let (errand, request, give_up) = (self.errand, self.request, self.give_up.take());
        let end = move |registry: &mut Registry, _: &mut _| registry.end_errand(errand, request, give_up);
        self.registry.do_send(Ask(end));
    }
}

impl BrokerHandle {
    /// The way to Redis, if Redis decides.
    pub(super) fn cluster(&self) -> Option<ClusterRequest<'_>> {
        self.actors.link.as_ref().map(|link| ClusterRequest { broker: self, link })
    }
}

impl ClusterRequest<'_> {
    /// Waits until this node may answer from what it has: after a pause, other nodes may have declared it dead and taken its
    /// connections. Whatever makes something current on this node asks this first.
    async fn until_alive(&self) -> Result<(), Refusal> {
        let lease = self.link.lease();
        if lease.is_held() {
            return Ok(());
        }
        let is_down = self.link.health().silence(std::time::Instant::now()) >= PATIENCE;
        let limit = if is_down { Duration::ZERO } else { self.timeout() };
        match lease.is_held_within(limit).await {
            true => Ok(()),
            false => Err(EngineError::Unavailable.into()),
        }
    }

    /// Calls that one request needs, which are sent together and run in order. If only some of them fail, the request may have
    /// taken effect.
    async fn call_all(&self, calls: impl Iterator<Item = Call>) -> Result<Vec<Reply>, EngineError> {
        all_or_uncertain(join_all(calls.map(|call| self.link.call(call))).await)
    }

    /// The time in which a call is answered.
    fn timeout(&self) -> Duration {
        Duration::from_millis(self.broker.settings.engine_timeout_ms)
    }

    /// Makes streams current. A channel that does not exist is left out.
    async fn hold(&self, keys: Vec<Arc<str>>) -> Result<HeldStreams, Refusal> {
        self.until_alive().await?;
        let (waiter, current) = oneshot::channel();
        let address = self.broker.actors.registry.clone();
        // Only what the registry has begun to hold is released, also if the client hangs up before the answer.
        let hold = move |registry: &mut Registry, _: &mut _| {
            registry.hold_streams(&keys, waiter);
            HeldStreams { registry: address, keys }
        };
        let held = self.broker.ask(hold).await?;
        self.wait(current).await?;
        Ok(held)
    }

    /// Begins an errand. If another request is on it, waits until that has ended.
    async fn begin(&self, errand: Errand, until: Instant) -> Result<Result<OnErrand, OtherRequest>, Refusal> {
        let (registry, request) = (self.broker.actors.registry.clone(), Uuid::new_v4());
        let on_errand = OnErrand { registry, errand, request, give_up: None };
        match self.broker.ask(move |registry, _| registry.begin_errand(errand, request)).await? {
            Some(ended) => {
                let _ = timeout_at(until, ended).await;
                Ok(Err(OtherRequest))
            }
            None => Ok(Ok(on_errand)),
        }
    }

    /// Waits until Redis knows the members that this node has now. The request has taken effect here, so that a busy registry
    /// does not refuse it any more; without Redis the node states its members later.
    async fn settle(&self) -> Result<(), Refusal> {
        let (waiter, settled) = oneshot::channel();
        let settle = Ask(move |registry: &mut Registry, _: &mut _| registry.settle(waiter));
        self.broker.actors.registry.send(settle).await.map_err(|_| Refusal::Draining)?;
        self.wait(settled).await.map_err(|refused| match refused {
            Refusal::EngineUnavailable => Refusal::EngineTimeout { was_sent: true },
            refused => refused,
        })
    }

    /// Waits for a result of the registry, at most as long as a call may take.
    async fn wait(&self, result: oneshot::Receiver<Result<(), EngineError>>) -> Result<(), Refusal> {
        match tokio::time::timeout(self.timeout(), result).await {
            Ok(Ok(result)) => Ok(result?),
            // The registry has stopped.
            Ok(Err(_)) => Err(Refusal::Draining),
            Err(_) => Err(EngineError::Timeout { was_sent: true }.into()),
        }
    }
}

/// Another request was on the errand, and has ended.
struct OtherRequest;

fn all_or_uncertain(replies: Vec<Result<Reply, EngineError>>) -> Result<Vec<Reply>, EngineError> {
    let uncertain = EngineError::Timeout { was_sent: true };
    let may_have_run = replies.iter().any(|reply| reply.is_ok() || reply.as_ref() == Err(&uncertain));
    let replies: Result<Vec<_>, _> = replies.into_iter().collect();
    replies.map_err(|error| if may_have_run { uncertain } else { error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_which_a_part_may_have_run_is_uncertain() {
        let (done, full, unavailable) =
            (Ok(Reply::Number(1)), Err(EngineError::Full), Err(EngineError::Unavailable));
        let late = |was_sent| Err(EngineError::Timeout { was_sent });
        assert_eq!(all_or_uncertain(vec![done.clone(), done.clone()]).map(|replies| replies.len()), Ok(2));
        for replies in [[done, full.clone()], [unavailable.clone(), late(true)]] {
            assert_eq!(all_or_uncertain(replies.to_vec()), Err(EngineError::Timeout { was_sent: true }));
        }
        assert_eq!(all_or_uncertain(vec![full, unavailable]), Err(EngineError::Full));
    }
}
