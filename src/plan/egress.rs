//! Egress's part of the plan, and what the agent's container has for it.

use indexmap::IndexMap;

use super::secret::{self, Secret};
use super::{pipelock, supervise};
use crate::manifest::source::Spanned;
use crate::manifest::values::{Address, Host, Name};
use crate::manifest::{
    self, Bottle, Credential, Deny, Egress as Section, List, Loaded, Map, Placeholder, Route,
};
use crate::policy::egress::{
    Credential as PolicyCredential, Deny as PolicyDeny, EgressPolicy, Inject, MAX_HELD, OnRefusal, OnSecret,
    Route as PolicyRoute, Scheme, VERSION,
};

/// Egress.
#[derive(Clone, Debug)]
pub struct Egress {
    /// What it goes by.
    pub policy: EgressPolicy,
    /// The files and secrets of the host that its container gets.
    pub secrets: Vec<Secret>,
}

/// The methods of a route that names none.
const DEFAULT_METHODS: [&str; 2] = ["GET", "HEAD"];

/// The paths of a route that names none.
const DEFAULT_PATHS: [&str; 1] = ["/**"];

/// The address at which the agent finds egress, as a URL.
const PROXY: &str = "http://egress:3128";

/// Where the agent's container has the system's roots and the bottle's own authority in one file.
const BUNDLE: &str = "/etc/bottle/trust/bundle.pem";

/// Where the agent's container has the certificate of the bottle's own authority.
const AUTHORITY: &str = "/etc/bottle/trust/ca.pem";

/// The environment variables by which the agent's programs find egress and trust it.
///
/// There is no standard for any of them. The small spellings are the older ones, and the only ones that curl takes for
/// `http_proxy` (curl(1), "ENVIRONMENT"); some programs know only the capital ones.
pub(super) const ENVIRONMENT: [(&str, &str); 21] = [
    ("HTTPS_PROXY", PROXY),
    ("HTTP_PROXY", PROXY),
    ("ALL_PROXY", PROXY),
    ("https_proxy", PROXY),
    ("http_proxy", PROXY),
    ("all_proxy", PROXY),
    ("NO_PROXY", NO_PROXY),
    ("no_proxy", NO_PROXY),
    // OpenSSL and what is built on it (openssl-env(7)), Go, rustls, uv.
    ("SSL_CERT_FILE", BUNDLE),
    ("CURL_CA_BUNDLE", BUNDLE),
    ("GIT_SSL_CAINFO", BUNDLE),
    // Python: requests brings roots of its own, and so does pip.
    ("REQUESTS_CA_BUNDLE", BUNDLE),
    ("PIP_CERT", BUNDLE),
    ("AWS_CA_BUNDLE", BUNDLE),
    ("CARGO_HTTP_CAINFO", BUNDLE),
    // Node and Deno have roots of their own, to which these add.
    ("NODE_EXTRA_CA_CERTS", AUTHORITY),
    ("DENO_CERT", AUTHORITY),
    ("npm_config_cafile", BUNDLE),
    // From Node 24 on `fetch` goes by the variables above if this is set.
    ("NODE_USE_ENV_PROXY", "1"),
    ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", BUNDLE),
    ("JAVA_TOOL_OPTIONS", JAVA),
];

/// Java goes by no variable of the others, and by no PEM file. Each virtual machine says on stderr that it has picked these
/// up.
const JAVA: &str = "-Dhttps.proxyHost=egress -Dhttps.proxyPort=3128 -Dhttp.proxyHost=egress -Dhttp.proxyPort=3128 \
                    -Dhttp.nonProxyHosts=localhost|127.*|[::1]|git-gate|supervise \
                    -Djavax.net.ssl.trustStore=/etc/bottle/trust/truststore.jks";

/// What the agent reaches without egress: itself and the sidecars.
const NO_PROXY: &str = "localhost,127.0.0.1,::1,git-gate,supervise";

/// Whether a bottle has the sidecar: `egress:` says more than which certificates to trust, which is the gate's business
/// too, or somebody may approve a route while the bottle runs, or something is to look at what leaves.
pub(super) fn is_needed(bottle: &Bottle) -> bool {
    if supervise::is_on(bottle) || bottle.pipelock.is_some() {
        return true;
    }
    bottle.egress.as_ref().is_some_and(|egress| {
        let Section { routes, deny, extra_hosts, on_secret, on_refusal, upstream_proxy, extra_ca: _ } =
            &egress.value;
        routes.is_some()
            || deny.is_some()
            || extra_hosts.is_some()
            || on_secret.is_some()
            || on_refusal.is_some()
            || upstream_proxy.is_some()
    })
}

/// What stands for a credential where the manifest gives no value.
pub(super) fn placeholder(credential: &str) -> String {
    format!("bottle-placeholder-{credential}")
}

/// The environment variables of the agent that stand for credentials, each with its harmless value.
pub(super) fn placeholders(bottle: &Bottle) -> IndexMap<String, String> {
    let credentials = bottle.credentials.iter().flat_map(Map::iter);
    credentials.filter_map(|(name, credential)| variable(name, credential)).collect()
}

/// The variable that stands for one credential, and its harmless value.
fn variable(name: &Spanned<Name>, credential: &Credential) -> Option<(String, String)> {
    let Placeholder { env, value } = &credential.placeholder.as_ref()?.value;
    let value = value.as_ref().map(|value| value.value.as_str().to_owned());
    let value = value.unwrap_or_else(|| placeholder(name.value.as_str()));
    Some((env.value.as_str().to_owned(), value))
}

/// The environment variables of the agent's container.
pub(super) fn environment() -> IndexMap<String, String> {
    ENVIRONMENT.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn plan(loaded: &Loaded, bottle: &Bottle) -> Option<Egress> {
    if !is_needed(bottle) {
        return None;
    }
    let mut secrets = Vec::new();
    let mut policy = EgressPolicy {
        version: VERSION,
        routes: Vec::new(),
        deny: Vec::new(),
        extra_hosts: IndexMap::new(),
        upstream_proxy: None,
        extra_ca: Vec::new(),
        ask: supervise::ask(bottle),
        on_refusal: None,
        scanner: pipelock::scanner(bottle),
        credentials: IndexMap::new(),
    };
    if let Some(section) = &bottle.egress {
        let Section { routes, deny, extra_hosts, on_secret, on_refusal, upstream_proxy, extra_ca } =
            &section.value;
        let usual = on_secret.as_ref().map(|on_secret| answer(on_secret.value)).unwrap_or_default();
        policy.routes = routes.iter().flat_map(List::iter).map(|rule| route(loaded, rule, usual)).collect();
        policy.deny = deny.iter().flat_map(List::iter).map(|rule| deny_rule(loaded, rule)).collect();
        policy.extra_hosts = extra_hosts.iter().flat_map(Map::iter).filter_map(address).collect();
        policy.on_refusal = on_refusal.as_ref().and_then(|on_refusal| match &on_refusal.value {
            manifest::OnRefusal::Refuse => None,
            manifest::OnRefusal::Ask(None) => Some(OnRefusal::Ask(MAX_HELD)),
            manifest::OnRefusal::Ask(Some(held)) => Some(OnRefusal::Ask(held.ask.value.0)),
        });
        policy.upstream_proxy = upstream_proxy.as_ref().map(|url| url.value.as_str().to_owned());
        policy.extra_ca = secret::authorities(loaded, extra_ca.as_ref(), &mut secrets);
    }
    // Only what a route uses: egress has no other secret of the bottle.
    for (name, credential) in bottle.credentials.iter().flat_map(Map::iter) {
        let name_text = name.value.as_str();
        let used = policy.routes.iter().any(|route| route.credential.as_deref() == Some(name_text));
        if let (true, Some(inject)) = (used, inject(credential)) {
            let source = loaded.sources.file_line(name.span);
            let secret = secret::of_credential(loaded, name_text, credential, &mut secrets);
            // A preset uses the usual one where the manifest names none.
            let named = variable(name, credential).map(|(_, value)| value);
            let placeholder = Some(named.unwrap_or_else(|| placeholder(name.value.as_str())));
            let credential = PolicyCredential { source, secret, inject, placeholder };
            policy.credentials.insert(name_text.to_owned(), credential);
        }
    }
    Some(Egress { policy, secrets })
}

/// The policy's word for an answer to a secret.
fn answer(on_secret: manifest::OnSecret) -> OnSecret {
    match on_secret {
        manifest::OnSecret::Block => OnSecret::Block,
        manifest::OnSecret::Redact => OnSecret::Redact,
        manifest::OnSecret::Ask => OnSecret::Ask,
    }
}

/// `usual` is the bottle's own answer to a secret.
fn route(loaded: &Loaded, rule: &Spanned<Route>, usual: OnSecret) -> PolicyRoute {
    let Route {
        host,
        ports,
        methods,
        paths,
        scheme,
        websocket,
        private,
        credential,
        on_secret,
        max_upload,
        strip_tools,
    } = &rule.value;
    let scheme = match scheme.as_ref().map(|scheme| scheme.value) {
        Some(manifest::Scheme::Http) => Scheme::Http,
        Some(manifest::Scheme::Https) | None => Scheme::Https,
    };
    let default_port = match scheme {
        Scheme::Https => 443,
        Scheme::Http => 80,
    };
    PolicyRoute {
        source: loaded.sources.file_line(rule.span),
        host: host.value.as_str().to_owned(),
        scheme,
        ports: ports
            .as_ref()
            .map_or_else(|| vec![default_port], |ports| ports.iter().map(|port| port.value.0).collect()),
        methods: texts(methods.as_ref(), &DEFAULT_METHODS),
        paths: texts(paths.as_ref(), &DEFAULT_PATHS),
        websocket: websocket.as_ref().is_some_and(|websocket| websocket.value),
        private: private.as_ref().is_some_and(|private| private.value),
        credential: credential.as_ref().map(|name| name.value.as_str().to_owned()),
        on_secret: on_secret.as_ref().map_or(usual, |on_secret| answer(on_secret.value)),
        max_upload_bytes: max_upload.as_ref().map(|memory| memory.value.bytes()),
        strip_tools: texts(strip_tools.as_ref(), &[]),
    }
}

fn deny_rule(loaded: &Loaded, rule: &Spanned<Deny>) -> PolicyDeny {
    let Deny { host, ports, methods, paths } = &rule.value;
    PolicyDeny {
        source: loaded.sources.file_line(rule.span),
        host: host.value.as_str().to_owned(),
        ports: ports.iter().flat_map(List::iter).map(|port| port.value.0).collect(),
        methods: texts(methods.as_ref(), &[]),
        paths: texts(paths.as_ref(), &[]),
    }
}

fn texts<T: AsRef<str>>(list: Option<&List<T>>, default: &[&str]) -> Vec<String> {
    match list {
        Some(list) => list.iter().map(|text| text.value.as_ref().to_owned()).collect(),
        None => default.iter().map(|text| (*text).to_owned()).collect(),
    }
}

fn address((host, address): &(Spanned<Host>, Spanned<Address>)) -> Option<(String, std::net::IpAddr)> {
    // It was an address when the manifest was read.
    let address = address.value.as_str().parse().ok()?;
    Some((host.value.as_str().to_owned(), address))
}

fn inject(credential: &Credential) -> Option<Inject> {
    let manifest::Inject { header, bearer: _, basic } = &credential.inject.as_ref()?.value;
    Some(match (header, basic) {
        (Some(header), _) => Inject::Header(header.value.as_str().to_ascii_lowercase()),
        (None, Some(basic)) => Inject::Basic(basic.value.username.value.as_str().to_owned()),
        (None, None) => Inject::Bearer,
    })
}
