//! What the manifest may say and this version doesn't build yet.
//!
//! Each is an error that names the part: a policy that is silently dropped would be taken for one that is kept.

use crate::manifest::diagnostic::Diagnostic;
use crate::manifest::source::Span;
use crate::manifest::{Agent, Bottle, List, Preset, Sidecars, Workspace};

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
    let Bottle { extends: _, egress, credentials: _, git: _, supervise: _, pipelock, sidecars } = bottle;
    let own = egress.iter().filter_map(|egress| egress.value.on_secret.as_ref());
    let routes = egress.iter().filter_map(|egress| egress.value.routes.as_ref()).flat_map(List::iter);
    for on_secret in own.chain(routes.filter_map(|route| route.value.on_secret.as_ref())) {
        missing(errors, on_secret.span, "`on_secret`");
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
