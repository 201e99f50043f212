"""Health of service `apache`: whether the project's page answers and BOINC's daemons run; says what does not."""

from __future__ import annotations

import os
import sys
import urllib.request
from pathlib import Path

from xtalgrid_server.grids.boinc.health import daemon_problems
from xtalgrid_server.grids.boinc.project import Project

directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # Docker may give every container a proxy
with directly.open(f"http://127.0.0.1/{os.environ['PROJECT']}/", timeout=8):
    pass
sys.exit("\n".join(problem.what for problem in daemon_problems(Project(Path(os.environ["PROJECT_ROOT"])))) or None)
