//! POST /user_state: change a user's state and its public keys.

use super::answer::{self, Invalid};
use super::body::{self, RequestLimits};
use super::fields::{
    Field, FieldTable, Fields, ListField, ListLimit, Mapping, Name, STATE_KEY, State, USER_NAME, text,
};
use crate::auth::body::Body;
use crate::auth::guard::Signed;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{Requester, SetUserState, StateRefused};
use crate::http_error::Refusal;
use crate::protocol::json;
use crate::protocol::state::{StateEntry, write_changes};
use actix_web::{HttpResponse, web};

const USER: Field<Name> = Field::required("user", USER_NAME, "Name of a known user.");
/// Also a field of /connect.
pub(super) const USER_STATE: Field<Mapping<State>> = Field::optional(
    "user_state",
    Mapping::to(State, ListLimit::Items),
    "State to merge into the user's current state.",
)
.default("{}");
const STATE_PUBLIC_KEYS: Field<ListField<Name>> = Field::nullable(
    "state_public_keys",
    ListField::of(STATE_KEY, ListLimit::Items),
    "Keys of the state that others may see from now on; unchanged when left out or null.",
);
pub(crate) const FIELDS: FieldTable = &[&USER, &USER_STATE, &STATE_PUBLIC_KEYS];

/// Reads a body. The error also contains a user name of wrong length, because the name is unknown as well.
pub fn parse_user_state(body: &[u8], limits: &RequestLimits) -> Result<SetUserState, Invalid> {
    let mut user = None;
    body::object(body, limits, FIELDS, |fields| read(fields, &mut user))
        .map_err(|invalid| Invalid { user, ..invalid })
}

fn read(fields: &mut Fields<'_>, named: &mut Option<String>) -> Option<SetUserState> {
    *named = fields.raw(&USER).and_then(|raw| text(raw).ok());
    let user = fields.read(&USER);
    let user_state = entries(fields, &USER_STATE);
    let state_public_keys = fields.read(&STATE_PUBLIC_KEYS);
    Some(SetUserState { user: user?, user_state, state_public_keys })
}

/// A mapping of state values, in the order given. Keys are not checked, as in the original.
pub(super) fn entries(fields: &mut Fields<'_>, field: &Field<Mapping<State>>) -> Vec<StateEntry> {
    let entries = fields.read(field).unwrap_or_default();
    entries.into_iter().map(|(key, value)| StateEntry { key, value }).collect()
}

/// POST /user_state.
///
/// # Errors
/// `Invalid`, also for an unknown user; `Busy`.
pub async fn user_state(
    _: Signed,
    broker: web::Data<BrokerHandle>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let request = parse_user_state(&body, &RequestLimits::from(&*broker.settings));
    let request = answer::admitted(&broker, request).await?;
    set(&broker, request, Requester::Application).await
}

/// Sets the state, and writes the answer.
///
/// # Errors
/// As [`user_state`].
pub async fn set(
    broker: &BrokerHandle,
    request: SetUserState,
    by: Requester,
) -> Result<HttpResponse, Refusal> {
    broker.admit_response()?;
    let changed = broker.set_user_state(request, by).await?.map_err(|refused| match refused {
        StateRefused::UnknownUser => Refusal::from(Invalid::field("user", "Unknown user")),
        StateRefused::OverLimit(over) => over.into(),
    })?;
    let mut out = b"{\"user_state\":".to_vec();
    out.extend_from_slice(changed.user.state().as_bytes());
    out.extend_from_slice(b",\"changed_state\":");
    write_changes(&changed.changed, &mut out);
    out.extend_from_slice(b",\"public_keys\":");
    json::write_strings(&changed.public_keys, &mut out);
    out.push(b'}');
    Ok(answer::json(out))
}
