//! A policy that changes while the bottle runs.

use libtest_mimic::Failed;

use super::world::{CHECK, bottle, curl, manifest, refused};
use crate::Test;
use crate::world::{Project, eventually};

pub(crate) const TESTS: &[Test] = &[
    ("a_route_is_live_with_render_alone_and_gone_without_it", routes),
    ("a_bad_policy_leaves_the_last_good_one_in_force", bad),
    ("a_stream_that_the_new_policy_forbids_is_cut", cut),
];

const LATER: &str = "        - { host: later.example.org, private: true, methods: [ANY] }\n";

fn render(project: &Project, routes: &str) -> Result<(), Failed> {
    project.write("bottle.yaml", &manifest(&project.slug, routes));
    project.render()?;
    Ok(())
}

fn routes() -> Result<(), Failed> {
    let project = bottle()?;
    let url = "https://later.example.org/x";
    refused(project, url, 403, "route-missing")?;
    let compose = || std::fs::read(project.directory.join("compose.yaml"));
    let containers = || ["agent", "egress"].map(|service| project.container(service));
    let (before, running) = (compose()?, containers());
    render(project, LATER)?;
    eventually("the route is live", || curl(project, url).text.contains("200 \n"))?;
    assert!(compose()? == before, "compose.yaml has changed");
    // Not even `up` has anything to do.
    project.up()?;
    assert_eq!(containers(), running);
    render(project, "")?;
    eventually("the route is gone", || refused(project, url, 403, "route-missing").is_ok())
}

fn bad() -> Result<(), Failed> {
    let project = bottle()?;
    let path = project.directory.join(".bottle").join(&project.slug).join("egress/policy.yaml");
    let good = std::fs::read_to_string(&path)?;
    let check = || project.exec("egress", &[], &CHECK);
    // As an editor would, and as a careless hand: a new file, and one that is written over.
    std::fs::write(&path, good.replacen("routes:", "routs:", 1))?;
    let red = eventually("egress says that its policy is bad", || !check().ok);
    let said = check().text;
    let still = curl(project, "https://api.example.org/v1/x").text;
    let closed = refused(project, "https://other.example.org/", 403, "route-missing");
    std::fs::write(&path, &good)?;
    red?;
    assert!(said.contains("policy.yaml"), "{said}");
    assert!(still.contains("200 \n"), "{still}");
    closed?;
    eventually("egress is healthy again", || check().ok)
}

/// An upload that nobody hurries to end, to an origin that waits for it, and its end when the route is gone.
fn cut() -> Result<(), Failed> {
    let project = bottle()?;
    render(project, LATER)?;
    eventually("the route is live", || curl(project, "https://later.example.org/x").text.contains("200 \n"))?;
    // An upload whose body never ends: a byte every now and then, as long as curl takes it.
    let upload = "(while sleep 0.05 && printf x; do echo x >>/tmp/fed; done) | curl --silent --show-error --max-time 600 \
                  --http1.1 -T - https://later.example.org/slow >/tmp/cut 2>&1; echo ended >>/tmp/cut";
    project.agent(&format!("rm -f /tmp/cut /tmp/fed; ({upload}) >/tmp/upload 2>&1 &")).expect_ok()?;
    let under_way = || project.agent("test $(wc -l </tmp/fed) -ge 20 && ! grep -q ended /tmp/cut");
    eventually("the upload is under way", || under_way().ok)
        .map_err(|_| project.agent("cat /tmp/cut /tmp/upload; wc -l /tmp/fed").text)?;
    render(project, "")?;
    eventually("the upload is cut", || project.agent("grep -q ended /tmp/cut").ok)?;
    refused(project, "https://later.example.org/x", 403, "route-missing")?;
    Ok(())
}
