//! The records of users, which all nodes share.

use super::ClusterRequest;
use crate::broker::engine::call::Call;
use crate::broker::engine::error::EngineError;
use crate::broker::engine::reply::Reply;
use crate::broker::registry::cluster::shared_blocks::BlockRecord;
use crate::broker::registry::cluster::user_record::{ChangedRecord, UserRecord};
use crate::broker::requests::{
    BlockUser, Connect, ConnectRefused, KnownUsers, Requester, SetUserState, StateChanged, StateRefused,
};
use crate::http_error::{OverLimit, Refusal};
use crate::protocol::state::write_changes;
use crate::telemetry::limits::Limit;
use uuid::Uuid;

/// Attempts to change a record that other requests change at the same time.
const ATTEMPTS: usize = 8;

/// A record, and its version in Redis; 0 if there is none.
pub(super) struct VersionedRecord {
    pub version: u64,
    pub record: UserRecord,
}

impl VersionedRecord {
    /// The record of a user that Redis does not know. It has an id of its own.
    pub fn new() -> Self {
        Self { version: 0, record: UserRecord { uuid: Uuid::new_v4(), ..UserRecord::default() } }
    }

    fn read(reply: &Reply) -> Result<Self, EngineError> {
        let malformed = || EngineError::Refused("the record of a user is malformed".into());
        match reply.list() {
            Some([version, bytes]) => {
                let record = bytes.bytes().and_then(UserRecord::read).ok_or_else(malformed)?;
                Ok(Self { version: version.number().ok_or_else(malformed)?, record })
            }
            _ if *reply == Reply::Nil => Ok(Self::new()),
            _ => Err(malformed()),
        }
    }
}

/// What a request makes of a record.
pub(super) struct PlannedChange {
    /// The version that it replaces.
    pub version: u64,
    pub merged: ChangedRecord,
}

impl ClusterRequest<'_> {
    /// The record of a user. A new one has an id of its own.
    pub(super) async fn user(&self, name: &str) -> Result<VersionedRecord, Refusal> {
        let reply = self.link.call(Call::ReadUser { user: name.to_owned() }).await?;
        Ok(VersionedRecord::read(&reply)?)
    }

    /// Whether a connection and a user exist in the cluster.
    pub async fn known(&self, conn_id: Option<Uuid>, user: Option<String>) -> Result<KnownUsers, Refusal> {
        let connection = match conn_id {
            Some(conn_id) => self.find(conn_id).await?.is_some(),
            None => false,
        };
        let user = match user {
            Some(user) => self.user(&user).await?.version > 0,
            None => false,
        };
        Ok(KnownUsers { connection, user })
    }

    /// Blocks a user on all nodes.
    pub async fn block(&self, request: BlockUser) -> Result<Result<(), OverLimit>, Refusal> {
        let block = self.broker.ask(move |registry, _| registry.state().blocks.after(request)).await?;
        let call = Call::SetBlock {
            user: block.user.to_string(),
            record: BlockRecord::of(&block).write(),
            // A revocation of tokens stays until it is removed.
            until_ms: block
                .until_unix
                .filter(|_| block.tokens_before.is_none())
                .unwrap_or(0)
                .saturating_mul(1_000),
        };
        let reply = self.link.call(call).await?;
        let bound = self.broker.settings.max_blocks;
        Ok(if reply.is_ok() { Ok(()) } else { Err(OverLimit::of(Limit::Blocks, bound)) })
    }

    /// Ends the block of a user on all nodes. False if there was none.
    pub async fn unblock(&self, user: String) -> Result<bool, Refusal> {
        Ok(self.link.call(Call::Unblock { user }).await?.number() == Some(1))
    }

    /// Makes the record current on this node.
    pub(super) async fn install_user(
        &self,
        name: &str,
        version: u64,
        record: &UserRecord,
    ) -> Result<(), Refusal> {
        let (name, record) = (name.to_owned(), record.clone());
        self.broker.ask(move |registry, _| registry.install_user(&name, version, record)).await
    }

    /// Changes a user's record. If another request has changed it meanwhile, `plan` returns the change of what it is now, or
    /// the reason why there is none.
    async fn change_user<E>(
        &self,
        name: &str,
        mut planned: PlannedChange,
        changed_text: fn(&ChangedRecord) -> Option<String>,
        plan: impl AsyncFn(VersionedRecord) -> Result<Result<PlannedChange, E>, Refusal>,
    ) -> Result<Result<ChangedRecord, E>, Refusal> {
        for _ in 0..ATTEMPTS {
            let PlannedChange { version: expected, merged } = planned;
            if expected > 0 && !merged.is_new {
                self.install_user(name, expected, &merged.record).await?;
                return Ok(Ok(merged));
            }
            let call = Call::SetUser {
                user: name.to_owned(),
                expected,
                record: merged.record.write(),
                view: merged.record.view().encode(),
                changed: changed_text(&merged),
            };
            let reply = self.link.call(call).await?;
            if let Some(version) = reply.number() {
                self.install_user(name, version, &merged.record).await?;
                return Ok(Ok(merged));
            }
            planned = match plan(VersionedRecord::read(&reply)?).await? {
                Ok(planned) => planned,
                Err(refused) => return Ok(Err(refused)),
            };
        }
        Err(Refusal::Busy)
    }

    /// Checks whether a user may connect, and plans what becomes of its record. Changes nothing.
    pub(super) async fn plan_connect(
        &self,
        request: &Connect,
        by: Requester,
    ) -> Result<Result<PlannedChange, ConnectRefused>, Refusal> {
        let (name, channels) = (request.username.clone(), request.channels.clone());
        let is_new = self.broker.ask(move |registry, _| {
            let is_unknown = registry.state().user_id(&name).is_none();
            is_unknown && registry.channels_to_open(&channels, &[]).is_empty()
        });
        // A user that this node does not know is usually new. If it is not, Redis returns its record when it refuses the
        // change; no channel was created for the request then.
        if is_new.await?
            && let Ok(planned) = self.plan(request, VersionedRecord::new(), by).await?
        {
            return Ok(Ok(planned));
        }
        self.plan(request, self.user(&request.username).await?, by).await
    }

    async fn plan(
        &self,
        request: &Connect,
        before: VersionedRecord,
        by: Requester,
    ) -> Result<Result<PlannedChange, ConnectRefused>, Refusal> {
        let fresh = if before.version == 0 { request.fresh_user_state.clone() } else { Vec::new() };
        let fresh = fresh.into_iter().chain(request.user_state.clone());
        let merged = before.record.merge(fresh, request.state_public_keys.clone());
        let (checked, record) = (request.clone(), merged.record.clone());
        let may = self.broker.ask(move |registry, _| registry.may_connect(&checked, &record, by)).await?;
        Ok(may.map(|()| PlannedChange { version: before.version, merged }))
    }

    /// Stores the state of a user that connects.
    pub(super) async fn change_state(
        &self,
        request: &Connect,
        planned: PlannedChange,
        by: Requester,
    ) -> Result<Result<ChangedRecord, ConnectRefused>, Refusal> {
        let plan = async |before| self.plan(request, before, by).await;
        self.change_user(&request.username, planned, |_| None, plan).await
    }

    pub async fn set_user_state(
        &self,
        request: SetUserState,
        by: Requester,
    ) -> Result<Result<StateChanged, StateRefused>, Refusal> {
        let SetUserState { user, user_state, state_public_keys } = request;
        let plan = async |before: VersionedRecord| {
            if before.version == 0 {
                return Ok(Err(StateRefused::UnknownUser));
            }
            let merged = before.record.merge(user_state.clone(), state_public_keys.clone());
            let (name, state) = (user.clone(), merged.record.state.clone());
            let may = self.broker.ask(move |registry, _| registry.may_change_state(&name, &state, by));
            Ok(may.await?.map(|()| PlannedChange { version: before.version, merged }))
        };
        let planned = match plan(self.user(&user).await?).await? {
            Ok(planned) => planned,
            Err(refused) => return Ok(Err(refused)),
        };
        let merged = match self.change_user(&user, planned, announced, plan).await? {
            Ok(merged) => merged,
            Err(refused) => return Ok(Err(refused)),
        };
        let public_keys = merged.record.public_keys.clone();
        let shown = self.broker.ask(move |registry, _| registry.state().shown(&user)).await?;
        let changed = shown.map(|user| StateChanged { user, changed: merged.changed, public_keys });
        Ok(changed.ok_or(StateRefused::UnknownUser))
    }
}

/// The public changes, which members of channels learn.
fn announced(merged: &ChangedRecord) -> Option<String> {
    if merged.changed.is_empty() {
        return None;
    }
    let mut out = Vec::new();
    let public = merged.changed.iter().filter(|entry| merged.record.public_keys.contains(&entry.key));
    write_changes(public, &mut out);
    String::from_utf8(out).ok()
}
