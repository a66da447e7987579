//! Pages and static files.

pub mod assets;
pub mod pages;
