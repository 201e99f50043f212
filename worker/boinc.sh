#!/bin/sh
# xtalgrid-worker unpacks itself in the slot: what a BOINC client starts on Linux and macOS. The program's folder is
# behind this script, as a .tar.gz. It is unpacked once for each job, and the client clears it away. Where the disk is too
# full for that, the client is asked for a delay, which is no error of the host's.
folder=xtalgrid-worker-dir
unpacked=unpacking.$$

give_up() { # exit code, reason
    rm -rf "$unpacked"
    echo "xtalgrid-worker: cannot unpack: $2" >&2
    exit "$1"
}

unpack() {
    rm -rf unpacking.* && mkdir "$unpacked" && tail -n +FIRST_LINE "$0" | tar -xzo -f - -C "$unpacked"
}

if [ ! -d $folder ]; then
    if ! said=$(LC_ALL=C && export LC_ALL && unpack 2>&1); then
        case $said in
        *"o space left"* | *"uota exceeded"* | *"rote only"*) ;;
        *) give_up 206 "$said" ;; # as for all that is impossible on this computer
        esac
        reason="the disk is full: free SIZE MB to unpack the program"
        [ -e init_data.xml ] || give_up 74 "$reason"
        rm -rf "$unpacked"
        printf '600\n%s\nnotice\n' "$reason" >boinc_temporary_exit && give_up 0 "$reason; trying again in 600 s"
        # Not even that could be written. The client restarts, without counting, what was ended by this signal.
        sleep 60
        kill -s TERM $$
    fi
    # Another worker, whose client was killed, may have been here first.
    mv "$unpacked/$folder" . || [ -d $folder ] || give_up 206 "$folder cannot be made"
    rm -rf "$unpacked"
fi
exec "./$folder/xtalgrid-worker" "$@"
