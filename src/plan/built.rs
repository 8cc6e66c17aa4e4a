//! What the manifest may say and this version doesn't build yet.
//!
//! Each is an error that names the part: a policy that is silently dropped would be taken for one that is kept.

use crate::manifest::diagnostic::Diagnostic;
use crate::manifest::source::Span;
use crate::manifest::values::Transport;
use crate::manifest::{Agent, Bottle, Egress, Preset, Repository, Sidecars, Supervise, Workspace};

fn missing(errors: &mut Vec<Diagnostic>, span: Span, part: &str) {
    errors.push(
        Diagnostic::new(
            span,
            format!("{part} is not part of this version of bottle yet, so this can't be rendered"),
        )
        .hint("take it out of the manifest to render the rest; `bottle validate` accepts it"),
    );
}

pub(super) fn bottle(bottle: &Bottle, errors: &mut Vec<Diagnostic>) {
    let Bottle { extends: _, egress, credentials: _, git, supervise, pipelock, sidecars } = bottle;
    if let Some(egress) = egress {
        let Egress { routes, deny, extra_hosts, on_secret, upstream_proxy, extra_ca } = &egress.value;
        let own = routes.is_some()
            || deny.is_some()
            || extra_hosts.is_some()
            || on_secret.is_some()
            || upstream_proxy.is_some();
        // The gate goes by these certificates too, where it has an upstream to check with them.
        let https = |repository: &Repository| repository.upstream.value.transport == Transport::Https;
        let used = git.iter().flatten().any(|(_, repository)| https(repository));
        if own || (extra_ca.is_some() && !used) {
            missing(errors, egress.span, "the sidecar `egress`");
        }
    }
    if let Some(supervise) = supervise
        && let Supervise::On(_) = supervise.value
    {
        missing(errors, supervise.span, "the sidecar `supervise`");
    }
    if let Some(pipelock) = pipelock {
        missing(errors, pipelock.span, "the sidecar `pipelock`");
    }
    if let Some(sidecars) = sidecars
        && sidecars.value == Sidecars::Bundled
    {
        missing(errors, sidecars.span, "`sidecars: bundled`");
    }
}

pub(super) fn agent(agent: &Agent, errors: &mut Vec<Diagnostic>) {
    let Agent {
        bottle: _,
        preset,
        image: _,
        build: _,
        command: _,
        workspace,
        env: _,
        prompt,
        skills,
        resources: _,
        runtime: _,
    } = agent;
    if let Some(preset) = preset {
        match preset.value {
            Preset::Claude => missing(errors, preset.span, "the preset `claude`"),
            Preset::Codex => missing(errors, preset.span, "the preset `codex`"),
            Preset::Shell => {}
        }
    }
    if let Some(workspace) = workspace {
        let Workspace { clone: _, mount } = &workspace.value;
        if let Some(mount) = mount {
            missing(errors, mount.span, "`workspace: { mount: … }`");
        }
    }
    if let Some(prompt) = prompt {
        missing(errors, prompt.span, "`prompt`");
    }
    if let Some(first) = skills.iter().flat_map(|skills| skills.iter()).next() {
        missing(errors, first.span, "`skills`");
    }
}
