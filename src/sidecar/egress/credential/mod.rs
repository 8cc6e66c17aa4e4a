//! The credentials: where they come from, and how they get into a request.
//!
//! A secret lies in memory that is wiped when the last request that carries it has ended, and the header value that
//! carries it is that same memory. What can't be wiped: the process's environment, which belongs to the C library and
//! is there from the start; and the buffers below, in which a head is written and encrypted.

mod file;
mod form;
mod owner;
mod problem;
#[cfg(test)]
mod tests;

pub(super) use owner::become_user;

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use indexmap::IndexMap;
use zeroize::Zeroizing;

use self::file::Stamp;
use self::form::Form;
use self::problem::Problem;
use super::refusal::Refusal;
use super::scrub::Needles;
use crate::policy::egress::Credential;
use crate::policy::gate::SecretSource;
use crate::policy::reason::Reason;

/// How often it is looked whether a file has changed; no request pays for more than that.
const EVERY: Duration = Duration::from_millis(200);

/// What was put into a request, and must not come back in its response.
#[derive(Default)]
pub(crate) struct Injected {
    /// The texts to scrub; none where nothing was injected.
    pub(crate) needles: Option<Arc<Needles>>,
    /// Whether the agent had sent a value of its own in that header, which was dropped.
    pub(crate) replaced: bool,
}

/// The credentials of a policy.
#[derive(Default)]
pub(crate) struct Credentials {
    all: IndexMap<String, Entry>,
}

/// One credential.
struct Entry {
    /// Where in the manifest it stands.
    place: String,
    source: SecretSource,
    form: Result<Form, Problem>,
    state: Mutex<State>,
}

struct State {
    /// When the file was looked at last.
    looked: Instant,
    /// What the file was when it was read; none means that it is read again at the next look.
    stamp: Option<Stamp>,
    ready: Result<Ready, Problem>,
}

/// A secret in the form in which it is sent.
struct Ready {
    value: HeaderValue,
    needles: Arc<Needles>,
}

impl Credentials {
    /// Prepares the credentials. What can't be read now is tried again when it is needed.
    pub(crate) fn new(credentials: &IndexMap<String, Credential>) -> Self {
        Self::read(credentials, |name| std::env::var_os(name), Instant::now())
    }

    fn read(
        credentials: &IndexMap<String, Credential>,
        environment: impl Fn(&str) -> Option<OsString>,
        now: Instant,
    ) -> Self {
        let entry =
            |(name, credential): (&String, _)| (name.clone(), Entry::new(credential, &environment, now));
        Self { all: credentials.iter().map(entry).collect() }
    }

    /// The names of those that are missing or unreadable now, each with the reason; never a value.
    pub(crate) fn missing(&self) -> Vec<(String, String)> {
        let now = Instant::now();
        let problem = |(name, entry): (&String, &Entry)| {
            let told = entry.with(now, |ready| ready.err().map(|problem| entry.tell(problem)));
            told.map(|told| (name.clone(), told))
        };
        self.all.iter().filter_map(problem).collect()
    }

    /// Puts a credential into the headers of a request, in the place of what the agent sent there.
    ///
    /// # Errors
    ///
    /// `credential-missing`, with its name and what to do.
    pub(crate) fn inject(&self, name: &str, headers: &mut HeaderMap) -> Result<Injected, Refusal> {
        self.inject_at(name, headers, Instant::now())
    }

    /// Removes what the agent sent in the credential's header from other fields of the request, such as its trailers,
    /// which some origins take for headers (RFC 9110, section 6.5.1).
    pub(crate) fn withdraw(&self, name: &str, fields: &mut HeaderMap) {
        if let Some(Entry { form: Ok(form), .. }) = self.all.get(name) {
            remove(form.header(), fields);
        }
    }

    fn inject_at(&self, name: &str, headers: &mut HeaderMap, now: Instant) -> Result<Injected, Refusal> {
        let Some(entry) = self.all.get(name) else {
            return Err(Refusal::new(
                Reason::CredentialMissing,
                format!("the policy has no credential `{name}`"),
            ));
        };
        entry.with(now, |ready| {
            let (form, ready) = match (&entry.form, ready) {
                (Ok(form), Ok(ready)) => (form, ready),
                (Err(problem), _) | (_, Err(problem)) => return Err(entry.refuse(name, problem)),
            };
            let replaced = remove(form.header(), headers);
            headers.insert(form.header().clone(), ready.value.clone());
            Ok(Injected { needles: Some(Arc::clone(&ready.needles)), replaced })
        })
    }
}

impl Entry {
    fn new(credential: &Credential, environment: &impl Fn(&str) -> Option<OsString>, now: Instant) -> Self {
        let Credential { source: place, secret: source, inject } = credential;
        let form = Form::new(inject);
        let state = match source {
            SecretSource::File(path) => State::of_file(path.as_ref(), &form, now),
            SecretSource::Env(name) => {
                let secret = environment(name).map(|value| Zeroizing::new(value.into_vec()));
                let secret = secret.filter(|secret| !secret.is_empty()).ok_or(Problem::Unset);
                State { looked: now, stamp: None, ready: prepare(&form, secret) }
            }
        };
        Self { place: place.clone(), source: source.clone(), form, state: Mutex::new(state) }
    }

    /// Gives what is ready to be sent now.
    fn with<T>(&self, now: Instant, then: impl FnOnce(Result<&Ready, &Problem>) -> T) -> T {
        // The state is replaced as a whole, so what a poisoned lock guards is still one.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let SecretSource::File(path) = &self.source
            && now.saturating_duration_since(state.looked) >= EVERY
        {
            state.looked = now;
            if state.stamp.is_none() || state.stamp != Stamp::of(path.as_ref()) {
                *state = State::of_file(path.as_ref(), &self.form, now);
            }
        }
        then(state.ready.as_ref())
    }

    fn tell(&self, problem: &Problem) -> String {
        match &self.source {
            SecretSource::Env(name) => format!("environment variable `{name}`: {problem}"),
            SecretSource::File(path) => format!("file `{path}`: {problem}"),
        }
    }

    fn refuse(&self, name: &str, problem: &Problem) -> Refusal {
        let place = &self.place;
        let hint = match &self.source {
            SecretSource::Env(_) => format!(
                "set the environment variable that credential `{name}` ({place}) names where `docker compose up` \
                 runs, and run it again"
            ),
            SecretSource::File(_) => format!(
                "mend the file that credential `{name}` ({place}) names; it is read again when it changes"
            ),
        };
        Refusal {
            rule: Some(place.clone()),
            hint: Some(hint),
            ..Refusal::new(Reason::CredentialMissing, format!("credential `{name}`: {}", self.tell(problem)))
        }
    }
}

impl State {
    fn of_file(path: &std::path::Path, form: &Result<Form, Problem>, now: Instant) -> Self {
        let (secret, stamp) = match file::read(path) {
            Ok((secret, stamp)) => (Ok(secret), stamp),
            Err(problem) => (Err(problem), None),
        };
        Self { looked: now, stamp, ready: prepare(form, secret) }
    }
}

fn prepare(
    form: &Result<Form, Problem>,
    secret: Result<Zeroizing<Vec<u8>>, Problem>,
) -> Result<Ready, Problem> {
    form.as_ref().map_err(Clone::clone)?.prepare(&secret?)
}

/// Removes every value of a header, and of those that origins take for the same: servers that hand headers on as
/// variables (RFC 3875, section 4.1.18) can't tell `x-api-key` from `x_api_key`.
fn remove(name: &HeaderName, headers: &mut HeaderMap) -> bool {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte };
    let same = |other: &HeaderName| {
        let (name, other) = (name.as_str().bytes(), other.as_str().bytes());
        name.len() == other.len() && name.map(fold).eq(other.map(fold))
    };
    let mut removed = false;
    // Usually none is found, and one look at each name is all there is to do.
    while let Some(found) = headers.keys().find(|other| same(other)).cloned() {
        headers.remove(found);
        removed = true;
    }
    removed
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.all.keys()).finish()
    }
}
