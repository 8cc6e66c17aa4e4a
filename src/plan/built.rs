//! What the manifest may say and this version doesn't build yet.
//!
//! Each is an error that names the part: a policy that is silently dropped would be taken for one that is kept.

use crate::manifest::diagnostic::Diagnostic;
use crate::manifest::source::Span;
use crate::manifest::{Agent, Workspace};

fn missing(errors: &mut Vec<Diagnostic>, span: Span, part: &str) {
    errors.push(
        Diagnostic::new(
            span,
            format!("{part} is not part of this version of bottle yet, so this can't be rendered"),
        )
        .hint("take it out of the manifest to render the rest; `bottle validate` accepts it"),
    );
}

pub(super) fn agent(agent: &Agent, errors: &mut Vec<Diagnostic>) {
    let Agent {
        bottle: _,
        preset: _,
        image: _,
        build: _,
        command: _,
        workspace,
        env: _,
        prompt: _,
        skills: _,
        resources: _,
        runtime: _,
    } = agent;
    if let Some(workspace) = workspace {
        let Workspace { clone: _, mount } = &workspace.value;
        if let Some(mount) = mount {
            missing(errors, mount.span, "`workspace: { mount: … }`");
        }
    }
}
