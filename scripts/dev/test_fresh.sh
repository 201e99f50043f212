#!/bin/sh
# Tests the README on a bare Debian: an unprivileged user runs its commands in a fresh clone of the last commit, with
# git, make and python3-venv.
#     scripts/dev/test_fresh.sh bookworm                      make demo and make test; as root, with debootstrap
#     scripts/dev/test_fresh.sh trixie make demo              another command
# This machine's pip configuration and certificates are copied in. The Debian is deleted afterwards, unless
# XTALGRID_FRESH names a folder for it.
set -eu
suite=${1:?bookworm or trixie}; shift
test "$(id -u)" = 0 || { echo "test_fresh: debootstrap and chroot need root; run: sudo scripts/dev/test_fresh.sh $suite" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "test_fresh: debootstrap is not installed; run: apt install debootstrap" >&2; exit 1; }
here=$(cd "$(dirname "$0")/../.." && pwd)
if [ -n "${XTALGRID_FRESH:-}" ]; then
    root=$XTALGRID_FRESH/$suite
else
    root=$(mktemp -d)/$suite
    trap 'rm -rf --one-file-system "${root%/*}"' EXIT
    trap 'exit 130' INT TERM
fi
if [ ! -e "$root/home/lab" ]; then
    mkdir -p "$root"
    debootstrap --variant=minbase --include=ca-certificates,git,make,python3-venv "$suite" "$root" >/dev/null
    chroot "$root" useradd --create-home lab
fi
for given in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/xdg/pip /etc/ssl/certs/ca-certificates.crt; do
    if [ -e "$given" ]; then mkdir -p "$root${given%/*}" && cp -RL "$given" "$root${given%/*}/"; fi
done
rm -rf "$root/home/lab/xtalgrid"
git clone --quiet "$here" "$root/home/lab/xtalgrid"
chroot "$root" chown -R lab:lab /home/lab

[ $# -gt 0 ] || set -- sh -c 'make demo && make test'
environment=$(env | grep -E '^(PIP_|SSL_CERT|REQUESTS_CA|https?_proxy=|HTTPS?_PROXY=)' || true)
# A separate mount namespace, so that nothing stays mounted.
# shellcheck disable=SC2016,SC2086  # the inner shell expands; the environment is words
unshare --mount --pid --fork sh -c '
    mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount -t tmpfs tmpfs "$0/dev/shm" || exit
    cd / && exec chroot --userspec=lab:lab "$@"' "$root" "$root" env -i HOME=/home/lab USER=lab LANG=C.UTF-8 \
    PATH=/usr/local/bin:/usr/bin:/bin $environment sh -c 'cd /home/lab/xtalgrid && exec "$@"' sh "$@"
