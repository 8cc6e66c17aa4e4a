//! Parts of the manifest that don't exist yet: accepted by `validate`, refused by `render`, never dropped.

use insta::assert_snapshot;

use crate::support::{Output, Place};

#[track_caller]
fn refused(bottle: &str, agent: &str) -> Output {
    let place =
        Place::with(&format!("bottles:\n  b:\n    {bottle}\nagents:\n  a:\n    bottle: b\n    {agent}\n"));
    place.bottle(["validate"]).run().ok();
    let output = place.bottle(["render"]).run();
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output}");
    assert_eq!(place.tree(), ["bottle.yaml"]);
    output
}

const NONE: &str = "supervise: false";

#[test]
fn an_empty_egress_allows_nothing_and_needs_no_sidecar() {
    for egress in ["", "extra_ca: [x.pem]"] {
        let place = Place::with(&format!(
            "bottles: {{ b: {{ egress: {{ {egress} }} }} }}\nagents: {{ a: {{ bottle: b, preset: shell }} }}\n"
        ));
        let compose = place.bottle(["render"]).run().ok();
        assert!(compose.contains("network_mode: none") && !compose.contains("egress"), "{compose}");
    }
}

#[test]
fn a_mounted_workspace_is_refused() {
    assert_snapshot!(refused(NONE, "preset: shell\n    workspace: { mount: . }"), @r#"
    ----- stderr -----
    error: `workspace: { mount: … }` is not part of this version of bottle yet, so this can't be rendered
     --> bottle.yaml:8:25
      |
    8 |     workspace: { mount: . }
      |                         ^
    hint: take it out of the manifest to render the rest; `bottle validate` accepts it
    ----- exit code 1 -----
    "#);
}
