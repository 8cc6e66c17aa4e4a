//! Supervise: the real program on loopback, with real clients and a real browser, hostile ones among them.

mod agent;
mod agent_attacks;
mod agent_mcp;
mod agent_rmcp;
mod agent_support;
mod credentials;
mod operator;
mod operator_page;
mod operator_support;
mod store;
mod top;
