"""All tests."""

import os

# Read by torch when it is imported, and by the programs that tests start: `make test` has a process for each core
# already, and threads that wait for each other there spin, which tripled the time of some tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")
