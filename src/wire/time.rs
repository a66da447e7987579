//! Timestamps as the original reads and writes them.

/// A point in time as text: what came in is what goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamp {
    #[allow(dead_code)]
    text: Box<str>,
    #[allow(dead_code)]
    zulu: bool,
}
