//! The list of the nodes: what each states about itself, and what operators see of it. Pure.

use super::agreement::differences;
use crate::broker::engine::call::NodeNumber;
use crate::broker::engine::reply::Reply;
use crate::telemetry::series::{FIGURES, Sample};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A list that is older than this is stale. It is read every second.
const STALE_AFTER: Duration = Duration::from_secs(3);
/// The greatest age of a list that is not late, in ms.
const LIST_AGE_MS: u64 = 1_000;

/// What a node states about itself, as JSON in Redis. A node of another version may state less or more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeInfo {
    pub name: String,
    pub version: String,
    /// Current connections of which it is the owner.
    pub connections: u64,
    /// Users with such connections.
    pub users: u64,
    /// Channels of which it has a copy.
    pub channels: u64,
    /// Whether it is stopping.
    pub draining: bool,
    /// Its last sample for the charts, by the names of the figures.
    pub figures: BTreeMap<String, f32>,
    /// Fingerprints of its secrets, by setting.
    pub secrets: BTreeMap<String, String>,
    /// The settings that must be equal at all nodes.
    pub settings: BTreeMap<String, String>,
}

impl NodeInfo {
    /// What a node of this version states.
    pub fn of(name: &str, figures: Self) -> Self {
        Self { name: name.to_owned(), version: env!("CARGO_PKG_VERSION").into(), ..figures }
    }

    pub fn to_json(&self) -> String {
        // Text and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Adds the last sample for the charts.
    #[must_use]
    pub fn with_sample(self, sample: &Sample) -> Self {
        let figures = FIGURES.iter().zip(sample).map(|(figure, value)| (figure.name.to_owned(), *value));
        Self { figures: figures.collect(), ..self }
    }

    /// Reads what a node states. A node that states something unreadable is listed without a name.
    fn read(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }
}

/// Whether a node serves clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    Serving,
    /// It closes its sessions and will end.
    Draining,
    /// It has missed a beat. If it continues to be silent, the other nodes declare it dead.
    Silent,
}

/// A node as operators see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeView {
    pub number: NodeNumber,
    pub name: String,
    pub version: String,
    /// Whether it is this node.
    pub this: bool,
    pub state: NodeState,
    pub connections: u64,
    pub users: u64,
    pub channels: u64,
    /// The time since its last beat, in ms.
    pub last_beat_ms: u64,
    /// Its last sample for the charts.
    pub figures: BTreeMap<String, f32>,
    /// The secrets and settings in which it differs from most nodes.
    pub differs: Vec<String>,
}

/// All nodes that Redis knows.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeViews {
    /// By name, then by number.
    pub nodes: Vec<NodeView>,
    /// Redis has not answered recently, so the list is what this node knew last.
    pub is_stale: bool,
}

/// A node as Redis has listed it.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedNode {
    pub number: NodeNumber,
    pub info: NodeInfo,
    beat_ms: u64,
}

impl ListedNode {
    /// What nodes must agree on.
    fn stated(&self) -> BTreeMap<&str, &str> {
        let all = self.info.secrets.iter().chain(&self.info.settings);
        all.map(|(name, text)| (name.as_str(), text.as_str())).collect()
    }
}

/// The numbers and the names of the nodes in the reply to [`Call::Nodes`]. `None` if it is malformed.
pub fn named(reply: &Reply) -> Option<Vec<(NodeNumber, Arc<str>)>> {
    Some(read(reply)?.into_iter().map(|node| (node.number, node.info.name.into())).collect())
}

/// Reads the reply to [`Call::Nodes`]. `None` if it is malformed.
pub fn read(reply: &Reply) -> Option<Vec<ListedNode>> {
    let listed = reply.list()?.iter().map(|node| {
        let [number, beat_ms, info] = node.list()? else { return None };
        let (number, beat_ms) = (number.number()?, beat_ms.number()?);
        Some(ListedNode { number, beat_ms, info: NodeInfo::read(info.text()?) })
    });
    let mut nodes: Vec<_> = listed.collect::<Option<_>>()?;
    nodes.sort_by(|a, b| (&a.info.name, a.number).cmp(&(&b.info.name, b.number)));
    Some(nodes)
}

/// What the last reply contained.
#[derive(Debug, Default)]
pub struct KnownNodes {
    pub nodes: Vec<ListedNode>,
    pub read_at: Option<Instant>,
}

impl KnownNodes {
    /// For each node in what it differs from most.
    fn differences(&self) -> Vec<Vec<String>> {
        let texts = self.nodes.iter().map(ListedNode::stated).collect::<Vec<_>>();
        differences(&texts)
    }

    /// A sentence for the log, which names the nodes that differ from most. Empty if all agree.
    pub fn disagreement(&self) -> String {
        let differing = self.nodes.iter().zip(self.differences()).filter(|(_, names)| !names.is_empty());
        let sentence =
            |(node, names): (&ListedNode, Vec<String>)| format!("{}: {}", node.info.name, names.join(", "));
        differing.map(sentence).collect::<Vec<_>>().join("; ")
    }

    /// The sum of the last samples of all nodes; that of this node is passed in.
    pub fn sample(&self, this: NodeNumber, own: &Sample) -> Sample {
        let others = || self.nodes.iter().filter(|node| node.number != this);
        std::array::from_fn(|index| {
            let name = FIGURES[index].name;
            own[index] + others().filter_map(|node| node.info.figures.get(name)).sum::<f32>()
        })
    }

    /// `is_silent` if Redis does not answer now.
    pub fn views(&self, this: NodeNumber, beat_interval_ms: u64, now: Instant, is_silent: bool) -> NodeViews {
        let age = self.read_at.map(|at| now.saturating_duration_since(at));
        let is_stale = is_silent || age.is_none_or(|age| age >= STALE_AFTER);
        let age_ms = age.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        // A beat may arrive half an interval late.
        let silent_ms = beat_interval_ms + beat_interval_ms / 2 + LIST_AGE_MS;
        let view = |(ListedNode { number, info, beat_ms }, differs): (&ListedNode, Vec<String>)| {
            let last_beat_ms = beat_ms.saturating_add(age_ms);
            let state = match info.draining {
                // Without answers of Redis, nothing is known of any beat.
                _ if !is_stale && last_beat_ms > silent_ms => NodeState::Silent,
                true => NodeState::Draining,
                false => NodeState::Serving,
            };
            let NodeInfo { name, version, connections, users, channels, figures, .. } = info.clone();
            let (number, this) = (*number, *number == this);
            NodeView {
                number,
                name,
                version,
                this,
                state,
                connections,
                users,
                channels,
                last_beat_ms,
                figures,
                differs,
            }
        };
        let nodes = self.nodes.iter().zip(self.differences()).map(view).collect();
        NodeViews { nodes, is_stale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: i64, beat_ms: i64, info: &str) -> Reply {
        let text = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
        Reply::List(vec![text(&number.to_string()), Reply::Number(beat_ms), text(info)])
    }

    fn known(nodes: Vec<Reply>, read_at: Instant) -> KnownNodes {
        KnownNodes { nodes: read(&Reply::List(nodes)).unwrap(), read_at: Some(read_at) }
    }

    #[test]
    fn nodes_are_read_with_their_age_and_state() {
        let now = Instant::now();
        let draining = NodeInfo { draining: true, connections: 7, ..NodeInfo::default() };
        let draining = NodeInfo::of("b", draining);
        let known = known(vec![node(9, 2_600, r#"{"name":"c"}"#), node(7, 20, &draining.to_json())], now);
        let NodeViews { nodes, is_stale } = known.views(9, 1_000, now + Duration::from_millis(500), false);
        assert!(!is_stale);
        let shown: Vec<_> =
            nodes.iter().map(|node| (node.number, &*node.name, node.this, node.state)).collect();
        assert_eq!(shown, [(7, "b", false, NodeState::Draining), (9, "c", true, NodeState::Silent)]);
        assert_eq!((nodes[0].connections, nodes[0].last_beat_ms, nodes[1].last_beat_ms), (7, 520, 3_100));
        assert_eq!(nodes[0].version, env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn an_old_list_is_stale_and_calls_no_node_silent() {
        let now = Instant::now();
        let known = known(vec![node(1, 10, r#"{"name":"a","later":1}"#)], now);
        let views = known.views(2, 1_000, now + Duration::from_secs(60), false);
        assert!(views.is_stale);
        assert_eq!((views.nodes[0].state, views.nodes[0].last_beat_ms), (NodeState::Serving, 60_010));
        assert!(known.views(2, 1_000, now, true).is_stale);
        assert!(KnownNodes::default().views(0, 1_000, now, false).is_stale);
    }

    #[test]
    fn a_node_with_an_unreadable_statement_is_listed() {
        assert_eq!(known(vec![node(1, 10, "{")], Instant::now()).nodes[0].info, NodeInfo::default());
        assert_eq!(read(&Reply::List(vec![Reply::Nil])), None);
    }
}
