//! `bottle graph`: the picture of a bottle.

use insta::assert_snapshot;

use crate::support::{Place, project, snapshots};

fn graph(example: &str, format: &str) -> String {
    let place = Place::new();
    let path = project(&format!("examples/{example}/bottle.yaml"));
    place.bottle(["graph", "--format", format, "--file"]).arg(path).run().ok()
}

#[test]
fn some_examples_look_as_they_did() {
    for example in ["egress", "pipelock", "supervise"] {
        for format in ["mermaid", "dot", "svg"] {
            snapshots("graph")
                .bind(|| assert_snapshot!(format!("{example}.{format}"), graph(example, format)));
        }
    }
}

#[test]
fn the_picture_in_the_documentation_is_the_one_that_is_drawn() {
    let path = project("docs/src/img/graph.svg");
    let committed = bottle::fs::read_to_string(&path).unwrap();
    let hint =
        "run: bottle graph --file examples/supervise/bottle.yaml --format svg > docs/src/img/graph.svg";
    assert_eq!(committed, graph("supervise", "svg"), "{hint}");
}

#[test]
fn every_example_can_be_drawn_and_a_text_of_the_manifest_is_never_markup() {
    let place = Place::with(
        "bottles: { b: { egress: { routes: [{ host: a.example.org, paths: [\"/<script>&'34;`]--><\\\"\"] }] } } }\nagents: { a: { bottle: b, preset: shell } }\n",
    );
    let svg = place.bottle(["graph", "--format", "svg"]).run().ok();
    assert!(svg.contains("/&lt;script&gt;&amp;&#39;34;`]--&gt;&lt;&quot;"), "{svg}");
    assert!(!svg.contains("<script"), "{svg}");
    let mermaid = place.bottle(["graph"]).run().ok();
    assert!(!mermaid.contains("<script") && !mermaid.contains('`'), "{mermaid}");
    for (example, agent) in
        [("empty", "thinker"), ("hello", ""), ("https", ""), ("several-agents", "reader"), ("ssh-agent", "")]
    {
        let path = project(&format!("examples/{example}/bottle.yaml"));
        let run = place.bottle(["graph", "--format", "svg", "--file"]).arg(path);
        let output = if agent.is_empty() { run.run() } else { run.arg(agent).run() };
        assert!(output.ok().ends_with("</svg>\n"), "{example}");
    }
}
