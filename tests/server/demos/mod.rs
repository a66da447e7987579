//! The websocket programs of demo mode, over real sockets.

mod common;
mod echo;
mod guarded;
mod chat;
mod board;
mod pages;
mod switch;
