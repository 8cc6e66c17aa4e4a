# shellcheck shell=bash
# Sourced by run.sh: `bottle render` as a whole process.

# alternate ROUNDS RUNS NAME=COMMAND...: a hyperfine of each in turn, several times over, so that what else the machine
# does falls on all alike. Leaves the median over everything in MEDIAN[NAME].
declare -A MEDIAN
alternate() {
    local rounds=$1 count=$2 pair round name
    shift 2
    for ((round = 0; round < rounds; round++)); do
        for pair; do
            hyperfine --shell=none --style=none --warmup 3 --runs "$count" --output=null \
                --export-json "$WORK/times.${pair%%=*}.$round.json" "${pair#*=}" >"$WORK/output" 2>&1 ||
                { cat -- "$WORK/output" >&2 && fail "hyperfine failed"; }
        done
    done
    for pair; do
        name=${pair%%=*}
        MEDIAN[$name]=$(python3 -c '
import json, statistics, sys
print(statistics.median(t for path in sys.argv[1:] for t in json.load(open(path))["results"][0]["times"]))' \
            "$WORK/times.$name".*.json)
        rm -f -- "$WORK/times.$name".*.json
    done
}

# agents COUNT FILE: a manifest with as many agents in one bottle.
agents() {
    local number
    cat -- "$ROOT/examples/hello/bottle.yaml" >"$2"
    for ((number = 1; number < $1; number++)); do
        printf '  a%s: { bottle: hello, preset: shell, workspace: { clone: app } }\n' "$number" >>"$2"
    done
}

# peak_memory: of `bottle render` in MiB. rusage would count what the process was before it became bottle, so it is read
# from the process itself, which waits at its very end for somebody to read its output.
peak_memory() {
    local pid state peak
    mkfifo "$WORK/pipe"
    exec 5<>"$WORK/pipe"
    head -c 65536 /dev/zero >&5 # as much as a pipe takes
    "$BOTTLE" render >&5 &
    pid=$!
    state=''
    while [[ $state != S ]]; do
        sleep 0.05
        state=$(awk '/^State:/ { print $2 }' "/proc/$pid/status")
    done
    peak=$(awk '/^VmHWM:/ { printf "%.1f", $2 / 1024 }' "/proc/$pid/status")
    kill "$pid"
    wait "$pid" 2>/dev/null || true
    exec 5>&-
    rm -f -- "$WORK/pipe"
    echo "$peak"
}

bench_render() {
    local count round part base=1 note='' directory=$WORK/render compose
    local -a fresh again
    local first unchanged
    say "render"
    mkdir -p -- "$directory"
    cp -- examples/hello/bottle.yaml "$directory"
    cd -- "$directory" || return
    "$BOTTLE" render >compose.yaml
    # hyperfine's own output of the command goes to /dev/null, which is as good as a file.
    alternate "$(runs 10)" 100 true=/bin/true version="$BOTTLE --version" validate="$BOTTLE validate" render="$BOTTLE render"
    result "\`bottle render\` / \`/bin/true\`" "$(ratio "${MEDIAN[render]}" "${MEDIAN[true]}")" 2.0 \
        "$(milliseconds "${MEDIAN[render]}"), $(milliseconds "${MEDIAN[true]}"); \`--version\` $(milliseconds "${MEDIAN[version]}"), \`validate\` $(milliseconds "${MEDIAN[validate]}")"
    sed 's/^agents:/    # Another text with the same meaning.\nagents:/' bottle.yaml >other.yaml
    alternate "$(runs 10)" 100 true=/bin/true explain="$BOTTLE explain push app refs/heads/agent/x --create" \
        diff="$BOTTLE diff bottle.yaml other.yaml" graph="$BOTTLE graph --format svg"
    for part in explain diff graph; do
        result "\`bottle $part\` over \`/bin/true\`, in ms" \
            "$(awk -v a="${MEDIAN[$part]}" -v b="${MEDIAN[true]}" 'BEGIN { printf "%.2f", (a - b) * 1000 }')" 5 \
            "$(milliseconds "${MEDIAN[$part]}"), $(milliseconds "${MEDIAN[true]}")"
    done
    result "\`bottle render\`, peak memory in MiB" "$(peak_memory)" 8 ""
    if compose=$(docker compose version --short 2>&1); then
        alternate "$(runs 5)" 10 render="$BOTTLE render" compose="docker compose config"
        result "\`bottle render\` / \`docker compose config\` of the same bundle" \
            "$(ratio "${MEDIAN[render]}" "${MEDIAN[compose]}" 3)" 0.0333 \
            "$(milliseconds "${MEDIAN[render]}"), $(milliseconds "${MEDIAN[compose]}")"
    else
        say "no docker compose to compare with: ${compose##*$'\n'}"
    fi
    for count in 1 100 1000; do
        agents "$count" "$directory/many.yaml"
        fresh=() again=()
        for ((round = 0; round < $(runs 5); round++)); do
            rm -rf -- "$directory/many"
            timed "$BOTTLE" render --all -f many.yaml -o many
            fresh+=("$TOOK")
            timed "$BOTTLE" render --all -f many.yaml -o many
            again+=("$TOOK")
        done
        first=$(median "${fresh[@]}") unchanged=$(median "${again[@]}")
        note+="${note:+, }$count: $(milliseconds "$first") / $(milliseconds "$unchanged")"
        if ((count == 1000)); then
            result "1,000 agents with \`--all\`, first time, in seconds" "$(printf '%.2f' "$first")" 1 "agents: first / unchanged"
            result "1,000 agents with \`--all\`, unchanged, in seconds" "$(printf '%.2f' "$unchanged")" 1 "$note"
            result "1,000 agents / 100 agents, unchanged (10 is linear)" "$(ratio "$unchanged" "$base" 1)" 11 ""
        fi
        base=$unchanged
    done
    cd -- "$ROOT" || return
}
