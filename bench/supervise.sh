# shellcheck shell=bash
# Sourced by run.sh: from the operator's approval to what egress and the gate do by it, and supervise with a full store.

bench_supervise() {
    mkdir -p -- "$WORK/supervise"
    say "supervise: $(runs 200) approvals for each sidecar"
    python3 bench/supervise/measure.py "$BOTTLE" "$WORK/supervise" "$(runs 200)" >"$WORK/supervise.md" ||
        fail "supervise could not be measured"
}
