//! The content scan: its corpus, its speed, its documentation.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a corpus that can't be filled fails the test"
)]

mod corpus;
mod documented;
mod fill;
mod notations;
mod speed;
