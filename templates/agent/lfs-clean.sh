# Rendered by bottle; do not edit.
# What git makes of a file of Git LFS: its pointer. The content stays where it is, since it doesn't travel through the gate; the
# gate refuses a pointer that is new upstream. A checkout has pointers as they are.
set -eu

file=$(mktemp)
trap 'rm -f "$file"' EXIT
cat >"$file"
size=$(wc -c <"$file" | tr -d ' ')
if [ "$size" -lt 1024 ]; then
    first=$(head -n 1 "$file" | tr -d '\000')
    if [ "$size" -eq 0 ] || [ "$first" = 'version https://git-lfs.github.com/spec/v1' ]; then
        cat "$file"
        exit
    fi
fi
hash=$(sha256sum "$file")
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %s\n' "${hash%% *}" "$size"
