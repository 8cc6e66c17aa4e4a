# shellcheck shell=bash
# Sourced by run.sh: git through the gate against git straight to the same upstream, a real sshd on loopback.

readonly COMMITS=2000 FILE_KIB=48
UPSTREAM='' PORT='' GATE_PORT=''

# plain_git ARG...: git in an environment that nothing of the machine steers.
plain_git() {
    env -i PATH="$PATH" HOME="$GATE" LC_ALL=C GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL="$GATE/gitconfig" GIT_TERMINAL_PROMPT=0 \
        GIT_SSH_COMMAND="ssh -F $GATE/ssh_config" git "$@"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# The upstream: every commit writes one file that does not compress, so that the pack has about 100 MB.
make_upstream() {
    UPSTREAM=$GATE/upstream.git
    say "making an upstream of $COMMITS commits"
    plain_git init --quiet --bare --initial-branch=main "$UPSTREAM"
    python3 -c '
import base64, random, sys
commits, size = int(sys.argv[1]), int(sys.argv[2]) * 1024
out, rng = sys.stdout.buffer, random.Random(1)
for n in range(1, commits + 1):
    data = rng.randbytes(size)
    out.write(b"commit refs/heads/main\ncommitter A <a@example.org> %d +0000\n" % (1700000000 + n))
    out.write(b"data 9\nfile %04d\nM 100644 inline data/%02d/%04d\ndata %d\n" % (n, n % 50, n, size) + data + b"\n")
' "$COMMITS" "$FILE_KIB" | plain_git -C "$UPSTREAM" fast-import --quiet
    plain_git -C "$UPSTREAM" config receive.autogc false
    plain_git -C "$UPSTREAM" repack -adq
}

make_sshd() {
    local dir=$GATE/sshd tries
    mkdir -p -- "$dir" "$GATE/etc/identity" /run/sshd
    ssh-keygen -q -t ed25519 -N '' -f "$dir/host"
    ssh-keygen -q -t ed25519 -N '' -f "$GATE/etc/identity/app"
    # One line for each command. HOME is elsewhere: the account's own shell start-up files are no part of the measurement.
    cat >"$dir/shell" <<SHELL
#!/bin/sh
printf '%s\n' "\$SSH_ORIGINAL_COMMAND" >>$dir/commands
[ -z "\$(cat $dir/trace-on 2>/dev/null)" ] || export GIT_TRACE_PACKET=$dir/trace.\$\$
exec sh -c "\$SSH_ORIGINAL_COMMAND"
SHELL
    chmod 755 "$dir/shell"
    printf 'command="%s",no-pty %s\n' "$dir/shell" "$(<"$GATE/etc/identity/app.pub")" >"$dir/authorized_keys"
    PORT=$(free_port)
    cat >"$dir/config" <<CONFIG
Port $PORT
ListenAddress 127.0.0.1
HostKey $dir/host
AuthorizedKeysFile $dir/authorized_keys
PidFile none
UsePAM no
StrictModes no
AcceptEnv GIT_PROTOCOL
SetEnv HOME=/nonexistent
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
CONFIG
    "$(type -P sshd)" -D -e -f "$dir/config" </dev/null >"$dir/log" 2>&1 &
    STARTED+=($!)
    for ((tries = 0; tries < 200; tries++)); do
        ! (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null || break
        sleep 0.05
    done
    printf '[127.0.0.1]:%s %s\n' "$PORT" "$(<"$dir/host.pub")" >"$GATE/etc/known_hosts"
    cat >"$GATE/ssh_config" <<CONFIG
Host *
    IdentityFile $GATE/etc/identity/app
    IdentitiesOnly yes
    UserKnownHostsFile $GATE/etc/known_hosts
    BatchMode yes
CONFIG
}

make_gate() {
    local hook tries
    mkdir -p -- "$GATE/etc/hooks" "$GATE/state" "$GATE/run"
    for hook in pre-receive access-hook; do
        install -m 755 "templates/git-gate/$hook.sh.j2" "$GATE/etc/hooks/$hook"
    done
    cp -- templates/git-gate/entrypoint.sh.j2 "$GATE/etc/entrypoint.sh"
    cp -- templates/git-gate/gitleaks.toml.j2 "$GATE/etc/gitleaks.toml"
    cat >"$GATE/etc/gate.yaml" <<POLICY
version: 1
repositories:
  app:
    source: bottle.yaml:5
    upstream: !ssh
      user: $(id -un)
      host: 127.0.0.1
      port: $PORT
      path: $UPSTREAM
      known_hosts: $GATE/etc/known_hosts
      key: !identity_file $GATE/etc/identity/app
    push:
    - source: bottle.yaml:9
      refs: refs/heads/agent/**
      allow: [create, fast-forward]
    protect: [bottle.yaml]
    max_pack_bytes: 1073741824
...
POLICY
    env -i PATH="$WORK/bin:$PATH" BOTTLE_GATE_ETC="$GATE/etc" BOTTLE_GATE_STATE="$GATE/state" BOTTLE_GATE_RUN="$GATE/run" \
        sh "$GATE/etc/entrypoint.sh" --listen=127.0.0.1:0 </dev/null >"$GATE/ready" 2>"$GATE/log" &
    STARTED+=($!)
    for ((tries = 0; tries < 400; tries++)); do
        [[ ! -s $GATE/ready ]] || break
        sleep 0.05
    done
    GATE_PORT=$(sed -n 's/.*"listening":"[^"]*:\([0-9]*\)".*/\1/p' "$GATE/ready")
    [[ -n $GATE_PORT ]] || { cat -- "$GATE/log" >&2 && fail "the gate does not start"; }
}

clone() { plain_git clone --quiet --bare "$1" "$GATE/clone.$2"; }

ten_clones() {
    local number pids=()
    for ((number = 0; number < 10; number++)); do
        clone "$1" "$number" &
        pids+=($!)
    done
    for number in "${pids[@]}"; do wait "$number"; done
}

# push_commits URL DIRECTION COUNT NUMBER: makes the commits and leaves the time of their push in TOOK.
push_commits() {
    local url=$1 side=$2 count=$3 number=$4 n
    local branch=agent/$side-$count-$number
    plain_git -C "$GATE/work" checkout --quiet -B "$branch" origin/main
    for ((n = 0; n < count; n++)); do
        printf 'commit refs/heads/%s\ncommitter A <a@example.org> 17100%05d +0000\ndata 10\nchange %03d\n' "$branch" "$n" "$n"
        ((n > 0)) || printf 'from refs/remotes/origin/main\n'
        printf 'M 100644 inline src/%s/%s.txt\ndata <<END\n' "$branch" "$((n % 20))"
        printf 'line %s of this file\n' "$branch" "$n" "$((n * 7919))" "$number"
        printf 'END\n'
    done | plain_git -C "$GATE/work" fast-import --quiet --force
    timed plain_git -C "$GATE/work" push --quiet "$url" "$branch"
}

# sides NAME GOAL ROUNDS FUNCTION PAUSE: runs FUNCTION URL SIDE ROUND for both sides in turn, and gives the ratio.
sides() {
    local name=$1 goal=$2 rounds=$3 function=$4 pause=$5 round a b
    local direct=() gate=()
    for ((round = 0; round < rounds; round++)); do
        "$function" "ssh://$(id -un)@127.0.0.1:$PORT$UPSTREAM" direct "$round"
        direct+=("$TOOK")
        sleep "$pause"
        "$function" "git://127.0.0.1:$GATE_PORT/app.git" gate "$round"
        gate+=("$TOOK")
        sleep "$pause"
    done
    a=$(median "${gate[@]}") b=$(median "${direct[@]}")
    result "$name" "$(ratio "$a" "$b")" "$goal" "$(milliseconds "$a"), $(milliseconds "$b")"
}

one_listing() { timed plain_git ls-remote "$1"; }
one_clone() {
    timed clone "$1" one
    rm -rf -- "$GATE/clone.one"
}
many_clones() {
    timed ten_clones "$1"
    rm -rf -- "$GATE"/clone.*
}
one_commit() { push_commits "$1" "$2" 1 "$3"; }
quick_commit() { push_commits "$1" "quick-$2" 1 "$3"; }
many_commits() { push_commits "$1" "$2" 500 "$3"; }

# fetches: of the sessions so far, those in which objects were asked for.
fetches() { { grep -l 'command=fetch' "$GATE"/sshd/trace.* 2>/dev/null || true; } | wc -l; }

# The upstream moves, and ten clones start at once: the upstream must be asked for the new objects once.
count_fetches() {
    local count
    plain_git -C "$GATE/work" checkout --quiet -B moved origin/main
    plain_git -C "$GATE/work" commit --quiet --allow-empty -m 'the upstream moves'
    plain_git -C "$GATE/work" push --quiet "$UPSTREAM" moved:main
    echo on >"$GATE/sshd/trace-on"
    ten_clones "git://127.0.0.1:$GATE_PORT/app.git"
    count=$(fetches)
    : >"$GATE/sshd/trace-on"
    rm -rf -- "$GATE"/clone.*
    result "fetches from the upstream for 10 concurrent clones" "$count" 1 ""
}

bench_gate() {
    local tool
    for tool in sshd ssh-keygen gitleaks; do
        type -P "$tool" >/dev/null || fail "\`$tool\` is missing: run scripts/setup.sh host-tools"
    done
    GATE=$WORK/gate
    mkdir -p -- "$GATE"
    printf '[user]\n\tname = Agent\n\temail = agent@example.org\n[safe]\n\tdirectory = *\n' >"$GATE/gitconfig"
    make_upstream
    make_sshd
    make_gate
    say "gate: the mirror fills"
    plain_git clone --quiet "git://127.0.0.1:$GATE_PORT/app.git" "$GATE/work"
    say "gate: ls-remote"
    sides "\`ls-remote\`, gate / direct" 0.20 "$(runs 15)" one_listing 0
    say "gate: clones"
    sides "clone of $COMMITS commits, $(du -sm "$UPSTREAM" | cut -f 1) MB, gate / direct" 1.03 "$(runs 5)" one_clone 0
    sides "10 concurrent clones, gate / direct" 0.85 "$(runs 3)" many_clones 0
    count_fetches
    say "gate: pushes"
    # A second between the pushes, as with a person or an agent: the next scanner has loaded its rules.
    sides "push of 1 commit, gate / direct" 0.5 "$(runs 15)" one_commit 1
    sides "push of 1 commit right after another, gate / direct" 0.5 "$(runs 10)" quick_commit 0
    sides "push of 500 commits, gate / direct" 1.5 "$(runs 5)" many_commits 1
}
