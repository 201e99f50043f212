#!/bin/sh
# Make a Debian or Ubuntu workstation compute for an xtalgrid project while nobody uses it. Needs root, and nothing else:
#
#   sh xtalgrid-volunteer.sh install URL KEY    install BOINC's client, attach it, set when and how much it computes
#   sh xtalgrid-volunteer.sh status             what it does; the exit code is 0 if it runs and its key is accepted
#   sh xtalgrid-volunteer.sh uninstall          give back what install found
#
# install takes   --idle-minutes N  compute when nobody has used the computer for so long (5; 0: always)
#                 --cpus N          percent of the cores (50)
#                 --memory N        percent of the memory while nobody uses it (50)
#                 --disk N          GB of the disk (5)
# install and uninstall take  --dry-run: say what they would do, and change nothing
#
# On many:  for host in $(cat hosts); do ssh root@$host sh -s -- install URL KEY <xtalgrid-volunteer.sh; done
# Twice is once: the last line is "nothing to change" if all is as it should be. The exit code is 1 if something failed,
# 2 if the words are wrong.
set -u

state=/var/lib/xtalgrid-volunteer # what install found and did
data=/var/lib/boinc-client
changes=0

usage() { sed -n '/^#   sh/,/^#$/p' "$0" 2>/dev/null | sed 's/^# *//' >&2; }

fail() { # message, exit code
    echo "xtalgrid-volunteer: $1" >&2
    exit "${2:-1}"
}

refuse() { fail "$1" 2; }

act() { # message, command...: do it, or in a dry run only say it
    echo "$dry$1"
    changes=$((changes + 1))
    shift
    [ -n "$dry" ] || "$@" || fail "that failed"
}

done_with() {
    [ $changes != 0 ] || echo "nothing to change"
    exit 0
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' boinc-client 2>/dev/null)" = installed ]; }

installed_packages() { dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort; }

apt() {
    said=$(DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=120 "$@" 2>&1) ||
        fail "apt-get $1 failed: $(echo "$said" | grep . | tail -n 1)"
}

add_package() {
    [ -e "$state/packages.before" ] || installed_packages >"$state/packages.before"
    (apt install --no-install-recommends boinc-client) 2>/dev/null || {
        apt update
        apt install --no-install-recommends boinc-client
    }
    installed_packages | comm -13 "$state/packages.before" - >"$state/packages"
}

remove_packages() {
    echo boinc-client boinc-client/remove_boinc_dir boolean true | debconf-set-selections 2>/dev/null
    apt purge boinc-client
    rm -rf "$data"
    # What came with it, unless something else needs it by now.
    needless=$(apt-get -s autoremove | sed -n 's/^Remv \([^ ]*\).*/\1/p' | sort | comm -12 - "$state/packages")
    # shellcheck disable=SC2086
    [ -z "$needless" ] || apt purge $needless
}

has_systemd() { [ -d /run/systemd/system ]; }

service_do() { # start, stop, restart
    if has_systemd; then said=$(systemctl "$1" boinc-client 2>&1); else said=$(service boinc-client "$1" 2>&1); fi ||
        fail "cannot $1 the service boinc-client: $(echo "$said" | tail -n 1)"
    [ "$1" = stop ] || wait_for 60 is_running || fail "the client does not answer; look at journalctl -u boinc-client"
}

is_enabled() {
    if has_systemd; then
        systemctl --quiet is-enabled boinc-client 2>/dev/null
    else
        ls /etc/rc2.d/S*boinc-client >/dev/null 2>&1
    fi
}

enable() { if has_systemd; then systemctl --quiet enable boinc-client; else update-rc.d boinc-client enable; fi; }

disable() { if has_systemd; then systemctl --quiet disable boinc-client; else update-rc.d boinc-client disable; fi; }

ask() { (cd "$data" 2>/dev/null && timeout 20 boinccmd "$@" 2>/dev/null); } # there it finds the client's password

is_running() { ask --client_version >/dev/null; }

wait_for() { # seconds, condition...
    left=$1
    shift
    until "$@"; do
        left=$((left - 1))
        [ $left -gt 0 ] || return 1
        sleep 1
    done
}

preferences() {
    user_active=0
    [ "$idle" != 0 ] || user_active=1
    cat <<END
<global_preferences>
  <!-- written by xtalgrid-volunteer, whose uninstall gives back what was here -->
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

set_preferences() {
    [ -e "$state/preferences.before" ] || cp "$prefs" "$state/preferences.before" 2>/dev/null || : >"$state/preferences.none"
    preferences >"$state/preferences"
    cat "$state/preferences" >"$prefs" # it may be a link to /etc
    ! is_running || ask --read_global_prefs_override
}

give_back_preferences() {
    if [ -e "$state/preferences.before" ]; then cat "$state/preferences.before" >"$prefs"; else rm -f "$prefs"; fi
    ! is_running || ask --read_global_prefs_override
}

of_project() { echo "$data/$1_$(echo "$2" | sed 's,^[a-z]*://,,; s,/$,,; s,[^A-Za-z0-9.-],_,g').xml"; } # kind, URL

account_file() { of_project account "$1"; }

has_key() { grep -qs "<authenticator>$key</authenticator>" "$account"; }

attach() {
    ! is_running || service_do stop
    : >"$state/attached"
    cat >"$account.new" <<END
<account>
    <master_url>$url</master_url>
    <authenticator>$key</authenticator>
</account>
END
    chown boinc:boinc "$account.new"
    mv "$account.new" "$account"
    rm -f "$(of_project sched_reply "$url")" # the answer to an earlier key
}

is_gone() { [ ! -e "$account" ]; }

detach() {
    is_running || service_do start
    ask --project "$url" detach
    wait_for 60 is_gone || fail "the client does not leave $url; look at journalctl -u boinc-client"
}

project_status() { # the client's lines about the project
    ask --get_project_status | awk -v url="$url" '
        /^[0-9]+\) -/ { if (mine) exit; text = "" }
        { text = text $0 "\n" }
        $0 == "   master URL: " url { mine = 1 }
        END { if (mine) printf "%s", text }'
}

project_name() { project_status | sed -n 's/^   name: //p'; } # nothing if the project has never answered

has_answered() { project_status | grep -q "scheduler RPC pending: no" && [ -n "$(project_name)" ]; }

# The client keeps the project's last answer in a file, also over its restarts; its messages also have earlier answers.
is_unknown() { grep -qs "nvalid or missing account key" "$(of_project sched_reply "$url")"; }

fail_unknown() { fail "$url does not know this account key; run install again with the right one"; }

check_number() { # option, value, least (0 is no limit to BOINC), most
    case $2 in '' | *[!0-9]*) refuse "$1 takes a whole number, not '$2'" ;; esac
    [ "$2" -ge "$3" ] || refuse "$1 takes at least $3"
    [ "$2" -le "$4" ] || refuse "$1 takes at most $4"
}

check_words() {
    [ -n "$key" ] || {
        usage
        refuse "install takes a URL and an account key"
    }
    case $url in http://*.*/ | https://*.*/) ;; http://*.* | https://*.*) url=$url/ ;; *)
        refuse "'$url' is no project's address, such as https://boinc.lab.example/xtalgrid/; BOINC wants a dot in the name"
        ;;
    esac
    host=${url#*://} && host=${host%%/*} # in small letters, as the client writes it
    url=${url%%://*}://$(echo "$host" | tr '[:upper:]' '[:lower:]')/${url#*://*/}
    case $key in *[!0-9A-Za-z_]*) refuse "'$key' is no account key" ;; esac
    check_number --idle-minutes "$idle" 0 1440
    check_number --cpus "$cpus" 1 100
    check_number --memory "$memory" 1 100
    check_number --disk "$disk" 1 100000
}

check_computer() {
    [ -n "$dry" ] || [ "$(id -u)" = 0 ] || fail "run it as root"
    command -v dpkg-query >/dev/null || fail "this is neither Debian nor Ubuntu; install BOINC's client and attach it by hand"
}

install() {
    check_words
    check_computer
    if [ -e "$state/url" ] && [ "$(cat "$state/url")" != "$url" ]; then
        fail "this computer was attached to $(cat "$state/url"); uninstall first"
    fi
    account=$(account_file "$url")
    [ ! -e "$account" ] || [ -e "$state/attached" ] || has_key ||
        fail "the client is attached to $url by another account; detach it first: boinccmd --project $url detach"
    if [ -z "$dry" ] && [ ! -e "$state/url" ]; then # what is found
        mkdir -p "$state"
        if is_installed; then
            ! is_enabled || : >"$state/enabled"
            ! is_running || : >"$state/running"
        fi
        echo "$url" >"$state/url"
    fi
    is_installed || act "install the package boinc-client" add_package
    prefs=$data/global_prefs_override.xml
    preferences | cmp -s - "$prefs" ||
        act "preferences: $(if [ "$idle" = 0 ]; then echo always; else echo "after $idle minutes without use"; fi), at most \
$cpus % of the cores, $memory % of the memory, $disk GB of the disk" set_preferences
    is_new=
    if ! has_key; then
        act "attach the client to $url" attach
        is_new=yes
    fi
    is_enabled || act "start the client whenever the computer starts" enable
    is_running || act "start the client" service_do start
    if [ -z "$dry" ]; then
        if [ -n "$is_new" ] || [ -z "$(project_name)" ]; then
            # While somebody works here, the client computes nothing and asks nobody either; for this once it may.
            ask --set_network_mode always 120
            ask --project "$url" update
            wait_for 60 has_answered ||
                fail "attached, but $url has not answered yet; the client goes on trying: boinccmd --get_messages"
        fi
        ! is_unknown || fail_unknown
    fi
    done_with
}

uninstall() {
    check_computer
    if [ ! -e "$state/url" ]; then done_with; fi
    url=$(cat "$state/url")
    account=$(account_file "$url")
    prefs=$data/global_prefs_override.xml
    if is_installed; then
        if [ -e "$state/attached" ] && [ -e "$account" ]; then act "detach the client from $url" detach; fi
        others=$(find "$data" -name 'account_*.xml' ! -path "$account")
        if [ -e "$state/packages" ] && [ -z "$others" ]; then
            act "remove the package boinc-client, what came with it, and $data" remove_packages
        else
            if ! cmp -s "$state/preferences" "$prefs"; then
                echo "the preferences have been changed since; they stay"
            elif [ -e "$state/preferences.before" ] || [ -e "$state/preferences.none" ]; then
                act "give back the preferences" give_back_preferences
            fi
            if [ -e "$state/packages" ]; then
                echo "the client is attached to other projects; it stays"
            else
                [ -e "$state/running" ] || ! is_running || act "stop the client" service_do stop
                [ -e "$state/enabled" ] || ! is_enabled || act "don't start the client with the computer" disable
            fi
        fi
    fi
    act "forget what was found" rm -rf "$state"
    done_with
}

status() {
    [ -e "$state/url" ] || fail "not installed by this script"
    url=$(cat "$state/url")
    is_running || fail "the client is not running: service boinc-client start"
    name=$(project_name)
    [ -n "$name" ] || fail "$url has not answered yet: boinccmd --get_messages"
    ! is_unknown || fail_unknown
    echo "attached to $name, $url"
    ask --get_cc_status | awk '/^CPU status/ { getline; sub(/^ */, "computing: "); print }'
    echo "tasks: $(ask --get_tasks | grep -c "project URL: $url")"
    cmp -s "$state/preferences" "$data/global_prefs_override.xml" || echo "the preferences have been changed since"
}

command=${1:-}
[ $# = 0 ] || shift
dry='' url='' key='' idle=5 cpus=50 memory=50 disk=5
while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) dry='would: ' ;;
    --idle-minutes | --cpus | --memory | --disk)
        [ $# -gt 1 ] || refuse "$1 takes a number"
        case $1 in --idle-minutes) idle=$2 ;; --cpus) cpus=$2 ;; --memory) memory=$2 ;; --disk) disk=$2 ;; esac
        shift
        ;;
    -*) refuse "unknown option $1" ;;
    *)
        if [ -z "$url" ]; then url=$1; elif [ -z "$key" ]; then key=$1; else refuse "one word too many: $1"; fi
        ;;
    esac
    shift
done
case $command in
install | uninstall | status) "$command" ;;
*)
    usage
    refuse "install, status or uninstall?"
    ;;
esac
