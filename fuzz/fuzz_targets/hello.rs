//! What comes after CONNECT: a TLS ClientHello, or what only looks like one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bottle_fuzz::hello::run(data));
