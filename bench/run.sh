#!/usr/bin/env bash
# Compares bottle with other programs on this machine, side by side in one run, and prints a table of
# ratios against the goals (docs/benchmarks.md). A missed goal is told and is no failure.
#
# usage: bench/run.sh [render|gate|egress|scan|supervise|up]...   (default: all)
#
# BOTTLE_BENCH_RUNS scales every number of repetitions (default 100, in percent).
# BOTTLE_BENCH_BINARY measures this program instead of building one.
# BOTTLE_BENCH_BEFORE is the program that `scan` compares with: one that does not look into requests yet.
# BOTTLE_BENCH_INSIDE is set where the script runs itself in a network of its own.
# BOTTLE_BENCH_JSON is where the results of egress go as JSON (default target/bench/egress.json).
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
readonly ROOT
# shellcheck source=scripts/env.sh
. scripts/env.sh

WORK=$(mktemp -d)
readonly WORK
RESULTS=$WORK/results
STARTED=() # the processes of this run, by their id

cleanup() {
    local pid
    for pid in "${STARTED[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    wait
    rm -rf -- "$WORK"
}
trap cleanup EXIT

say() { printf 'bench: %s\n' "$*" >&2; }
fail() {
    say "error: $*"
    exit 1
}

# runs NUMBER: as many repetitions, scaled.
runs() {
    local count=$(($1 * ${BOTTLE_BENCH_RUNS:-100} / 100))
    echo $((count < 3 ? 3 : count))
}

# result WHAT RATIO GOAL NOTE: a line of the table; the goal is the most that the ratio may be.
result() {
    local verdict
    verdict=$(awk -v ratio="$2" -v goal="$3" 'BEGIN { print ratio <= goal ? "met" : "**missed**" }')
    printf '| %s | %s | %s | %s | %s |\n' "$1" "$2" "$3" "$verdict" "$4" >>"$RESULTS"
}

# timed COMMAND...: runs it and leaves the seconds that it took in TOOK; what it prints is shown if it fails.
# shellcheck disable=SC2034 # the sourced files read TOOK
TOOK=0
timed() {
    local from=$EPOCHREALTIME
    "$@" >"$WORK/output" 2>&1 || { cat -- "$WORK/output" >&2 && fail "failed: $*"; }
    TOOK=$(awk -v from="$from" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.6f", to - from }')
}

# median NUMBER...
median() { printf '%s\n' "$@" | sort -g | awk '{ n[NR] = $1 } END { print (n[int((NR + 1) / 2)] + n[int(NR / 2) + 1]) / 2 }'; }
ratio() { awk -v a="$1" -v b="$2" -v digits="${3:-2}" 'BEGIN { printf "%.*f\n", digits, a / b }'; }
milliseconds() { awk -v s="$1" 'BEGIN { printf "%.*f ms\n", s < 0.01 ? 2 : (s < 0.1 ? 1 : 0), s * 1000 }'; }

build() {
    if [[ -n ${BOTTLE_BENCH_BINARY:-} ]]; then
        BOTTLE=$(realpath -- "$BOTTLE_BENCH_BINARY")
    else
        say "building the release binary"
        cargo build --quiet --release --locked --bin bottle --target "$(uname -m)-unknown-linux-gnu"
        BOTTLE=${CARGO_TARGET_DIR:-$ROOT/target}/$(uname -m)-unknown-linux-gnu/release/bottle
    fi
    mkdir -p -- "$WORK/bin"
    # A copy: another build must not change the program in the middle of a measurement.
    cp -p -- "$BOTTLE" "$WORK/bin/bottle"
    BOTTLE=$WORK/bin/bottle
}

# shellcheck source=bench/render.sh
. bench/render.sh
# shellcheck source=bench/gate.sh
. bench/gate.sh
# shellcheck source=bench/egress.sh
. bench/egress.sh
# shellcheck source=bench/scan.sh
. bench/scan.sh
# shellcheck source=bench/supervise.sh
. bench/supervise.sh
# shellcheck source=bench/up.sh
. bench/up.sh

main() {
    local parts=("$@") part
    ((${#parts[@]})) || parts=(render gate egress scan supervise up)
    for part in "${parts[@]}"; do
        [[ " render gate egress scan supervise up " == *" $part "* ]] ||
            fail "no such part: \`$part\`; there are render, gate, egress, scan, supervise and up"
    done
    for part in hyperfine python3 git; do
        type -P "$part" >/dev/null || fail "\`$part\` is missing: run scripts/setup.sh all bench"
    done
    build
    for part in "${parts[@]}"; do "bench_$part"; done
    if [[ -s $RESULTS ]]; then
        printf '\n| what | ratio | goal at most | | median times |\n| --- | --- | --- | --- | --- |\n'
        cat -- "$RESULTS"
    fi
    for part in egress supervise; do
        [[ ! -s $WORK/$part.md ]] || { printf '\n' && cat -- "$WORK/$part.md"; }
    done
    printf '\n'
    machine
    if cat -- "$RESULTS" "$WORK/egress.md" "$WORK/supervise.md" 2>/dev/null | grep -q 'missed'; then
        printf '\nNot every goal was met; docs/benchmarks.md says where the time goes.\n'
    fi
}

machine() {
    local gitleaks
    gitleaks=$(gitleaks version 2>/dev/null || echo none)
    printf '%s cores (%s), %s GiB, Linux %s, load %s; git %s, %s, gitleaks %s, Docker Compose %s, %s\n' \
        "$(nproc)" "$(uname -m)" "$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)" "$(uname -r)" \
        "$(cut -d ' ' -f 1-2 /proc/loadavg)" "$(git version | cut -d ' ' -f 3)" "$(ssh -V 2>&1 | cut -d , -f 1)" "$gitleaks" \
        "$(docker compose version --short 2>/dev/null || echo none)" "$("$BOTTLE" --version)"
}

main "$@"
