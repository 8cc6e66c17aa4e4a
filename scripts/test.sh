#!/usr/bin/env bash
# What `make test` runs once the machine is set up: every test. The end-to-end tests wait for containers most of their time,
# so the others run beside them; each run's own report is printed whole.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/env.sh
. scripts/env.sh

# Built before either runs: two builds at once would wait for each other.
cargo test --locked --no-run

report=$(mktemp)
# In a process group of its own, so that it is ended with this script.
set -m
cargo test --locked --test e2e >"$report" 2>&1 &
e2e=$!
set +m
trap 'rm -f -- "$report"; [[ -z $(jobs -rp) ]] || kill -- "-$e2e"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
rc=0
cargo test --locked --no-fail-fast --lib --bins --test integration || rc=$?
wait "$e2e" || rc=$?
cat -- "$report"
cargo test --locked --doc || rc=$?
exit "$rc"
