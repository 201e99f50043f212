#!/bin/sh
# NOT RUN YET: no part of this has been tried on a Mac. Try it on one, and tell us what you see.
#
# Attach a Mac to an xtalgrid project, to compute while nobody uses it. First install BOINC from
# https://boinc.berkeley.edu/download.php, and start it once. Then, as root:
#
#   sh xtalgrid-volunteer.sh install URL KEY    attach it, set when and how much it computes
#   sh xtalgrid-volunteer.sh uninstall          give back what install found; BOINC itself stays
#
# Options of install, and their defaults: --idle-minutes 5, --cpus 50 (percent), --memory 50 (percent), --disk 5 (GB).
# --dry-run: say what would be done, and change nothing. Twice is once.
set -u

state="/Library/Application Support/xtalgrid-volunteer"
data="/Library/Application Support/BOINC Data"
prefs=$data/global_prefs_override.xml

fail() { # message, exit code
    echo "xtalgrid-volunteer: $1" >&2
    exit "${2:-1}"
}

act() { # message, command...
    echo "$dry$1"
    shift
    [ -n "$dry" ] || "$@" || fail "that failed"
}

check_number() { # option, value, least (0 is no limit to BOINC), most
    case $2 in '' | *[!0-9]*) fail "$1 takes a whole number, not '$2'" 2 ;; esac
    if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then fail "$1 takes $3 to $4" 2; fi
}

preferences() {
    user_active=0
    [ "$idle" != 0 ] || user_active=1
    cat <<END
<global_preferences>
  <run_if_user_active>$user_active</run_if_user_active>
  <idle_time_to_run>$idle</idle_time_to_run>
  <suspend_cpu_usage>25</suspend_cpu_usage>
  <run_on_batteries>0</run_on_batteries>
  <max_ncpus_pct>$cpus</max_ncpus_pct>
  <ram_max_used_idle_pct>$memory</ram_max_used_idle_pct>
  <disk_max_used_gb>$disk</disk_max_used_gb>
  <disk_min_free_gb>10</disk_min_free_gb>
  <work_buf_min_days>0.1</work_buf_min_days>
  <work_buf_additional_days>0</work_buf_additional_days>
  <leave_apps_in_memory>0</leave_apps_in_memory>
</global_preferences>
END
}

stop_client() {
    pkill -TERM -x boinc
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        pgrep -x boinc >/dev/null || return 0
        sleep 3
    done
    return 1
}

start_client() {
    if [ -e /Library/LaunchDaemons/edu.berkeley.boinc.plist ]; then
        launchctl kickstart system/edu.berkeley.boinc
    else
        open -a BOINCManager || echo "start BOINC, or log in, to go on"
    fi
}

write() { # file, for the client to read and replace; its text comes by standard input
    cat >"$1.new" && chown "$(stat -f %Su:%Sg "$data")" "$1.new" && mv "$1.new" "$1"
}

set_preferences() {
    [ -e "$state/preferences.before" ] || cp "$prefs" "$state/preferences.before" 2>/dev/null
    preferences >"$state/preferences"
    preferences | write "$prefs"
}

attach() {
    : >"$state/attached"
    printf '<account>\n    <master_url>%s</master_url>\n    <authenticator>%s</authenticator>\n</account>\n' "$url" "$key" |
        write "$account"
}

of_project() { echo "$1" | sed 's,^[a-z]*://,,; s,/$,,; s,[^A-Za-z0-9.-],_,g'; }

detach() { rm -rf "$account" "$data/projects/$name" "$data"/*"_$name.xml"; }

give_back_preferences() {
    if [ -e "$state/preferences.before" ]; then write "$prefs" <"$state/preferences.before"; else rm -f "$prefs"; fi
}

command=${1:-}
[ $# = 0 ] || shift
dry='' url='' key='' idle=5 cpus=50 memory=50 disk=5
while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) dry='would: ' ;;
    --idle-minutes | --cpus | --memory | --disk)
        [ $# -gt 1 ] || fail "$1 takes a number" 2
        case $1 in --idle-minutes) idle=$2 ;; --cpus) cpus=$2 ;; --memory) memory=$2 ;; --disk) disk=$2 ;; esac
        shift
        ;;
    -*) fail "unknown option $1" 2 ;;
    *) if [ -z "$url" ]; then url=$1; else key=$1; fi ;;
    esac
    shift
done
[ -n "$dry" ] || [ "$(id -u)" = 0 ] || fail "run it with sudo"
[ -d "$data" ] || fail "BOINC is not installed, or has never run: https://boinc.berkeley.edu/download.php"
case $command in
install)
    case $url in http://*.*/ | https://*.*/) ;; *) fail "give the project's URL, which ends with /, and the account key" 2 ;; esac
    case $key in '' | *[!0-9A-Za-z_]*) fail "'$key' is no account key" 2 ;; esac
    check_number --idle-minutes "$idle" 0 1440
    check_number --cpus "$cpus" 1 100
    check_number --memory "$memory" 1 100
    check_number --disk "$disk" 1 100000
    [ ! -e "$state/url" ] || [ "$(cat "$state/url")" = "$url" ] || fail "attached to $(cat "$state/url"); uninstall first"
    account="$data/account_$(of_project "$url").xml"
    if [ -e "$account" ] && [ ! -e "$state/attached" ]; then fail "attached to $url by hand; detach it first"; fi
    if grep -qs "<authenticator>$key</authenticator>" "$account" && preferences | cmp -s - "$prefs"; then
        echo "nothing to change"
        exit 0
    fi
    [ -n "$dry" ] || { mkdir -p "$state" && echo "$url" >"$state/url"; }
    act "stop BOINC's client" stop_client
    act "preferences: after $idle minutes, $cpus % of the cores, $memory % of the memory, $disk GB" set_preferences
    act "attach the client to $url" attach
    act "start BOINC's client" start_client
    ;;
uninstall)
    [ -e "$state/url" ] || {
        echo "nothing to change"
        exit 0
    }
    url=$(cat "$state/url")
    name=$(of_project "$url")
    account="$data/account_$name.xml"
    act "stop BOINC's client" stop_client
    if [ -e "$state/attached" ]; then act "detach the client from $url" detach; fi
    if cmp -s "$state/preferences" "$prefs"; then act "give back the preferences" give_back_preferences; fi
    act "forget what was found" rm -rf "$state"
    act "start BOINC's client" start_client
    ;;
*) fail "install or uninstall?" 2 ;;
esac
