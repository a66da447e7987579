//! POST /user_state: change a user's state and its public keys.

use super::answer;
use super::body;
use super::fields::{
    Field, FieldTable, Fields, ListField, ListLimit, Mapping, Name, STATE_KEY, State, USER_NAME,
    object_shape, text,
};
use super::invalid::Invalid;
use super::limits::RequestLimits;
use super::operation::{Access, ApiDescription, ApiGroup, Operation};
use crate::auth::body::Body;
use crate::auth::guard::Signed;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{Requester, SetUserState, StateRefused};
use crate::http_error::Refusal;
use crate::protocol::json;
use crate::protocol::schema::{self, ObjectSchema, SchemaRegistry, ValueSchema};
use crate::protocol::state::{StateEntry, change_shape, state_shape, write_changes};
use crate::telemetry::limits::Limit;
use actix_web::{HttpResponse, web};
use utoipa::openapi::Required;
use utoipa::openapi::path::HttpMethod;

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
const FIELDS: FieldTable = &[&USER, &USER_STATE, &STATE_PUBLIC_KEYS];

#[derive(Clone, Debug, PartialEq)]
pub struct UserStateRequest {
    pub user: String,
    /// State to merge.
    pub user_state: Vec<StateEntry>,
    /// The user's public keys from now on; `None` leaves them unchanged.
    pub state_public_keys: Option<Vec<String>>,
}

impl UserStateRequest {
    /// Reads a body. The error also contains a user name of wrong length, because the name is unknown as well.
    pub fn parse(body: &[u8], limits: &RequestLimits) -> Result<Self, Invalid> {
        let mut user = None;
        body::object(body, limits, FIELDS, |fields| read(fields, &mut user))
            .map_err(|invalid| Invalid { user, ..invalid })
    }
}

fn read(fields: &mut Fields<'_>, named: &mut Option<String>) -> Option<UserStateRequest> {
    *named = fields.raw(&USER).and_then(|raw| text(raw).ok());
    let user = fields.read(&USER);
    let user_state = entries(fields, &USER_STATE);
    let state_public_keys = fields.read(&STATE_PUBLIC_KEYS);
    Some(UserStateRequest { user: user?, user_state, state_public_keys })
}

/// A mapping of state values, in the order given. Keys are not checked, as in the original.
pub(super) fn entries(fields: &mut Fields<'_>, field: &Field<Mapping<State>>) -> Vec<StateEntry> {
    let entries = fields.read(field).unwrap_or_default();
    entries.into_iter().map(|(key, value)| StateEntry { key, value }).collect()
}

pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let operation = Operation::new(HttpMethod::Post, "/user_state", "setUserState", ApiGroup::Backends, Access::Signed)
        .about(
            "Change a user's state",
            "Merges values into the state and sets its public keys. Channels of the user that have `notify_state` \
             notify all their members. A user is known from `/connect` until `user_idle_timeout_ms` after the last \
             connection has ended.",
        );
    with_schemas(operation, api)
}

/// Adds body and answer, for this endpoint and for others that do the same.
pub fn with_schemas(operation: Operation, api: &mut ApiDescription<'_>) -> Operation {
    let body = object_shape("UserStateBody", FIELDS, &api.limits, &mut api.schemas);
    let answer = api.schemas.named("UserStateChanged", answer_schema);
    operation
        .body(body, Required::True, EXAMPLE, api.settings)
        .answer("The user's state and its changes.", answer, ANSWER)
        .refuses_body(UserStateRequest::parse(br#"{"user_state": {"mood": []}}"#, &api.limits))
        .asks_registry()
        .limited_by([Limit::UserStateKeys, Limit::UserStateBytes])
}

fn answer_schema(schemas: &mut SchemaRegistry) -> ValueSchema {
    ObjectSchema::new()
        .key("user_state", state_shape(schemas), "The whole state.")
        .key("changed_state", schema::list(change_shape(schemas)), "The changes, in the order given.")
        .key("public_keys", schema::list(schema::text()), "The keys that others may see.")
        .shape()
}

const EXAMPLE: &str = r#"{"user": "ada", "user_state": {"mood": "better"}}"#;

const ANSWER: &str = r#"{"user_state": {"mood": "better", "age": 36},
    "changed_state": [{"key": "mood", "value": "better"}], "public_keys": ["mood"]}"#;

/// POST /user_state.
///
/// # Errors
/// `Invalid`, also for an unknown user; `Busy`.
pub async fn user_state(
    _: Signed,
    broker: web::Data<BrokerHandle>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let request = match UserStateRequest::parse(&body, &RequestLimits::from(&*broker.settings)) {
        Ok(request) => request,
        Err(invalid) => return Err(answer::with_unknown(&broker, invalid).await?),
    };
    broker.admit()?;
    set(&broker, request, Requester::Application).await
}

/// Sets the state, and writes the answer.
///
/// # Errors
/// As [`user_state`].
pub async fn set(
    broker: &BrokerHandle,
    request: UserStateRequest,
    by: Requester,
) -> Result<HttpResponse, Refusal> {
    let UserStateRequest { user, user_state, state_public_keys } = request;
    broker.admit_response()?;
    let changed = broker.set_user_state(SetUserState { user, user_state, state_public_keys }, by).await?;
    let changed = changed.map_err(|refused| match refused {
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
