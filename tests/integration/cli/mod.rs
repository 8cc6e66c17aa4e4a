//! The command line: what it offers, what it says, and what it starts.

mod help;
mod processes;
