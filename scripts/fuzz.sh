#!/usr/bin/env bash
# The fuzz targets of fuzz/, with the stable compiler: `run SECONDS [TARGET...]` runs each for so long. What a run found to be
# worth keeping stays in target/fuzz/corpus, what broke a target in target/fuzz/artifacts.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# What cargo-fuzz gives the compiler, without the sanitizers, for which it needs a nightly one: coverage for libFuzzer.
# No crt-static: libFuzzer is C++ from the system.
instrument=(
    --cfg fuzzing
    -C passes=sancov-module
    -C llvm-args=-sanitizer-coverage-level=4
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters
    -C llvm-args=-sanitizer-coverage-pc-table
    -C llvm-args=-sanitizer-coverage-trace-compares
)

usage() {
    echo "usage: scripts/fuzz.sh run SECONDS [TARGET...]" >&2
    exit 2
}

run() {
    local seconds=$1 out=target/fuzz failed=0 host target
    shift
    host=$(rustc -vV | sed -n 's/^host: //p')
    RUSTFLAGS=${instrument[*]} cargo build --quiet --locked --package bottle-fuzz --profile fuzz --target-dir "$out"
    if (($# == 0)); then
        local files=(fuzz/fuzz_targets/*.rs)
        set -- "${files[@]##*/}"
        set -- "${@%.rs}"
    fi
    for target in "$@"; do
        local corpus=$out/corpus/$target artifacts=$out/artifacts/$target options=() dirs=()
        mkdir -p "$corpus" "$artifacts"
        dirs+=("$corpus")
        [[ ! -d fuzz/seeds/$target ]] || dirs+=("fuzz/seeds/$target")
        [[ $target != re* ]] || options+=(-dict=fuzz/http.dict)
        echo "fuzz: $target, $seconds s"
        if ! "$out/$host/fuzz/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=4096 \
            -artifact_prefix="$artifacts/" -print_final_stats=1 "${options[@]}" "${dirs[@]}" >"$out/$target.log" 2>&1; then
            failed=1
            tail -n 40 "$out/$target.log"
        fi
        grep -E '^stat::number_of_executed_units|cov: [0-9]+ .* DONE|^#[0-9]+.*DONE' "$out/$target.log" || :
    done
    return "$failed"
}

case ${1-} in
run)
    [[ ${2-} =~ ^[0-9]+$ ]] || usage
    run "${@:2}"
    ;;
*) usage ;;
esac
