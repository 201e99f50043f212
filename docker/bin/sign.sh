#!/bin/bash
# Service `sign`: makes the code signing key at the first start, then packages the frozen workers in /workers and signs
# them. It has no network, and nothing else mounts /signing. With an argument it moves the key:
#   export > FILE, import < FILE, remove
set -euo pipefail
private=/signing/code_sign_private public=/release/code_sign_public bin=$PROJECT_ROOT.image/bin
umask 077

case ${1:-} in
export) exec cat "$private" ;;
import)
    cat >"$private.part"
    if ! grep -q '[0-9a-f]' "$private.part"; then   # as of an export that failed; the key that is here stays
        rm "$private.part"
        echo "no key came in; give the file of the export: sign.sh import < code_sign_private" >&2
        exit 1
    fi
    mv "$private.part" "$private"
    exit
    ;;
remove) rm "$private" && exit ;;
esac

if [ ! -e "$public" ] && [ ! -e "$private" ]; then
    "$bin/crypt_prog" -genkey 1024 "$private.part" "$public.part" >/dev/null
    chmod 0644 "$public.part"
    mv "$private.part" "$private"
    mv "$public.part" "$public"
    echo "made a key for signing app versions"
fi
umask 022

shopt -s nullglob
for worker in /workers/xtalgrid-worker-*; do
    case $worker in *.sig | *.tar.gz | *.zip) continue ;; esac   # a release has the worker as a folder, too
    # One that cannot be packaged is named, and keeps neither the others nor the server from starting.
    folder=$(xtalgrid boinc app-version frozen "$worker" --apps /release/apps 2> >(grep -v "^to be signed" >&2)) ||
        continue
    for program in "$folder"/xtalgrid-worker_*; do
        case $program in *.sig | *.part) continue ;; esac
        if [ -s "$worker.sig" ]; then
            cp "$worker.sig" "$program.sig"          # signed where the key is
        elif [ -e "$private" ] && [ ! -s "$program.sig" ]; then
            "$bin/sign_executable" "$program" "$private" >"$program.sig.part"
            mv "$program.sig.part" "$program.sig"
        fi
    done
done
xtalgrid boinc app-version check --apps /release/apps --key "$public" || true   # makeproject leaves out what is unsigned
