//! Where requests arrive: the routes, what stands before all of them, and what browsers call.
//!
//! [`arrival::Arrivals`] looks at each new connection first. [`middleware::pass`] stands before all routes; handshakes
//! of websockets never come to it, but to [`arrival::Arrivals`] or [`upgrade::Upgrade`].

pub mod cors;
pub mod origins;
pub mod exposure;
mod inner_path;
pub mod jsonp;
pub mod middleware;
pub mod pieces;
pub mod express;
pub mod health;
pub mod listen;
mod event_list;
pub mod upgrade;
pub mod framing;
pub mod exchange;
pub mod turn;
pub mod handshake;
pub mod turn_away;
pub mod watch;
pub mod watches;
pub mod watched;
pub mod arrival;
pub mod routes;
