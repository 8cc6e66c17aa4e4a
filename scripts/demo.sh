#!/usr/bin/env bash
# The main job, end to end: an agent in a bottle clones a real repository through the gate, commits, pushes, and is
# refused when the push carries a secret. `demo.sh down` removes everything that it made.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
root=$PWD
demo=$root/.bottle-demo

say() { printf '%s\n' "$*"; }
tick() { printf '  \342\234\223 %s\n' "$*"; }
fail() {
    printf '  \342\234\227 %s\n' "$1" >&2
    [[ -z ${2:-} ]] || printf '      %s\n' "${2//$'\n'/$'\n'      }" >&2
    exit 1
}
compose() { docker compose --project-directory "$demo" -f "$demo/compose.yaml" -f "$demo/compose.override.yaml" "$@"; }
agent() { compose exec -T agent sh -c "cd /workspace && $1" 2>&1; }
upstream_has() { compose exec -T --user git upstream git -C /srv/git/app.git rev-parse --verify --quiet "$1"; }

down() {
    # shellcheck source=scripts/env.sh
    . scripts/env.sh
    if [[ -e $demo/compose.yaml ]] && docker info >"$demo/engine" 2>&1; then
        compose down --volumes --rmi local --remove-orphans --timeout 5
    fi
    rm -rf -- "$demo"
    say "demo: nothing is left of it"
}

if [[ ${1:-} == down ]]; then
    down
    exit
fi

engine=yes
rc=0
scripts/setup.sh demo || rc=$?
((rc == 0 || rc == 3)) || exit "$rc"
((rc == 0)) || engine=
# shellcheck source=scripts/env.sh
. scripts/env.sh

say "==> building bottle"
cargo build --release --locked
bottle=$(find "$root/target" -path '*-linux-gnu/release/bottle' -type f -newer Cargo.toml -print -quit)
[[ -n $bottle ]] || bottle=$(find "$root/target" -path '*-linux-gnu/release/bottle' -type f -print -quit)

say "==> a bottle for examples/hello"
mkdir -p "$demo/upstream"
if [[ ! -e $demo/id_ed25519 ]]; then
    ssh-keygen -q -t ed25519 -N '' -C demo -f "$demo/id_ed25519"
    ssh-keygen -q -t ed25519 -N '' -C upstream -f "$demo/upstream/host_key"
    cp "$demo/id_ed25519.pub" "$demo/upstream/authorized_keys"
fi
host_key=$(cut -d' ' -f1,2 "$demo/upstream/host_key.pub")
sed "s|known_host_key: .*|known_host_key: $host_key|" examples/hello/bottle.yaml >"$demo/bottle.yaml"
cat >"$demo/compose.override.yaml" <<YAML
# The user's own file: here it brings a throwaway upstream, which only the gate can reach.
services:
  upstream:
    build: { context: "$root/tests/e2e/upstream" }
    command: [app]
    init: true
    networks: { outside: { aliases: [git.example.org] } }
    volumes: ["$demo/upstream:/etc/upstream:ro"]
  git-gate:
    depends_on: [upstream]
YAML
"$bottle" validate -f "$demo/bottle.yaml"
(cd "$demo" && "$bottle" render >compose.yaml.new && mv compose.yaml.new compose.yaml)
tick "bottle render > compose.yaml: $(find "$demo/.bottle" -type f | wc -l) files below .bottle/"
(cd "$demo" && "$bottle" render --check)
tick "bottle render --check: the bundle is what the manifest says"
if docker compose version >"$demo/compose-version" 2>&1; then
    compose config -q
    tick "docker compose config: valid"
fi
if [[ -z $engine ]]; then
    say "demo: no Docker engine can be had here, so the bundle was built, rendered and validated, and not run"
    exit 0
fi

say "==> docker compose up"
if ! output=$(compose up --detach --wait --build 2>&1); then
    fail "the bottle did not start" "$output
$(compose logs --tail 50 2>&1)"
fi
tick "the agent, the gate and a throwaway upstream are healthy"

say "==> the agent works"
output=$(agent 'git config remote.origin.url && git log --oneline') || fail "the workspace is no clone" "$output"
tick "cloned through the gate by the upstream's own URL: $(head -n 1 <<<"$output")"
output=$(agent 'git switch -q -C agent/demo && date >work.txt && git add work.txt && git commit -q -m "agent: work" && git push origin agent/demo') ||
    fail "an honest push was refused" "$output"
commit=$(agent 'git rev-parse HEAD')
[[ $(upstream_has refs/heads/agent/demo) == "$commit" ]] || fail "the upstream does not have $commit"
tick "pushed to agent/demo, and the upstream has ${commit:0:12}"

say "==> what is refused"
refused() { # what, reason code, script
    local output
    if output=$(agent "$3"); then fail "$1 was accepted" "$output"; fi
    grep -q "$2" <<<"$output" || fail "$1 was refused without \`$2\`" "$output"
    [[ $(upstream_has refs/heads/agent/demo) == "$commit" ]] || fail "the upstream changed"
    tick "$1: $(grep -m 1 "$2" <<<"$output" | sed 's/^remote: //; s/[[:space:]]*$//')"
}
reset='git reset -q --hard origin/agent/demo'
# Put together here, so that no text in the shape of a key is in this repository.
key=AKIA$(LC_ALL=C tr -dc 'A-Z2-7' </dev/urandom | head -c 16 || true)
refused "a commit with an AWS-shaped key" secret-found \
    "$reset && echo 'aws_access_key_id = $key' >config && git add config && git commit -q -m config && git push origin agent/demo"
refused "a commit that touches bottle.yaml" path-protected \
    "$reset && echo 'bottles: {}' >bottle.yaml && git add bottle.yaml && git commit -q -m policy && git push origin agent/demo"
refused "a push to main" default-branch-protected "$reset && git push origin HEAD:main"
address=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$(compose ps --quiet upstream)")
knock="timeout 3 bash -c 'exec 3<>/dev/tcp/$address/2222'"
compose exec -T git-gate sh -c "$knock" || fail "the upstream does not answer at $address, so its silence would prove nothing"
if output=$(agent "$knock"); then fail "the agent reached the upstream past the gate" "$output"; fi
tick "the agent past the gate: no way to $address:2222, where the gate gets an answer"
compose stop --timeout 2 upstream >"$demo/stop" 2>&1
refused_fetch=$(agent "$reset && git fetch origin") && fail "a fetch went on without the upstream" "$refused_fetch"
grep -q upstream-down <<<"$refused_fetch" || fail "the fetch failed without \`upstream-down\`" "$refused_fetch"
tick "a fetch while the upstream is stopped: $(grep -m 1 upstream-down <<<"$refused_fetch")"
compose start upstream >"$demo/start" 2>&1

cat <<TXT

The bottle is running. Look around:
  cd .bottle-demo
  docker compose exec agent bash      inside: git log, git push, env
  docker compose logs git-gate        what the gate decided
  less compose.yaml                   what is reviewed in a pull request
\`make demo-down\` leaves nothing behind.
TXT
