//! The board over HTTP: creating and deleting channels, and pushing to them.
//!
//! Responses have the texts and statuses of the original, including 400. Requests that the original fails at or does
//! not limit get the same errors as on the rest of this server.

use super::state::NotCreated;
use super::{BoardDelete, Create, Exists, Push};
use crate::api::answer::Invalid;
use crate::auth::body::OpenBody;
use crate::console::read;
use crate::demo::Demo;
use crate::demo::pages;
use crate::http_error::{CODE_HEADER, MaxBody, Refusal};
use crate::protocol::json::{self, MalformedJson};
use actix_web::http::{StatusCode, header};
use actix_web::{Error, FromRequest, HttpRequest, HttpResponse, web};
use serde_json::Value;

/// Maximum size of a push body, in bytes.
pub const MAX_PUSH: usize = 64 << 10;

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
