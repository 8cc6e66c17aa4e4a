//! The git gate against real upstreams: sshd on loopback, nginx with git http-backend, git's own client.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that can't be set up fails, with the backtrace that says where"
)]

mod attacks;
mod doctor;
mod fetching;
mod grants;
mod https;
mod keys;
mod pushing;
mod sshd;
mod support;
