//! Paths: whatever an origin makes of one must be what was judged.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bottle_fuzz::path::run(data));
