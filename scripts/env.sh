# shellcheck shell=bash
# Sourced, not run: puts the tools that scripts/setup.sh installed on PATH, and tells Docker what this machine has.

bottle_bin=${XDG_CACHE_HOME:-$HOME/.cache}/bottle/bin
case :$PATH: in
*:"$bottle_bin":*) ;;
*) PATH=$bottle_bin:$PATH ;;
esac
# Debian keeps sshd and nginx where an ordinary user's PATH doesn't look.
case :$PATH: in
*:/usr/sbin:*) ;;
*) PATH=$PATH:/usr/sbin:/sbin ;;
esac
export PATH
unset bottle_bin

# Without buildx the client falls back to the classic builder anyway, but says so at length before each build, and Compose
# would first look for an engine's BuildKit that nothing can drive. What the person has set themselves stays.
if [[ -z ${DOCKER_BUILDKIT:-} && $(docker buildx version 2>&1) != *docker/buildx* ]]; then
    export DOCKER_BUILDKIT=0
fi
