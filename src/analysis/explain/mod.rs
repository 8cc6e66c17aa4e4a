//! `bottle explain`: one question about the policy, answered by the code that will decide.

mod credential;
mod egress;
mod push;
mod text;

use serde::Serialize;

use crate::manifest::values::PathBase;
use crate::plan::Secret;
use crate::policy::ask::Ask;
use crate::policy::egress::{Credential, Inject};
use crate::policy::gate::SecretSource;
use crate::policy::reason::Reason;

pub use credential::credential;
pub use egress::{Asked, egress, no_egress};
pub use push::{Push, push};
pub use text::text;

/// Where supervise listens; the hint at what could be asked for needs an address, even where nobody listens.
const NOBODY: &str = "http://supervise:7331";

/// The answer to a question. It is allowed if each of its parts is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Answer {
    /// What was asked.
    pub question: String,
    /// Whether all of it is allowed.
    pub allowed: bool,
    /// How each part was judged.
    pub verdicts: Vec<Verdict>,
    /// What else there is to know.
    pub notes: Vec<String>,
}

/// How one part of a question was judged.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Verdict {
    /// The part.
    pub subject: String,
    /// Whether it is allowed.
    pub allowed: bool,
    /// The reason's code.
    pub code: Option<&'static str>,
    /// What is wrong, where the code doesn't say all of it.
    pub detail: Option<String>,
    /// The rule that decided, as `file:line` or a grant's name.
    pub rule: Option<String>,
    /// The credential that travels.
    pub credential: Option<Use>,
    /// What would allow it.
    pub hint: Option<String>,
    /// Whether the same request may succeed later.
    pub retry: bool,
    /// The lines for the manifest that would allow it.
    pub manifest: Option<String>,
    /// What the agent would send to ask for it, where somebody is there to be asked.
    pub ask: Option<Request>,
}

/// What the agent would send to ask.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Request {
    /// Where to, with POST.
    pub url: String,
    /// The tool of the Model Context Protocol that does the same.
    pub tool: &'static str,
    /// The body.
    pub body: Ask,
}

/// How a credential is used.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Use {
    /// Its name.
    pub name: String,
    /// Where it is defined, as `file:line`.
    pub rule: String,
    /// How a request carries it.
    pub carried: String,
    /// Where the secret comes from.
    pub from: String,
}

impl Answer {
    fn new(question: String, verdicts: Vec<Verdict>, notes: Vec<String>) -> Self {
        Self { question, allowed: verdicts.iter().all(|verdict| verdict.allowed), verdicts, notes }
    }
}

impl Verdict {
    fn refused(subject: String, reason: Reason) -> Self {
        Self {
            subject,
            code: Some(reason.code()),
            hint: Some(reason.hint().to_owned()),
            retry: reason.retry_helps(),
            ..Self::default()
        }
    }
}

impl Request {
    fn new(url: &str, body: Ask) -> Self {
        Self { url: format!("{url}/requests"), tool: body.tool(), body }
    }
}

/// How a credential of egress is used.
fn used(name: &str, credential: &Credential, secrets: &[Secret]) -> Use {
    let Credential { source, secret, inject, placeholder: _ } = credential;
    let carried = match inject {
        Inject::Header(header) => format!("the header `{header}`"),
        Inject::Bearer => "`Authorization: Bearer`".to_owned(),
        Inject::Basic(user) => format!("the password of `Authorization: Basic` for `{user}`"),
    };
    Use { name: name.to_owned(), rule: source.clone(), carried, from: origin(secret, secrets) }
}

/// Where a secret comes from: on the host, where that is known, and else in the container.
fn origin(secret: &SecretSource, secrets: &[Secret]) -> String {
    let found = secrets.iter().find_map(|known| match (secret, known) {
        (SecretSource::Env(wanted), Secret::Env { source, target }) if wanted == target => {
            Some(format!("the environment variable `{source}`"))
        }
        (SecretSource::File(wanted), Secret::File { source, target }) if wanted == target => {
            let start = match source.written.base {
                PathBase::Home => "~/",
                PathBase::Root => "/",
                PathBase::File => "",
            };
            Some(format!("the file `{start}{}`", source.written.rest))
        }
        _ => None,
    });
    found.unwrap_or_else(|| match secret {
        SecretSource::Env(name) => format!("the container's environment variable `{name}`"),
        SecretSource::File(path) => format!("the container's file `{path}`"),
    })
}
