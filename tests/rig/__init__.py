"""Programs that try to break the system: fuzzers, a sweep of faults, load, and a whole BOINC project.

``python -m tests.rig.soak`` and the like run in full; the tests here run each in a short form. See docs/reliability.md.
"""
