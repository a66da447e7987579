//! HTTP requests: the routes, the middleware in front of them, and the fast path for the most frequent backend calls.

pub mod routes;
pub mod middleware;
mod inner_path;
pub mod cors;
pub mod fast_path;
pub mod health;
pub mod polled;
pub mod openapi;
