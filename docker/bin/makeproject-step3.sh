#!/bin/bash
# Starts the project's daemons and its crontab after makeproject has copied the project into the volume, and again after
# each new copy. It replaces the published image's script, which needs the host's docker socket.
set -u
cd "$PROJECT_ROOT" || exit 1

while :; do
    while [ ! -f ".built_$PROJECT" ]; do sleep 1; done
    ln -sf "$PROJECT_ROOT/$PROJECT.httpd.conf" /etc/apache2/sites-enabled/
    if pgrep -x apache2 >/dev/null; then apache2ctl -k graceful; fi
    su "$BOINC_USER" -c "
        xtalgrid boinc install '$PROJECT_ROOT'
        bin/start
        (echo 'PATH=$PATH'; echo 'SHELL=/bin/bash'; cat ./*.cronjob) | crontab
        xtalgrid service install --cron --user-level    # adds what BOINC's tasks do not: sync, look_again, alerts
    "
    inotifywait -e attrib ".built_$PROJECT"
done
