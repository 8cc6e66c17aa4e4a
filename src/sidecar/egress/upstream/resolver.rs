//! Names to addresses, which are judged elsewhere.
//!
//! The system's files may change while egress runs: a laptop that moves to another network has other name servers, and
//! Docker writes its own file anew. They are looked at with a look-up, once a second at most, and read again when they are
//! other files than before.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::parse_resolv_conf;
use tokio::time::Instant;

use super::resolve::ADDRESSES;
use crate::fs::{self, Links};
use crate::policy::reason::Reason;
use crate::sidecar::egress::refusal::Refusal;

/// Answers that are kept.
const CACHED: u64 = 512;

/// The longest that an answer is kept, whatever its TTL says: a name that moved is found again.
const LONGEST: Duration = Duration::from_mins(5);

/// The longest that a failure is kept: a name that was just made is found soon.
const LONGEST_FAILURE: Duration = Duration::from_secs(5);

/// How often the system's files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The most bytes of the system's file that are read.
const MAX_FILE: u64 = 64 << 10;

/// Reads a configuration; an error says why there are no servers.
pub(super) type Read = fn(&Path) -> Result<(ResolverConfig, ResolverOpts)>;

/// The system's resolver: `/etc/hosts`, and the servers of `/etc/resolv.conf`.
pub(super) struct Resolver {
    /// The file with the servers, and how it is read; none where they never change.
    source: Option<(PathBuf, Read)>,
    /// Whether `/etc/hosts` has a say.
    hosts: ResolveHosts,
    state: Mutex<State>,
}

struct State {
    made: Arc<Made>,
    /// When the files were looked at, and how they looked.
    looked: Instant,
    marks: Marks,
}

/// A resolver with servers that stay.
struct Made {
    inner: TokioResolver,
    /// Why there are no servers.
    problem: Option<String>,
}

/// How a file looks from outside: device, number, length, and when it was changed.
type Mark = (u64, u64, u64, i64, i64);

/// How the files look: that of the servers, and that of the hosts.
type Marks = [Option<Mark>; 2];

impl Resolver {
    /// Reads the system's configuration. Without it only `/etc/hosts` has names, which suits a bottle whose names are
    /// all in `extra_hosts`.
    pub(super) fn system(hosts: ResolveHosts) -> Result<Self> {
        let read: Read = |path| Ok(parse_resolv_conf(fs::read_regular(path, MAX_FILE, Links::Followed)?)?);
        Self::following(Path::new("/etc/resolv.conf"), read, hosts)
    }

    /// Reads a file, and reads it again when it has changed.
    pub(super) fn following(path: &Path, read: Read, hosts: ResolveHosts) -> Result<Self> {
        let marks = marks(path);
        let made = match read(path) {
            Ok((config, options)) => Made::new(config, options, hosts, None),
            Err(error) => {
                let problem = Some(error.to_string());
                Made::new(ResolverConfig::default(), ResolverOpts::default(), hosts, problem)
            }
        };
        let state = State { made: Arc::new(made?), looked: Instant::now(), marks };
        Ok(Self { source: Some((path.to_owned(), read)), hosts, state: Mutex::new(state) })
    }

    /// Uses these servers, and no others.
    #[cfg(test)]
    pub(super) fn new(config: ResolverConfig, options: ResolverOpts) -> Result<Self> {
        let hosts = ResolveHosts::default();
        let made = Arc::new(Made::new(config, options, hosts, None)?);
        let state = State { made, looked: Instant::now(), marks: [None; 2] };
        Ok(Self { source: None, hosts, state: Mutex::new(state) })
    }

    /// The resolver with the servers of now. Where the files can't be read any more, or name no server (a writer may be
    /// in the middle of one), those of before stay, and the files are read again at the next look.
    fn now(&self) -> Arc<Made> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, read)) = &self.source
            && state.looked.elapsed() >= LOOK
        {
            state.looked = Instant::now();
            let marks = marks(path);
            if marks != state.marks
                && let Ok((config, options)) = read(path)
                && let Ok(made) = Made::new(config, options, self.hosts, None)
            {
                (state.made, state.marks) = (Arc::new(made), marks);
            }
        }
        Arc::clone(&state.made)
    }

    /// Looks up both families. The name is complete: no search domain makes another one of it.
    pub(super) async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, Refusal> {
        let made = self.now();
        let failed = |words: &dyn std::fmt::Display| {
            let problem = made.problem.as_ref().map(|problem| format!(" ({problem})")).unwrap_or_default();
            Refusal::new(Reason::NameUnresolved, format!("`{name}` could not be resolved: {words}{problem}"))
        };
        let mut complete = Name::from_ascii(name).map_err(|error| failed(&error))?;
        complete.set_fqdn(true);
        let found = made.inner.lookup_ip(complete).await.map_err(|error| failed(&error))?;
        let addresses: Vec<_> = found.iter().take(ADDRESSES).collect();
        if addresses.is_empty() {
            return Err(failed(&"it has no address"));
        }
        Ok(addresses)
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl Made {
    fn new(
        config: ResolverConfig,
        options: ResolverOpts,
        hosts: ResolveHosts,
        problem: Option<String>,
    ) -> Result<Self> {
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let options = builder.options_mut();
        options.use_hosts_file = hosts;
        options.cache_size = CACHED;
        options.positive_max_ttl = Some(LONGEST);
        options.negative_max_ttl = Some(LONGEST_FAILURE);
        Ok(Self { inner: builder.build().context("the resolver")?, problem })
    }
}

/// How the files look now.
fn marks(servers: &Path) -> Marks {
    [servers, Path::new("/etc/hosts")].map(|path| {
        let seen = fs::metadata(path).ok()?;
        Some((seen.dev(), seen.ino(), seen.len(), seen.ctime(), seen.ctime_nsec()))
    })
}
