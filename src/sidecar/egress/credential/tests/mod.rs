mod file;
mod inject;

use std::ffi::OsString;
use std::time::Instant;

use http::HeaderMap;
use indexmap::IndexMap;

use super::{Credentials, Injected};
use crate::policy::egress::{Credential, Inject};
use crate::policy::gate::SecretSource;
use crate::sidecar::egress::refusal::Refusal;

const SECRET: &str = "sk-example-0123456789";

/// One credential `key` whose secret is in this environment variable's value, or in a file.
fn credentials(
    secret: SecretSource,
    inject: Inject,
    value: Option<impl Into<OsString>>,
    now: Instant,
) -> Credentials {
    let credential = Credential { source: "bottle.yaml:7".to_owned(), secret, inject, placeholder: None };
    let value = value.map(Into::into);
    Credentials::read(&IndexMap::from([("key".to_owned(), credential)]), None, move |_| value.clone(), now)
}

fn of_environment(inject: Inject, value: &str) -> Credentials {
    credentials(SecretSource::Env("KEY".to_owned()), inject, Some(value), Instant::now())
}

/// What the header of that name became.
fn sent(credentials: &Credentials, header: &str, now: Instant) -> Result<(String, Injected), Refusal> {
    let mut headers = HeaderMap::new();
    let injected = credentials.inject_at("key", &mut headers, now)?;
    Ok((headers[header].to_str().expect("text").to_owned(), injected))
}
