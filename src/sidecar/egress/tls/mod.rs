//! The bottle's certificate authority, and the authorities that upstreams are verified against.
//!
//! [`Roots`] are what egress believes, [`Authority`] is what the agent believes: egress verifies an upstream against the
//! first, and answers the agent in the upstream's name with a certificate of the second.

mod authority;
mod key;
mod leaf;
mod pem;
mod recent;
mod roots;
mod server;
#[cfg(test)]
mod tests;
mod truststore;

pub(crate) use authority::Authority;
pub(crate) use roots::Roots;
