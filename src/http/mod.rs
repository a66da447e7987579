//! HTTP requests: the routes, the middleware in front of them, and the fast path for the most frequent backend calls.

pub(crate) mod routes;
pub(crate) mod middleware;
mod inner_path;
pub(crate) mod cors;
pub(crate) mod fast_path;
pub(crate) mod health;
pub(crate) mod polled;
pub mod openapi;
