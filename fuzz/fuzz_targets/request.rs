//! Requests of the agent: head, body and what is written for them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bottle_fuzz::request::run(data));
