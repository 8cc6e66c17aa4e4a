#!/bin/sh
# Takes over the mounted keys, makes the repositories that are named, and serves them over SSH.
set -eu

install -o root -m 0600 /etc/upstream/host_key /etc/ssh/host_key
install -d -o git -g git -m 0700 /srv/git/.ssh
install -o git -g git -m 0600 /etc/upstream/authorized_keys /srv/git/.ssh/authorized_keys

for name in "$@"; do
    directory=/srv/git/$name.git
    [ -d "$directory" ] && continue
    git init --quiet --bare --initial-branch=main "$directory"
    # One commit to start from, made without a work tree.
    tree=$(printf 'hello from %s\n' "$name" | git -C "$directory" hash-object -w --stdin |
        while read -r blob; do printf '100644 blob %s\tREADME\n' "$blob"; done | git -C "$directory" mktree)
    commit=$(printf 'the first commit\n' | git -C "$directory" -c user.name=upstream -c user.email=upstream@example.org commit-tree "$tree")
    git -C "$directory" update-ref refs/heads/main "$commit"
done
chown -R git:git /srv/git

exec /usr/sbin/sshd -D -e -o Port=2222 -o HostKey=/etc/ssh/host_key -o PasswordAuthentication=no \
    -o KbdInteractiveAuthentication=no -o PermitRootLogin=no -o UsePAM=no -o AcceptEnv=GIT_PROTOCOL \
    -o MaxStartups=100:30:200 -o PidFile=none
