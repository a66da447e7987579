//! The `channelstream` command.
fn main() {}
