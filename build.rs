//! Cargo rebuilds the server when a file is added to `static/` or changed: `src/web/assets.rs` embeds that folder.

fn main() {
    println!("cargo:rerun-if-changed=static");
}
