//! What the API's description says of one endpoint. Each says it itself, beside its handler.

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

/// The security scheme of a signature in the header.
pub const SIGNATURE: &str = "signature";
/// The security scheme of a signature in the query.
pub const SIGNATURE_IN_QUERY: &str = "signatureInQuery";
/// The security scheme of a signature that is bound to its request.
pub const BOUND_SIGNATURE: &str = "boundSignature";
/// The security scheme of the admin's cookie.
pub const ADMIN_COOKIE: &str = "adminCookie";
/// The security scheme of the token that goes with the cookie.
pub const CSRF_TOKEN: &str = "csrfToken";

/// What endpoints describe themselves with, and what they have in common.
pub struct Description<'a> {
    /// The server's settings: limits are told as they are.
    pub settings: &'a Settings,
    /// The same, as the readers of bodies know them.
    pub limits: RequestLimits,
    /// Shapes with names.
    pub book: SchemaRegistry,
    /// Responses with names.
    pub responses: BTreeMap<String, Response>,
}

impl<'a> Description<'a> {
    /// Nothing is described yet.
    pub fn new(settings: &'a Settings) -> Self {
        Self {
            settings,
            limits: RequestLimits::from(settings),
            book: SchemaRegistry::default(),
            responses: BTreeMap::new(),
        }
    }
}

/// Who calls an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Public {
    /// Web applications, with a signature.
    Backends,
    /// Browsers, for their users.
    Browsers,
    /// Those who run the server.
    Operators,
    /// The console of those who run the server.
    Console,
    /// The pages of demo mode.
    Demo,
}

impl Public {
    /// All, in the order of the document.
    pub const ALL: [Self; 5] = [Self::Backends, Self::Browsers, Self::Operators, Self::Console, Self::Demo];

    /// The tag of its endpoints.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Backends => "backends",
            Self::Browsers => "browsers",
            Self::Operators => "operators",
            Self::Console => "console",
            Self::Demo => "demo",
        }
    }

    /// A sentence about it.
    pub fn about(self) -> &'static str {
        match self {
            Self::Backends => "For web applications: they decide who may do what. Every call is signed.",
            Self::Browsers => {
                "For their users' browsers, which listen. Nothing is signed; the `conn_id` is known to its user alone."
            }
            Self::Operators => "For those who run the server: pages, figures, this document.",
            Self::Console => {
                "What the console asks and does: lists in pages, single things, commands. Lists come with an `ETag`, so \
                 that polling costs little; commands of a signed-in admin need the token of the sign-in."
            }
            Self::Demo => {
                "Demo mode only: the backend of the live demo, and the demos' little APIs. Nothing is signed, and nothing \
                 is touched but users and channels whose names begin with `demo:`; other names get that in front."
            }
        }
    }
}

/// What opens an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing is asked for; a signature that is there must be good all the same.
    Open,
    /// A signature.
    Signed,
    /// A signature or the admin's cookie.
    SignedOrAdmin,
    /// A signature, or the admin's cookie with the token of the sign-in.
    Command,
}

/// One endpoint, described.
pub struct Operation {
    /// Its path.
    pub path: &'static str,
    /// Its method.
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
    /// An endpoint with its identity, one word that no other has.
    pub fn new(method: HttpMethod, path: &'static str, id: &str, public: Public, access: Access) -> Self {
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
        // These are kept before it is known what is asked for.
        let limits = vec![Limit::SocketsPerAddress, Limit::ConnectRate, Limit::HeaderTime, Limit::Head];
        let answers = BTreeMap::new();
        Self { path, method, built, answers, access, refusals, limits, is_polled: false, of_demo: false }
    }

    /// What it does: in a few words, and in sentences.
    pub fn about(self, summary: &str, text: &str) -> Self {
        Self { built: self.built.summary(Some(summary)).description(Some(text)), ..self }
    }

    /// Its answer carries an `ETag`, and whoever has it already gets 304.
    pub fn polled(self) -> Self {
        let known = Parameter::builder().name("If-None-Match").parameter_in(ParameterIn::Header);
        let known = known.required(Required::False).schema(Some(schema::text()));
        let known = known.description(Some("The `ETag` of the answer that the sender has, or several."));
        let kept = ResponseBuilder::new().description("The sender has it already.").header("etag", etag());
        Self { is_polled: true, ..self.parameter(known).responds(304, kept.build()) }
    }

    /// Its examples name users, channels and a connection of the live demo.
    pub fn of_demo(self) -> Self {
        Self { of_demo: true, ..self }
    }

    /// A parameter.
    pub fn parameter(self, parameter: ParameterBuilder) -> Self {
        Self { built: self.built.parameter(parameter), ..self }
    }

    /// A JSON body of this shape, with an example.
    pub fn body(self, shape: ValueSchema, required: Required, example: &str, settings: &Settings) -> Self {
        let content = ContentBuilder::new().schema(Some(shape)).example(json(example)).build();
        let body = RequestBodyBuilder::new()
            .description(Some("Read as JSON whatever its content type says, in the charset that it names."))
            .required(Some(required))
            .content("application/json", content)
            .build();
        let built = self.built.request_body(Some(body));
        // Bodies under way are bounded together, too.
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

    /// Anybody may call it: without a signature a body has at most this many bytes.
    pub fn open_to(self, bytes: usize) -> Self {
        self.refuses([Refusal::BodyTooLarge(MaxBody::OfPath(bytes))])
    }

    fn reads_body(self) -> Self {
        self.refuses([Refusal::BodyEncoded("gzip".into()), Refusal::BodyTooSlow])
            .limited_by([Limit::BodyTime])
    }

    /// An answer with 200 that is text of some type.
    pub fn text(self, text: &str, content_type: &str) -> Self {
        self.responds(200, response(text, content_type, schema::text()))
    }

    /// Leads elsewhere with 302.
    pub fn redirects(self, text: &str) -> Self {
        let location =
            HeaderBuilder::new().schema(Some(schema::text())).description(Some("Where to.")).build();
        let mut found = response(text, "text/html", schema::text());
        found.headers.insert("location".into(), location.into());
        self.responds(302, found)
    }

    /// A JSON answer with 200, with an example.
    pub fn answer(self, text: &str, shape: ValueSchema, example: &str) -> Self {
        self.responds(200, json_response(text, shape, example).build())
    }

    /// The same, where the request may also lead to an answer of another type.
    pub fn answer_or(self, text: &str, shape: ValueSchema, example: &str, other: (&str, Content)) -> Self {
        let (content_type, content) = other;
        self.responds(200, json_response(text, shape, example).content(content_type, content).build())
    }

    /// Any other answer: none that is refused, or a refusal in a form of its own.
    pub fn responds(mut self, status: u16, response: Response) -> Self {
        self.answers.insert(status, response);
        self
    }

    /// Refusals beside those that everybody may get.
    pub fn refuses(mut self, refusals: impl IntoIterator<Item = Refusal>) -> Self {
        for refusal in refusals {
            if !self.refusals.contains(&refusal) {
                self.refusals.push(refusal);
            }
        }
        self
    }

    /// Limits of the server beside those of all requests, at which it is refused.
    pub fn limited_by(mut self, limits: impl IntoIterator<Item = Limit>) -> Self {
        self.limits.extend(limits);
        self
    }

    /// The refusal of a body, said by its own reader.
    pub fn refuses_body<T>(self, read: Result<T, Invalid>) -> Self {
        self.refuses(read.err().map(Refusal::from))
    }

    /// It asks the registry, which may be busy or gone.
    pub fn asks_registry(self) -> Self {
        self.refuses([Refusal::Busy, Refusal::Draining])
    }
}

fn etag() -> Header {
    let about = "Names the answer; the same as long as nothing has changed.";
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

/// A parameter of the query.
pub fn in_query(name: &str, required: Required, shape: ValueSchema, text: &str) -> ParameterBuilder {
    let parameter = Parameter::builder().name(name).parameter_in(ParameterIn::Query).required(required);
    parameter.schema(Some(shape)).description(Some(text))
}

fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}
