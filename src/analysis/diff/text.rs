//! A comparison for a person.

use super::{Agents, By, Change, Diff, Refs, Region, Setting, Websocket, What};
use crate::manifest::source::shown;
use crate::policy::egress::Scheme;

/// Writes a comparison as text.
pub fn text(diff: &Diff) -> String {
    let Diff { widens: _, agents, notes } = diff;
    let mut out = if agents.is_empty() { "nothing changes\n".to_owned() } else { String::new() };
    for Agents { names, changes } in agents {
        let kind = if names.len() == 1 { "agent" } else { "agents" };
        out.extend([format!("{kind} {}:\n", names.join(", "))]);
        for change in changes {
            out.extend([format!("  {}: {}\n", word(change), sentence(change, &shown))]);
        }
    }
    out.extend(notes.iter().map(|note| format!("note: {note}\n")));
    out
}

/// Whether a change widens, narrows or does neither.
pub(super) fn word(change: &Change) -> &'static str {
    let Change { widens, what } = change;
    match (widens, what) {
        (true, _) => "WIDENS",
        (false, What::Setting(_)) => "changes",
        (false, _) => "narrows",
    }
}

/// A change in a sentence; `code` writes what comes from a manifest.
pub(super) fn sentence(change: &Change, code: &dyn Fn(&str) -> String) -> String {
    let Change { widens, what } = change;
    let or = |yes: &'static str, no: &'static str| if *widens { yes } else { no };
    match what {
        What::Agent { new } => if *new { "the agent is new" } else { "the agent is gone" }.to_owned(),
        What::Reach { by, region } => {
            let becomes = match by {
                By::Route => or("become allowed", "are no longer allowed"),
                By::Deny => or("are no longer denied", "are denied now"),
                By::Readings => or(
                    "become allowed together as the readings of one path",
                    "are no longer allowed together as the readings of one path",
                ),
            };
            format!("{} {becomes}{}", requests(region, code), tail(region, code))
        }
        What::Credential { credential, instead, region } => {
            let instead =
                instead.as_ref().map(|other| format!(" {} {}", or("instead of", "but"), code(other)));
            format!(
                "the credential {} {} with {}{}{}",
                code(credential),
                or("travels now", "no longer travels"),
                requests(region, code),
                instead.unwrap_or_default(),
                tail(region, code)
            )
        }
        What::Private { region } => format!(
            "{} {} hosts with private addresses{}",
            requests(region, code),
            or("may reach", "may no longer reach"),
            tail(region, code)
        ),
        What::Upload { old, new, region } => {
            let limit =
                |bytes: &Option<u64>| bytes.map_or("any number of".to_owned(), |bytes| bytes.to_string());
            let (old, new) = (limit(old), limit(new));
            format!("{} may carry {new} bytes, before {old}{}", requests(region, code), tail(region, code))
        }
        What::OnSecret { old, new, region } => format!(
            "{} {}: a secret in them is answered with {}, before {}",
            requests(region, code),
            tail(region, code),
            code(&new.to_string()),
            code(&old.to_string())
        ),
        What::Tool { tool, region } => format!(
            "{} {} the server's tool {}{}",
            requests(region, code),
            or("may use", "may no longer use"),
            code(tool),
            tail(region, code)
        ),
        What::Push { refs } => push(refs, *widens, code),
        What::Protect { repository, paths, except } => format!(
            "{} of {} {}{}",
            codes(paths, code),
            code(repository),
            or("is no longer protected", "is protected now"),
            excepted(except, code)
        ),
        What::Setting(Setting { name, old, new }) => {
            let value =
                |value: &Option<String>| value.as_ref().map_or("none".to_owned(), |value| code(value));
            format!("{}: {} -> {}", shown(name), value(old), value(new))
        }
    }
}

fn requests(region: &Region, code: &dyn Fn(&str) -> String) -> String {
    let Region {
        host,
        except_hosts,
        scheme,
        ports,
        methods,
        except_methods,
        websocket,
        paths,
        except_paths,
        example: _,
        rules: _,
    } = region;
    let (scheme, usual) = match scheme {
        Scheme::Https => ("https", 443),
        Scheme::Http => ("http", 80),
    };
    let ports = match ports.as_slice() {
        [port] if *port == usual => String::new(),
        ports => format!(":{}", ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",")),
    };
    let mut text = methods.join(", ");
    if !except_methods.is_empty() {
        text.extend([format!(" (not {})", except_methods.join(", "))]);
    }
    text.push_str(match websocket {
        Websocket::No => "",
        Websocket::Also => " and WebSockets",
        Websocket::Only => " as WebSockets",
    });
    text.extend([format!(" {}", code(&format!("{scheme}://{host}{ports}")))]);
    if !except_hosts.is_empty() {
        text.extend([format!(" (not {})", codes(except_hosts, code))]);
    }
    text.extend([format!(" {}{}", codes(paths, code), excepted(except_paths, code))]);
    text
}

fn push(refs: &Refs, widens: bool, code: &dyn Fn(&str) -> String) -> String {
    let Refs { repository, operations, refs, except, default_branch, example: _, rules } = refs;
    let operations: Vec<_> = operations.iter().map(|operation| operation.text()).collect();
    let which = if *default_branch { ", should it be the default branch," } else { "" };
    let becomes = if widens { "becomes allowed" } else { "is no longer allowed" };
    format!(
        "push to {}: {} of {}{}{which} {becomes}{}",
        code(repository),
        operations.join(", "),
        codes(refs, code),
        excepted(except, code),
        from(rules, code)
    )
}

fn tail(region: &Region, code: &dyn Fn(&str) -> String) -> String {
    let example = region.example.as_ref().filter(|_| !region.except_paths.is_empty());
    let such = example.map(|example| format!(", such as {}", code(example))).unwrap_or_default();
    such + &from(&region.rules, code)
}

fn from(rules: &[String], code: &dyn Fn(&str) -> String) -> String {
    if rules.is_empty() { String::new() } else { format!(" ({})", codes(rules, code)) }
}

fn excepted(patterns: &[String], code: &dyn Fn(&str) -> String) -> String {
    if patterns.is_empty() { String::new() } else { format!(" (not {})", codes(patterns, code)) }
}

fn codes(texts: &[String], code: &dyn Fn(&str) -> String) -> String {
    texts.iter().map(|text| code(text)).collect::<Vec<_>>().join(", ")
}
