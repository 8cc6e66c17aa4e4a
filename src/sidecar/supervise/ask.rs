//! What the agent may ask for.

pub(crate) use crate::policy::ask::{Ask, ExceptionAsk, PushAsk, RouteAsk};
