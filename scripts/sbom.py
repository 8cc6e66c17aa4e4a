#!/usr/bin/env python3
"""Prints the software bill of materials of one binary: CycloneDX 1.5, JSON.

    SOURCE_DATE_EPOCH=SECONDS scripts/sbom.py --target TRIPLE [--binary FILE] [--libc VERSION]

Cargo says what the binary is built from: `cargo tree` knows the features of this package alone, where `cargo metadata`
unites those of the whole workspace and of the tests; the latter adds licences and descriptions, and Cargo.lock the
checksums of the packages. What only runs while it is built (build scripts, procedural macros and what they need) has
the scope `excluded`. Nothing of the machine is told, and the same commit gives the same bytes.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import uuid
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINE = re.compile(r"(\d+)\|(\S+) v(\S+)")


def cargo(*arguments):
    """What Cargo prints; what it complains about goes to our own standard error."""
    command = [os.environ.get("CARGO", "cargo"), *arguments]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout


def tree(target, edges):
    """Each package, and the packages that it needs."""
    text = cargo("tree", "--locked", "--package", "bottle", "--target", target, "--edges", edges, "--prefix", "depth", "--format", "|{p}")
    needs, above = {}, []
    for line in text.splitlines():
        # The rest are headings such as `[build-dependencies]`.
        if found := LINE.match(line):
            depth, package = int(found[1]), (found[2], found[3])
            above[depth:] = [package]
            needs.setdefault(package, set())
            if depth:
                needs[above[depth - 1]].add(package)
    return needs


def licences(package):
    """The licence as an SPDX expression; older packages write a slash for `OR`."""
    if expression := package["license"]:
        return [{"expression": re.sub(r"\s*/\s*", " OR ", expression)}]
    return [{"license": {"name": f"as in {package['license_file']}"}}]


def component(package, kind, checksum, scope):
    name, version = package["name"], package["version"]
    fields = {
        "type": kind,
        "bom-ref": purl((name, version)),
        "name": name,
        "version": version,
        "description": " ".join((package["description"] or "").split()) or None,
        "scope": scope,
        "hashes": checksum and [{"alg": "SHA-256", "content": checksum}],
        "licenses": licences(package),
        "purl": purl((name, version)),
    }
    return {name: value for name, value in fields.items() if value is not None}


def purl(package):
    name, version = package
    return f"pkg:cargo/{name}@{version.replace('+', '%2B')}"


def foreign(name, version, licence, description):
    """What is linked in and is no package of Cargo."""
    return {
        "type": "library",
        "bom-ref": f"{name}@{version}",
        "name": name,
        "version": version,
        "description": description,
        "scope": "required",
        "licenses": [{"expression": licence}],
    }


def main():
    arguments = argparse.ArgumentParser(description="Print the bill of materials of one binary")
    arguments.add_argument("--target", required=True)
    arguments.add_argument("--binary", type=Path, help="the binary, for its hash")
    arguments.add_argument("--libc", help="the version of the C library that is linked in")
    arguments = arguments.parse_args()

    needs = tree(arguments.target, "normal,build")
    linked = tree(arguments.target, "normal,no-proc-macro")
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1", "--filter-platform", arguments.target))
    known = {(package["name"], package["version"]): package for package in metadata["packages"]}
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}

    root = next(package for package in needs if package[0] == "bottle")
    binary = arguments.binary and hashlib.sha256(arguments.binary.read_bytes()).hexdigest()
    components = [
        component(known[package], "library", checksums[package], "required" if package in linked else "excluded")
        for package in sorted(needs)
        if package != root
    ]
    compiler = subprocess.run(["rustc", "--version"], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout.split()[1]
    others = [foreign("rust-std", compiler, "MIT OR Apache-2.0", "The standard library of Rust")]
    if arguments.libc:
        others.append(foreign("glibc", arguments.libc, "LGPL-2.1-or-later", "The GNU C library, linked statically"))
    # The version of the C code that rusqlite brings is not the crate's own.
    header = next(Path(package["manifest_path"]) for (name, _), package in known.items() if name == "libsqlite3-sys")
    sqlite = re.search(r'#define SQLITE_VERSION\s+"([^"]+)"', (header.parent / "sqlite3/sqlite3.h").read_text())[1]
    others.append(foreign("sqlite", sqlite, "blessing", "SQLite, in libsqlite3-sys"))

    dependencies = [
        {"ref": purl(package), "dependsOn": sorted(map(purl, needs[package]))} for package in sorted(needs)
    ]
    next(entry for entry in dependencies if entry["ref"] == purl(root))["dependsOn"] += [other["bom-ref"] for other in others]
    dependencies += [{"ref": other["bom-ref"]} for other in others]

    time = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": component(known[root], "application", binary, None),
            "properties": [{"name": "bottle:target", "value": arguments.target}],
        },
        "components": components + others,
        "dependencies": dependencies,
    }
    # A number of its own for each content, in place of a random one.
    text = json.dumps(bill, sort_keys=True)
    bill["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, text)}"
    json.dump(bill, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
