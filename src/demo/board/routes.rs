//! The board over HTTP: creating and deleting channels, and pushing to them.
//!
//! Responses have the texts and statuses of the original, including 400. Requests that the original fails at or does
//! not limit get the same errors as on the rest of this server.

use super::state::NotCreated;
use super::{BoardDelete, Create, Exists, Push};
use crate::api::invalid::Invalid;
use crate::api::operation::{Access, ApiDescription, ApiGroup, Operation, in_query, response};
use crate::auth::body::OpenBody;
use crate::console::read;
use crate::demo::Demo;
use crate::demo::pages;
use crate::http_error::{CODE_HEADER, MaxBody, Refusal};
use crate::protocol::json::{self, MalformedJson};
use crate::protocol::schema;
use actix_web::http::{StatusCode, header};
use actix_web::{Error, FromRequest, HttpRequest, HttpResponse, web};
use serde_json::Value;
use utoipa::openapi::path::{HttpMethod, Parameter, ParameterIn};
use utoipa::openapi::{HeaderBuilder, Required, Response};

/// Maximum size of a push body, in bytes.
const MAX_PUSH: usize = 64 << 10;

/// Mounts everything below `/demo/board` except the socket.
pub fn configure(cfg: &mut web::ServiceConfig) {
    let get_only = |path: &str| web::resource(path).default_service(web::to(|| wrong_method("GET, HEAD")));
    cfg.service(
        web::scope("/demo/board")
            .service(get_only("/").route(read().to(pages::board)))
            .service(get_only("/new-channel").route(read().to(new_channel)))
            .service(get_only("/del-channel").route(read().to(del_channel)))
            .service(
                web::resource("/push/{id}")
                    .route(web::post().to(push))
                    .default_service(web::to(|| wrong_method("POST"))),
            )
            .service(
                web::resource(["/new-channel/", "/del-channel/", "/push/{id}/"]).to(pages::without_slash),
            )
            .service(web::resource("").to(pages::with_slash))
            .default_service(web::to(not_found)),
    );
}

/// Describes the endpoint that creates a channel.
pub fn openapi_new_channel(_: &mut ApiDescription<'_>) -> Operation {
    let about = "Demo mode only. All sockets of the board are notified. Paths and responses are those of the original.";
    let bounds = [NotCreated::TooLong, NotCreated::TooMany];
    change_operation("/demo/board/new-channel", "boardNewChannel", "Create a channel of the board", about)
        .refuses(bounds.map(|bound| Invalid::field("id", bound.to_string()).into()))
}

/// Describes the endpoint that deletes a channel.
pub fn openapi_del_channel(_: &mut ApiDescription<'_>) -> Operation {
    let about = "Demo mode only. All sockets of the board are notified.";
    change_operation("/demo/board/del-channel", "boardDelChannel", "Delete a channel of the board", about)
}

/// Describes the endpoint that pushes to a channel.
pub fn openapi_push(api: &mut ApiDescription<'_>) -> Operation {
    let id = Parameter::builder().name("id").parameter_in(ParameterIn::Path).required(Required::True);
    let id =
        id.schema(Some(schema::filled_text())).description(Some("The channel.")).example(Some("news".into()));
    let about = format!(
        "Demo mode only. Any JSON value of at most {MAX_PUSH} bytes. The sockets that have subscribed to the channel \
         receive it."
    );
    board_operation(
        HttpMethod::Post,
        "/demo/board/push/{id}",
        "boardPush",
        "Push to a channel of the board",
        &about,
    )
    .parameter(id)
    .body(schema::anything(), Required::True, r#"{"text": "hi"}"#, api.settings)
    .open_to(MAX_PUSH)
    .responds(400, error_response(StatusCode::BAD_REQUEST, "The channel does not exist."))
    .responds(404, error_response(StatusCode::NOT_FOUND, "The channel's name contains a slash."))
    .refuses(value(b"{", usize::MAX).err())
}

fn change_operation(path: &'static str, id: &str, summary: &str, about: &str) -> Operation {
    let name = in_query(
        "id",
        Required::True,
        schema::text(),
        "Name of the channel, at most 256 characters. There are at most 256 channels.",
    );
    board_operation(HttpMethod::Get, path, id, summary, about)
        .parameter(name.example(Some("news".into())))
        .responds(
            400,
            error_response(
                StatusCode::BAD_REQUEST,
                "The channel exists already, or does not exist, or the query does not name one.",
            ),
        )
}

fn board_operation(
    method: HttpMethod,
    path: &'static str,
    id: &str,
    summary: &str,
    about: &str,
) -> Operation {
    Operation::new(method, path, id, ApiGroup::Demo, Access::Open)
        .about(summary, about)
        .text("Done.", "text/plain")
        .refuses([Refusal::Busy, Refusal::Draining])
}

/// An error with the original's text.
fn error_response(status: StatusCode, about: &str) -> Response {
    let code = if status == StatusCode::NOT_FOUND { "not-found" } else { "invalid" };
    let header = HeaderBuilder::new().schema(Some(schema::one_value_of([code])));
    let header = header.description(Some("The stable error code.")).build();
    let mut refused = response(about, "text/plain", schema::text());
    refused.headers.insert(CODE_HEADER.into(), header.into());
    refused
}

fn plain(status: StatusCode, text: &'static str) -> HttpResponse {
    HttpResponse::build(status).content_type("text/plain; charset=utf-8").body(text)
}

fn done() -> HttpResponse {
    plain(StatusCode::OK, "Done")
}

/// An error with the original's text. Its code prevents middleware from replacing it.
fn refused(status: StatusCode, code: &'static str, text: &'static str) -> HttpResponse {
    let mut answer = plain(status, text);
    answer.headers_mut().insert(CODE_HEADER_NAME, header::HeaderValue::from_static(code));
    answer
}

const CODE_HEADER_NAME: header::HeaderName = header::HeaderName::from_static(CODE_HEADER);

fn bad_identifier() -> HttpResponse {
    refused(StatusCode::BAD_REQUEST, "invalid", "Missing or invalid channel identifier")
}

fn no_channel() -> HttpResponse {
    refused(StatusCode::BAD_REQUEST, "invalid", "Channel doesn't exist")
}

async fn not_found() -> HttpResponse {
    refused(StatusCode::NOT_FOUND, "not-found", "Not Found")
}

async fn wrong_method(allowed: &'static str) -> HttpResponse {
    let mut answer = refused(StatusCode::METHOD_NOT_ALLOWED, "not-found", "Method Not Allowed");
    answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allowed));
    answer
}

/// The channel in a query. Of several, the last one counts, as in the original.
fn identifier(req: &HttpRequest) -> Option<String> {
    let query = web::Query::<Vec<(String, String)>>::from_query(req.query_string()).ok()?;
    let (_, id) = query.into_inner().into_iter().rev().find(|(name, _)| name == "id")?;
    Some(id)
}

/// GET /demo/board/new-channel?id=…
async fn new_channel(demo: web::Data<Demo>, req: HttpRequest) -> Result<HttpResponse, Refusal> {
    let Some(id) = identifier(&req) else { return Ok(bad_identifier()) };
    match demo.ask(&demo.board, Create(id)).await? {
        Ok(()) => Ok(done()),
        Err(NotCreated::Exists) => Ok(bad_identifier()),
        Err(bound) => Err(Invalid::field("id", bound.to_string()).into()),
    }
}

/// GET /demo/board/del-channel?id=…
async fn del_channel(demo: web::Data<Demo>, req: HttpRequest) -> Result<HttpResponse, Refusal> {
    let Some(id) = identifier(&req) else { return Ok(bad_identifier()) };
    let deleted = demo.ask(&demo.board, BoardDelete(id)).await?;
    Ok(if deleted { done() } else { bad_identifier() })
}

/// POST /demo/board/push/{id}: any JSON value, regardless of its content type.
async fn push(
    demo: web::Data<Demo>,
    id: web::Path<String>,
    req: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let id = id.into_inner();
    // `%2F`: the original's router does not match such a path.
    if id.contains('/') {
        return Ok(not_found().await);
    }
    if !demo.ask(&demo.board, Exists(id.clone())).await? {
        return Ok(no_channel());
    }
    let body = OpenBody::<MAX_PUSH>::from_request(&req, &mut payload.into_inner()).await?;
    let value = value(&body, demo.settings.max_json_depth)?;
    let pushed = demo.ask(&demo.board, Push(id, value)).await?;
    Ok(if pushed { done() } else { no_channel() })
}

fn value(body: &[u8], max_depth: usize) -> Result<Value, Refusal> {
    if body.len() > MAX_PUSH {
        return Err(Refusal::BodyTooLarge(MaxBody::OfPath(MAX_PUSH)));
    }
    let text = json::check(body, max_depth).map_err(malformed)?;
    serde_json::from_str(text).map_err(|error| malformed(MalformedJson::from_serde(&error)))
}

fn malformed(malformed: MalformedJson) -> Refusal {
    Invalid::schema(malformed.to_string()).into()
}
