//! The session on loopback, before a scripted origin: attacks first.

mod bodies;
mod changes;
mod fixture;
mod front;
mod inside;
mod limits;
mod panics;
