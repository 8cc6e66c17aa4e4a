#!/usr/bin/env bash
# The main job, end to end: an agent in a bottle clones a real repository through the gate, commits, pushes, is refused when
# the push carries a secret, calls an API through egress with a token that it never has, and asks the operator for more.
# `demo.sh down` removes everything that it made.
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
# The origin's certificate, from an authority that the manifest's `extra_ca` names.
if [[ ! -e $demo/origin/cert.pem ]]; then
    mkdir -p "$demo/origin"
    new=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
    {
        openssl req -x509 "${new[@]}" -days 30 -subj /CN=demo -addext keyUsage=critical,keyCertSign -keyout "$demo/ca-key.pem" -out "$demo/ca.pem"
        openssl req "${new[@]}" -subj /CN=origin -keyout "$demo/origin/key.pem" -out "$demo/origin.csr"
        echo 'subjectAltName=DNS:*.example.org' >"$demo/extensions"
        openssl x509 -req -in "$demo/origin.csr" -CA "$demo/ca.pem" -CAkey "$demo/ca-key.pem" -CAcreateserial -days 30 -extfile "$demo/extensions" -out "$demo/origin/cert.pem"
    } >"$demo/openssl" 2>&1
    # A token of nobody, new for each demo. Compose reads the operator's variables from here as it would from his shell.
    printf 'DEMO_API_KEY=demo-%s\n' "$(openssl rand -hex 16)" >"$demo/.env"
fi
token=$(cut -d= -f2 "$demo/.env")
# The operator's page: on the same port as the last time, if there was one.
[[ -e $demo/port ]] || {
    port=7333
    # What keeps us from connecting is of no interest: nobody listens there.
    while answer=$( (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>&1); do port=$((port + 1)); done
    : "$answer"
    echo "$port" >"$demo/port"
}
port=$(<"$demo/port")
manifest() { # the methods of the API's route
    sed "s|known_host_key: .*|known_host_key: $host_key|; /^agents:/,\$d" examples/hello/bottle.yaml
    cat <<YAML
    egress:
      routes:
        - { host: api.example.org, methods: [$1], paths: ["/v1/**"], private: true, credential: api }
      extra_ca: [ca.pem]
    credentials:
      api:
        source: { env: DEMO_API_KEY }
        inject: { header: x-api-key }
        placeholder: { env: API_KEY, value: key-of-nobody }
    supervise: { port: $port }
YAML
    sed -n '/^agents:/,$p' examples/hello/bottle.yaml
}
manifest GET >"$demo/bottle.yaml"
cat >"$demo/compose.override.yaml" <<YAML
# The user's own file: here it brings a throwaway upstream and a throwaway API, which only the sidecars can reach.
services:
  upstream:
    build: { context: "$root/tests/e2e/upstream" }
    command: [app]
    init: true
    networks: { outside: { aliases: [git.example.org] } }
    volumes: ["$demo/upstream:/etc/upstream:ro"]
  git-gate:
    depends_on: [upstream]
  origin:
    build: { context: "$root/tests/e2e/origin" }
    init: true
    networks: { outside: { aliases: [api.example.org] } }
    volumes: ["$demo/origin:/etc/origin:ro"]
  egress:
    depends_on: [origin]
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
tick "the agent, the gate, egress, supervise, a throwaway upstream and a throwaway API are healthy"

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

say "==> egress"
curl() { agent "curl --silent --show-error --max-time 20 --write-out '\n%{http_code} %header{x-bottle-reason}\n' $*"; }
output=$(curl https://api.example.org/v1/hello) || fail "an allowed call failed" "$output"
compose logs --no-log-prefix origin >"$demo/origin.log" 2>&1
grep -qF "$token" "$demo/origin.log" || fail "the token did not come to the origin" "$output"
if grep -qF "$token" <<<"$output"; then fail "the answer shows the token to the agent" "$output"; fi
tick "GET /v1/hello: the origin got the token, and the agent's answer doesn't show it"
# The token goes in by stdin, so that the search itself doesn't bring it in.
# shellcheck disable=SC2016 # it is the agent's shell that expands it
look='read -r token; env | grep -cF "$token"; cat /proc/[0-9]*/environ 2>&1 | grep -acF "$token"; grep -rlsF -- "$token" /etc /home /opt /root /run /srv /tmp /usr /var /workspace | wc -l'
found=$(compose exec -T agent sh -c "$look" <<<"$token" | tr '\n' ' ') || true
[[ $found == "0 0 0 " ]] || fail "the token is in the agent's container (environment, /proc, files)" "$found"
tick "the agent doesn't have the token: not in its environment, not in /proc, in no file"
denied() { # what, reason code, arguments of curl
    local output
    output=$(curl "$3") || fail "$1: no answer" "$output"
    grep -q "403 $2\$" <<<"$output" || fail "$1 was not refused with \`$2\`" "$output"
    tick "$1: $2"
}
denied "a host that no route names" route-missing https://elsewhere.example.org/
denied "a path that no route names" path-denied https://api.example.org/admin
denied "the same path in another spelling" path-denied "--path-as-is https://api.example.org/v1/..%2fadmin"
denied "a method that no route names" method-denied "--data x https://api.example.org/v1/hello"
manifest "GET, POST" >"$demo/bottle.yaml"
(cd "$demo" && "$bottle" render >compose.yaml.new)
cmp -s "$demo/compose.yaml" "$demo/compose.yaml.new" || fail "a change of routes changed compose.yaml"
rm "$demo/compose.yaml.new"
deadline=$((SECONDS + 5))
until curl "--data x https://api.example.org/v1/hello" >"$demo/live" && grep -q '^200' "$demo/live"; do
    ((SECONDS < deadline)) || fail "the new policy did not come into force" "$(cat "$demo/live")"
done
tick "bottle render with POST added: in force, and no container was started anew"

say "==> the agent asks, the operator decides"
requests() { (cd "$demo" && "$bottle" requests "$@" 2>&1); }
denied "a path that no route names" path-denied https://api.example.org/extra/hello
ask='{"ask": {"route": {"host": "api.example.org", "paths": ["/extra/**"]}}, "reason": "the demo needs it"}'
output=$(agent "curl --silent --show-error --max-time 20 --json '$ask' \"\$BOTTLE_SUPERVISE/requests\"") || fail "the agent could not ask" "$output"
id=$(grep -o 'r-[a-z0-9]*' <<<"$output" | head -n 1)
[[ -n $id ]] || fail "the request has no id" "$output"
tick "the agent asks: $id"
denied "the same path, before anybody has decided" path-denied https://api.example.org/extra/hello
output=$(requests list) || fail "the operator's list failed" "$output"
grep -q "$id" <<<"$output" || fail "the request is not in the operator's list" "$output"
output=$(requests approve "$id" --for 10s --yes) || fail "the approval failed" "$output"
tick "bottle requests approve $id --for 10s"
output=$(agent "curl --silent --show-error --max-time 40 \"\$BOTTLE_SUPERVISE/requests/$id?wait=30\"") || fail "the agent heard nothing" "$output"
grep -q '"live":true' <<<"$output" || fail "the approval did not become live" "$output"
output=$(curl https://api.example.org/extra/hello) || fail "what was approved failed" "$output"
grep -q '^200' <<<"$output" || fail "what was approved is refused" "$output"
tick "the agent hears that it is live, and GET /extra/hello passes"
deadline=$((SECONDS + 30))
until curl https://api.example.org/extra/hello >"$demo/ended" && grep -q '^403 path-denied' "$demo/ended"; do
    ((SECONDS < deadline)) || fail "the grant did not end" "$(cat "$demo/ended")"
done
tick "ten seconds later the same is refused again: path-denied"

cat <<TXT

The bottle is running. Look around:
  cd .bottle-demo
  docker compose exec agent bash      inside: git log, git push, env
  docker compose logs git-gate egress   what the sidecars decided
  bottle requests open                what the agent asks for, in a browser
  less compose.yaml                   what is reviewed in a pull request
\`make demo-down\` leaves nothing behind.
TXT
