//! Replaces the path of a request by the one that the routes use, so that rules, router and handlers all use this path.

use crate::auth::Gate;
use crate::http_error::Refusal;
use actix_web::HttpMessage;
use actix_web::dev::ServiceRequest;
use actix_web::http::uri::{PathAndQuery, Uri};

/// The path as the client sent it, if it differs from the one that the routes use.
struct PathAsSent(String);

/// Rewrites the request's path.
///
/// # Errors
/// `NotFound` for a path that has no form for the routes, for example because it would be too long.
pub fn rewrite_path(gate: &Gate, req: &mut ServiceRequest) -> Result<(), Refusal> {
    let inner = gate.inner_path(req.head());
    if inner == req.uri().path() {
        return Ok(());
    }
    let sent = gate.path_as_sent(req.head()).into_owned();
    let uri = with_path(req.uri(), &inner).ok_or_else(|| Refusal::NotFound(sent.clone()))?;
    req.match_info_mut().get_mut().update(&uri);
    req.head_mut().uri = uri;
    req.extensions_mut().insert(PathAsSent(sent));
    Ok(())
}

/// The path as the client sent it, without a proxy's prefix. A bound signature covers this form.
pub fn path_as_sent(req: &ServiceRequest) -> String {
    let kept = req.extensions().get::<PathAsSent>().map(|sent| sent.0.clone());
    kept.unwrap_or_else(|| req.path().to_owned())
}

/// The same target with another path. A target in absolute form keeps its host, which is checked as well.
fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}
