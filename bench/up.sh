# shellcheck shell=bash
# Sourced by run.sh: `docker compose up` until everything is healthy, with the sidecars separate and bundled.

# up_bottle MODE: a bottle with all three sidecars, whose upstream nobody has to answer for.
up_bottle() {
    local mode=$1 directory=$WORK/up-$1
    mkdir -p -- "$directory"
    cd -- "$directory" || return
    ssh-keygen -q -t ed25519 -N '' -C bench -f key
    cat >bottle.yaml <<END
bottles:
  dev:
    egress: { routes: [{ host: api.example.org }] }
    git:
      app:
        upstream: ssh://git@git.example.org/team/app.git
        identity_file: key
        known_host_key: $(cut -d ' ' -f 1-2 key.pub)
    supervise: { port: $2 }
    sidecars: $mode
agents:
  bench-$mode-$$: { bottle: dev, preset: shell }
END
    "$BOTTLE" render -o .
}

# up_down: removes what the bottle made but its images; with --volumes those too.
up_down() { docker compose down --timeout 1 "$@" >"$WORK/output" 2>&1 || { cat -- "$WORK/output" >&2 && fail "docker compose down failed"; }; }

bench_up() {
    local mode round count port=17333
    local -a took
    local -A first warm built whole
    docker info >"$WORK/output" 2>&1 || { say "up: there is no Docker engine" && return; }
    count=$(runs 5)
    say "up"
    for mode in separate bundled; do
        up_bottle "$mode" "$((port++))"
        # From the base images, as after an upgrade of bottle.
        timed docker compose build --no-cache
        # shellcheck disable=SC2153 # run.sh sets it
        built[$mode]=$TOOK
        timed docker compose up --detach --wait --no-build
        first[$mode]=$TOOK
        up_down
        cd -- "$ROOT" || return
    done
    # In turn, so that what else the machine does falls on both.
    for what in '--no-build' ''; do
        for mode in separate bundled; do : >"$WORK/up.$mode"; done
        for ((round = 0; round < count; round++)); do
            for mode in separate bundled; do
                cd -- "$WORK/up-$mode" || return
                # shellcheck disable=SC2086 # none or one word
                timed docker compose up --detach --wait $what
                echo "$TOOK" >>"$WORK/up.$mode"
                up_down
                cd -- "$ROOT" || return
            done
        done
        for mode in separate bundled; do
            mapfile -t took <"$WORK/up.$mode"
            if [[ $what ]]; then warm[$mode]=$(median "${took[@]}"); else whole[$mode]=$(median "${took[@]}"); fi
        done
    done
    for mode in separate bundled; do
        (cd -- "$WORK/up-$mode" && up_down --volumes --rmi local)
        result "\`docker compose up\` until healthy, warm, $mode, in seconds" "$(printf '%.2f' "${warm[$mode]}")" \
            "$([[ $mode == separate ]] && echo 3 || echo 2)" \
            "with the cached build: $(milliseconds "${whole[$mode]}"); cold: build $(milliseconds "${built[$mode]}"), first start $(milliseconds "${first[$mode]}")"
    done
    result "the same, warm, bundled / separate" "$(ratio "${warm[bundled]}" "${warm[separate]}")" 0.67 ""
}
