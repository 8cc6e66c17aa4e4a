#!/usr/bin/env bash
# Builds what a release consists of, into target/dist; `dist.sh check` builds it twice, in two places that have as little in
# common as two machines, and compares every file. docs/src/release.md says what comes out and how a release is cut.
#
# The environment: DIST_TARGETS (default: this machine's target, and the other one where its toolchain is installed),
# DIST_MAINTAINER (of the Debian package), SOURCE_DATE_EPOCH (default: the commit's time). Cargo's own variables, such as
# CARGO_PROFILE_RELEASE_LTO, are passed on and told, since they make another binary.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
root=$PWD
out=$root/target/dist
# No letter of it may depend on who builds.
umask 022
export LC_ALL=C TZ=UTC

say() { printf 'dist: %s\n' "$*"; }
fail() {
    printf 'dist: error: %s\n' "$*" >&2
    exit 1
}

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

commit=$(git rev-parse HEAD)
# The artefacts name the commit, so they must be that commit.
[[ -z $(git status --porcelain) ]] || fail "there are changes that are not committed: commit or stash them (git status)"

# Nothing but the commit is in common: the place, its depth, Cargo's home, the build directory, and what a person sets.
check() {
    local place home one=$work/one two=$work/a/second/place
    home=${CARGO_HOME:-$HOME/.cargo}
    for place in "$one" "$two"; do
        git clone --quiet --no-checkout "$root" "$place"
        git -C "$place" checkout --quiet --detach "$commit"
    done
    # What was downloaded is shared, and Cargo sees it at another path.
    mkdir -p -- "$work/cargo-home"
    find "$home" -mindepth 1 -maxdepth 1 -name 'registry' -exec ln -s -t "$work/cargo-home" {} +
    find "$home" -mindepth 1 -maxdepth 1 -name 'config*' -exec cp -t "$work/cargo-home" {} +
    say "the first of two builds"
    env --unset=CARGO_TARGET_DIR "$one/scripts/dist.sh"
    say "the second of two builds"
    (
        umask 077
        env CARGO_HOME="$work/cargo-home" CARGO_TARGET_DIR="$work/b" TZ=Asia/Kathmandu LC_ALL=C.UTF-8 USER=somebody "$two/scripts/dist.sh"
    )
    compare "$one/target/dist" "$two/target/dist"
    rm -rf -- "$out"
    mkdir -p -- "$root/target"
    mv -- "$one/target/dist" "$out"
    say "the same bytes twice: $(find "$out" -type f | wc -l) files, now in target/dist"
}

compare() { # two directories
    local differ
    if ! differ=$(diff --recursive --brief "$1" "$2"); then
        fail "two builds of $commit differ:
$differ"
    fi
}

case ${1:-} in
'') ;;
check)
    check
    exit
    ;;
*) fail "usage: scripts/dist.sh [check]" ;;
esac

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
version=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c 'import json, sys
print(next(package["version"] for package in json.load(sys.stdin)["packages"] if package["name"] == "bottle"))')
host=$(rustc --print host-tuple)
build=${CARGO_TARGET_DIR:-$root/target}
cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(rustc --print sysroot)

# --- targets -------------------------------------------------------------------------------------

declare -A compilers=([x86_64-unknown-linux-gnu]=x86_64-linux-gnu-gcc [aarch64-unknown-linux-gnu]=aarch64-linux-gnu-gcc)
# Its own compiler has that name on Debian alone.
compilers[$host]=gcc
declare -A debian=([x86_64-unknown-linux-gnu]=amd64 [aarch64-unknown-linux-gnu]=arm64)

# missing TARGET: what keeps this machine from building for it, if anything does.
missing() {
    local compiler=${compilers[$1]:-}
    if [[ -z $compiler ]]; then
        echo "it is not a target of bottle"
    elif [[ ! -d $sysroot/lib/rustlib/$1 ]]; then
        echo "Rust's standard library for it is not installed (rustup target add $1)"
    elif [[ -z $(type -P "$compiler") ]]; then
        echo "$compiler is not installed (Debian: gcc-${compiler%-gcc} and libc6-dev-${debian[$1]}-cross)"
    fi
}

targets=()
if [[ -n ${DIST_TARGETS:-} ]]; then
    read -ra targets <<<"$DIST_TARGETS"
    for target in "${targets[@]}"; do
        reason=$(missing "$target")
        [[ -z $reason ]] || fail "$target cannot be built: $reason"
    done
else
    for target in "$host" x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu; do
        [[ " ${targets[*]} " != *" $target "* ]] || continue
        reason=$(missing "$target")
        if [[ -n $reason ]]; then
            say "SKIPPED: $target: $reason"
        else
            targets+=("$target")
        fi
    done
fi
# The completions and the manual pages are what this machine's binary says.
[[ " ${targets[*]} " == *" $host "* ]] || fail "this machine's own target, $host, must be among the targets"

# --- binaries ------------------------------------------------------------------------------------

compile() { # target
    local target=$1 compiler=${compilers[$1]} from to rust='' c='' upper=${1^^}
    # In the order of the compiler, which takes the last one that fits: the more exact one must come later.
    while read -r from to; do
        rust+="\"--remap-path-prefix=$from=$to\","
        c+=" -ffile-prefix-map=$from=$to"
    done <<PREFIXES
$HOME /home
$sysroot /rust
$cargo_home /cargo
$root /bottle
$build /build
PREFIXES
    # Added to what .cargo/config.toml says for the target; RUSTFLAGS would replace it.
    env "CC_${target//-/_}=$compiler" "CFLAGS_${target//-/_}=${c# }" "CARGO_TARGET_${upper//-/_}_LINKER=$compiler" \
        cargo build --release --locked --bin bottle --target "$target" --config "target.$target.rustflags=[${rust%,}]"
    install -m 755 "$build/$target/release/bottle" "$work/$target"
}

# What a binary that is given away must be.
inspect() { # target
    local binary=$work/$1 place
    if readelf --program-headers "$binary" | grep -q INTERP || readelf --dynamic "$binary" | grep NEEDED; then
        fail "$1: the binary is not static"
    fi
    if readelf --section-headers --wide "$binary" | grep -E '\.(debug_|symtab)'; then
        fail "$1: the binary has symbols or debug information"
    fi
    for place in "$root" "$build" "$cargo_home" "$sysroot" "$work" "$HOME/"; do
        if grep --text --fixed-strings --only-matching -m 3 -- "$place" "$binary"; then
            fail "$1: the binary names a path of this machine: $place"
        fi
    done
    grep --text --fixed-strings --quiet -- "$commit" "$binary" || fail "$1: the binary doesn't name the commit $commit"
    say "$1: static, no symbols, no path of this machine, $(stat --format=%s "$binary") bytes"
}

for target in "${targets[@]}"; do
    compile "$target"
    inspect "$target"
done
native=$work/$host
[[ $("$native" --version) == *"commit $commit"* ]] || fail "\`bottle --version\` doesn't name the commit $commit"

# --- what goes with them -------------------------------------------------------------------------

share=$work/share
mkdir -p -- "$share/completions"
"$native" man "$share/man/man1"
"$native" completions bash >"$share/completions/bottle.bash"
"$native" completions zsh >"$share/completions/_bottle"
"$native" completions fish >"$share/completions/bottle.fish"

# The C library has no file that says its version; its own code does.
libc() { strings --all "$("${compilers[$1]}" -print-file-name=libc.a)" | sed -n 's/^GNU C Library (\(.*\)) stable release version .*/\1/p'; }

profile=$(env | grep -E '^CARGO_PROFILE_|^RUSTFLAGS=|^CARGO_ENCODED_RUSTFLAGS=' | sort | tr '\n' ' ') || true

# What must be the same to get the same bytes.
tools() {
    echo "commit $commit"
    echo "SOURCE_DATE_EPOCH $SOURCE_DATE_EPOCH"
    echo "profile ${profile:-release}"
    rustc --version --verbose | sed 's/^/rustc /'
    cargo --version
    for target in "${targets[@]}"; do
        echo "$target ${compilers[$target]} $("${compilers[$target]}" -dumpfullversion), $("$("${compilers[$target]}" -print-prog-name=ld)" --version | sed -n 1p), $(libc "$target")"
    done
    tar --version | sed -n 1p
    gzip --version | sed -n 1p
    dpkg-deb --version | sed -n 1p
}

rm -rf -- "$out"
mkdir -p -- "$out"
tools >"$out/bottle-$version.buildinfo"
for target in "${targets[@]}"; do
    name=bottle-$version-$target
    scripts/sbom.py --target "$target" --binary "$work/$target" --libc "$(libc "$target")" >"$out/$name.cdx.json"
    tree=$work/$name
    mkdir -p -- "$tree"
    cp -r -- "$share/." README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$tree"
    scripts/notices.py "$out/$name.cdx.json" >"$tree/THIRD-PARTY-LICENSES.txt"
    install -m 755 "$work/$target" "$tree/bottle"
    install -m 755 "$work/$target" "$out/$name"
    chmod -R u=rwX,go=rX -- "$tree"
    tar --create --directory "$work" --sort=name --format=posix --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \
        --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner "$name" | gzip -9n >"$out/$name.tar.gz"
    scripts/deb.sh "$tree" "$version" "${debian[$target]}" "$out"
done
(cd "$out" && sha256sum -- * >"$work/SHA256SUMS" && mv -- "$work/SHA256SUMS" .)

say "in target/dist:"
(cd "$out" && stat --format='%12s %n' -- *)
[[ -z $profile ]] || say "NOT A RELEASE: built with $profile"
