//! What only one request at a time should do. The others that need it wait until that one has ended. Pure.

use crate::broker::engine::call::NodeNumber;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Errand {
    /// To create a connection here, or to bring it from another node.
    Bring(Uuid),
    /// To ask a node that does not answer, until it does or is dead.
    Watch(NodeNumber),
}

/// The errands of requests.
#[derive(Debug, Default)]
pub struct Errands(FxHashMap<Errand, Running>);

#[derive(Debug)]
struct Running {
    request: Uuid,
    /// The node has got another number since the errand began.
    is_outdated: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Errands {
    /// A request begins an errand. If another request is on it, the receiver learns when that has ended.
    pub fn begin(&mut self, errand: Errand, request: Uuid) -> Option<oneshot::Receiver<()>> {
        match self.0.get_mut(&errand) {
            Some(running) => {
                let (waiter, ended) = oneshot::channel();
                running.waiting.push(waiter);
                Some(ended)
            }
            None => {
                self.0.insert(errand, Running { request, is_outdated: false, waiting: Vec::new() });
                None
            }
        }
    }

    /// A request has ended, and with it its errand.
    pub fn end(&mut self, errand: Errand, request: Uuid) {
        if self.0.get(&errand).is_some_and(|running| running.request == request) {
            // The waiters learn it when they are dropped.
            self.0.remove(&errand);
        }
    }

    /// The node has another number.
    pub fn outdate(&mut self) {
        self.0.values_mut().for_each(|running| running.is_outdated = true);
    }

    /// Whether a request is on this errand that began it under an earlier number of the node.
    pub fn is_outdated(&self, errand: Errand) -> bool {
        self.0.get(&errand).is_some_and(|running| running.is_outdated)
    }

    /// Whether a request is on this errand.
    pub fn is_running(&self, errand: Errand) -> bool {
        self.0.contains_key(&errand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot::error::TryRecvError;

    #[test]
    fn others_wait_until_the_request_has_ended_that_is_on_the_errand() {
        let (mut errands, errand) = (Errands::default(), Errand::Watch(7));
        let [first, second] = [1, 2].map(Uuid::from_u128);
        assert!(errands.begin(errand, first).is_none());
        assert!(errands.begin(Errand::Watch(8), second).is_none(), "another one");
        let mut ended = errands.begin(errand, second).unwrap();
        errands.end(errand, second);
        assert_eq!((ended.try_recv(), errands.is_running(errand)), (Err(TryRecvError::Empty), true));
        errands.end(errand, first);
        assert_eq!((ended.try_recv(), errands.is_running(errand)), (Err(TryRecvError::Closed), false));
        assert!(errands.begin(errand, second).is_none());
    }
}
