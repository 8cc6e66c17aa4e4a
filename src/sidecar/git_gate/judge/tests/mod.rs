//! Attacks on the judge, on real repositories and with the real scanner.

mod explained;
pub(crate) mod fixture;
mod grants;
mod protect;
mod refs;
mod secrets;
mod soundness;
