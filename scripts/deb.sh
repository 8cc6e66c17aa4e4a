#!/usr/bin/env bash
# Makes a Debian package of what an archive of scripts/dist.sh has. The binary is static, so nothing is depended on.
set -euo pipefail
(($# == 4)) || {
    echo "usage: SOURCE_DATE_EPOCH=SECONDS scripts/deb.sh DIRECTORY VERSION ARCHITECTURE OUTPUT" >&2
    exit 2
}
: "${SOURCE_DATE_EPOCH:?the time of what is in the package}"
from=$1 version=$2-1 architecture=$3 out=$4
maintainer=${DIST_MAINTAINER:-the bottle authors <bottle@example.org>}
umask 022

stage=$(mktemp -d)
trap 'rm -rf -- "$stage"' EXIT
chmod 755 "$stage"
put() { install -D -m 644 "$1" "$stage/$2"; }
packed() { # standard input, the file
    install -d -- "$(dirname -- "$stage/$1")"
    gzip -9n >"$stage/$1"
}

install -D -m 755 "$from/bottle" "$stage/usr/bin/bottle"
for page in "$from"/man/man1/*.1; do
    name=$(basename -- "$page")
    packed "usr/share/man/man1/$name.gz" <"$page"
done
put "$from/completions/bottle.bash" usr/share/bash-completion/completions/bottle
put "$from/completions/_bottle" usr/share/zsh/vendor-completions/_bottle
put "$from/completions/bottle.fish" usr/share/fish/vendor_completions.d/bottle.fish
doc=usr/share/doc/bottle
put "$from/README.md" "$doc/README.md"
packed "$doc/THIRD-PARTY-LICENSES.txt.gz" <"$from/THIRD-PARTY-LICENSES.txt"
packed "$doc/changelog.gz" <"$from/CHANGELOG.md"
packed "$doc/changelog.Debian.gz" <<CHANGES
bottle ($version) unstable; urgency=medium

  * Version ${version%-*}; what is new is in changelog.gz.

 -- $maintainer  $(LC_ALL=C date --utc --date="@$SOURCE_DATE_EPOCH" --rfc-email)
CHANGES

{
    cat <<'COPYRIGHT'
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: bottle

Files: *
COPYRIGHT
    # `Copyright (c) YEARS HOLDERS`
    sed -n '3s/ (c)/:/p' "$from/LICENSE-MIT"
    cat <<'COPYRIGHT'
License: Expat or Apache-2.0
Comment: What is linked into the program, and under which licences, is in
 THIRD-PARTY-LICENSES.txt.gz beside this file.

License: Apache-2.0
 On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.

License: Expat
COPYRIGHT
    # From its second paragraph on: the first two lines are its name and the years.
    sed -e '1,4d' -e 's/^$/./' -e 's/^/ /' "$from/LICENSE-MIT"
} >"$stage/$doc/copyright"

install -d -- "$stage/usr/share/lintian/overrides" "$stage/DEBIAN"
cat >"$stage/usr/share/lintian/overrides/bottle" <<'OVERRIDES'
# The same file runs in the images of the sidecars, whatever C library they have.
bottle [arm64]: statically-linked-binary [usr/bin/bottle]
bottle [amd64]: shared-library-lacks-prerequisites [usr/bin/bottle]
# It comes with the crate, in Rust.
bottle: embedded-library libyaml [usr/bin/bottle]
# This is not an upload to Debian.
bottle: initial-upload-closes-no-bugs [usr/share/doc/bottle/changelog.Debian.gz:1]
OVERRIDES

(cd "$stage" && find usr -type f -printf '%P\n' | LC_ALL=C sort | sed 's|^|usr/|' | xargs md5sum >DEBIAN/md5sums)
cat >"$stage/DEBIAN/control" <<CONTROL
Package: bottle
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(find "$stage/usr" -type f -printf '%s\n' | awk '{ size += $1 } END { print int(size / 1024) + 1 }')
Recommends: docker.io | docker-ce, docker-compose | docker-compose-plugin, git, openssh-client
Section: devel
Priority: optional
Description: put a coding agent in a bottle
 One reviewed file, bottle.yaml, says what a coding agent may reach, which
 credentials are used on its behalf, which repositories it may fetch and push,
 and who decides about exceptions. bottle compiles it into a Docker Compose
 bundle: an agent without a route of its own, an egress proxy, a git gate and
 a page where an operator decides.
CONTROL

find "$stage" -type d -exec chmod 755 {} +
find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
# One thread: how many there are changes where xz cuts.
dpkg-deb --root-owner-group -Zxz -z6 --threads-max=1 --build "$stage" "$out/bottle_${version}_$architecture.deb"
