//! Loading: what a manifest may say, and how a person is told what is wrong with it.

mod home;
mod loading;
mod not_built;
mod samples;
mod schema;
