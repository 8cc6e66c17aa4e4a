//! What egress is started with.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use bottle::policy::egress::{Credential, Deny, EgressPolicy, Inject, Route, VERSION};
use bottle::policy::gate::SecretSource;
use indexmap::IndexMap;
use tempfile::TempDir;

use super::process::Egress;
use super::{pki, system_pki};

/// Every method.
pub(in super::super) fn any() -> Vec<String> {
    methods(&["ANY"])
}

pub(in super::super) fn methods(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(in super::super) fn paths(patterns: &[&str]) -> Vec<String> {
    methods(patterns)
}

/// Builds a policy in a directory of its own, and starts egress with it.
pub(in super::super) struct Setup {
    pub(in super::super) root: TempDir,
    pub(in super::super) policy: EgressPolicy,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) stdout: bool,
    pub(super) wrapper: Vec<String>,
}

impl Setup {
    pub(in super::super) fn new() -> Self {
        let root = tempfile::Builder::new().prefix("bottle-egress-").tempdir().unwrap();
        for name in ["state", "trust", "grants", "secrets"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        fs::set_permissions(root.path().join("state"), fs::Permissions::from_mode(0o700)).unwrap();
        let ca = root.path().join("extra.pem");
        fs::write(&ca, &pki().pem).unwrap();
        let system = root.path().join("system.pem");
        fs::write(&system, &system_pki().pem).unwrap();
        let policy = EgressPolicy {
            version: VERSION,
            routes: Vec::new(),
            deny: Vec::new(),
            extra_hosts: IndexMap::new(),
            upstream_proxy: None,
            extra_ca: vec![ca.display().to_string()],
            ask: None,
            on_refusal: None,
            scanner: None,
            credentials: IndexMap::new(),
        };
        let env = vec![("SSL_CERT_FILE".to_owned(), system.display().to_string())];
        Self { root, policy, args: Vec::new(), env, stdout: true, wrapper: Vec::new() }
    }

    /// Adds a route; its host is on loopback.
    pub(in super::super) fn route(mut self, route: Route) -> Self {
        if route.host.parse::<IpAddr>().is_err() && !route.host.starts_with('*') {
            self.policy.extra_hosts.entry(route.host.clone()).or_insert(Ipv4Addr::LOCALHOST.into());
        }
        self.policy.routes.push(route);
        self
    }

    /// Has a second scanner look at what leaves.
    pub(in super::super) fn scanner(mut self, url: String) -> Self {
        self.policy.scanner = Some(url);
        self
    }

    /// Says where a host is.
    pub(in super::super) fn host(mut self, name: &str, address: &str) -> Self {
        self.policy.extra_hosts.insert(name.to_owned(), address.parse().unwrap());
        self
    }

    pub(in super::super) fn deny(mut self, deny: Deny) -> Self {
        self.policy.deny.push(deny);
        self
    }

    /// Adds a credential whose secret is in the environment.
    pub(in super::super) fn secret(self, name: &str, inject: Inject, value: &str) -> Self {
        let variable = format!("BOTTLE_TEST_{}", name.to_uppercase());
        self.credential(name, inject, SecretSource::Env(variable.clone())).env(&variable, value)
    }

    /// Adds a credential whose secret is in a file, and gives the file's place.
    pub(in super::super) fn secret_file(self, name: &str, inject: Inject, value: &str) -> Self {
        let path = self.secret_path(name);
        fs::write(&path, value).unwrap();
        self.credential(name, inject, SecretSource::File(path.display().to_string()))
    }

    pub(in super::super) fn secret_path(&self, name: &str) -> PathBuf {
        self.root.path().join("secrets").join(name)
    }

    pub(in super::super) fn credential(mut self, name: &str, inject: Inject, secret: SecretSource) -> Self {
        let placeholder = Some(format!("bottle-placeholder-{name}"));
        let credential = Credential { source: "bottle.yaml:31".to_owned(), secret, inject, placeholder };
        self.policy.credentials.insert(name.to_owned(), credential);
        self
    }

    pub(in super::super) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a limit.
    pub(in super::super) fn limit(mut self, name: &str, value: u64) -> Self {
        self.args.extend([format!("--{name}"), value.to_string()]);
        self
    }

    /// Has egress report into a directory.
    pub(in super::super) fn report(mut self) -> Self {
        self.args.push(format!("--report={}", self.root.path().join("report").display()));
        self
    }

    /// Nobody reads what egress writes on stdout.
    pub(in super::super) fn nobody_reads_stdout(mut self) -> Self {
        self.stdout = false;
        self
    }

    /// Starts egress by another command, which gets the state directory and then egress's own command line.
    pub(in super::super) fn wrapped(mut self, command: &[&str]) -> Self {
        self.wrapper = command.iter().map(|word| (*word).to_owned()).collect();
        self.wrapper.push(self.root.path().join("state").display().to_string());
        self
    }

    /// Starts egress, and waits until it listens.
    pub(in super::super) fn start(self) -> Egress {
        Egress::start(self)
    }

    /// Runs egress, which must end by itself, and gives what it wrote on stderr.
    #[track_caller]
    pub(in super::super) fn fails(self) -> String {
        Egress::fails(self)
    }
}

/// A deny rule for a whole host.
pub(in super::super) fn deny(host: &str) -> Deny {
    Deny {
        source: "bottle.yaml:19".to_owned(),
        host: host.to_owned(),
        ports: Vec::new(),
        methods: Vec::new(),
        paths: Vec::new(),
    }
}
