//! What is wrong with credentials, with the routes that use them, and with the variables that agents get for them.

use std::collections::HashMap;

use super::super::egress::{ENVIRONMENT, is_needed};
use super::{exactly_one, file_source};
use crate::manifest::diagnostic::{Diagnostic, suggest};
use crate::manifest::preset::RESERVED;
use crate::manifest::source::Spanned;
use crate::manifest::values::{EnvName, HeaderName, Name};
use crate::manifest::{Bottle, Credential, Map, OnRefusal, Placeholder, Route, Scheme, Supervise};
use crate::policy::egress::may_carry_credential;

pub(super) fn credentials(credentials: &Map<Name, Credential>, errors: &mut Vec<Diagnostic>) {
    let mut variables: HashMap<&str, &Spanned<EnvName>> = HashMap::new();
    for (name, checked) in credentials {
        credential(name, checked, errors);
        let Some(placeholder) = &checked.placeholder else { continue };
        let Placeholder { env, value: _ } = &placeholder.value;
        let variable = env.value.as_str();
        if RESERVED.contains(&variable) || is_of_egress(variable) {
            errors.push(
                Diagnostic::new(env.span, format!("`{variable}` is set by the bundle itself"))
                    .hint("name the variable that the client looks for"),
            );
        }
        if let Some(first) = variables.insert(variable, env) {
            errors.push(
                Diagnostic::new(env.span, format!("two placeholders set `{variable}`"))
                    .note(first.span, "the first one is here")
                    .hint("a variable has one value: take one of them out"),
            );
        }
    }
}

/// An environment variable that an agent is to have.
pub(super) fn variable(variable: &Spanned<EnvName>, bottle: Option<&Bottle>, errors: &mut Vec<Diagnostic>) {
    let name = variable.value.as_str();
    let egress = bottle.is_some_and(is_needed);
    if RESERVED.contains(&name) || (egress && is_of_egress(name)) {
        errors.push(
            Diagnostic::new(variable.span, format!("`{name}` is set by the bundle itself"))
                .hint("take it out of `env`"),
        );
    }
    let credentials = bottle.and_then(|bottle| bottle.credentials.as_ref());
    let placeholders = credentials.into_iter().flat_map(Map::iter).filter_map(|(credential, checked)| {
        let Placeholder { env, value: _ } = &checked.placeholder.as_ref()?.value;
        (env.value == variable.value).then_some((credential, env))
    });
    for (credential, env) in placeholders {
        errors.push(
            Diagnostic::new(
                variable.span,
                format!("`{name}` is the placeholder of the credential `{}`", credential.value.as_str()),
            )
            .note(env.span, "the placeholder is here")
            .hint("take it out of `env`; the placeholder has a `value` of its own"),
        );
    }
}

fn is_of_egress(variable: &str) -> bool {
    ENVIRONMENT.iter().any(|(name, _)| *name == variable)
}

fn credential(name: &Spanned<Name>, credential: &Credential, errors: &mut Vec<Diagnostic>) {
    let what = format!("the credential `{}`", name.value.as_str());
    let source = &credential.source;
    let keys = [
        ("env", source.value.env.as_ref().map(|env| env.span)),
        ("file", source.value.file.as_ref().map(|file| file.span)),
    ];
    exactly_one(source.span, &format!("the source of {what}"), &keys, errors);
    if let Some(file) = &source.value.file {
        file_source(file, &what, errors);
    }
    if let Some(inject) = &credential.inject {
        let keys = [
            ("header", inject.value.header.as_ref().map(|header| header.span)),
            ("bearer", inject.value.bearer.as_ref().map(|bearer| bearer.span)),
            ("basic", inject.value.basic.as_ref().map(|basic| basic.span)),
        ];
        exactly_one(inject.span, &format!("`inject` of {what}"), &keys, errors);
        if let Some(header) = &inject.value.header {
            own_header(header, errors);
        }
    }
}

fn own_header(header: &Spanned<HeaderName>, errors: &mut Vec<Diagnostic>) {
    let name = header.value.as_str();
    if !may_carry_credential(name) {
        errors.push(
            Diagnostic::new(header.span, format!("`{name}` is no header that can carry a credential"))
                .hint("name the header that the host's documentation gives, such as `x-api-key`"),
        );
    }
}

/// Whoever has requests held needs somebody who is asked.
pub(super) fn on_refusal(
    on_refusal: &Spanned<OnRefusal>,
    supervise: Option<&Spanned<Supervise>>,
    errors: &mut Vec<Diagnostic>,
) {
    let OnRefusal::Ask(_) = on_refusal.value else { return };
    let off = match supervise {
        Some(Spanned { value: Supervise::On(_), .. }) => return,
        Some(off) => Some(off.span),
        None => None,
    };
    let mut error = Diagnostic::new(on_refusal.span, "there is nobody to ask: the bottle has no `supervise`")
        .hint("add `supervise: { port: 7333 }` to the bottle, or take `on_refusal` out");
    if let Some(off) = off {
        error = error.note(off, "it is switched off here");
    }
    errors.push(error);
}

pub(super) fn known_credential<'a>(
    name: &Spanned<Name>,
    credentials: &'a Map<Name, Credential>,
    errors: &mut Vec<Diagnostic>,
) -> Option<&'a Credential> {
    let wanted = name.value.as_str();
    let found = credentials.get(wanted).map(|(_, credential)| credential);
    if found.is_none() {
        errors.push(
            Diagnostic::new(name.span, format!("there is no credential `{wanted}`"))
                .hint(suggest(wanted, credentials.names())),
        );
    }
    found
}

pub(super) fn route(
    route: &Spanned<Route>,
    credentials: &Map<Name, Credential>,
    errors: &mut Vec<Diagnostic>,
) {
    let Route {
        host: _,
        ports: _,
        methods,
        paths: _,
        scheme,
        websocket,
        private: _,
        credential,
        on_secret: _,
        max_upload: _,
        strip_tools,
    } = &route.value;
    if let Some(methods) = methods
        && methods.0.len() > 1
        && let Some(any) = methods.iter().find(|method| method.value.as_str() == "ANY")
    {
        errors.push(
            Diagnostic::new(any.span, "`ANY` stands beside other methods")
                .hint("write `methods: [ANY]`, or only the methods meant"),
        );
    }
    if let (Some(tools), Some(websocket)) =
        (strip_tools, websocket.as_ref().filter(|websocket| websocket.value))
        && let Some(first) = tools.iter().next()
    {
        errors.push(
            Diagnostic::new(first.span, "tools can't be taken out of what a WebSocket carries")
                .note(websocket.span, "the route opens WebSockets")
                .hint("take `websocket: true` off this route"),
        );
    }
    let Some(name) = credential else { return };
    if let Some(credential) = known_credential(name, credentials, errors)
        && credential.inject.is_none()
    {
        errors.push(
            Diagnostic::new(
                name.span,
                format!("the credential `{}` doesn't say how a request carries it", name.value.as_str()),
            )
            .hint(
                "add `inject: { bearer: true }`, `{ header: NAME }` or `{ basic: { username: NAME } }` to it",
            ),
        );
    }
    if let Some(scheme) = scheme
        && scheme.value == Scheme::Http
    {
        errors.push(
            Diagnostic::new(name.span, "a credential can't travel in the clear")
                .note(scheme.span, "the route's scheme is http")
                .hint("use https, or take the credential off this route"),
        );
    }
}
