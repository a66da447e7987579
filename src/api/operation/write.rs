//! Writes an endpoint to the document: its errors by status, and its security requirements.

use super::{
    ADMIN_COOKIE, Access, ApiDescription, BOUND_SIGNATURE, CSRF_TOKEN, Operation, SIGNATURE,
    SIGNATURE_IN_QUERY, etag, json,
};
use crate::config::Settings;
use crate::http_error::{self, OverLimit, Refusal};
use crate::protocol::schema;
use crate::telemetry::limits::Limit;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Ref, RefOr, Response, path};

impl Operation {
    /// Builds the endpoint's entry in the document.
    pub fn build(self, description: &mut ApiDescription<'_>) -> path::Operation {
        let built = secured(self.built, self.access, description.settings);
        let at_limits =
            self.limits.iter().map(|limit| Refusal::from(over_limit(*limit, description.settings)));
        let refusals: Vec<Refusal> = self.refusals.into_iter().chain(at_limits).collect();
        let mut operation = with_responses(built, self.answers, &refusals, description).build();
        if self.is_polled
            && let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200")
        {
            answer.headers.insert("etag".into(), etag().into());
        }
        if self.of_demo {
            use_demo_names(&mut operation);
        }
        operation
    }
}

fn secured(mut built: OperationBuilder, access: Access, settings: &Settings) -> OperationBuilder {
    for schemes in schemes(access, settings) {
        let none = Vec::<String>::new;
        let needed = SecurityRequirement::default();
        built = built.security(schemes.iter().fold(needed, |needed, scheme| needed.add(*scheme, none())));
    }
    // An empty list means that no credentials are required. Without the list the document would not say so.
    if access == Access::Open { built.securities(Some([])) } else { built }
}

fn with_responses(
    mut built: OperationBuilder,
    mut answers: BTreeMap<u16, Response>,
    refusals: &[Refusal],
    description: &mut ApiDescription<'_>,
) -> OperationBuilder {
    let mut by_status: BTreeMap<u16, Vec<&Refusal>> = BTreeMap::new();
    for refusal in refusals {
        by_status.entry(refusal.status().as_u16()).or_default().push(refusal);
    }
    for (status, refusals) in by_status {
        let is_own = refusals.iter().any(|refusal| matches!(refusal, Refusal::Invalid(_)));
        let error_response = |schemas| http_error::openapi::response(&refusals, schemas);
        let answer: RefOr<Response> = match answers.remove(&status) {
            Some(answer) => merge(answer, error_response(&mut description.schemas)).into(),
            None if is_own => error_response(&mut description.schemas).into(),
            None => shared(&refusals, description).into(),
        };
        built = built.response(status.to_string(), answer);
    }
    answers.into_iter().fold(built, |built, (status, answer)| built.response(status.to_string(), answer))
}

fn use_demo_names(operation: &mut path::Operation) {
    fn inline<T>(part: &mut RefOr<T>) -> Option<&mut T> {
        match part {
            RefOr::T(part) => Some(part),
            RefOr::Ref(_) => None,
        }
    }
    let bodies = operation.request_body.iter_mut().filter_map(inline);
    let answers = operation.responses.responses.values_mut().filter_map(inline);
    let bodies = bodies.flat_map(|body| body.content.values_mut());
    let contents = bodies.chain(answers.flat_map(|answer| answer.content.values_mut()));
    for content in contents.filter_map(inline) {
        if let Some(example) = &content.example {
            let text = ["lobby", "news", "unknown", "ada"].iter().fold(example.to_string(), |text, name| {
                text.replace(&format!("\"{name}\""), &format!("\"demo:{name}\""))
            });
            // The connection in the other examples belongs to an application, and demo mode does not affect it.
            let text = text.replace("11111111-1111-4111-8111-", "99999999-9999-4999-8999-");
            content.example = json(&text);
        }
    }
}

/// A response shared by several endpoints. Its name is made of its error codes.
fn shared(refusals: &[&Refusal], description: &mut ApiDescription<'_>) -> Ref {
    let codes: Vec<String> = refusals.iter().map(|refusal| http_error::openapi::name(refusal)).collect();
    let name = codes.join("_");
    let ApiDescription { responses, schemas, .. } = description;
    responses.entry(name.clone()).or_insert_with(|| http_error::openapi::response(refusals, schemas));
    Ref::from_response_name(name)
}

/// Merges two responses with the same status.
fn merge(mut one: Response, other: Response) -> Response {
    one.description = format!("{}\n\n{}", one.description, other.description);
    for (name, header) in other.headers {
        match one.headers.entry(name) {
            Entry::Vacant(free) => _ = free.insert(header),
            Entry::Occupied(mut known) => {
                if let (RefOr::T(known), RefOr::T(header)) = (known.get_mut(), header) {
                    known.schema = known.schema.take().zip(header.schema).map(schema::either);
                }
            }
        }
    }
    for (form, content) in other.content {
        one.content.entry(form).or_insert(content);
    }
    one
}

fn over_limit(limit: Limit, settings: &Settings) -> OverLimit {
    OverLimit::of(limit, settings.bound(limit).and_then(|bound| usize::try_from(bound).ok()).unwrap_or(0))
}

/// One of the returned entries is sufficient; an entry with several schemes requires all of them.
fn schemes(access: Access, settings: &Settings) -> Vec<&'static [&'static str]> {
    let admin: &[&[&str]] = match access {
        Access::Open => return Vec::new(),
        Access::Signed => &[],
        Access::SignedOrAdmin => &[&[ADMIN_COOKIE]],
        Access::Command => &[&[ADMIN_COOKIE, CSRF_TOKEN]],
    };
    let for_any_request: &[&[&str]] =
        if settings.require_bound_signatures { &[] } else { &[&[SIGNATURE], &[SIGNATURE_IN_QUERY]] };
    [for_any_request, &[&[BOUND_SIGNATURE]], admin].concat()
}
