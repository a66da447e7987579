//! Plays recorded exchanges against a server and tells where it answers differently.
//!
//! ```text
//! transcript ─ deliberate, rules ─ run ─ client, socket ─ server
//!  (cases)      (what we expect)    │
//!                                compare ─ report
//! ```
//!
//! The recordings were made on the original server. Where ours differs on purpose, a file of deliberate
//! differences says so, and its entries must then hold as exactly as the recordings do elsewhere.
//! `channelstream replay` and the project's own tests use this one engine.

// What is asked and what is expected.
mod transcript;
mod read;
mod template;
mod placeholders;
mod rules;
mod entry;
mod deliberate;
// How it is asked.
mod client;
mod socket;
// How answers are judged.
mod compare;
mod headers;
mod answer;
mod outline;
// The whole.
mod exchange;
mod watch;
mod run;
mod report;

pub use deliberate::{Deliberate, DeliberateError};
pub use read::{TranscriptError, read_cases};
pub use report::{Difference, Mismatch, Report};
pub use run::{Options, Target, play, play_file};
pub use transcript::Case;
