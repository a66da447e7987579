//! Refusals in the OpenAPI document: by status, with codes, bodies and examples.

use super::{CODE_HEADER, LIMIT_HEADER, MaxBody, OverLimit, Refusal};
use crate::protocol::schema::{self, ObjectSchema, SchemaRegistry, ValueSchema};
use crate::telemetry::limits::Limit;
use actix_web::body::MessageBody;
use serde_json::Value;
use std::collections::BTreeSet;
use utoipa::openapi::{ContentBuilder, HeaderBuilder, Response, ResponseBuilder, example::ExampleBuilder};

impl Refusal {
    /// One of each kind, in the order of the enumeration.
    pub fn one_of_each() -> Vec<Self> {
        std::iter::successors(Some(Self::AddressNotAllowed), Self::successor).collect()
    }

    /// The next kind in the enumeration. The compiler requires a line here for a new one.
    fn successor(&self) -> Option<Self> {
        Some(match self {
            Self::AddressNotAllowed => Self::OriginNotAllowed,
            Self::OriginNotAllowed => Self::SignatureMissing,
            Self::SignatureMissing => Self::BadSignature,
            Self::BadSignature => Self::WellKnownSecret("came through a proxy"),
            Self::WellKnownSecret(_) => Self::CsrfToken,
            Self::CsrfToken => Self::TooManyTries(30),
            Self::TooManyTries(_) => Self::NotFound("/nowhere".into()),
            Self::NotFound(_) => Self::UnknownConnection,
            Self::UnknownConnection => {
                Self::TokenRefused(serde_json::json!({ "token": ["Not a valid token."] }))
            }
            Self::TokenRefused(_) => Self::NoSuchSocket,
            Self::NoSuchSocket => Self::Invalid(serde_json::json!({ "_schema": ["Invalid input type."] })),
            Self::Invalid(_) => Self::UnacceptableCallback,
            Self::UnacceptableCallback => Self::BodyTooLarge(MaxBody::OfSettings(8 << 20)),
            Self::BodyTooLarge(_) => Self::BodyEncoded("gzip".into()),
            Self::BodyEncoded(_) => Self::BodyTooSlow,
            Self::BodyTooSlow => Self::Malformed("This is not an HTTP/1.1 request."),
            Self::Malformed(_) => Self::HttpsRequired,
            Self::HttpsRequired => Self::UpgradeRequired,
            Self::UpgradeRequired => Self::OverLimit(OverLimit::of(Limit::Sessions, 10_000)),
            Self::OverLimit(_) => Self::Busy,
            Self::Busy => Self::Draining,
            Self::Draining => Self::Internal,
            Self::Internal => return None,
        })
    }

    /// The schema of its JSON body.
    fn schema(&self, registry: &mut SchemaRegistry) -> ValueSchema {
        match self {
            Self::BadSignature => registry.named("BadSignature", |_| {
                let text = schema::one_value_of(["Bad Signature"]);
                ObjectSchema::new().key("request", text, "The error of the request.").shape()
            }),
            Self::Invalid(Value::Array(_)) => schema::list(schema::text()),
            Self::Invalid(_) | Self::TokenRefused(_) => registry.named("Errors", errors),
            Self::OverLimit(over) if over.names_field() => registry.named("Errors", errors),
            Self::OverLimit(_) => registry.named("LimitReached", |_| limit_reached()),
            _ => registry.named("Problem", |_| problem()),
        }
    }

    /// Whether its body is JSON with every `Accept`.
    fn is_json_only(&self) -> bool {
        self.own_body().is_some()
    }

    /// Whether it is for a limit that is switched off.
    fn is_off(&self) -> bool {
        matches!(self, Self::OverLimit(over) if over.bound == 0)
    }

    /// The title of its example.
    fn summary(&self) -> String {
        match self {
            Self::OverLimit(over) => over.message(),
            _ => self.row().text.to_owned(),
        }
    }

    fn example(&self) -> Value {
        let body = self.response(None).into_body().try_into_bytes().unwrap_or_default();
        serde_json::from_slice(&body).unwrap_or_default()
    }
}

fn errors(registry: &mut SchemaRegistry) -> ValueSchema {
    let texts = schema::list(schema::text());
    let tree = registry.named("Errors", |_| schema::anything());
    let text = "All errors by field: a list of texts, or a tree of such lists. The levels of the tree are the indexes of \
        lists, and the key and `value` of mappings. Errors of the whole object are under `_schema`.";
    schema::about(schema::mapping(schema::any_of([texts, tree])), text)
}

fn problem() -> ValueSchema {
    problem_keys().shape()
}

fn problem_keys() -> ObjectSchema {
    ObjectSchema::new()
        .key("message", schema::text(), "The error as a sentence.")
        .key("code", schema::text(), "The status and its name.")
        .key("title", schema::text(), "The name of the status.")
}

fn limit_reached() -> ValueSchema {
    problem_keys().key("limit", schema::text(), "The setting of the limit.").shape()
}

/// The name of a refusal in the document: for a limit its setting, otherwise its code.
pub fn name(refusal: &Refusal) -> String {
    match refusal {
        Refusal::OverLimit(over) => over.limit.setting().to_owned(),
        _ => refusal.code().to_owned(),
    }
}

/// The response for one status and the refusals that have it.
pub fn response(refusals: &[&Refusal], registry: &mut SchemaRegistry) -> Response {
    let codes: BTreeSet<&str> = refusals.iter().map(|refusal| refusal.code()).collect();
    let code_header = HeaderBuilder::new()
        .schema(Some(schema::one_value_of(codes)))
        .description(Some("The stable code of the refusal."))
        .build();
    let mut response =
        ResponseBuilder::new().description(description(refusals)).header(CODE_HEADER, code_header);
    if refusals.iter().any(|refusal| refusal.retry_after_s().is_some()) {
        let seconds = HeaderBuilder::new().schema(Some(schema::count()));
        let seconds = seconds.description(Some("Seconds to wait before the next attempt."));
        response = response.header("retry-after", seconds.build());
    }
    let settings: BTreeSet<&str> = refusals.iter().filter_map(|refusal| refusal.named_limit()).collect();
    if !settings.is_empty() {
        let named = HeaderBuilder::new().schema(Some(schema::one_value_of(settings)));
        let named = named.description(Some("The setting of the limit that is reached, if any."));
        response = response.header(LIMIT_HEADER, named.build());
    }
    let mut schemas: Vec<ValueSchema> = Vec::new();
    for refusal in refusals {
        let schema = refusal.schema(registry);
        if !schemas.contains(&schema) {
            schemas.push(schema);
        }
    }
    let body = match schemas.len() {
        2.. => schema::any_of(schemas),
        _ => schemas.pop().unwrap_or_else(schema::anything),
    };
    let examples = refusals.iter().enumerate().filter(|(_, refusal)| !refusal.is_off());
    let examples = examples.map(|(index, refusal)| {
        let name = if index == 0 { name(refusal) } else { format!("{}-{index}", name(refusal)) };
        (name, ExampleBuilder::new().summary(refusal.summary()).value(Some(refusal.example())).build())
    });
    let json = ContentBuilder::new().schema(Some(body)).examples_from_iter(examples).build();
    response = response.content("application/json", json);
    if !refusals.iter().all(|refusal| refusal.is_json_only()) {
        for form in ["text/plain", "text/html"] {
            response = response.content(form, ContentBuilder::new().schema(Some(schema::text())).build());
        }
    }
    response.build()
}

/// Describes the codes and the reason for each.
fn description(refusals: &[&Refusal]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for refusal in refusals {
        let line = match refusal {
            Refusal::OverLimit(over) if refusal.is_off() => {
                format!("`{}`: does not occur, because `{}` is 0.", refusal.code(), over.limit.setting())
            }
            Refusal::OverLimit(over) => format!("`{}`: {}", refusal.code(), over.message()),
            _ => format!("`{}`: {}", refusal.code(), refusal.row().when),
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("\n\n")
}
