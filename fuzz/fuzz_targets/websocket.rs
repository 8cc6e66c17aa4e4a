//! WebSocket frames of either side.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bottle_fuzz::websocket::run(data));
