#!/usr/bin/env python3
"""Prints the licences of everything that a bill of materials says is linked in, each text once.

    scripts/notices.py BILL.cdx.json

Most licences ask for their text to go with a binary. The packages bring it; where one brings none, its licence is named.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)([-._].*)?", re.IGNORECASE)
# Debian has its text on every machine.
LGPL = Path("/usr/share/common-licenses/LGPL-2.1")


def main():
    bill = json.loads(Path(sys.argv[1]).read_text())
    target = next(entry["value"] for entry in bill["metadata"]["properties"] if entry["name"] == "bottle:target")
    command = [os.environ.get("CARGO", "cargo"), "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    answer = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout
    places = {
        (package["name"], package["version"]): Path(package["manifest_path"]).parent
        for package in json.loads(answer)["packages"]
    }
    texts, without = {}, []
    for component in bill["components"]:
        if component["scope"] != "required":
            continue
        name = f"{component['name']} {component['version']}"
        place = places.get((component["name"], component["version"]))
        # One level deeper is what a package brings of somebody else, such as the C code of zstd.
        files = sorted(place.glob("*")) + sorted(place.glob("*/*")) if place else []
        files = [file for file in files if FILE.fullmatch(file.name) and file.is_file()]
        if not files:
            licence = component["licenses"][0]
            without.append(f"{name}: {licence.get('expression') or licence['license']['name']}")
        for file in files:
            text = file.read_text(errors="replace").replace("\r\n", "\n").strip()
            of = texts.setdefault(text, [])
            if name not in of:
                of.append(name)
    print("The licences of what is linked into bottle.\n")
    print("These bring no text of their own (SQLite is in the public domain; Rust's standard library is under the texts")
    print("of MIT and Apache-2.0 below):\n")
    print("\n".join(f"  {line}" for line in without))
    print(
        "\nThe GNU C library is linked statically, under the GNU Lesser General Public License, version 2.1 or later, which is\n"
        "at the end. The complete source of bottle and the commands that link it, with this C library or with a changed\n"
        "one, are in bottle's repository: docs/src/release.md."
    )
    if not LGPL.exists():
        sys.exit(f"notices: error: {LGPL} is missing, which Debian has: the C library's licence must go with the binary")
    texts.setdefault(LGPL.read_text().strip(), []).append("glibc")
    for text, names in texts.items():
        print(f"\n{'=' * 100}\n{', '.join(names)}\n{'=' * 100}\n\n{text}")


if __name__ == "__main__":
    main()
