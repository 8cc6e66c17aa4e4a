//! The content scan.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bottle_fuzz::scan::run(data));
