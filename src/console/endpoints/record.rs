//! POST /admin/record: starts or stops the recording of a connection or a channel.

use actix_web::{HttpResponse, web};
use serde_json::json;
use uuid::Uuid;

use super::Console;
use super::channel::named;
use crate::api::body;
use crate::api::fields::{CHANNEL_NAME, Field, FieldKind, FieldTable, Fields, FlagField, Id, Name, Property};
use crate::api::invalid::Invalid;
use crate::api::limits::RequestLimits;
use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation};
use crate::auth::body::Body;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::Phase;
use crate::console::session::Operator;
use crate::http::polled::done;
use crate::http_error::Refusal;
use crate::protocol::schema::{self, ObjectSchema, ValueSchema};
use utoipa::openapi::Required;
use utoipa::openapi::path::HttpMethod;

const CONN_ID: Field<Id> = Field::nullable("conn_id", Id, "The connection; either this or `channel`.");
const CHANNEL: Field<Name> =
    Field::nullable("channel", CHANNEL_NAME, "The channel; either this or `conn_id`.");
const ON: Field<FlagField> = Field::required("on", FlagField, "Whether to record it from now on.");
const FIELDS: FieldTable = &[&CONN_ID, &CHANNEL, &ON];

/// The subject of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordSubject {
    /// A connection, by its id.
    Connection(Uuid),
    /// A channel, by its name.
    Channel(String),
}

/// The subject, and whether to record it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRequest {
    pub subject: RecordSubject,
    /// Whether to record it from now on.
    pub on: bool,
}

impl RecordRequest {
    pub fn parse(body: &[u8], limits: &RequestLimits) -> Result<Self, Invalid> {
        let read = |fields: &mut Fields<'_>| {
            let subjects = (fields.read(&CONN_ID), fields.read(&CHANNEL));
            Some((subjects, fields.read(&ON)?))
        };
        let subject = match body::object(body, limits, FIELDS, read)? {
            ((Some(id), None), on) => (RecordSubject::Connection(id), on),
            ((None, Some(name)), on) => (RecordSubject::Channel(name), on),
            _ => return Err(Invalid::schema("Either conn_id or channel must be given.")),
        };
        Ok(Self { subject: subject.0, on: subject.1 })
    }
}

pub fn openapi(api: &mut ApiDescription<'_>) -> Operation {
    let body = body_shape(api);
    let answer = api.schemas.named("Recording", |_| {
        ObjectSchema::new().key("recording", schema::flag(), "Whether it is being recorded.").shape()
    });
    Operation::new(HttpMethod::Post, "/admin/record", "record", ApiGroup::Console, Access::Command)
        .about(
            "Start or stop recording a connection or a channel",
            "`/admin/recording.json` returns the recording. Either `conn_id` or `channel` must be given, not both.",
        )
        .body(body, Required::True, r#"{"channel": "lobby", "on": true}"#, api.settings)
        .answer("Whether it is being recorded.", answer, r#"{"recording": true}"#)
        .refuses_body(RecordRequest::parse(br#"{"on": true}"#, &api.limits))
        .refuses([off(), Refusal::NotFound("channel lobby".into())])
        .asks_registry()
}

/// Exactly one of the two must be given; the other must be left out or null.
fn body_shape(api: &mut ApiDescription<'_>) -> ValueSchema {
    let (id, on) = (Id.shape(&api.limits, &mut api.schemas), ON.shape(&api.limits, &mut api.schemas));
    let name = CHANNEL_NAME.shape(&api.limits, &mut api.schemas);
    let connection = api.schemas.named("RecordConnectionBody", |_| {
        let keys = ObjectSchema::new().key("conn_id", id, "The connection.").may(
            "channel",
            schema::null(),
            "Must be null or left out.",
        );
        keys.described("on", on.clone(), true).shape()
    });
    let channel = api.schemas.named("RecordChannelBody", |_| {
        let keys = ObjectSchema::new().key("channel", name, "The channel.").may(
            "conn_id",
            schema::null(),
            "Must be null or left out.",
        );
        keys.described("on", on, true).shape()
    });
    schema::any_of([channel, connection])
}

fn off() -> Refusal {
    Invalid::schema("Recording is disabled: recorder_bytes is 0.").into()
}

/// POST /admin/record: `{"conn_id": …, "on": true}` or `{"channel": …, "on": true}`.
///
/// # Errors
/// `Invalid`, not found, `Busy`.
pub async fn record(
    _: Operator,
    broker: web::Data<BrokerHandle>,
    console: web::Data<Console>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let request = RecordRequest::parse(&body, &RequestLimits::from(&*broker.settings))?;
    if !console.recorder.is_on() {
        return Err(off());
    }
    match request.subject {
        RecordSubject::Connection(conn_id) => connection(&broker, &console, conn_id, request.on).await?,
        RecordSubject::Channel(name) => channel(&broker, &console, &name, request.on).await?,
    }
    Ok(done(&json!({ "recording": request.on })))
}

async fn connection(broker: &BrokerHandle, console: &Console, id: Uuid, on: bool) -> Result<(), Refusal> {
    if !on {
        console.recorder.stop_connection(id);
        return Ok(());
    }
    let known = broker.describe_connection(id).await?;
    let details = known.ok_or_else(|| Refusal::NotFound(format!("connection {id}")))?;
    // Start the recorder first: sessions that open from now on check it.
    console.recorder.record_connection(id);
    match details.row.phase {
        Phase::Attached(location, _) => broker.record_session(location).await,
        _ => Ok(()),
    }
}

async fn channel(broker: &BrokerHandle, console: &Console, name: &str, on: bool) -> Result<(), Refusal> {
    let channel = named(broker, name).await?;
    if !on {
        console.recorder.stop_channel(channel.uuid);
        return Ok(());
    }
    channel.record(console.recorder.clone()).await
}
