#!/usr/bin/env bash
# What `make lint` runs beside cargo fmt and clippy: shellcheck over our own scripts and over those that bottle renders, and
# cargo-deny.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/env.sh
. scripts/env.sh

shopt -s nullglob
own=(scripts/*.sh .ci/run bench/*.sh)
shellcheck -x "${own[@]}"
echo "lint: shellcheck: ${#own[@]} scripts of our own"

# What a program complains about is shown or read, never thrown away. The last pattern is how Rust would do it.
thrown=$(grep -rnE '>+ ?/dev/null|&>/dev/null|std(out|err)\((std::process::)?Stdio::null' src templates docker scripts .ci |
    grep -v '^scripts/lint.sh:' || true)
if [[ -n $thrown ]]; then
    printf 'lint: error: output is thrown away here:\n%s\n' "$thrown" >&2
    exit 1
fi
echo "lint: no output is thrown away"

# With the features that the tests' own dependencies ask for: `cargo run` would build most crates once more without them.
cargo build --quiet --locked --test e2e
host=$(rustc -vV | sed -n 's/^host: //p')
bottle=${CARGO_TARGET_DIR:-target}/$host/debug/bottle

out=$(mktemp -d)
trap 'rm -rf -- "$out"' EXIT
rendered=0
for manifest in examples/*/bottle.yaml; do
    example=$(basename -- "$(dirname -- "$manifest")")
    "$bottle" render --all -f "$manifest" -o "$out/$example"
    # Hooks have no file name extension, and what is only read by a shell has no first line of a program.
    while IFS= read -r -d '' file; do
        IFS= read -r first <"$file" || first=''
        [[ $first == '#!/bin/sh'* || $file == *.sh ]] || continue
        shellcheck -s sh "$file"
        rendered=$((rendered + 1))
    done < <(find "$out/$example" -type f -size -1024k -print0)
done
if [[ -n ${manifest:-} ]] && ((rendered == 0)); then
    echo "lint: error: the examples rendered no script that shellcheck could judge" >&2
    exit 1
fi
echo "lint: shellcheck: $rendered rendered scripts"

cargo deny --locked check bans licenses sources
# The advisory database is a git repository that no package registry carries.
if answer=$(timeout 60 cargo deny --locked fetch db 2>&1); then
    cargo deny --locked check --disable-fetch advisories
else
    echo "lint: advisories not checked, their database cannot be fetched: $(sed '/^$/d' <<<"$answer" | tail -n 1)"
fi
