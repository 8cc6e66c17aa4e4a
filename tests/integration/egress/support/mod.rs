//! What the tests of egress share: the process, its certificates, raw clients, and origins.

mod client;
mod http2;
mod message;
mod nginx;
mod node;
mod origin;
mod pipelock_stand_in;
mod pki;
mod process;
mod setup;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bottle::policy::egress::Route;

pub(super) use client::{Client, tls_config};
pub(super) use http2::{Http2, runtime};
pub(super) use message::{Response, Seen};
pub(super) use nginx::Nginx;
pub(super) use node::Node;
pub(super) use origin::{Conn, Origin, RawHttp2, answer, echo};
pub(super) use pipelock_stand_in::{LEAK, Manner, PipelockStandIn};
pub(super) use pki::{Leaf, Pki, pki, system_pki};
pub(super) use process::{Egress, write_policy};
pub(super) use setup::{Setup, any, deny, methods, paths};

/// How long a condition may take to come true.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// What the process may grow by at its peak, in kB, where it passes on much more than that. The parts of a debug build that
/// are run for the first time count as well.
pub(super) const GROWTH: u64 = 12 << 10;

/// Waits for a condition, looking often, and fails the test when it does not come true.
#[track_caller]
pub(super) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A port that nothing listens on. It lies below the range from which the kernel takes the ports of connections, and no
/// other test of this process gets it: between this call and the bind nothing else takes it.
pub(super) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let own = u16::try_from(std::process::id() % 100).unwrap_or_default() * 110;
        let port = 20_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Where a program is, if it is on this machine.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/lib/git-core".into()])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Where a needed program is; a missing one fails the test and says what to do.
pub(super) fn tool(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("`{name}` is not on this machine: run scripts/setup.sh"))
}

/// The same host, where no test asks: grants open private addresses only for hosts for which the manifest does.
pub(super) fn elsewhere(route: Route) -> Route {
    Route { paths: vec!["/elsewhere".to_owned()], ..route }
}
