"""Where BOINC projects that were set up by xtalgrid 0.1.0 look for the hooks; `xtalgrid_server.cli.boinc_hooks` has them now."""
