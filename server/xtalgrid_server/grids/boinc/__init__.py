"""The grid `boinc`: work goes to volunteers through a BOINC project's tools, and comes back through its daemons' hooks.

`templates` set what a work unit may cost, `grid` submits, `install` prepares a project, and `status` and `database`
read what became of the work. The hooks that BOINC's validator and assimilator call are in `cli.boinc_hooks`.
"""
