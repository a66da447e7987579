//! PATCH /message: change published messages.

use super::answer::Invalid;
use super::batch::{self, BatchItem, Parsed, check_frame, frame_fits};
use super::body::RequestLimits;
use super::delivery::{self, write_payload, write_plain, write_user};
use super::fields::{Field, FieldTable, Fields, Id, Json, Name, Time, USER_NAME};
use super::publish_options::PublishOptions;
use super::publishing::{self, ItemDefaults, Publishable};
use crate::auth::Gate;
use crate::auth::body::Body;
use crate::auth::guard::Signed;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{KeyedRequest, ReceiptSlot};
use crate::http_error::Refusal;
use crate::protocol::message::{Delivery, Edit};
use crate::protocol::time::Timestamp;
use crate::protocol::value::Payload;
use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use uuid::Uuid;

const UUID: Field<Id> = Field::required("uuid", Id, "The message to change.");
const MESSAGE: Field<Json> = Field::optional("message", Json, "The new content: any object.");
const USER: Field<Name> = Field::optional("user", USER_NAME, "The new author.");
const TIMESTAMP: Field<Time> = Field::optional("timestamp", Time, "The new time of the message.");
const EDITED: Field<Time> =
    Field::optional("edited", Time, "Time of the edit; the current time when left out.");
pub(crate) const FIELDS: FieldTable = &[
    &UUID,
    &delivery::CHANNEL,
    &delivery::PM_USERS,
    &delivery::EXCLUDE_USERS,
    &MESSAGE,
    &USER,
    &TIMESTAMP,
    &EDITED,
    &delivery::NO_HISTORY,
];

/// Reads a body. Edits without recipients are kept: they change nothing but appear in the answer, as in the original.
///
/// `now` is the time of edits that do not contain one.
pub fn parse_edits(body: &[u8], limits: &RequestLimits, now: Timestamp) -> Result<Vec<Edit>, Invalid> {
    batch::parse(
        body,
        limits,
        |_, item| read_fast(item, limits, now),
        FIELDS,
        |_, fields| read_full(fields, now),
    )
}

impl Publishable for Edit {
    const METHOD: Method = Method::PATCH;

    fn parse(body: &[u8], limits: &RequestLimits, defaults: &ItemDefaults) -> Result<Vec<Self>, Invalid> {
        parse_edits(body, limits, defaults.now)
    }

    fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    fn message_in_history(&self) -> Option<Uuid> {
        Some(self.uuid)
    }

    fn write(&self, out: &mut Vec<u8>) {
        delivery::write(&self.delivery, &self.uuid, out);
        if let Some(timestamp) = &self.timestamp {
            write_plain("timestamp", &timestamp.answer(), out);
        }
        if let Some(user) = &self.user {
            write_user(user, out);
        }
        write_payload(self.message.as_ref(), out);
        write_plain("edited", &self.edited.answer(), out);
    }

    async fn publish(
        broker: &BrokerHandle,
        items: Vec<Self>,
        slots: Vec<ReceiptSlot>,
        request: Option<KeyedRequest>,
    ) -> Result<Option<Timestamp>, Refusal> {
        broker.edit(items, slots, request).await
    }
}

fn read_fast(mut item: BatchItem<'_>, limits: &RequestLimits, now: Timestamp) -> Option<Parsed<Edit>> {
    // An edit rarely contains its time, so only the full path reads it.
    if item.edited.is_some() {
        return None;
    }
    let delivery = delivery::take(&mut item, limits)?;
    let uuid = item.uuid?;
    if item.user.as_ref().is_some_and(|user| !USER_NAME.fits(user, limits)) {
        return None;
    }
    let timestamp = match item.timestamp {
        Some(text) => Some(Timestamp::parse(text)?),
        None => None,
    };
    let message = match item.message {
        Some(raw) => Some(Payload::compact(raw.get())?),
        None => None,
    };
    let fits = |message| frame_fits(message, item.user.as_deref(), delivery.channel.as_deref(), limits);
    message.as_ref().is_none_or(fits).then_some(())?;
    Some(Parsed::Keep(Edit { uuid, timestamp, user: item.user, message, edited: now, delivery }))
}

fn read_full(fields: &mut Fields<'_>, now: Timestamp) -> Option<Parsed<Edit>> {
    let delivery = delivery::read(fields);
    let uuid = fields.read(&UUID);
    let timestamp = fields.read(&TIMESTAMP);
    let user = fields.read(&USER);
    let message = fields.read(&MESSAGE);
    let edited = fields.read(&EDITED).unwrap_or(now);
    check_frame(fields, &MESSAGE, message.as_ref(), user.as_deref(), delivery.channel.as_deref());
    Some(Parsed::Keep(Edit { uuid: uuid?, timestamp, user, message, edited, delivery }))
}

/// Appends the answer: the given fields and the time of the edit.
pub fn write_edit_answer(edits: &[Edit], out: &mut Vec<u8>) {
    publishing::write(edits, out);
}

/// PATCH /message.
///
/// # Errors
/// As [`publishing::publish`].
pub async fn patch(
    signed: Signed,
    broker: web::Data<BrokerHandle>,
    gate: web::Data<Gate>,
    options: PublishOptions,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    publishing::publish::<Edit>(signed, &broker, &gate, options, &body).await
}

#[cfg(test)]
mod tests {
    use super::super::batch::{parse_fast, parse_full};
    use super::*;
    use crate::config::Settings;

    #[test]
    fn both_paths_agree() {
        let (limits, now) = (RequestLimits::from(&Settings::default()), Timestamp::now());
        let id = "\"uuid\":\"0a1b2c3d4e5f60718293a4b5c6d7e8f9\"";
        for rest in ["", r#","user":"u""#, r#","timestamp":"2010-01-01T01:01","channel":"c","message":{ }"#] {
            let text = format!("[{{{id}{rest}}}]");
            let fast = parse_fast(&text, &limits, |_, item| read_fast(item, &limits, now)).unwrap();
            assert_eq!(
                parse_full(&text, &limits, FIELDS, |_, fields| read_full(fields, now)),
                Ok(fast),
                "{text}"
            );
        }
        for rest in [r#","user":"""#, r#","message":[]"#, r#","edited":"x""#, r#","timestamp":"x""#] {
            let text = format!("[{{{id}{rest}}}]");
            assert!(parse_fast(&text, &limits, |_, item| read_fast(item, &limits, now)).is_none(), "{text}");
            assert!(parse_edits(text.as_bytes(), &limits, now).is_err(), "{text}");
        }
    }
}
