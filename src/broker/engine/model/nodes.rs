//! Nodes of the model: terms, beats, dead nodes.

use super::keys::count_field;
use super::streams::is_channel;
use super::{Model, NodeState, Own, Reply, Term, Total, bytes, number, status};
use crate::broker::engine::call::NodeNumber;

const REMEMBERED_US: u64 = 3_600_000_000;

impl Model {
    pub(super) fn is_known(&self, node: NodeNumber) -> bool {
        matches!(self.nodes.get(&node), Some(NodeState::Reported(_)))
    }

    pub(super) fn adopt(&mut self, known: u64, run: &str, stamp: u64) -> Reply {
        if self.term.as_ref().is_none_or(|term| term.run != run) {
            let before = self.term.take();
            let number = before.as_ref().map_or(0, |term| term.term).max(known) + 1;
            let base = before.as_ref().map_or(0, |term| term.stamp);
            let is_late = |node: &&NodeState| matches!(node, NodeState::Reported(at) if *at < number);
            self.term = Some(Term {
                run: run.into(),
                term: number,
                base,
                stamp: base,
                retire: before.as_ref().map_or(number, |term| term.retire),
                unreported: self.nodes.values().filter(is_late).count() as i64,
                last_beat: before.as_ref().and_then(|term| term.last_beat),
                resumed: self.clock,
                totals: before.as_ref().map(|term| term.totals).unwrap_or_default(),
                store: before.map_or_else(|| self.new_store(), |term| term.store),
            });
            let clock = self.clock;
            self.beats.values_mut().for_each(|beat| *beat = clock.min(*beat));
        }
        let state = match self.nodes.get(&self.sender.node) {
            Some(state) => bytes(state.to_string()),
            None => Reply::Nil,
        };
        let term = self.term();
        term.stamp = term.stamp.max(stamp);
        Reply::List(vec![number(term.term), number(term.base), bytes(&term.store), state])
    }

    /// The epoch of stamps that begins with this call.
    fn new_store(&self) -> String {
        self.sender.epoch.to_string().chars().take(6).collect()
    }

    /// No epoch of an earlier term can be trusted.
    fn retire_all(&mut self) {
        let store = self.new_store();
        let term = self.term();
        (term.retire, term.store) = (term.term, store);
    }

    pub(super) fn enlist(&mut self, earlier: NodeNumber, info: &str) -> Reply {
        let (node, clock, dead_us) = (self.sender.node, self.clock, self.sender.settings.dead_ms * 1000);
        let term = self.term().term;
        if matches!(self.nodes.get(&node), Some(NodeState::Old | NodeState::Swept)) {
            return status("FENCED");
        }
        if earlier != node && self.is_known(earlier) {
            self.settle(earlier);
            self.nodes.insert(earlier, NodeState::Old);
            self.info.remove(&earlier);
            self.beats.entry(earlier).and_modify(|beat| *beat = clock + dead_us);
        }
        self.nodes.entry(node).or_insert(NodeState::Reported(term));
        self.beats.insert(node, clock);
        self.info.insert(node, info.into());
        status("OK")
    }

    /// A node is no longer one that must report. Returns whether it was.
    fn settle(&mut self, node: NodeNumber) -> bool {
        let Some(term) = &mut self.term else { return false };
        let is_late = matches!(self.nodes.get(&node), Some(NodeState::Reported(at)) if *at < term.term);
        term.unreported -= i64::from(is_late);
        is_late
    }

    pub(super) fn report(&mut self, stamp: u64, streams: &[(String, u64)]) -> Reply {
        let node = self.sender.node;
        let term = self.term();
        term.stamp = term.stamp.max(stamp);
        let (current, is_retired) = (term.term, term.retire == term.term);
        if !self.nodes.contains_key(&node) && !is_retired {
            self.retire_all();
        }
        for (name, offset) in
            streams.iter().filter(|(name, _)| self.streams.contains_key(name)).cloned().collect::<Vec<_>>()
        {
            if self.streams[&name].term < current {
                self.retire(&name);
            }
            self.raise_offset(&name, offset);
        }
        if self.settle(node) {
            self.nodes.insert(node, NodeState::Reported(current));
        }
        status("OK")
    }

    pub(super) fn beat(&mut self, info: Option<&str>) -> Reply {
        let (node, clock, settings) = (self.sender.node, self.clock, self.sender.settings);
        if !self.is_known(node) || !self.beats.contains_key(&node) {
            return status("FENCED");
        }
        let term = self.term();
        if clock > term.last_beat.unwrap_or(0) + 2 * settings.beat_ms * 1000 {
            term.resumed = clock;
        }
        term.last_beat = Some(clock);
        let (latest, resumed) = (clock.saturating_sub(settings.dead_ms * 1000), term.resumed);
        self.beats.insert(node, clock);
        if let Some(info) = info.filter(|info| !info.is_empty()) {
            self.info.insert(node, info.into());
        }
        let silent: Vec<_> = self
            .beats
            .iter()
            .filter(|(_, beat)| resumed.max(**beat) < latest)
            .map(|(node, _)| *node)
            .collect();
        for node in silent {
            self.beats.remove(&node);
            self.info.remove(&node);
            self.dead.insert(node);
        }
        let stamp = number(self.next_stamp());
        let mut dead: Vec<_> = self.dead.iter().map(NodeNumber::to_string).collect();
        dead.sort();
        let head = [stamp, bytes(&self.term().store)];
        Reply::List(head.into_iter().chain(dead.iter().map(bytes)).collect())
    }

    pub(super) fn exchange_sign_outs(&mut self, since: u64, ended: &[u128]) -> Reply {
        const KEPT_US: u64 = 12 * 3_600 * 1_000_000;
        let clock = self.clock;
        for id in ended {
            self.sign_outs.entry(format!("{id:032x}")).or_insert(clock);
        }
        if !ended.is_empty() {
            self.sign_outs.retain(|_, at| *at + KEPT_US > clock);
        }
        let found = self.sign_outs.iter().filter(|(_, at)| **at >= since);
        let mut found: Vec<_> = found.map(|(id, at)| (*at, id)).collect();
        found.sort();
        Reply::List(vec![number(clock), Reply::List(found.iter().map(|(_, id)| bytes(id)).collect())])
    }

    pub(super) fn leave(&mut self, stay_ms: u64) -> Reply {
        let (node, dead_ms) = (self.sender.node, self.sender.settings.dead_ms);
        self.nodes.insert(node, NodeState::Old);
        self.info.remove(&node);
        self.beats.insert(node, self.clock + stay_ms * 1000 - dead_ms * 1000);
        status("OK")
    }

    /// Changes a sum of the cluster at the end of the call.
    pub(super) fn add_total(&mut self, total: Total, by: i64) {
        self.changed_totals[total as usize] += by;
    }

    pub(super) fn store_totals(&mut self) {
        let changed = std::mem::take(&mut self.changed_totals);
        let Some(term) = &mut self.term else { return };
        for (total, by) in term.totals.iter_mut().zip(changed).filter(|(_, by)| *by != 0) {
            *total = Some(total.unwrap_or(0).checked_add_signed(by).unwrap());
        }
    }

    pub(super) fn tally(&mut self, stated: [u64; 2]) -> Reply {
        let counted = self.tallies.entry(self.sender.boot).or_default();
        let more = [0, 1].map(|at: usize| stated[at].saturating_sub(counted[at]));
        *counted = [counted[0] + more[0], counted[1] + more[1]];
        self.add_total(Total::Messages, more[0] as i64);
        self.add_total(Total::Queued, more[1] as i64);
        self.store_totals();
        let channels = self.streams.keys().filter(|name| is_channel(name)).count();
        let [remembered, users, connections, messages, queued] =
            self.term().totals.map(|total| total.unwrap_or(0));
        let sums = [remembered, users, connections, channels as u64, messages, queued];
        Reply::List(sums.into_iter().map(number).collect())
    }

    pub(super) fn list_nodes(&self) -> Reply {
        let mut nodes: Vec<_> =
            self.beats.iter().map(|(node, beat)| (*beat, node.to_string(), node)).collect();
        nodes.sort();
        let nodes = nodes.into_iter().filter_map(|(beat, text, node)| {
            let silence = number(self.clock.saturating_sub(beat) / 1000);
            Some(Reply::List(vec![bytes(text), silence, bytes(self.info.get(node)?)]))
        });
        Reply::List(nodes.collect())
    }

    /// Sweeps everything that the node has: at most 128 fields, below which Redis returns all of them at once.
    pub(super) fn sweep(&mut self, node: NodeNumber, is_quiet: bool) -> Reply {
        if !self.nodes.contains_key(&node) {
            return number(0_u32);
        }
        if self.is_known(node) && node != self.sender.node && !self.dead.contains(&node) {
            return status("ALIVE");
        }
        if self.settle(node) {
            self.retire_all();
        }
        self.nodes.insert(node, NodeState::Swept);
        if self.term().unreported > 0 {
            return status("SETTLING");
        }
        let Own { counts, interests, rows } = self.own.get(&node).cloned().unwrap_or_default();
        interests.iter().for_each(|stream| self.set_interest(node, stream, false));
        rows.iter().for_each(|conn| self.free_row(Some(node), conn));
        // In the order of their text.
        let mut pairs: Vec<_> = counts.into_keys().collect();
        pairs.sort_by_key(|(stream, user)| count_field(stream, user));
        for (stream, user) in pairs {
            self.open(&stream);
            self.count(node, &stream, &user, (0, 0), &[], is_quiet);
        }
        self.own.remove(&node);
        self.dead.remove(&node);
        self.beats.remove(&node);
        self.info.remove(&node);
        self.expiry.insert(format!("n{node}"), self.clock + REMEMBERED_US);
        number(0_u32)
    }
}

impl std::fmt::Display for NodeState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reported(term) => write!(formatter, "{term}"),
            Self::Old => formatter.write_str("old"),
            Self::Swept => formatter.write_str("swept"),
        }
    }
}
