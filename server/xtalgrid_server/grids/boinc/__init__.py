"""The grid `boinc`: work goes to volunteers by a BOINC project's own tools, and comes back through its daemons' hooks.

`templates` say what a work unit may cost, `grid` submits, `hooks` are what BOINC's validator and assimilator call,
`install` prepares a project, `status` and `database` read what became of the work.
"""
