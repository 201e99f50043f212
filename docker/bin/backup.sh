#!/bin/sh
# Service `backup`: puts all volumes but that of the signing key into one file in /backup, or back from it:
#   restore FILE
set -eu

usage() {
    echo "usage: docker compose run --rm backup [restore FILE]" >&2
    exit 2
}

case "$# ${1:-save}" in
"0 save" | "1 save" | "2 restore") ;;
*) usage ;;
esac
for service in mysql apache viewer caddy; do
    if getent hosts "$service" >/dev/null; then
        echo "$service is running; first: docker compose --profile tls stop" >&2
        exit 1
    fi
done
cd /volumes
case ${1:-save} in
save)
    umask 077
    file=/backup/xtalgrid-$(date -u +%Y-%m-%dT%H%M%SZ).tar.gz
    trap 'rm -f "$file.part"' EXIT   # half a backup, as on a full disk, would be in the way of the next one
    trap 'exit 1' HUP INT TERM
    tar --create --gzip --numeric-owner --file "$file.part" . || {
        echo "no backup was made" >&2
        exit 1
    }
    mv "$file.part" "$file"
    echo "$file"
    ;;
restore)
    file=/backup/$(basename "$2")
    # Broken, or a file of something else: nothing is changed.
    listed=$(mktemp)
    has() { grep -q -x "./$1/" "$listed"; }
    if ! tar --list --gzip --file "$file" >"$listed" || ! has mysql || ! has project || ! has xtalgrid; then
        echo "$file is not a whole backup of these volumes; nothing was changed" >&2
        exit 1
    fi
    for volume in *; do   # what a backup of an earlier version does not have stays
        if has "$volume"; then find "$volume" -mindepth 1 -delete; fi
    done
    tar --extract --gzip --numeric-owner --preserve-permissions --file "$file" || {
        echo "not all was restored; mend what tar says, and restore $file again before you start anything" >&2
        exit 1
    }
    ;;
esac
