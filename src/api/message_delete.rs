//! DELETE /message: delete published messages.

use super::answer::Invalid;
use super::batch::{self, BatchItem, Parsed};
use super::body::RequestLimits;
use super::delivery;
use super::fields::{Field, FieldTable, Fields, Id};
use crate::auth::body::Body;
use crate::auth::guard::Signed;
use crate::broker::handle::BrokerHandle;
use crate::http_error::Refusal;
use crate::protocol::json;
use crate::protocol::message::Delete;
use actix_web::{HttpResponse, web};

const UUID: Field<Id> = Field::required("uuid", Id, "The message to delete.");
pub(crate) const FIELDS: FieldTable =
    &[&UUID, &delivery::CHANNEL, &delivery::PM_USERS, &delivery::EXCLUDE_USERS, &delivery::NO_HISTORY];

/// Reads a body. Deletions without recipients are kept: they change nothing but appear in the answer, as in the
/// original.
pub fn parse_deletes(body: &[u8], limits: &RequestLimits) -> Result<Vec<Delete>, Invalid> {
    batch::parse(body, limits, |item| read_fast(item, limits), FIELDS, read_full)
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
    json::write_list(deletes, out, |delete, out| {
        delivery::write(&delete.delivery, &delete.uuid, out);
        out.push(b'}');
    });
}

/// DELETE /message.
///
/// # Errors
/// `Invalid`, `Busy`, `OverLimit`.
pub async fn delete(
    signed: Signed,
    broker: web::Data<BrokerHandle>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let deletes = parse_deletes(&body, &RequestLimits::from(&*broker.settings))?;
    let answer = batch::admitted(Some(signed), &broker, body.len(), &deletes, write_delete_answer)?;
    broker.delete(deletes);
    Ok(answer)
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
        let fast = parse_fast(&text, &limits, |item| read_fast(item, &limits)).unwrap();
        assert_eq!(parse_full(&text, &limits, FIELDS, read_full).as_ref(), Ok(&fast));
        let text = format!(r#"[{{{id},"user":5,"channel":"c"}}]"#);
        assert_eq!(parse_deletes(text.as_bytes(), &limits), Ok(fast));
    }
}
