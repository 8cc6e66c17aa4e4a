#!/bin/sh
# Makes one package called `demo` for each kind of client, below the directory that is given.
set -eu

www=$1
scratch=$(mktemp -d)
cd "$scratch"

# pip: an index of one page, and a wheel (PEP 503, PEP 427).
mkdir -p "$www/pip/demo" demo-1.0.dist-info
echo 'SAYS = "hello from pip"' >demo.py
printf 'Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n' >demo-1.0.dist-info/METADATA
printf 'Wheel-Version: 1.0\nGenerator: e2e\nRoot-Is-Purelib: true\nTag: py3-none-any\n' >demo-1.0.dist-info/WHEEL
printf 'demo.py,,\ndemo-1.0.dist-info/METADATA,,\ndemo-1.0.dist-info/WHEEL,,\ndemo-1.0.dist-info/RECORD,,\n' >demo-1.0.dist-info/RECORD
zip -q -r "$www/pip/demo/demo-1.0-py3-none-any.whl" demo.py demo-1.0.dist-info
echo '<a href="demo-1.0-py3-none-any.whl">demo-1.0-py3-none-any.whl</a>' >"$www/pip/demo/index.html"

# npm: what the registry says of a package, and its archive. The name of the second has a slash that is sent encoded.
mkdir -p "$www/npm/archives" package
echo '{ "name": "@scope/demo", "version": "1.0.0", "main": "index.js" }' >package/package.json
echo 'module.exports = "hello from npm"' >package/index.js
tar -czf "$www/npm/archives/demo-1.0.0.tgz" package
shasum=$(sha1sum "$www/npm/archives/demo-1.0.0.tgz" | cut -d' ' -f1)
mkdir -p "$www/npm/@scope"
cat >"$www/npm/@scope/demo" <<JSON
{ "name": "@scope/demo", "dist-tags": { "latest": "1.0.0" }, "versions": { "1.0.0": { "name": "@scope/demo", "version": "1.0.0",
  "dist": { "shasum": "$shasum", "tarball": "https://packages.example.org/npm/archives/demo-1.0.0.tgz" } } } }
JSON

# cargo: a sparse index (the Cargo book, "Registry index") and a crate.
mkdir -p "$www/cargo/de/mo" "$www/cargo/crates" demo-1.0.0/src
printf '[package]\nname = "demo"\nversion = "1.0.0"\nedition = "2021"\n' >demo-1.0.0/Cargo.toml
echo 'pub const SAYS: &str = "hello from cargo";' >demo-1.0.0/src/lib.rs
tar -czf "$www/cargo/crates/demo-1.0.0.crate" demo-1.0.0
echo '{ "dl": "https://packages.example.org/cargo/crates/{crate}-{version}.crate" }' >"$www/cargo/config.json"
cksum=$(sha256sum "$www/cargo/crates/demo-1.0.0.crate" | cut -d' ' -f1)
echo '{"name":"demo","vers":"1.0.0","deps":[],"cksum":"'"$cksum"'","features":{},"yanked":false}' >"$www/cargo/de/mo/demo"

# git: a repository that any web server can serve (git-update-server-info(1)).
git init --quiet --bare --initial-branch=main "$www/demo.git"
blob=$(echo 'hello from git' | git -C "$www/demo.git" hash-object -w --stdin)
tree=$(printf '100644 blob %s\tREADME\n' "$blob" | git -C "$www/demo.git" mktree)
commit=$(git -C "$www/demo.git" -c user.name=o -c user.email=o@example.org commit-tree -m first "$tree")
git -C "$www/demo.git" update-ref refs/heads/main "$commit"
git -C "$www/demo.git" update-server-info

echo '{ "says": "hello from a file" }' >"$www/says.json"
chmod -R a+rX "$www"
rm -rf "$scratch"
