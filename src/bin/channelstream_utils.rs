//! The original's second command, kept for its `make_config`.
fn main() {}
