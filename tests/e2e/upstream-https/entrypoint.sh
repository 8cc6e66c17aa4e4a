#!/bin/sh
# Makes the repository `app` with one commit and serves it over HTTPS.
set -eu

directory=/srv/git/app.git
if [ ! -d "$directory" ]; then
    git init --quiet --bare --initial-branch=main "$directory"
    git -C "$directory" config http.receivepack true
    blob=$(echo 'hello over https' | git -C "$directory" hash-object -w --stdin)
    tree=$(printf '100644 blob %s\tREADME\n' "$blob" | git -C "$directory" mktree)
    commit=$(git -C "$directory" -c user.name=u -c user.email=u@example.org commit-tree -m first "$tree")
    git -C "$directory" update-ref refs/heads/main "$commit"
fi
chown -R www-data:www-data /srv/git
setpriv --reuid=www-data --regid=www-data --clear-groups touch /srv/git/writable
fcgiwrap -s unix:/run/fcgiwrap.socket -c 4 &
until [ -S /run/fcgiwrap.socket ]; do :; done
chmod 0666 /run/fcgiwrap.socket
git config --system safe.directory '*'
exec nginx
