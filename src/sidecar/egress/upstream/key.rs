//! What makes two connections interchangeable.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::policy::egress::{Route, Scheme};
use crate::policy::host::Host;

/// The requests that may share a connection: those that the same policy allows to the same origin, with the same
/// opinion on private addresses and with the same credential. The credential counts since some schemes authenticate
/// the connection and not the request (RFC 4559, section 6).
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// The policy's generation: it decides on addresses and on the proxy.
    pub(super) generation: u64,
    /// The scheme.
    pub(super) scheme: Scheme,
    /// The host.
    pub(super) host: Host,
    /// The TCP port.
    pub(super) port: u16,
    /// The route, of which only what is said above is compared.
    pub(super) route: Arc<Route>,
}

impl Key {
    fn compared(&self) -> (u64, Scheme, &Host, u16, bool, Option<&str>) {
        let Route { private, credential, .. } = &*self.route;
        (self.generation, self.scheme, &self.host, self.port, *private, credential.as_deref())
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.compared() == other.compared()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.compared().hash(state);
    }
}
