//! DELETE /message: delete published messages.

use super::answer::Invalid;
use super::batch::{self, BatchItem, Parsed};
use super::body::RequestLimits;
use super::delivery;
use super::fields::{Field, FieldTable, Fields, Id};
use super::publish_options::PublishOptions;
use super::publishing::{self, ItemDefaults, Publishable};
use crate::auth::Gate;
use crate::auth::body::Body;
use crate::auth::guard::Signed;
use crate::broker::handle::BrokerHandle;
use crate::broker::requests::{KeyedRequest, ReceiptSlot};
use crate::http_error::Refusal;
use crate::protocol::message::{Delete, Delivery};
use crate::protocol::time::Timestamp;
use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use uuid::Uuid;

const UUID: Field<Id> = Field::required("uuid", Id, "The message to delete.");
pub(crate) const FIELDS: FieldTable =
    &[&UUID, &delivery::CHANNEL, &delivery::PM_USERS, &delivery::EXCLUDE_USERS, &delivery::NO_HISTORY];

/// Reads a body. Deletions without recipients are kept: they change nothing but appear in the answer, as in the
/// original.
pub fn parse_deletes(body: &[u8], limits: &RequestLimits) -> Result<Vec<Delete>, Invalid> {
    batch::parse(body, limits, |_, item| read_fast(item, limits), FIELDS, |_, fields| read_full(fields))
}

impl Publishable for Delete {
    const METHOD: Method = Method::DELETE;

    fn parse(body: &[u8], limits: &RequestLimits, _: &ItemDefaults) -> Result<Vec<Self>, Invalid> {
        parse_deletes(body, limits)
    }

    fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    fn message_in_history(&self) -> Option<Uuid> {
        None
    }

    fn write(&self, out: &mut Vec<u8>) {
        delivery::write(&self.delivery, &self.uuid, out);
    }

    async fn publish(
        broker: &BrokerHandle,
        items: Vec<Self>,
        slots: Vec<ReceiptSlot>,
        request: Option<KeyedRequest>,
    ) -> Result<Option<Timestamp>, Refusal> {
        broker.delete(items, slots, request).await
    }
}

fn read_fast(mut item: BatchItem<'_>, limits: &RequestLimits) -> Option<Parsed<Delete>> {
    let delivery = delivery::take(&mut item, limits)?;
    Some(Parsed::Keep(Delete { uuid: item.uuid?, delivery }))
}

fn read_full(fields: &mut Fields<'_>) -> Option<Parsed<Delete>> {
    let delivery = delivery::read(fields);
    let uuid = fields.read(&UUID);
    Some(Parsed::Keep(Delete { uuid: uuid?, delivery }))
}

/// Appends the answer: the deletions as the server read them.
pub fn write_delete_answer(deletes: &[Delete], out: &mut Vec<u8>) {
    publishing::write(deletes, out);
}

/// DELETE /message.
///
/// # Errors
/// As [`publishing::publish`].
pub async fn delete(
    signed: Signed,
    broker: web::Data<BrokerHandle>,
    gate: web::Data<Gate>,
    options: PublishOptions,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    publishing::publish::<Delete>(signed, &broker, &gate, options, &body).await
}

#[cfg(test)]
mod tests {
    use super::super::batch::{parse_fast, parse_full};
    use super::*;
    use crate::config::Settings;

    #[test]
    fn both_paths_ignore_fields_of_messages() {
        let limits = RequestLimits::from(&Settings::default());
        let id = "\"uuid\":\"0a1b2c3d4e5f60718293a4b5c6d7e8f9\"";
        let text = format!(r#"[{{{id},"user":"","message":[1],"timestamp":"x","channel":"c"}}]"#);
        let fast = parse_fast(&text, &limits, |_, item| read_fast(item, &limits)).unwrap();
        assert_eq!(parse_full(&text, &limits, FIELDS, |_, fields| read_full(fields)).as_ref(), Ok(&fast));
        let text = format!(r#"[{{{id},"user":5,"channel":"c"}}]"#);
        assert_eq!(parse_deletes(text.as_bytes(), &limits), Ok(fast));
    }
}
