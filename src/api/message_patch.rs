//! PATCH /message: change messages that were said.

use super::answer;
use super::batch::{self, Item, Took, check_frame, frame_fits};
use super::delivery::{self, write_payload, write_plain, write_user};
use super::fields::{Fields, USER_NAME, length_fits, payload, string, timestamp, uuid};
use super::invalid::Invalid;
use super::limits::Limits;
use crate::error::Refusal;
use crate::gate::backend::Backend;
use crate::gate::body::Body;
use crate::gate::guard::Signed;
use crate::registry::messages::Publish;
use crate::wire::json;
use crate::wire::message::Edit;
use crate::wire::time::Timestamp;
use crate::wire::value::Payload;
use actix_web::{HttpResponse, web};

const FIELDS: &[&str] =
    &["pm_users", "exclude_users", "channel", "no_history", "uuid", "timestamp", "user", "message", "edited"];

/// Reads a body. Edits for nobody stay in: they change nothing and are answered, as in the original.
///
/// `now` stamps edits that do not say when they were made.
pub fn parse_edits(body: &[u8], limits: &Limits, now: Timestamp) -> Result<Vec<Edit>, Invalid> {
    batch::parse(body, limits, |item| quick(item, limits, now), FIELDS, |fields| careful(fields, limits, now))
}

fn quick(mut item: Item<'_>, limits: &Limits, now: Timestamp) -> Option<Took<Edit>> {
    // Rare enough that the careful way may read the time of an edit.
    if item.edited.is_some() {
        return None;
    }
    let delivery = delivery::take(&mut item, limits)?;
    let uuid = item.uuid?;
    if item.user.as_ref().is_some_and(|user| !length_fits(user, &USER_NAME)) {
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
    Some(Took::Keep(Edit { uuid, timestamp, user: item.user, message, edited: now, delivery }))
}

fn careful(fields: &mut Fields<'_>, limits: &Limits, now: Timestamp) -> Option<Took<Edit>> {
    let delivery = delivery::read(fields, limits);
    let uuid = fields.required("uuid", uuid);
    let given_timestamp = fields.given("timestamp", timestamp);
    let user = fields.given("user", |raw| string(raw, &USER_NAME));
    let message = fields.given("message", payload);
    let edited = fields.given("edited", timestamp).unwrap_or(now);
    check_frame(fields, message.as_ref(), user.as_deref(), delivery.channel.as_deref(), limits);
    Some(Took::Keep(Edit { uuid: uuid?, timestamp: given_timestamp, user, message, edited, delivery }))
}

/// Appends the answer: what was given, and when it was edited.
pub fn write_edit_answer(edits: &[Edit], out: &mut Vec<u8>) {
    json::write_list(edits, out, |edit, out| {
        delivery::write(&edit.delivery, &edit.uuid, out);
        if let Some(timestamp) = &edit.timestamp {
            write_plain("timestamp", &timestamp.answer(), out);
        }
        if let Some(user) = &edit.user {
            write_user(user, out);
        }
        write_payload(edit.message.as_ref(), out);
        write_plain("edited", &edit.edited.answer(), out);
        out.push(b'}');
    });
}

/// PATCH /message.
///
/// # Errors
/// `Invalid`, `Busy`.
pub async fn patch(_: Signed, backend: web::Data<Backend>, body: Body) -> Result<HttpResponse, Refusal> {
    let edits = parse_edits(&body, &Limits::from(&*backend.settings), Timestamp::now())?;
    backend.admit()?;
    let mut out = Vec::new();
    write_edit_answer(&edits, &mut out);
    backend.publish(Publish::Edit(edits));
    Ok(answer::json(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::batch::{carefully, quickly};
    use crate::settings::Settings;

    #[test]
    fn both_ways_agree() {
        let (limits, now) = (Limits::from(&Settings::default()), Timestamp::now());
        let id = "\"uuid\":\"0a1b2c3d4e5f60718293a4b5c6d7e8f9\"";
        for rest in ["", r#","user":"u""#, r#","timestamp":"2010-01-01T01:01","channel":"c","message":{ }"#] {
            let text = format!("[{{{id}{rest}}}]");
            let quickly = quickly(&text, &limits, |item| quick(item, &limits, now)).unwrap();
            assert_eq!(
                carefully(&text, &limits, FIELDS, |fields| careful(fields, &limits, now)),
                Ok(quickly),
                "{text}"
            );
        }
        for rest in [r#","user":"""#, r#","message":[]"#, r#","edited":"x""#, r#","timestamp":"x""#] {
            let text = format!("[{{{id}{rest}}}]");
            assert!(quickly(&text, &limits, |item| quick(item, &limits, now)).is_none(), "{text}");
            assert!(parse_edits(text.as_bytes(), &limits, now).is_err(), "{text}");
        }
    }
}
