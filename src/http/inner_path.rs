//! Puts the path as the routes know it in the place of the one that was sent, so that the rules, the router and the
//! handlers read one path.

use crate::auth::Gate;
use crate::http_error::Refusal;
use actix_web::HttpMessage;
use actix_web::dev::ServiceRequest;
use actix_web::http::uri::{PathAndQuery, Uri};

/// The path in its sender's spelling, where that is another one than the routes know.
struct PathAsSent(String);

/// Rewrites the request's path.
///
/// # Errors
/// `NotFound` for a path that cannot be written in the form that the routes know, such as one that is too long then.
pub fn lead_inside(gate: &Gate, req: &mut ServiceRequest) -> Result<(), Refusal> {
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

/// The path without a proxy's prefix in its sender's spelling, which a bound signature is made over.
pub fn path_as_sent(req: &ServiceRequest) -> String {
    let kept = req.extensions().get::<PathAsSent>().map(|sent| sent.0.clone());
    kept.unwrap_or_else(|| req.path().to_owned())
}

/// The same target with another path: one in absolute form still names its host, which is judged as well.
fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}
