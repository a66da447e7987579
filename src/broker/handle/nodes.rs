//! The nodes of the cluster: this one states what it has, and reads what the others have stated.

use super::agreement::shared_settings;
use super::node_list::{KnownNodes, NodeInfo, NodeViews, read};
use super::totals::Totals;
use crate::broker::engine::call::Call;
use crate::broker::engine::link::LinkHandle;
use crate::config::{Secret, Settings};
use crate::limits::rate::PublishRates;
use crate::telemetry::Counters;
use crate::telemetry::log_sums::escaped;
use crate::telemetry::series::{FIGURES, Sample};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a request waits for the sums of the cluster.
const TALLY_LIMIT: Duration = Duration::from_secs(1);

/// Sign-outs of this last time are read again, because another Redis may have another clock.
const READ_AGAIN_US: u64 = 60_000_000;

/// The nodes, for operators. The sampler of the console keeps it current; all threads read it.
#[derive(Debug)]
pub struct Nodes {
    link: LinkHandle,
    name: String,
    beat_interval_ms: u64,
    counters: Arc<Counters>,
    rates: Arc<PublishRates>,
    known: Mutex<KnownNodes>,
    stated: Mutex<NodeInfo>,
    /// The sums that were read last.
    totals: Mutex<Option<Totals>>,
    /// What the log has reported last of nodes that differ.
    reported: Mutex<String>,
    /// The settings that must be equal at all nodes.
    settings: BTreeMap<String, String>,
    /// The number of this node when it has last agreed on the secret of cookies.
    agreed_as: AtomicU64,
    /// The time of Redis when this node has last read which sign-ins have ended, in µs since 1970.
    sign_outs_read: AtomicU64,
}

impl Nodes {
    pub fn new(
        link: LinkHandle,
        settings: &Settings,
        counters: Arc<Counters>,
        rates: Arc<PublishRates>,
    ) -> Self {
        let (name, beat_interval_ms) = (settings.node_name(), settings.engine_beat_ms);
        let (known, stated, totals) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (reported, agreed_as) = (Mutex::default(), AtomicU64::new(0));
        let settings = shared_settings(settings);
        Self {
            link,
            name,
            beat_interval_ms,
            counters,
            rates,
            known,
            stated,
            totals,
            reported,
            settings,
            agreed_as,
            sign_outs_read: AtomicU64::new(0),
        }
    }

    /// States the figures of this node, if they have changed. Name, version and settings are added.
    pub fn state(&self, figures: NodeInfo) {
        let info = NodeInfo::of(&self.name, NodeInfo { settings: self.settings.clone(), ..figures });
        let mut stated = locked(&self.stated);
        if *stated != info {
            self.link.set_info(info.to_json());
            *stated = info;
        }
    }

    /// The name of this node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the list from Redis. Without an answer the known one remains. The nodes that serve share the rate of messages.
    pub async fn refresh(&self) {
        let Ok(reply) = self.link.call(Call::Nodes).await else { return };
        if let Some(nodes) = read(&reply) {
            self.link.counters().nodes.set(nodes.len() as u64);
            self.rates.share(nodes.iter().filter(|node| !node.info.draining).count());
            let known = KnownNodes { nodes, read_at: Some(Instant::now()) };
            self.report(known.disagreement());
            *locked(&self.known) = known;
        }
    }

    /// Logs once in what nodes differ, and when they agree again.
    fn report(&self, disagreement: String) {
        let mut reported = locked(&self.reported);
        if *reported == disagreement {
            return;
        }
        match disagreement.is_empty() {
            true => log::info!("all nodes have the same secrets and shared settings again"),
            false => log::warn!("nodes differ in secrets or settings: {}", escaped(&disagreement)),
        }
        *reported = disagreement;
    }

    /// Agrees with the other nodes on what signs cookies, after each time that this node has joined. Returns the secret of
    /// all; `None` if nothing has changed.
    pub async fn agree_on_cookie_secret(&self, proposal: Secret) -> Option<Secret> {
        let this = self.link.counters().node.get();
        if this == 0 || self.agreed_as.load(Ordering::Relaxed) == this {
            return None;
        }
        let reply = self.link.call(Call::CookieSecret { proposal }).await.ok()?;
        let secret = Secret::new(reply.text()?);
        self.agreed_as.store(this, Ordering::Relaxed);
        Some(secret)
    }

    /// States which sign-ins to the console have ended at this node. Returns those that have ended at any node since this one
    /// has last asked, and some that it knows; `None` without an answer.
    pub async fn exchange_sign_outs(&self, ended: Vec<u128>) -> Option<Vec<u128>> {
        let since = self.sign_outs_read.load(Ordering::Relaxed).saturating_sub(READ_AGAIN_US);
        let reply = self.link.call(Call::SignOuts { since, ended }).await.ok()?;
        let [now, ids] = reply.list()? else { return None };
        let ids = ids.list()?.iter().map(|id| u128::from_str_radix(id.text()?, 16).ok());
        let ids = ids.collect::<Option<_>>()?;
        self.sign_outs_read.store(now.number()?, Ordering::Relaxed);
        Some(ids)
    }

    /// Adds to the sums of the cluster what this node has counted, and reads them. Without an answer the known ones remain.
    /// Returns whether Redis has answered.
    pub async fn tally(&self) -> bool {
        let (messages, queued) = (self.counters.messages.get(), self.counters.queued.get());
        let reply = self.link.call(Call::Tally { messages, queued });
        let Ok(Ok(reply)) = tokio::time::timeout(TALLY_LIMIT, reply).await else { return false };
        let read = Totals::read(&reply);
        if read.is_some() {
            *locked(&self.totals) = read;
        }
        read.is_some()
    }

    /// The sums of the cluster now, or those that are known while Redis does not answer.
    pub async fn totals(&self) -> Totals {
        let is_answered = self.link.health().silence(Instant::now()).is_zero() && self.tally().await;
        Totals { is_stale: !is_answered, ..self.known_totals() }
    }

    /// The sums that were read last; those of this node before the first answer.
    fn known_totals(&self) -> Totals {
        locked(&self.totals).unwrap_or_else(|| Totals::of(&self.counters))
    }

    /// A sample of the whole cluster: what this node and all others have sampled last.
    pub fn sample(&self, own: &Sample) -> Sample {
        let this = self.link.counters().node.get();
        let mut sum = locked(&self.known).sample(this, own);
        let totals = self.known_totals();
        for (figure, value) in FIGURES.iter().zip(&mut sum) {
            match figure.name {
                "connections" => *value = totals.connections as f32,
                "users" => *value = totals.users as f32,
                "channels" => *value = totals.channels as f32,
                _ => {}
            }
        }
        sum
    }

    /// The nodes as they were known last.
    pub fn views(&self, now: Instant) -> NodeViews {
        let this = self.link.counters().node.get();
        let is_silent = !self.link.health().silence(now).is_zero();
        locked(&self.known).views(this, self.beat_interval_ms, now, is_silent)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
