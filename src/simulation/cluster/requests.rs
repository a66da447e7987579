//! The requests of a node, as `broker/handle/cluster/` makes them: make current, act, settle. The calls and the steps are
//! the same; what an actor does in a turn is a turn of the scheduler here.

use super::link::TIMEOUT_MS;
use super::peers::FIND_MS;
use super::process::Process;
use super::tasks::{WorldClock, timeout_at, turn};
use crate::broker::engine::call::{Call, Item};
use crate::broker::engine::entry::{Published, read_answers};
use crate::broker::engine::error::EngineError;
use crate::broker::engine::link::LinkHandle;
use crate::broker::engine::record::Record;
use crate::broker::engine::reply::Reply;
use crate::broker::engine::row::Ownership;
use crate::broker::registry::cluster::errands::Errand;
use crate::broker::registry::cluster::peers::{Answer, PostedEnding, Question};
use crate::broker::registry::cluster::user_record::{ChangedRecord, UserRecord};
use crate::broker::registry::cluster::{channel_key, stream_keys, user_key};
use crate::broker::requests::{Connect, Ending, Subscribe, Unsubscribe};
use crate::protocol::message::{Delete, Edit, Message};
use crate::protocol::settings::ChannelConfig;
use crate::protocol::state::{StateEntry, write_changes};
use futures_util::future::{join, join_all};
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    Engine(EngineError),
    /// The connection or the user does not exist, or belongs to another user.
    Unknown,
    Busy,
}

impl Refused {
    /// Whether certainly nothing was done.
    pub fn is_certain(&self) -> bool {
        !matches!(self, Self::Engine(EngineError::Timeout { was_sent: true }))
    }
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// A request of a process, and the way to Redis.
#[derive(Clone)]
pub struct Request {
    pub process: Weak<RefCell<Process>>,
    pub link: LinkHandle,
    pub clock: WorldClock,
    /// Whether users have public states.
    pub configs: Rc<Vec<(String, ChannelConfig)>>,
}

/// The streams that a request needs. They stay current at least until this is dropped.
pub struct HeldStreams {
    process: Weak<RefCell<Process>>,
    keys: Vec<Arc<str>>,
}

impl Drop for HeldStreams {
    fn drop(&mut self) {
        if let Some(process) = self.process.upgrade() {
            let process = &mut *process.borrow_mut();
            process.cluster.release(&self.keys, process.now);
        }
    }
}

/// A request creates or brings a connection until this is dropped.
pub struct OnErrand {
    process: Weak<RefCell<Process>>,
    pub conn_id: Uuid,
    request: Uuid,
    pub give_up: Option<Call>,
}

impl Drop for OnErrand {
    fn drop(&mut self) {
        if let Some(process) = self.process.upgrade() {
            let process = &mut *process.borrow_mut();
            let Process { cluster, registry, .. } = process;
            let errand = Errand::Bring(self.conn_id);
            cluster.end_errand(errand, self.request, self.give_up.take(), registry);
            process.end_turn();
        }
    }
}

/// Another request has created or brought a connection, or has failed to.
pub struct OtherRequest;

/// What became of a claim.
pub enum Claimed {
    Here(u64),
    New(u64, OnErrand),
    Elsewhere,
    Foreign,
}

/// A record, and its version in Redis; 0 if there is none.
pub struct VersionedRecord {
    pub version: u64,
    pub record: UserRecord,
}

impl Request {
    /// The registry acts, in a turn of its own. A process that has ended does nothing more.
    pub async fn ask<T>(&self, act: impl FnOnce(&mut Process) -> T) -> T {
        turn().await;
        let Some(process) = self.process.upgrade() else { return std::future::pending().await };
        let mut process = process.borrow_mut();
        act(&mut process)
    }

    pub async fn call(&self, call: Call) -> Result<Reply, Refused> {
        Ok(self.link.call(call).await?)
    }

    pub async fn hold(&self, keys: Vec<Arc<str>>) -> Result<HeldStreams, Refused> {
        let (waiter, current) = oneshot::channel();
        let held = HeldStreams { process: self.process.clone(), keys: keys.clone() };
        self.ask(move |process| {
            process.cluster.hold(&keys, waiter);
            process.end_turn();
        })
        .await;
        self.wait(current).await?;
        Ok(held)
    }

    /// Begins to create or bring a connection. If another request does, waits until that has ended.
    pub async fn begin(&self, conn_id: Uuid, until: u64) -> Result<OnErrand, OtherRequest> {
        let (request, errand) = (Uuid::new_v4(), Errand::Bring(conn_id));
        let coming = OnErrand { process: self.process.clone(), conn_id, request, give_up: None };
        match self.ask(move |process| process.cluster.moving.errands.begin(errand, request)).await {
            Some(ended) => {
                let _ = timeout_at(&self.clock, until, ended).await;
                Err(OtherRequest)
            }
            None => Ok(coming),
        }
    }

    pub async fn settle(&self) -> Result<(), Refused> {
        let (waiter, settled) = oneshot::channel();
        self.ask(move |process| process.cluster.settle(waiter)).await;
        self.wait(settled).await
    }

    async fn wait(&self, word: oneshot::Receiver<Result<(), EngineError>>) -> Result<(), Refused> {
        match timeout_at(&self.clock, self.clock.get() + TIMEOUT_MS, word).await {
            Some(Ok(result)) => Ok(result?),
            Some(Err(_)) => Err(EngineError::Unavailable.into()),
            None => Err(EngineError::Timeout { was_sent: true }.into()),
        }
    }

    pub async fn receive_earlier(&self) -> Result<(), Refused> {
        self.call(Call::ReadUser { user: String::new() }).await?;
        Ok(())
    }

    async fn create_channels(&self, names: &[String]) -> Result<(), Refused> {
        let (names, configs) = (names.to_vec(), self.configs.clone());
        let open = move |process: &mut Process| {
            let unknown: Vec<_> = names.iter().filter(|name| !process.cluster.is_current(name)).collect();
            let config = |name: &String| configs.iter().find(|(of, _)| of == name).map(|(_, of)| of.clone());
            let open = |name: &String| {
                process.registry.to_open(name, Uuid::new_v4(), &config(name).unwrap_or_default())
            };
            unknown.into_iter().map(open).collect::<Vec<_>>()
        };
        let channels = self.ask(open).await;
        if !channels.is_empty() {
            let reply = self.call(Call::Open { channels }).await?;
            assert!(reply.is_ok(), "there is no limit: {reply:?}");
        }
        Ok(())
    }

    async fn open(&self, user: &str, channels: &[String]) -> Result<HeldStreams, Refused> {
        self.create_channels(channels).await?;
        self.hold_for(user, channels).await
    }

    async fn hold_for(&self, user: &str, channels: &[String]) -> Result<HeldStreams, Refused> {
        let mut keys: Vec<Arc<str>> = channels.iter().map(|name| channel_key(name)).collect();
        keys.push(user_key(user));
        keys.sort_unstable();
        keys.dedup();
        self.hold(keys).await
    }

    pub async fn connect(&self, conn_id: Uuid, user: String, channels: Vec<String>) -> Result<(), Refused> {
        let planned = self.user(&user).await?;
        let connected = match self.claim(conn_id, &user).await? {
            Claimed::Here(generation) => {
                self.connect_here((conn_id, generation), true, planned, &user, &channels).await?
            }
            Claimed::New(generation, _coming) => {
                self.connect_here((conn_id, generation), false, planned, &user, &channels).await?
            }
            Claimed::Elsewhere => false,
            Claimed::Foreign => return Err(Refused::Unknown),
        };
        match connected {
            true => Ok(()),
            // It may have moved meanwhile.
            false => self.connect_elsewhere(conn_id, user, channels).await,
        }
    }

    async fn connect_here(
        &self,
        (conn_id, generation): (Uuid, u64),
        was_here: bool,
        planned: VersionedRecord,
        user: &str,
        channels: &[String],
    ) -> Result<bool, Refused> {
        self.create_channels(channels).await?;
        let (stored, held) = join(self.store_user(user, planned), self.hold_for(user, channels)).await;
        stored?;
        let _held = held?;
        let request = Connect::again(conn_id, user.to_owned(), channels.to_vec());
        let is_connected = self.ask(move |process| {
            if was_here && process.generation(conn_id) != Some(generation) {
                return false;
            }
            process.registry.connect(request, process.now, &mut process.effects).expect("there is no limit");
            process.end_turn();
            process.cluster.own_row(conn_id, generation, &process.registry);
            process.end_turn();
            true
        });
        let is_connected = is_connected.await;
        self.settle().await?;
        Ok(is_connected)
    }

    async fn claim(&self, conn_id: Uuid, user: &str) -> Result<Claimed, Refused> {
        let until = self.clock.get() + FIND_MS;
        while self.clock.get() < until {
            let own = move |process: &mut Process| {
                (process.generation(conn_id), process.cluster.moving.has_left(conn_id))
            };
            match self.ask(own).await {
                (Some(generation), _) => return Ok(Claimed::Here(generation)),
                (None, true) => return Ok(Claimed::Elsewhere),
                (None, false) => {}
            }
            let Ok(mut coming) = self.begin(conn_id, until).await else { continue };
            match self.claim_row(&mut coming, user).await? {
                Ownership::New { generation } => return Ok(Claimed::New(generation, coming)),
                Ownership::Foreign | Ownership::Full => return Ok(Claimed::Foreign),
                Ownership::Other { .. } => return Ok(Claimed::Elsewhere),
                Ownership::Own { generation, data } => {
                    self.adopt(conn_id, user.to_owned(), generation, &data, None).await?;
                }
                Ownership::Taken { generation, data, mark } => {
                    self.adopt(conn_id, user.to_owned(), generation, &data, mark).await?;
                }
            }
        }
        Err(EngineError::Unavailable.into())
    }

    async fn connect_elsewhere(
        &self,
        conn_id: Uuid,
        user: String,
        channels: Vec<String>,
    ) -> Result<(), Refused> {
        let planned = self.user(&user).await?;
        self.create_channels(&channels).await?;
        self.store_user(&user, planned).await?;
        self.answered(conn_id, Question::Connect { conn_id, user, channels }).await
    }

    async fn answered(&self, conn_id: Uuid, question: Question) -> Result<(), Refused> {
        match self.ask_owner(conn_id, question).await? {
            Some(Answer::Subscribed { .. } | Answer::Ended { .. }) => Ok(()),
            _ => Err(Refused::Unknown),
        }
    }

    pub async fn subscribe(&self, conn_id: Uuid, channels: Vec<String>) -> Result<(), Refused> {
        let request = Subscribe { conn_id, channels: channels.clone(), channel_configs: Vec::new() };
        let checked = request.clone();
        let user = self.ask(move |process| {
            let (_, user) = process.registry.may_subscribe(&checked).ok()?;
            Some(process.registry.user(user)?.view.name.to_string())
        });
        let Some(user) = user.await else { return self.subscribe_elsewhere(conn_id, channels).await };
        self.receive_earlier().await?;
        let _held = self.open(&user, &channels).await?;
        let is_known = self.ask(move |process| {
            let subscribed = process.registry.subscribe(request, &mut process.effects);
            process.end_turn();
            subscribed.is_ok()
        });
        if !is_known.await {
            // It has moved meanwhile.
            return self.subscribe_elsewhere(conn_id, channels).await;
        }
        self.settle().await
    }

    async fn subscribe_elsewhere(&self, conn_id: Uuid, channels: Vec<String>) -> Result<(), Refused> {
        self.create_channels(&channels).await?;
        self.answered(conn_id, Question::Subscribe { conn_id, channels }).await
    }

    pub async fn unsubscribe(&self, conn_id: Uuid, channels: Vec<String>) -> Result<(), Refused> {
        self.receive_earlier().await?;
        let request = Unsubscribe { conn_id, channels: channels.clone() };
        let is_known = self.ask(move |process| {
            let changed = process.registry.unsubscribe(request, &mut process.effects);
            process.end_turn();
            changed.is_some()
        });
        match is_known.await {
            true => self.settle().await,
            false => self.answered(conn_id, Question::Unsubscribe { conn_id, channels }).await,
        }
    }

    pub async fn disconnect(&self, conn_id: Uuid, why: Ending) -> Result<(), Refused> {
        let posted = PostedEnding::of(&why);
        let is_known = self.ask(move |process| {
            let is_known = process.registry.disconnect(conn_id, &why, process.now, &mut process.effects);
            process.end_turn();
            is_known
        });
        match is_known.await {
            true => self.settle().await,
            false => self.answered(conn_id, Question::Disconnect { conn_id, why: posted }).await,
        }
    }

    /// The record of a user. A new one has an id of its own.
    pub async fn user(&self, name: &str) -> Result<VersionedRecord, Refused> {
        let reply = self.call(Call::ReadUser { user: name.to_owned() }).await?;
        Ok(match reply.list() {
            Some([version, bytes]) => VersionedRecord {
                version: version.number().expect("a version"),
                record: bytes.bytes().and_then(UserRecord::read).expect("a record"),
            },
            _ => VersionedRecord {
                version: 0,
                record: UserRecord { uuid: Uuid::new_v4(), ..UserRecord::default() },
            },
        })
    }

    pub async fn install_user(&self, name: &str, version: u64, record: &UserRecord) {
        let (name, record) = (name.to_owned(), record.clone());
        self.ask(move |process| process.registry.install_user(&name, version, record)).await;
    }

    /// Stores the state of a user that connects.
    async fn store_user(&self, name: &str, planned: VersionedRecord) -> Result<(), Refused> {
        let merge = |before: &VersionedRecord| Some(before.record.merge(Vec::new(), None));
        self.change_user(name, planned, |_| None, merge).await
    }

    /// Changes a user's record until no other request has changed it meanwhile.
    async fn change_user(
        &self,
        name: &str,
        mut before: VersionedRecord,
        changed_text: fn(&ChangedRecord) -> Option<String>,
        merge: impl Fn(&VersionedRecord) -> Option<ChangedRecord>,
    ) -> Result<(), Refused> {
        for _ in 0..8 {
            let merged = merge(&before).ok_or(Refused::Unknown)?;
            if before.version > 0 && !merged.is_new {
                self.install_user(name, before.version, &merged.record).await;
                return Ok(());
            }
            let call = Call::SetUser {
                user: name.to_owned(),
                expected: before.version,
                record: merged.record.write(),
                view: merged.record.view().encode(),
                changed: changed_text(&merged),
            };
            if let Some(version) = self.call(call).await?.number() {
                self.install_user(name, version, &merged.record).await;
                return Ok(());
            }
            before = self.user(name).await?;
        }
        Err(Refused::Busy)
    }

    pub async fn set_user_state(&self, user: String, entry: StateEntry) -> Result<(), Refused> {
        let merge = |before: &VersionedRecord| {
            let keys = Some(vec!["k".to_owned()]);
            (before.version > 0).then(|| before.record.merge([entry.clone()], keys))
        };
        let before = self.user(&user).await?;
        self.change_user(&user, before, announced, merge).await
    }

    pub async fn publish(&self, message: Message) -> Result<(), Refused> {
        let keys = stream_keys(&message.delivery);
        let record = Record::Message { message, edited: None }.encode();
        let item = |stream| Item { stream, record: record.clone(), part: None };
        let items: Vec<_> = keys.into_iter().map(item).collect();
        if items.is_empty() {
            return Ok(());
        }
        let count = items.len();
        let reply = self.call(Call::Append { items }).await?;
        let answers = reply.bytes().and_then(read_answers).expect("a reply of append");
        assert_eq!(answers.len(), count, "each item has an answer");
        Ok(())
    }

    pub async fn edit(&self, edit: Edit) -> Result<(), Refused> {
        let keys = stream_keys(&edit.delivery);
        self.change(keys, Record::Edit { edit, is_of_deleted: false }.encode()).await
    }

    pub async fn delete(&self, delete: Delete) -> Result<(), Refused> {
        let keys = stream_keys(&delete.delivery);
        self.change(keys, Record::Delete(delete).encode()).await
    }

    async fn change(&self, keys: Vec<String>, record: Vec<u8>) -> Result<(), Refused> {
        let call = |stream| self.link.call(Call::Change { stream, record: record.clone(), part: None });
        let replies = join_all(keys.into_iter().map(call)).await;
        let uncertain = EngineError::Timeout { was_sent: true };
        let may_have_run = replies.iter().any(|reply| reply.is_ok() || reply.as_ref() == Err(&uncertain));
        for reply in replies {
            let reply = reply.map_err(|error| if may_have_run { uncertain.clone() } else { error })?;
            let answers = reply.bytes().and_then(read_answers).expect("a reply of change");
            assert!(answers.iter().all(|answer| answer.published != Published::KeyReused), "it has no key");
        }
        Ok(())
    }
}

impl Process {
    /// The generation in which this node owns a connection.
    pub fn generation(&self, conn_id: Uuid) -> Option<u64> {
        let (key, _) = self.registry.connection(conn_id)?;
        self.cluster.generation(key)
    }
}

/// The public changes, which members of channels learn.
fn announced(merged: &ChangedRecord) -> Option<String> {
    let mut out = Vec::new();
    let public = merged.changed.iter().filter(|entry| merged.record.public_keys.contains(&entry.key));
    write_changes(public, &mut out);
    String::from_utf8(out).ok().filter(|_| !merged.changed.is_empty())
}
