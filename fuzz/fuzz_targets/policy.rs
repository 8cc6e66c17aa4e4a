//! The policy file: what is read of it, and that nothing is allowed which no route of it names.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bottle_fuzz::policy::run(data));
