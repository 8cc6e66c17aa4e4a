//! The container engine, as far as commands of the operator need it.

pub(crate) mod compose;
