#!/usr/bin/env bash
# Measures what an agent reaches from an internal network of Podman: the figures of docs/src/podman.md.
# Needs Podman as root with netavark, an image with bash (IMAGE), and python3. Where Podman can't run it says so and ends with 77.
set -euo pipefail

image=${IMAGE:-debian:trixie-slim}
name=bottle-podman-probe-$$
port=${PORT:-18766}
server=
log=$(mktemp)

skip() {
    printf 'skipped: podman: %s\n' "$1" >&2
    exit 77
}
# What the programs said, where it is of interest.
fail() {
    printf 'error: %s\n' "$1" >&2
    cat -- "$log" >&2
    exit 1
}
end() {
    podman network rm --force "$name" >>"$log" 2>&1 || true
    [[ -z $server ]] || kill "$server" || true
    rm -f -- "$log"
}
[[ -n $(type -P podman) ]] || skip 'it is not installed'
said=$(podman run --rm "$image" true 2>&1) || skip "it runs no container: ${said##*$'\n'}"
trap end EXIT
podman network create --internal "$name" >>"$log"
gateway=$(podman network inspect "$name" | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["subnets"][0]["gateway"])')
python3 -m http.server "$port" --bind 0.0.0.0 >>"$log" 2>&1 &
server=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>>"$log"; do
    kill -0 "$server" || fail "port $port is taken"
done

inside() {
    podman run --rm --network "$name" --cap-drop ALL --user 1000:1000 "$image" bash -c "$1" 2>>"$log"
}
# Whatever fails from here on is the network's answer.
inside true || fail 'no container starts on an internal network'
podman version --format 'podman {{.Client.Version}}'
if inside "timeout 5 bash -c 'exec 3<>/dev/tcp/$gateway/$port'"; then
    printf 'a service of this machine: reached at %s\n' "$gateway"
else
    printf 'a service of this machine: not reached at %s\n' "$gateway"
fi
# shellcheck disable=SC2016 # the container's shell expands it
if inside '[ "$(cut -f2 /proc/net/route | grep -c 00000000)" -gt 0 ]'; then
    printf 'a default route: there\n'
else
    printf 'a default route: none\n'
fi
