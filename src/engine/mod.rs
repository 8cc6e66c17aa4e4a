//! The container engine and the other programs of the machine, as far as commands of the operator need them.

pub(crate) mod command;
pub(crate) mod compose;
pub(crate) mod docker;
pub(crate) mod left_over;
