#!/bin/sh
# Renews scripts/locks/: the version and hash of every package, for Python 3.11 to 3.13, from PyPI, with uv.
#     scripts/lock.sh                          adds what pyproject.toml now needs; keeps all other versions
#     scripts/lock.sh --upgrade                the newest version of everything
#     scripts/lock.sh --upgrade-package NAME   the newest version of one package
# all.lock is the lock; the others are subsets of it, except audit.lock, for the tools of scripts/dev/materials.py. Not locked are torch and torchvision, which have separate builds
# for each platform (pyproject.toml pins their versions), and cx_Oracle, which can't be built everywhere.
set -eu
cd "$(dirname "$0")/.."
uv=.venv-lock/bin/uv
test -x $uv || { python3 -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9.8'; }

resolve() {
    lock=scripts/locks/$1.lock; shift
    $uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --annotation-style line \
        --no-header --output-file "$lock" "$@"
}
compile() {
    name=$1; shift
    resolve "$name" pyproject.toml scripts/locks/build.in "$@"
}
extras() { for extra in "$@"; do printf -- '--extra %s ' "$extra"; done; }

server="server oracle postgres boinc ispyb"
# shellcheck disable=SC2046,SC2086  # the extras are words
{
    compile all $(extras $server parquet dev freeze train) --excludes scripts/locks/cuda.txt \
        --no-emit-package torch --no-emit-package torchvision "$@"
    compile server $(extras $server) --constraint scripts/locks/all.lock --upgrade
    compile dev $(extras $server parquet dev) --constraint scripts/locks/all.lock --upgrade
    compile freeze $(extras freeze) --constraint scripts/locks/all.lock --upgrade
    resolve audit scripts/locks/audit.in "$@"
}
