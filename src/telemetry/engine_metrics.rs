//! The figures of the link to Redis at one moment. The broker fills them in, so that this folder does not depend on it.

/// Counters are since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineMetrics {
    /// 1 while the node has a connection to Redis and a number, else 0.
    pub up: u64,
    /// Number of times that Redis has started, or was replaced, since its data began.
    pub term: u64,
    /// Nodes that Redis knows.
    pub nodes: u64,
    /// Bytes of calls that were not answered yet.
    pub pending_bytes: u64,
    /// Bytes of mail that the last turn of the link found.
    pub push_bytes: u64,
    pub reconnects: u64,
    pub overruns: u64,
    pub fenced: u64,
    pub unreplicated: u64,
    pub swept: u64,
    pub reported_streams: u64,
    /// In µs.
    pub settling: u64,
    /// Entries of streams that this node has applied.
    pub entries: u64,
    /// Entries that were missing, so that the node loaded everything again.
    pub gaps: u64,
    /// Streams that were loaded again.
    pub reloads: u64,
    /// Streams whose epoch had ended when they were loaded again.
    pub retired: u64,
    /// Times that the epochs of all streams ended.
    pub retired_all: u64,
    /// Connections that this node got from their living owner.
    pub taken_from_nodes: u64,
    /// Connections without a living owner that this node took by their rows.
    pub taken_from_rows: u64,
    /// Pipelines of changing calls.
    pub batches: u64,
    /// The calls in these pipelines.
    pub batch_calls: u64,
}
