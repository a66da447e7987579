//! POST /admin/record: starts or stops the recording of a connection or a channel.

use actix_web::{HttpResponse, web};
use serde_json::json;
use uuid::Uuid;

use super::Console;
use super::channels::named;
use crate::api::answer::Invalid;
use crate::api::body::{self, RequestLimits};
use crate::api::fields::{CHANNEL_NAME, Field, FieldTable, Fields, FlagField, Id, Name};
use crate::auth::body::Body;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::Phase;
use crate::console::session::Operator;
use crate::http::polled::done;
use crate::http_error::Refusal;

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
    let (details, _) = known.ok_or_else(|| Refusal::NotFound(format!("connection {id}")))?;
    if let Some(node) = &details.row.node {
        let text = format!("The connection is at node {node}, whose console can record it.");
        return Err(Invalid::field("conn_id", &text).into());
    }
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
