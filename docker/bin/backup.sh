#!/bin/sh
# Service `backup`: puts all volumes but that of the signing key into one file in /backup, or back from it:
#   restore FILE
set -eu
for service in mysql apache viewer; do
    if getent hosts "$service" >/dev/null; then
        echo "$service is running; first: docker compose stop" >&2
        exit 1
    fi
done
cd /volumes
case ${1:-save} in
save)
    umask 077
    file=/backup/xtalgrid-$(date -u +%Y-%m-%dT%H%M%SZ).tar.gz
    tar --create --gzip --numeric-owner --file "$file.part" .
    mv "$file.part" "$file"
    echo "$file"
    ;;
restore)
    file=/backup/$(basename "$2")
    tar --list --gzip --file "$file" >/dev/null   # broken: nothing is changed
    find . -mindepth 2 -delete
    tar --extract --gzip --numeric-owner --preserve-permissions --file "$file"
    ;;
*)
    echo "usage: docker compose run --rm backup [restore FILE]" >&2
    exit 2
    ;;
esac
