//! Plays recorded exchanges against a server and reports where it answers differently.
//!
//! ```text
//! transcript ─ deliberate, rules ─ run ─ client, socket ─ server
//!  (cases)      (what we expect)    │
//!                                compare ─ report
//! ```
//!
//! The recordings were made on the original server. Where ours differs on purpose, a file lists the deliberate
//! differences, and its entries must then hold as exactly as the recordings do elsewhere. The program
//! `channelstream-replay` and the server's own tests use this crate.

// The requests and the expected responses.
mod transcript;
mod read;
mod template;
mod placeholders;
mod rules;
mod entry;
mod deliberate;
// The clients.
mod client;
mod socket;
// The comparison.
mod compare;
mod headers;
mod answer;
mod outline;
// The run.
mod exchange;
mod watch;
mod run;
mod report;

pub use deliberate::{Deliberate, DeliberateError};
pub use read::{TranscriptError, read_cases};
pub use report::{Difference, Mismatch, Report};
pub use run::{Options, Target, play, play_file};
pub use transcript::Case;
