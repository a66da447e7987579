//! DELETE /message: take back messages that were said.

use super::answer;
use super::batch::{self, Item, Took};
use super::delivery;
use super::fields::{Fields, uuid};
use super::invalid::Invalid;
use super::limits::Limits;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::gate::body::Body;
use crate::gate::guard::Signed;
use crate::registry::messages::Publish;
use crate::wire::json;
use crate::wire::message::Delete;
use actix_web::{HttpResponse, web};

const FIELDS: &[&str] = &["pm_users", "exclude_users", "channel", "no_history", "uuid"];

/// Reads a body. Deletions for nobody stay in: they change nothing and are answered, as in the original.
pub fn parse_deletes(body: &[u8], limits: &Limits) -> Result<Vec<Delete>, Invalid> {
    batch::parse(body, limits, |item| quick(item, limits), FIELDS, |fields| careful(fields, limits))
}

fn quick(mut item: Item<'_>, limits: &Limits) -> Option<Took<Delete>> {
    let delivery = delivery::take(&mut item, limits)?;
    Some(Took::Keep(Delete { uuid: item.uuid?, delivery }))
}

fn careful(fields: &mut Fields<'_>, limits: &Limits) -> Option<Took<Delete>> {
    let delivery = delivery::read(fields, limits);
    let uuid = fields.required("uuid", uuid);
    Some(Took::Keep(Delete { uuid: uuid?, delivery }))
}

/// Appends the answer: the deletions as they were understood.
pub fn write_delete_answer(deletes: &[Delete], out: &mut Vec<u8>) {
    json::write_list(deletes, out, |delete, out| {
        delivery::write(&delete.delivery, &delete.uuid, out);
        out.push(b'}');
    });
}

/// DELETE /message.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn delete(_: Signed, backend: web::Data<Backend>, body: Body) -> Result<HttpResponse, Refusal> {
    let deletes = parse_deletes(&body, &Limits::from(&*backend.settings))?;
    backend.admit()?;
    let mut out = Vec::new();
    write_delete_answer(&deletes, &mut out);
    backend.publish(Publish::Delete(deletes));
    Ok(answer::json(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::batch::{carefully, quickly};
    use crate::settings::Settings;

    #[test]
    fn fields_of_messages_are_dropped_both_ways() {
        let limits = Limits::from(&Settings::default());
        let id = "\"uuid\":\"0a1b2c3d4e5f60718293a4b5c6d7e8f9\"";
        let text = format!(r#"[{{{id},"user":"","message":[1],"timestamp":"x","channel":"c"}}]"#);
        let quickly = quickly(&text, &limits, |item| quick(item, &limits)).unwrap();
        assert_eq!(
            carefully(&text, &limits, FIELDS, |fields| careful(fields, &limits)).as_ref(),
            Ok(&quickly)
        );
        let text = format!(r#"[{{{id},"user":5,"channel":"c"}}]"#);
        assert_eq!(parse_deletes(text.as_bytes(), &limits), Ok(quickly));
    }
}
