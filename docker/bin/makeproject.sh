#!/bin/bash
# Service `makeproject`: prepares passwords, keys and signed app versions, then runs the published image's second step,
# which copies the project into its volume, creates the database and registers the app versions.
set -euo pipefail

# The published step changes the project in its place and leaves a link there, so each start needs a new copy.
rm -rf "$PROJECT_ROOT" "$PROJECT_ROOT.orig"
cp -a "$PROJECT_ROOT.image" "$PROJECT_ROOT"

umask 027   # www-data is in the group
secrets=/run/secrets
mkdir -p "$secrets/keys" "$secrets/html/ops"
if [ ! -s "$secrets/secrets.env" ]; then
    (umask 077 && cat >"$secrets/secrets.env") <<END
DB_PASSWD=$(openssl rand -hex 24)
MAILPASS=
RECAPTCHA_PUBLIC_KEY=
RECAPTCHA_PRIVATE_KEY=
END
fi
if [ ! -s "$secrets/keys/upload_public" ]; then
    "$PROJECT_ROOT/bin/crypt_prog" -genkey 1024 "$secrets/keys/upload_private" "$secrets/keys/upload_public" >/dev/null
fi
install -m 0644 /release/code_sign_public "$secrets/keys/"

if [ "${1:-}" = ops-password ]; then   # asks for it twice
    hash=$(openssl passwd -apr1)
    echo "admin:$hash" >"$secrets/html/ops/.htpasswd"
    exit
fi
if [ ! -s "$secrets/html/ops/.htpasswd" ]; then   # nobody knows this one
    echo "admin:$(openssl passwd -apr1 "$(openssl rand -hex 24)")" >"$secrets/html/ops/.htpasswd"
fi

# An unsigned app version would be registered, and every client that takes it would fail.
umask 022
while read -r state version fault; do
    if [ "$state" = signed ]; then
        mkdir -p "$PROJECT_ROOT/apps/$version"
        cp -rT "/release/apps/$version" "$PROJECT_ROOT/apps/$version"
    else
        echo "not registered: app version $version $fault"
    fi
done < <(xtalgrid boinc app-version check --apps /release/apps --key /release/code_sign_public)

makeproject-step2.sh
