//! Egress in containers: what the agent gets through it, and that there is nothing beside it.

mod clients;
pub(crate) mod doors;
mod live;
mod policy;
pub(crate) mod world;

use crate::Test;

pub(crate) const TESTS: &[&[Test]] = &[policy::TESTS, doors::TESTS, live::TESTS, clients::TESTS];
