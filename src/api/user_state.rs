//! POST /user_state: change a user's state and which of it is public.

use super::answer;
use super::body;
use super::fields::{Fields, STATE_KEY, USER_NAME, mapping, names, state_value, string, text};
use super::invalid::Invalid;
use super::limits::Limits;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::gate::body::Body;
use crate::gate::guard::Signed;
use crate::registry::messages::{SetUserState, UnknownUser};
use crate::wire::json;
use crate::wire::state::StateEntry;
use crate::wire::state::write_changes;
use actix_web::{HttpResponse, web};

const FIELDS: &[&str] = &["user", "user_state", "state_public_keys"];

/// Whose state changes, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct UserStateRequest {
    /// The user.
    pub user: String,
    /// State to merge.
    pub user_state: Vec<StateEntry>,
    /// The user's public keys from now on; none: as before.
    pub state_public_keys: Option<Vec<String>>,
}

impl UserStateRequest {
    /// Reads a body; the error hands back a user name of wrong length too, which is unknown besides.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Self, Invalid> {
        let mut user = None;
        body::object(body, limits, FIELDS, |fields| read(fields, limits, &mut user))
            .map_err(|invalid| Invalid { user, ..invalid })
    }
}

fn read(fields: &mut Fields<'_>, limits: &Limits, named: &mut Option<String>) -> Option<UserStateRequest> {
    let user = fields.required("user", |raw| {
        *named = text(raw).ok();
        string(raw, &USER_NAME)
    });
    let user_state = state_entries(fields, "user_state", limits);
    let read_keys = |raw| names(raw, &STATE_KEY, limits.max_list_items);
    let state_public_keys = fields.nullable("state_public_keys", read_keys);
    Some(UserStateRequest { user: user?, user_state, state_public_keys })
}

/// A mapping of state values, in the order given; keys are not checked, as in the original.
pub(super) fn state_entries(fields: &mut Fields<'_>, name: &str, limits: &Limits) -> Vec<StateEntry> {
    let entries =
        fields.given(name, |raw| mapping(raw, limits.max_list_items, state_value)).unwrap_or_default();
    entries.into_iter().map(|(key, value)| StateEntry { key, value }).collect()
}

/// POST /user_state.
///
/// # Errors
/// `Invalid`, also for an unknown user; `Busy`.
pub async fn user_state(_: Signed, backend: web::Data<Backend>, body: Body) -> Result<HttpResponse, Refusal> {
    let request = match UserStateRequest::parse(&body, &Limits::from(&*backend.settings)) {
        Ok(request) => request,
        Err(invalid) => return Err(answer::with_unknown(&backend, invalid).await?),
    };
    backend.admit()?;
    set(&backend, request).await
}

/// Sets the state, and writes the answer.
///
/// # Errors
/// As [`user_state`].
pub async fn set(backend: &Backend, request: UserStateRequest) -> Result<HttpResponse, Refusal> {
    let UserStateRequest { user, user_state, state_public_keys } = request;
    let changed = backend.ask(SetUserState { user, user_state, state_public_keys }).await?;
    let changed = changed.map_err(|UnknownUser| Invalid::field("user", "Unknown user"))?;
    let mut out = b"{\"user_state\":".to_vec();
    out.extend_from_slice(changed.user.state().as_bytes());
    out.extend_from_slice(b",\"changed_state\":");
    write_changes(&changed.changed, &mut out);
    out.extend_from_slice(b",\"public_keys\":");
    json::write_strings(&changed.public_keys, &mut out);
    out.push(b'}');
    Ok(answer::json(out))
}
