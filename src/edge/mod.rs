//! Where requests arrive: the routes, what stands before all of them, and what browsers call.
//!
//! [`middleware::pass`] stands before all routes; handshakes of websockets never come to it, but to
//! [`upgrade::Upgrade`].

pub mod cors;
pub mod jsonp;
pub mod middleware;
pub mod express;
pub mod listen;
pub mod upgrade;
pub mod routes;
