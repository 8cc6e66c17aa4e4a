#!/usr/bin/env bash
# Writes everything in the documentation that is made of the code, and what the commands of the guides print: the same tests that
# otherwise compare it. Look at the difference before it is committed.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/env.sh
. scripts/env.sh

BOTTLE_UPDATE_DOCS=1 cargo test --locked --quiet --test integration -- \
    book:: cli::reasons scan::documented metrics_of_the_book
git diff --stat -- docs
