//! The credentials: where they come from, and how they get into a request.
//!
//! The manifest says where a secret is. Where there is none that can be used, the one counts that the operator entered.
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
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use crate::scan::Known;

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
    /// What is searched for in requests.
    known: Mutex<Option<Searched>>,
}

/// What is searched for in requests, with the states of the credentials that it was made of.
struct Searched {
    looked: Instant,
    states: Vec<u64>,
    known: Arc<Known>,
}

/// One credential.
struct Entry {
    /// Where in the manifest it stands.
    place: String,
    source: SecretSource,
    form: Result<Form, Problem>,
    /// What the environment gave, which never changes; none where the source is a file.
    fixed: Option<Result<Ready, Problem>>,
    /// Where a secret is that the operator entered, if there is one.
    entered: Option<PathBuf>,
    /// What the agent has in its place.
    placeholder: Option<String>,
    state: Mutex<State>,
}

struct State {
    /// When the files were looked at last.
    looked: Instant,
    /// What the source's file was when it was read; none means that it is read again at the next look.
    stamp: Option<Stamp>,
    /// Whether what was entered is used.
    is_entered: bool,
    /// The stamp of the file with what was entered, where that is used.
    entered: Option<Stamp>,
    ready: Result<Ready, Problem>,
    /// Counts what `ready` has been.
    count: u64,
}

/// How a credential is that has no secret, or one that was entered.
pub(crate) struct Open {
    pub(crate) name: String,
    /// Why it can't be used.
    pub(crate) problem: Option<String>,
    pub(crate) entered: bool,
}

/// A secret in the form in which it is sent.
#[derive(Clone)]
struct Ready {
    value: HeaderValue,
    needles: Arc<Needles>,
    /// The secret itself, without a scheme before it.
    secret: Arc<Zeroizing<Vec<u8>>>,
}

impl Credentials {
    /// Prepares the credentials, those with what was entered that have a file in this directory. What can't be read now is
    /// tried again when it is needed.
    pub(crate) fn new(credentials: &IndexMap<String, Credential>, entered: Option<&Path>) -> Self {
        Self::read(credentials, entered, |name| std::env::var_os(name), Instant::now())
    }

    fn read(
        credentials: &IndexMap<String, Credential>,
        entered: Option<&Path>,
        environment: impl Fn(&str) -> Option<OsString>,
        now: Instant,
    ) -> Self {
        let entry = |(name, credential): (&String, _)| {
            let entered = entered.map(|directory| directory.join(name));
            (name.clone(), Entry::new(credential, entered, &environment, now))
        };
        Self { all: credentials.iter().map(entry).collect(), known: Mutex::default() }
    }

    /// What is searched for in requests: the secrets as they are now, and what stands for them.
    pub(crate) fn known(&self) -> Arc<Known> {
        self.known_at(Instant::now())
    }

    fn known_at(&self, now: Instant) -> Arc<Known> {
        let mut searched = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(searched) = &*searched
            && now.saturating_duration_since(searched.looked) < EVERY
        {
            return Arc::clone(&searched.known);
        }
        let states: Vec<u64> = self.all.values().map(|entry| entry.count(now)).collect();
        if let Some(searched) = &mut *searched
            && searched.states == states
        {
            searched.looked = now;
            return Arc::clone(&searched.known);
        }
        let mut known = Known::builder();
        for (name, entry) in &self.all {
            if let Some(placeholder) = &entry.placeholder {
                known = known.placeholder(name, placeholder.as_bytes());
            }
            if let Ok(ready) = &entry.lock().ready {
                known = known.credential(name, &ready.secret);
            }
        }
        let known = Arc::new(known.build());
        *searched = Some(Searched { looked: now, states, known: Arc::clone(&known) });
        known
    }

    /// The name of the header that a credential goes into, in the place of what the agent sends there.
    pub(crate) fn header(&self, name: &str) -> Option<&HeaderName> {
        match self.all.get(name) {
            Some(Entry { form: Ok(form), .. }) => Some(form.header()),
            _ => None,
        }
    }

    /// The names of those that are missing or unreadable now, each with the reason; never a value.
    pub(crate) fn missing(&self) -> Vec<(String, String)> {
        self.open().into_iter().filter_map(|open| Some((open.name, open.problem?))).collect()
    }

    /// Those that have no secret now, or one that was entered, whether that is used or not.
    pub(crate) fn open(&self) -> Vec<Open> {
        let now = Instant::now();
        let open = |(name, entry): (&String, &Entry)| {
            entry.look(now);
            let problem = entry.with(now, |ready| ready.err().map(|problem| entry.tell(problem)));
            let entered = entry.entered.as_deref().is_some_and(|path| Stamp::of(path).is_some());
            (entered || problem.is_some()).then(|| Open { name: name.clone(), problem, entered })
        };
        self.all.iter().filter_map(open).collect()
    }

    /// Whether the policy has a credential of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    /// Whether a secret could be used for a credential; the reason where it couldn't, without anything of it.
    pub(crate) fn check(&self, name: &str, secret: &[u8]) -> Result<(), String> {
        let entry = self.all.get(name).ok_or("the policy has no such credential")?;
        let form = entry.form.as_ref().map_err(Problem::to_string)?;
        form.prepare(secret).map(drop).map_err(|problem| problem.to_string())
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
    fn new(
        credential: &Credential,
        entered: Option<PathBuf>,
        environment: &impl Fn(&str) -> Option<OsString>,
        now: Instant,
    ) -> Self {
        let Credential { source: place, secret: source, inject, placeholder } = credential;
        let form = Form::new(inject);
        let fixed = match source {
            SecretSource::File(_) => None,
            SecretSource::Env(name) => {
                let secret = environment(name).map(|value| Zeroizing::new(value.into_vec()));
                let secret = secret.filter(|secret| !secret.is_empty()).ok_or(Problem::Unset);
                Some(prepare(&form, secret))
            }
        };
        // It is replaced before it is used.
        let state = State {
            looked: now,
            stamp: None,
            is_entered: false,
            entered: None,
            ready: Err(Problem::Unset),
            count: 0,
        };
        let (place, source, state) = (place.clone(), source.clone(), Mutex::new(state));
        let placeholder = placeholder.clone();
        let entry = Self { place, source, form, fixed, entered, placeholder, state };
        entry.look(now);
        entry
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is replaced as a whole, so what a poisoned lock guards is still one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the files, and reads them again if they are others now.
    fn look(&self, now: Instant) {
        self.look_in(&mut self.lock(), now);
    }

    fn look_in(&self, state: &mut State, now: Instant) {
        state.looked = now;
        let same = |stamp: Option<Stamp>, path: &Path| stamp.is_some() && stamp == Stamp::of(path);
        let path = match &self.source {
            SecretSource::File(path) => Some(Path::new(path)),
            SecretSource::Env(_) => None,
        };
        let source_stays = path.is_none_or(|path| same(state.stamp, path));
        let entered_stays = match &self.entered {
            Some(path) if state.is_entered => same(state.entered, path),
            // What was entered is of no interest where the source has a secret.
            _ => state.ready.is_ok(),
        };
        if !(source_stays && entered_stays) {
            let count = state.count + 1;
            *state = State { count, ..self.read(path, now) };
        }
    }

    /// Reads what the manifest names, and what was entered if there is nothing to be used.
    fn read(&self, path: Option<&Path>, now: Instant) -> State {
        let (own, stamp) = match (&self.fixed, path) {
            (Some(fixed), _) => (fixed.clone(), None),
            (None, Some(path)) => self.read_file(path),
            (None, None) => (Err(Problem::Unset), None),
        };
        let mut state = State { looked: now, stamp, is_entered: false, entered: None, ready: own, count: 0 };
        if let (Err(_), Some(path)) = (&state.ready, &self.entered)
            && Stamp::of(path).is_some()
        {
            state.is_entered = true;
            (state.ready, state.entered) = self.read_file(path);
        }
        state
    }

    fn read_file(&self, path: &Path) -> (Result<Ready, Problem>, Option<Stamp>) {
        let (secret, stamp) = match file::read(path) {
            Ok((secret, stamp)) => (Ok(secret), stamp),
            Err(problem) => (Err(problem), None),
        };
        (prepare(&self.form, secret), stamp)
    }

    /// Gives what is ready to be sent now.
    fn with<T>(&self, now: Instant, then: impl FnOnce(Result<&Ready, &Problem>) -> T) -> T {
        let mut state = self.lock();
        if now.saturating_duration_since(state.looked) >= EVERY {
            self.look_in(&mut state, now);
        }
        then(state.ready.as_ref())
    }

    /// Tells states apart: the files are looked at as they are now.
    fn count(&self, now: Instant) -> u64 {
        let mut state = self.lock();
        self.look_in(&mut state, now);
        state.count
    }

    fn tell(&self, problem: &Problem) -> String {
        match &self.source {
            SecretSource::Env(name) => format!("environment variable `{name}`: {problem}"),
            SecretSource::File(path) => format!("file `{path}`: {problem}"),
        }
    }

    fn refuse(&self, name: &str, problem: &Problem) -> Refusal {
        let place = &self.place;
        let mut hint = match &self.source {
            SecretSource::Env(_) => format!(
                "set the environment variable that credential `{name}` ({place}) names where `docker compose up` \
                 runs, and run it again"
            ),
            SecretSource::File(_) => format!(
                "mend the file that credential `{name}` ({place}) names; it is read again when it changes"
            ),
        };
        if self.entered.is_some() {
            hint.push_str("; or the operator enters it, on the page or with `bottle requests credential`");
        }
        Refusal {
            rule: Some(place.clone()),
            hint: Some(hint),
            ..Refusal::new(Reason::CredentialMissing, format!("credential `{name}`: {}", self.tell(problem)))
        }
    }
}

fn prepare(
    form: &Result<Form, Problem>,
    secret: Result<Zeroizing<Vec<u8>>, Problem>,
) -> Result<Ready, Problem> {
    form.as_ref().map_err(Clone::clone)?.prepare(&secret?)
}

/// Whether origins may take two names of a header for the same.
pub(crate) fn is_same(name: &HeaderName, other: &HeaderName) -> bool {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte };
    let (name, other) = (name.as_str().bytes(), other.as_str().bytes());
    name.len() == other.len() && name.map(fold).eq(other.map(fold))
}

/// Removes every value of a header, and of those that origins take for the same: servers that hand headers on as
/// variables (RFC 3875, section 4.1.18) can't tell `x-api-key` from `x_api_key`.
fn remove(name: &HeaderName, headers: &mut HeaderMap) -> bool {
    let mut removed = false;
    // Usually none is found, and one look at each name is all there is to do.
    while let Some(found) = headers.keys().find(|other| is_same(name, other)).cloned() {
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
