//! The console's endpoints: who may call them, what they return, what they change.

mod operator;
mod access;
mod lists;
mod figures;
mod limits;
mod nodes;
mod commands;
mod recorder;
mod tokens;
