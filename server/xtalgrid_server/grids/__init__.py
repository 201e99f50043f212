"""The grids that run workers: this machine, or the volunteers of a BOINC project."""
