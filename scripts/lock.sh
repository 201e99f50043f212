#!/bin/sh
# Renews scripts/locks/: what is installed, by version and hash, on Python 3.11 to 3.13. From PyPI, by uv in an environment of its own.
#     scripts/lock.sh                          what pyproject.toml asks for now; all else stays
#     scripts/lock.sh --upgrade                the newest of everything
#     scripts/lock.sh --upgrade-package NAME   the newest of one
# all.lock is the lock; the others are parts of it. Two things are not in it: torch with torchvision, of which every platform has builds
# of its own (pyproject.toml has their versions), and cx_Oracle, which cannot be built everywhere.
set -eu
cd "$(dirname "$0")/.."
uv=.venv-lock/bin/uv
test -x $uv || { python3 -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9.8'; }

compile() {
    lock=scripts/locks/$1.lock; shift
    $uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --annotation-style line \
        --no-header --output-file "$lock" pyproject.toml scripts/locks/build.in "$@"
}
extras() { for extra in "$@"; do printf -- '--extra %s ' "$extra"; done; }

server="server oracle postgres boinc"
# shellcheck disable=SC2046,SC2086  # the extras are words
{
    compile all $(extras $server dev freeze train) --excludes scripts/locks/cuda.txt \
        --no-emit-package torch --no-emit-package torchvision "$@"
    compile server $(extras $server) --constraint scripts/locks/all.lock --upgrade
    compile dev $(extras $server dev) --constraint scripts/locks/all.lock --upgrade
    compile freeze $(extras freeze) --constraint scripts/locks/all.lock --upgrade
}
