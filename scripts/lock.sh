#!/bin/sh
# Pins what the server's image and the frozen worker are made of, by version and hash: scripts/lock.sh, with uv on the PATH (pip install uv).
set -eu
cd "$(dirname "$0")/.."
compile() { uv pip compile --quiet --generate-hashes --no-header --upgrade pyproject.toml "$@"; }
compile --extra server --extra oracle --extra postgres --extra boinc \
    --python-version 3.12 --python-platform x86_64-manylinux_2_28 --output-file docker/requirements.lock
compile --extra freeze --python-version 3.11 --universal --output-file worker/freeze.lock
