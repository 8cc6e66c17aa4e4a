# shellcheck shell=bash
# Sourced by run.sh: what looking into requests costs. There is no switch that turns it off, so that it is measured beside a
# binary of before it, which BOTTLE_BENCH_BEFORE names; both run in rounds that take turns, with the client and the origin
# of the measurement of egress.

SC_ROUNDS=5

# scan_ways: `off` is the binary of before, `on` the one of now.
scan_ways() {
    local way port
    for way in off on; do
        port=$(free_port)
        [[ $way == on ]] || BOTTLE=$WORK/bin/before
        egress_command bottle "$port"
        BOTTLE=$WORK/bin/bottle
        sed -i 's/methods: \[GET, HEAD\], paths: \["\/bench/methods: [GET, HEAD, POST], paths: ["\/bench/' "$EG/bottle-$port/policy.yaml"
        egress_start "$way" 0 "${EG_COMMAND[@]}"
        egress_listens "$way" "$port"
        # shellcheck disable=SC2004 # its keys are words
        EG_ARGS[$way]="--proxy 127.0.0.1:$port --ca $EG_CA"
    done
}

scan_peak() { awk '/^VmHWM/ { print $2 / 1024 }' "/proc/${EG_PID[$1]}/status"; }

# scan_numbers WAY PHASE FIELD: the numbers of all rounds.
scan_numbers() { sed -n "s/^{\"round\":[0-9]*,\"way\":\"$1\",\"phase\":\"$2\",.*\"$3\":\([0-9.]*\).*/\1/p" "$EG/raw"; }

# scan_median WAY PHASE FIELD
scan_median() {
    local numbers
    mapfile -t numbers < <(scan_numbers "$1" "$2" "$3")
    median "${numbers[@]}"
}

bench_scan() {
    local way round rounds ms common small large
    if [[ ! -x ${BOTTLE_BENCH_BEFORE:-} ]]; then
        say "scan: left out: BOTTLE_BENCH_BEFORE names no binary of before"
        return 0
    fi
    for way in nginx openssl taskset; do
        type -P "$way" >/dev/null || fail "\`$way\` is missing: run scripts/setup.sh all bench"
    done
    cp -- "$BOTTLE_BENCH_BEFORE" "$WORK/bin/before"
    egress_client
    if [[ -z ${BOTTLE_BENCH_INSIDE:-} && $(id -u) == 0 ]] && unshare --net true 2>/dev/null; then
        BOTTLE_BENCH_INSIDE=1 BOTTLE_BENCH_BINARY=$BOTTLE BOTTLE_BENCH_BEFORE=$WORK/bin/before unshare --net bench/run.sh scan
        return
    fi
    [[ -z ${BOTTLE_BENCH_INSIDE:-} ]] || ip link set lo up
    EG=$WORK/scan
    mkdir -p -- "$EG/www/bench"
    egress_certificates
    EG_ORIGIN=$(free_port)
    egress_nginx origin "$EG_ORIGIN" 'default_type text/plain; client_max_body_size 0;' 'location = /bench/post { return 200 "ok"; }'
    egress_start origin 1 "${EG_COMMAND[@]}"
    egress_listens origin "$EG_ORIGIN"
    scan_ways
    ms=$((3000 * ${BOTTLE_BENCH_RUNS:-100} / 100))
    rounds=$(runs "$SC_ROUNDS")
    for ((round = 1; round <= rounds; round++)); do
        for way in off on; do
            say "scan: round $round of $rounds: $way"
            # shellcheck disable=SC2206 # words on purpose
            common=(${EG_ARGS[$way]} --authority "localhost:$EG_ORIGIN" --pid "${EG_PID[$way]}" --path /bench/post)
            egress_measure "$round" "$way" small keepalive "${common[@]}" --body 1024 --connections 16 --ms "$ms"
            egress_measure "$round" "$way" upload16 upload "${common[@]}" --mib 16
            [[ $way == off ]] || small=$(scan_peak on)
            egress_measure "$round" "$way" upload256 upload "${common[@]}" --mib 256
        done
    done
    large=$(scan_peak on)
    result "POST of 1 KiB on 16 kept connections, with the scan / without" \
        "$(ratio "$(scan_median off small per_second)" "$(scan_median on small per_second)")" 1.11 \
        "$(scan_median on small per_second) and $(scan_median off small per_second) a second"
    result "processor time of such a request, with / without" "$(ratio "$(scan_median on small cpu_us)" "$(scan_median off small cpu_us)")" 1.11 \
        "$(scan_median on small cpu_us) and $(scan_median off small cpu_us) µs"
    result "processor time of 256 MiB of text up, with / without" \
        "$(ratio "$(scan_median on upload256 cpu_ms_per_mib)" "$(scan_median off upload256 cpu_ms_per_mib)")" 2 \
        "$(scan_median on upload256 cpu_ms_per_mib) and $(scan_median off upload256 cpu_ms_per_mib) ms a MiB; $(scan_median on upload256 mib_per_second) and $(scan_median off upload256 mib_per_second) MiB a second"
    result "peak memory after 256 MiB at once / after 16 MiB" "$(ratio "$large" "$small")" 1.1 "$large and $small MiB"
}
