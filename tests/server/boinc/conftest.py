"""A BOINC project's folder and database for each test.

A BOINC server is not among Debian's packages, so `stage_file_native` and `create_work` are played here by two small programs
that check what BOINC's check (files that never change, names once, templates and staged inputs) and keep a record of their
calls. The tables are BOINC's, those columns of them that are read. The real ones are run by tests/rig/boinc_end_to_end.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from xtalgrid_server.config import Config, from_string
from xtalgrid_server.grids.boinc import tables as t
from xtalgrid_server.grids.boinc.project import Project
from xtalgrid_server.steps.system import System

CONFIG_XML = """<?xml version="1.0" ?>
<boinc>
  <!-- made by make_project -->
  <config>
    <db_name>grid</db_name>
    <db_host>localhost</db_host>
    <db_user>boincadm</db_user>
    <db_passwd>se&lt;cret</db_passwd>
    <download_dir>{folder}/download</download_dir>
    <uldl_dir_fanout>1024</uldl_dir_fanout>
    <daily_result_quota>500</daily_result_quota>
  </config>
  <tasks>
    <task>
      <cmd>antique_file_deleter -d 2</cmd>
      <period>24 hours</period>
      <disabled>0</disabled>
      <output>antique_file_deleter.out</output>
    </task>
  </tasks>
  <daemons>
    <daemon><cmd>feeder -d 3</cmd></daemon>
    <daemon><cmd>transitioner -d 3</cmd></daemon>
    <daemon>
      <cmd>script_validator -d 3 --app other --init_script theirs --compare_script theirs</cmd>
      <output>theirs.log</output>
      <pid_file>theirs.pid</pid_file>
    </daemon>
  </daemons>
</boinc>
"""

PROJECT_XML = """<boinc>
    <platform>
        <name>windows_x86_64</name>
        <user_friendly_name>Microsoft Windows running on an AMD x86_64 or Intel EM64T CPU</user_friendly_name>
    </platform>
    <app>
        <name>other</name>
        <user_friendly_name>Another application</user_friendly_name>
    </app>
</boinc>
"""

STAGE = """#!{python}
import hashlib, pathlib, sys
root = pathlib.Path.cwd()
assert (root / "config.xml").is_file(), "not run in the project's folder"
for path in sorted(pathlib.Path(sys.argv[-1]).iterdir()):
    number = int(hashlib.md5(path.name.encode()).hexdigest()[1:8], 16) % 1024
    there = root / "download" / f"{{number:x}}" / path.name
    if there.exists():
        if there.read_bytes() != path.read_bytes():
            sys.exit("There is already a file with that name, but with different contents.")
        continue
    there.parent.mkdir(parents=True, exist_ok=True)
    path.rename(there)
    data = there.read_bytes()
    there.with_name(there.name + ".md5").write_text(f"{{hashlib.md5(data).hexdigest()}} {{len(data)}}\\n")
"""

CREATE = """#!{python}
import hashlib, json, pathlib, re, shlex, sqlite3, sys, xml.etree.ElementTree as ET
root = pathlib.Path.cwd()
arguments = sys.argv[1:]
options = dict(zip(arguments[:-1:2], arguments[1:-1:2]))
assert arguments[-1] == "--stdin", arguments
if (root / "fail").exists():
    sys.exit("create_work: error opening database")
template = ET.parse(root / options["--wu_template"]).getroot()
assert (root / options["--result_template"]).is_file() and len(options["--result_template"]) <= 63
limits = {{e.tag: e.text for e in template.find("workunit") if e.tag != "file_ref"}}
inputs = len(template.findall("file_info"))
assert inputs == len(template.findall("workunit/file_ref"))
jobs = []
for line in sys.stdin:
    assert len(line) < 4096
    flag, name, *files = shlex.split(line)
    assert flag == "--wu_name" and re.fullmatch(r"[A-Za-z0-9._-]+", name) and "nodelete" not in name, line
    assert len(files) == inputs, (files, inputs)
    for file in files:
        number = int(hashlib.md5(file.encode()).hexdigest()[1:8], 16) % 1024
        assert (root / "download" / f"{{number:x}}" / file).is_file(), f"{{file}} is not staged"
    jobs.append((name, files))
database = sqlite3.connect(root / "boinc.db")
(app,) = database.execute("select id from app where name = ?", [options["--appname"]]).fetchone()
with database:
    for name, _ in jobs:
        database.execute(
            "insert into workunit (create_time, appid, name, need_validate, error_mask, assimilate_state, min_quorum, priority)"
            " values (1, ?, ?, 0, 0, 0, ?, ?)",
            [app, name, int(limits["min_quorum"]), int(options["--priority"])],
        )
with (root / "calls.jsonl").open("a") as calls:
    text = (root / options["--wu_template"]).read_text()
    calls.write(json.dumps({{"options": options, "jobs": jobs, "template": text, "limits": limits}}) + "\\n")
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder like make_project's."""
    folder = tmp_path / "project"
    for name in ("bin", "templates", "download", "apps"):
        (folder / name).mkdir(parents=True)
    (folder / "config.xml").write_text(CONFIG_XML.format(folder=folder))
    (folder / "project.xml").write_text(PROJECT_XML)
    for name, text in (("stage_file_native", STAGE), ("create_work", CREATE)):
        (folder / "bin" / name).write_text(text.format(python=sys.executable))
        (folder / "bin" / name).chmod(0o755)
    engine = sa.create_engine(f"sqlite:///{folder}/boinc.db")
    t.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(t.apps.insert(), [{"id": 1, "name": "other"}, {"id": 2, "name": "xtalgrid"}])
    engine.dispose()
    return Project(folder)


@pytest.fixture
def config_text(project: Project) -> str:
    return f"""
[grid]
kind = "boinc"
[boinc]
project = "{project.folder}"
database = "sqlite:///{project.folder}/boinc.db"
spot_checks = 0.0
[work]
wells_per_unit = 2
"""


@pytest.fixture
def config(tmp_path: Path, config_text: str) -> Config:
    file = tmp_path / "xtalgrid.toml"
    file.write_text(config_text)
    return from_string(config_text, file=file, home=tmp_path / "home")


@pytest.fixture
def system(config: Config) -> Iterator[System]:
    with System(config) as opened:
        yield opened
        opened.grid.database.close()


@pytest.fixture
def calls(project: Project) -> Callable[[], list[dict]]:
    """What `create_work` of BOINC was called with."""

    def read() -> list[dict]:
        path = project.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read


@pytest.fixture
def boinc_db(project: Project) -> Iterator[sa.Connection]:
    """BOINC's database, to play its daemons in."""
    engine = sa.create_engine(f"sqlite:///{project.folder}/boinc.db", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()
