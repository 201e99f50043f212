#!/bin/bash
# Starts the project's daemons and its crontab once makeproject has put the project into the volume, and again whenever it has
# done so anew. Takes the place of the published image's script, which wants the host's docker socket first.
set -u
cd "$PROJECT_ROOT" || exit 1

while :; do
    while [ ! -f ".built_$PROJECT" ]; do sleep 1; done
    ln -sf "$PROJECT_ROOT/$PROJECT.httpd.conf" /etc/apache2/sites-enabled/
    if pgrep -x apache2 >/dev/null; then apache2ctl -k graceful; fi
    su "$BOINC_USER" -c "
        bin/start
        (echo 'PATH=$PATH'; echo 'SHELL=/bin/bash'; cat ./*.cronjob) | crontab
    "
    inotifywait -e attrib ".built_$PROJECT"
done
