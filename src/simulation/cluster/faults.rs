//! What fails: connections to Redis, processes, Redis itself.

use super::World;
use super::redis::Loses;
use crate::protocol::ids::Stamp;

impl World {
    /// Clients that use this node may receive frames again, and may part.
    fn disturb(&mut self, node: usize) {
        self.may_repeat(node);
        for at in 0..self.clients.len() {
            if self.holders(self.clients[at].conn_id).all(|holder| holder == node) {
                self.clients[at].is_steady = false;
            }
        }
    }

    /// Clients that use this node may receive frames again.
    fn may_repeat(&mut self, node: usize) {
        for at in 0..self.clients.len() {
            let holders: Vec<_> = self.holders(self.clients[at].conn_id).collect();
            // It is at this node, or on its way.
            if holders.contains(&node) || holders.is_empty() {
                self.clients[at].may_repeat = true;
            }
        }
    }

    pub fn cut(&mut self, node: usize, run: usize, arrive: usize) {
        self.disturb(node);
        self.nodes[node].is_cut = true;
        let wire = self.nodes[node].running.as_ref().and_then(|running| running.link.wire());
        if let Some(wire) = wire {
            self.redis.close(wire, run, arrive);
        }
    }

    pub fn stall(&mut self, node: usize) {
        self.disturb(node);
        let running = self.nodes[node].running.as_ref();
        if let Some(wire) =
            running.filter(|running| running.link.is_connected()).and_then(|running| running.link.wire())
        {
            self.redis.wire(wire).is_stalled = true;
        }
    }

    pub fn heal(&mut self, node: usize) {
        self.nodes[node].is_cut = false;
        let wire = self.nodes[node].running.as_ref().and_then(|running| running.link.wire());
        if let Some(wire) = wire {
            self.redis.wire(wire).is_stalled = false;
        }
    }

    pub fn stop(&mut self, node: usize) {
        self.disturb(node);
        self.nodes[node].is_stopped = self.nodes[node].running.is_some();
    }

    /// A process ends at once. Its kernel closes its connections; what Redis has received may still run.
    pub fn kill(&mut self, node: usize) {
        self.disturb(node);
        let Some(running) = self.nodes[node].running.take() else { return };
        self.nodes[node].is_stopped = false;
        if let Some(wire) = running.link.wire() {
            let run = self.rng.below(self.redis.pending_calls(wire) as u64 + 1) as usize;
            let run = if self.is_redis_up && !self.nodes[node].is_cut { run } else { 0 };
            self.redis.forget(wire, run);
        }
        for number in 0..self.sessions.len() {
            if (self.sessions[number].node, self.sessions[number].process) == (node, running.boot)
                && self.sessions[number].ended_at.is_none()
            {
                self.receive(number);
                self.sessions[number].ended_at = Some(self.clock.get());
            }
        }
        // The requests about clients are never answered.
        let now = self.truth.next();
        self.clients.iter_mut().for_each(|client| client.abandon_requests(running.boot, now));
        drop(running);
        self.account();
    }

    pub fn start_again(&mut self, node: usize) {
        if self.nodes[node].running.is_none() {
            self.start(node);
        }
    }

    pub fn stop_redis(&mut self) {
        if self.is_redis_up {
            self.is_redis_up = false;
            (0..self.nodes.len()).for_each(|node| self.may_repeat(node));
            self.redis.break_all();
        }
    }

    pub fn start_redis(&mut self, loses: Loses) {
        if self.is_redis_up {
            return;
        }
        self.is_redis_up = true;
        self.redis.restart(loses);
        if loses != Loses::Nothing {
            let (_, last) = self.redis.model.stamps();
            self.truth.lose(Stamp(last));
            self.losses += 1;
            self.forget_states();
        }
        self.account();
    }
}
