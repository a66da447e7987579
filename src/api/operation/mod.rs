//! The OpenAPI description of one endpoint. Each endpoint provides its own, next to its handler.

mod write;

use super::invalid::Invalid;
use super::limits::RequestLimits;
use crate::auth::body::FORM_BYTES;
use crate::config::Settings;
use crate::http_error::{MaxBody, Refusal};
use crate::protocol::schema::{self, SchemaRegistry, ValueSchema};
use crate::telemetry::limits::Limit;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{Content, ContentBuilder, Header, HeaderBuilder, Required, Response, ResponseBuilder};

/// The security scheme of a signature in a header.
pub const SIGNATURE: &str = "signature";
/// The security scheme of a signature in the query.
pub const SIGNATURE_IN_QUERY: &str = "signatureInQuery";
/// The security scheme of a signature bound to its request.
pub const BOUND_SIGNATURE: &str = "boundSignature";
/// The security scheme of the admin's cookie.
pub const ADMIN_COOKIE: &str = "adminCookie";
/// The security scheme of the token that accompanies the cookie.
pub const CSRF_TOKEN: &str = "csrfToken";

/// State that all endpoint descriptions share.
pub struct ApiDescription<'a> {
    /// The server's settings: the description contains the configured limits.
    pub settings: &'a Settings,
    /// The same limits, in the form that body readers use.
    pub limits: RequestLimits,
    pub schemas: SchemaRegistry,
    pub responses: BTreeMap<String, Response>,
}

impl<'a> ApiDescription<'a> {
    /// Creates an empty description.
    pub fn new(settings: &'a Settings) -> Self {
        Self {
            settings,
            limits: RequestLimits::from(settings),
            schemas: SchemaRegistry::default(),
            responses: BTreeMap::new(),
        }
    }
}

/// The group of callers that an endpoint serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiGroup {
    /// Web applications, which sign their requests.
    Backends,
    /// Browsers of the applications' users.
    Browsers,
    /// Operators of the server.
    Operators,
    /// The operators' console.
    Console,
    /// The pages of demo mode.
    Demo,
}

impl ApiGroup {
    /// All groups, in the order of the document.
    pub const ALL: [Self; 5] = [Self::Backends, Self::Browsers, Self::Operators, Self::Console, Self::Demo];

    /// The OpenAPI tag of the group's endpoints.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Backends => "backends",
            Self::Browsers => "browsers",
            Self::Operators => "operators",
            Self::Console => "console",
            Self::Demo => "demo",
        }
    }

    /// The description of the tag.
    pub fn about(self) -> &'static str {
        match self {
            Self::Backends => "For web applications, which decide about permissions. Every call is signed.",
            Self::Browsers => {
                "For the browsers of users, which receive events. Calls are not signed; only the user knows the \
                 `conn_id`."
            }
            Self::Operators => "For operators of the server: pages, figures, this document.",
            Self::Console => {
                "Used by the console: paginated lists, single objects, commands. Lists carry an `ETag`, so that \
                 polling costs little; commands of a signed-in admin require the token of the sign-in."
            }
            Self::Demo => {
                "Demo mode only: the backend of the live demo, and the small APIs of the demos. Calls are not signed, \
                 and affect only users and channels whose names begin with `demo:`; the server adds this prefix to \
                 other names."
            }
        }
    }
}

/// The credentials that an endpoint requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// None. A signature that is present must still be valid.
    Open,
    Signed,
    /// A signature or the admin's cookie.
    SignedOrAdmin,
    /// A signature, or the admin's cookie with the token of the sign-in.
    Command,
}

/// The description of one endpoint.
pub struct Operation {
    pub path: &'static str,
    pub method: HttpMethod,
    built: OperationBuilder,
    answers: BTreeMap<u16, Response>,
    access: Access,
    refusals: Vec<Refusal>,
    limits: Vec<Limit>,
    is_polled: bool,
    of_demo: bool,
}

impl Operation {
    /// An endpoint with its unique operation id.
    pub fn new(method: HttpMethod, path: &'static str, id: &str, public: ApiGroup, access: Access) -> Self {
        let built = OperationBuilder::new().operation_id(Some(id)).tag(public.tag());
        let mut refusals = vec![
            Refusal::Malformed("This is not an HTTP/1.1 request."),
            Refusal::HttpsRequired,
            Refusal::BadSignature,
            Refusal::WellKnownSecret("came through a proxy"),
            Refusal::Internal,
        ];
        if access == Access::Signed {
            refusals.extend([Refusal::SignatureMissing, Refusal::AddressNotAllowed]);
        }
        if access == Access::Command {
            refusals.extend([Refusal::SignatureMissing, Refusal::CsrfToken]);
        }
        // These limits are checked before the path is known.
        let limits = vec![Limit::SocketsPerAddress, Limit::ConnectRate, Limit::HeaderTime, Limit::Head];
        let answers = BTreeMap::new();
        Self { path, method, built, answers, access, refusals, limits, is_polled: false, of_demo: false }
    }

    /// Its summary and its description.
    pub fn about(self, summary: &str, text: &str) -> Self {
        Self { built: self.built.summary(Some(summary)).description(Some(text)), ..self }
    }

    /// The answer carries an `ETag`. A request that names the current one gets 304.
    pub fn polled(self) -> Self {
        let known = Parameter::builder().name("If-None-Match").parameter_in(ParameterIn::Header);
        let known = known.required(Required::False).schema(Some(schema::text()));
        let known = known.description(Some("The `ETag` of the answer that the client has, or several."));
        let kept = ResponseBuilder::new()
            .description("The client already has the current answer.")
            .header("etag", etag());
        Self { is_polled: true, ..self.parameter(known).responds(304, kept.build()) }
    }

    /// The examples name users, channels and a connection of the live demo.
    pub fn of_demo(self) -> Self {
        Self { of_demo: true, ..self }
    }

    pub fn parameter(self, parameter: ParameterBuilder) -> Self {
        Self { built: self.built.parameter(parameter), ..self }
    }

    /// A JSON body with a schema and an example.
    pub fn body(self, shape: ValueSchema, required: Required, example: &str, settings: &Settings) -> Self {
        let content = ContentBuilder::new().schema(Some(shape)).example(json(example)).build();
        let body = RequestBodyBuilder::new()
            .description(Some("Parsed as JSON regardless of the content type, in the charset that it names."))
            .required(Some(required))
            .content("application/json", content)
            .build();
        let built = self.built.request_body(Some(body));
        // The total size of bodies being read is limited, too.
        Self { built, ..self }
            .reads_body()
            .refuses([Refusal::BodyTooLarge(MaxBody::OfSettings(settings.max_body_bytes)), Refusal::Busy])
    }

    /// The body that an HTML form sends.
    pub fn form(self, shape: ValueSchema) -> Self {
        let content = ContentBuilder::new().schema(Some(shape)).build();
        let body = RequestBodyBuilder::new().required(Some(Required::False));
        let built =
            self.built.request_body(Some(body.content("application/x-www-form-urlencoded", content).build()));
        Self { built, ..self }.reads_body().open_to(FORM_BYTES)
    }

    /// The endpoint requires no signature. Without one, a body has at most this many bytes.
    pub fn open_to(self, bytes: usize) -> Self {
        self.refuses([Refusal::BodyTooLarge(MaxBody::OfPath(bytes))])
    }

    fn reads_body(self) -> Self {
        self.refuses([Refusal::BodyEncoded("gzip".into()), Refusal::BodyTooSlow])
            .limited_by([Limit::BodyTime])
    }

    /// A response with status 200 and plain text of some type.
    pub fn text(self, text: &str, content_type: &str) -> Self {
        self.responds(200, response(text, content_type, schema::text()))
    }

    /// A redirect with status 302.
    pub fn redirects(self, text: &str) -> Self {
        let location =
            HeaderBuilder::new().schema(Some(schema::text())).description(Some("The target.")).build();
        let mut found = response(text, "text/html", schema::text());
        found.headers.insert("location".into(), location.into());
        self.responds(302, found)
    }

    /// A JSON response with status 200 and an example.
    pub fn answer(self, text: &str, shape: ValueSchema, example: &str) -> Self {
        self.responds(200, json_response(text, shape, example).build())
    }

    /// The same, where the request may also get a response of another type.
    pub fn answer_or(self, text: &str, shape: ValueSchema, example: &str, other: (&str, Content)) -> Self {
        let (content_type, content) = other;
        self.responds(200, json_response(text, shape, example).content(content_type, content).build())
    }

    /// Any other response: a success, or an error in a special form.
    pub fn responds(mut self, status: u16, response: Response) -> Self {
        self.answers.insert(status, response);
        self
    }

    /// Errors in addition to those of all endpoints.
    pub fn refuses(mut self, refusals: impl IntoIterator<Item = Refusal>) -> Self {
        for refusal in refusals {
            if !self.refusals.contains(&refusal) {
                self.refusals.push(refusal);
            }
        }
        self
    }

    /// Limits in addition to those of all endpoints.
    pub fn limited_by(mut self, limits: impl IntoIterator<Item = Limit>) -> Self {
        self.limits.extend(limits);
        self
    }

    /// The error of an invalid body, produced by the endpoint's own reader.
    pub fn refuses_body<T>(self, read: Result<T, Invalid>) -> Self {
        self.refuses(read.err().map(Refusal::from))
    }

    /// The endpoint queries the registry, which may be busy or shutting down.
    pub fn asks_registry(self) -> Self {
        self.refuses([Refusal::Busy, Refusal::Draining])
    }
}

fn etag() -> Header {
    let about = "Identifies the answer; unchanged as long as the answer is.";
    HeaderBuilder::new().schema(Some(schema::text())).description(Some(about)).build()
}

fn json_response(text: &str, shape: ValueSchema, example: &str) -> ResponseBuilder {
    let content = ContentBuilder::new().schema(Some(shape)).example(json(example)).build();
    ResponseBuilder::new().description(text).content("application/json", content)
}

/// A response of one content type.
pub fn response(text: &str, content_type: &str, shape: ValueSchema) -> Response {
    let content = ContentBuilder::new().schema(Some(shape)).build();
    ResponseBuilder::new().description(text).content(content_type, content).build()
}

pub fn in_query(name: &str, required: Required, shape: ValueSchema, text: &str) -> ParameterBuilder {
    let parameter = Parameter::builder().name(name).parameter_in(ParameterIn::Query).required(required);
    parameter.schema(Some(shape)).description(Some(text))
}

fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}
