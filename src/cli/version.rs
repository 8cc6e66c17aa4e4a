//! `bottle --version`: what to name in a report of a fault.

use std::sync::LazyLock;

/// The Docker Engine that the tests have run with.
const ENGINE: &str = "20.10.24";
/// The Docker Compose that the tests have run with.
const COMPOSE: &str = "5.6.1";
/// The git that the tests have run with.
const GIT: &str = "2.47.3";
/// The gitleaks of the gate's image, and of the tests.
const GITLEAKS: &str = "8.30.1";

/// The long form: the commit, `unknown` where the source was neither a work tree of git nor a crate's package, and what the
/// tests have run with.
pub(super) fn long() -> &'static str {
    &LONG
}

static LONG: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}\ncommit {}\ntested with Docker Engine {ENGINE}, Docker Compose {COMPOSE}, git {GIT}, gitleaks {GITLEAKS}",
        env!("CARGO_PKG_VERSION"),
        env!("BOTTLE_COMMIT"),
    )
});

#[cfg(test)]
mod tests {
    use super::{COMPOSE, ENGINE, GIT, GITLEAKS};

    #[test]
    fn the_versions_are_those_of_the_documentation_and_of_the_gates_image() {
        let text = include_str!("../../docs/src/exit-codes.md");
        let line = format!(
            "tested with Docker Engine {ENGINE}, Docker Compose {COMPOSE}, git {GIT}, gitleaks {GITLEAKS}\n"
        );
        assert!(text.contains(&line), "docs/src/exit-codes.md has no line `{line}`");
        let image = include_str!("../../docker/git-gate/Dockerfile");
        assert!(image.contains(&format!("/gitleaks:v{GITLEAKS}\n")), "{image}");
        let setup = include_str!("../../scripts/setup.sh");
        assert!(setup.contains(&format!("gitleaks=={GITLEAKS}.")));
    }
}
