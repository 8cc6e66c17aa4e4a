//! Responses of an upstream: head, body and what is written for the agent.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bottle_fuzz::response::run(data));
