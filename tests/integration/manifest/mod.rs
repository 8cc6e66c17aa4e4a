//! Loading: what a manifest may say, and how a person is told what is wrong with it.

mod empty;
mod home;
mod loading;

mod samples;
mod schema;
