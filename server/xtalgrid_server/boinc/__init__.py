"""Hooks where BOINC projects set up by xtalgrid 0.1.0 look for them; now in `xtalgrid_server.cli.boinc_hooks`."""
