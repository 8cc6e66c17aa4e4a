//! The command line: what it offers, what it says, and what it starts.

mod diff;
mod doctor;
mod explain;
mod graph;
mod help;
mod init;
mod manners;
mod processes;
mod reasons;
