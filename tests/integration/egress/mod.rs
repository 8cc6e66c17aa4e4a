//! Egress: the real program on loopback, against real origins, raw sockets, hostile clients and hostile upstreams.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that can't be set up fails, with the backtrace that says where"
)]

mod addresses;
mod agreement;
mod audit;
mod authority;
mod bodies;
mod chain;
mod clients;
mod content;
mod content_ask;
mod content_packed;
mod content_sockets;
mod credentials;
mod desk;
mod dns;
mod fire;
mod found;
mod framing;
mod fuzz;
mod half_closed;
mod held;
mod http2;
mod http2_attacks;
mod live;
mod names;
mod once;
mod policy;
mod refusals;
mod relay;
mod reports;
mod scanner;
mod scanner_failures;
mod scrub;
mod support;
mod tools;
mod tunnels;
mod upstream_tls;
mod upstreams;
mod websocket;
