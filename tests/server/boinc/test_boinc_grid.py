"""create_work with BOINC, through the played tools of conftest."""

import json
import os
import random
import shutil
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from xtalgrid_core import wire
from xtalgrid_core.errors import ConfigError, GridError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.weights import default_models, read_manifest
from xtalgrid_server.cli.boinc import retry_command
from xtalgrid_server.cli.main import main
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.grids.boinc import tables as t
from xtalgrid_server.grids.boinc.grid import BoincGrid
from xtalgrid_server.grids.boinc.project import Project
from xtalgrid_server.grids.boinc.spool import Spool
from xtalgrid_server.grids.boinc.status import boinc_status, boinc_status_lines
from xtalgrid_server.steps.system import System

from ..conftest import INSPECTED, draw_well


@pytest.fixture
def imaged(system):
    """``imaged(number, days=0)``: the imager photographs drops so many days after the first inspection."""
    count = 0

    def take(number, days=0):
        nonlocal count
        rows = []
        for _ in range(number):
            count += 1
            when = INSPECTED + timedelta(days=days, seconds=count)
            rows.append(ImageRow(0, "P1", count, when, Well(1, 1, 1), f"{count}.jpg"))
            draw_well(system.config.image_root / "P1" / str(count) / f"{count}.jpg", shade=count)
        return system.imager.register(rows)

    return take


def workunits(connection):
    return {row.name: row for row in connection.execute(sa.select(t.workunits))}


def states(system):
    return sorted(unit.state for unit in system.ledger.units.in_states("planned", "sent", "returned", "failed"))


def test_units_are_staged_and_created_fresh_ones_before_back_fill(system, project, imaged, calls, boinc_db):
    imaged(1, days=-300)
    imaged(3)
    assert system.create_work().units == 3
    assert states(system) == ["sent"] * 3
    assert [(c["options"]["--priority"], len(c["jobs"])) for c in calls()] == [("100", 1), ("100", 1), ("0", 1)]
    fresh, _, backfill = (call["limits"] for call in calls())
    assert float(fresh["rsc_fpops_est"]) == 2 * float(backfill["rsc_fpops_est"])  # two images, and one
    assert (fresh["delay_bound"], backfill["delay_bound"]) == ("86400", "604800")
    for name in workunits(boinc_db):
        with zipfile.ZipFile(project.downloads(f"{name}.zip")) as archive:
            manifest = wire.decode_manifest(archive.read("manifest.json"))
        assert f"{manifest.unit}.1" == name
    assert system.create_work().planned == 0
    assert len(calls()) == 3


def test_units_alike_are_created_by_one_call(system, imaged, calls):
    imaged(8)
    system.create_work()
    assert [len(call["jobs"]) for call in calls()] == [4]


def test_some_units_are_checked_by_a_second_host(system, config, imaged, calls, boinc_db):
    imaged(16)
    random.seed(7)
    config = msgspec.structs.replace(config, boinc=msgspec.structs.replace(config.boinc, spot_checks=0.5))
    system.grid = BoincGrid(config)
    system.create_work()
    quorums = [row.min_quorum for row in workunits(boinc_db).values()]
    assert len(quorums) == 8
    assert set(quorums) == {1, 2}
    for call in calls():
        assert call["limits"]["target_nresults"] == call["limits"]["min_quorum"]
    system.grid.database.close()


def test_when_boinc_fails_the_units_stay_planned_and_the_next_run_sends_them_once(system, project, imaged, boinc_db):
    imaged(4)
    (project.folder / "fail").touch()
    with pytest.raises(GridError, match=r"exit code 1.*error opening database"):
        system.create_work()
    assert states(system) == ["planned", "planned"]
    (project.folder / "fail").unlink()
    system.create_work()
    assert states(system) == ["sent", "sent"]
    assert len(workunits(boinc_db)) == 2


def test_what_a_killed_run_staged_does_not_stand_in_the_way(system, project, imaged, boinc_db):
    imaged(2)
    (project.folder / "fail").touch()
    with pytest.raises(GridError):
        system.create_work()
    (unit,) = system.ledger.units.in_states("planned")
    half = project.downloads(f"{unit.name}.1.zip")
    half.write_bytes(half.read_bytes()[:100])
    (project.folder / "fail").unlink()
    system.create_work()
    assert zipfile.ZipFile(half).testzip() is None


def test_killed_after_boinc_took_them_units_are_not_created_again(system, imaged, calls, monkeypatch):
    imaged(2)
    monkeypatch.setattr(system.ledger.units, "set_state", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        system.create_work()
    monkeypatch.undo()
    assert states(system) == ["planned"]
    system.create_work()
    assert states(system) == ["sent"]
    assert len(calls()) == 1


@pytest.mark.parametrize("said", ["{name}\ntoo many hosts failed\n", "{id}\ntoo many hosts failed\n"])
def test_a_unit_that_boinc_gave_up_is_listed_with_its_reasons_and_retried_on_demand(
    system, config, imaged, boinc_db, calls, said
):
    imaged(2)
    system.create_work()
    ((name, row),) = workunits(boinc_db).items()
    boinc_db.execute(t.workunits.update().values(error_mask=2))
    boinc_db.execute(t.hosts.insert().values(id=7, domain_name="<b>pc7</b>", rpc_time=1000, os_name="Linux", p_ncpus=4))
    for n in range(2):
        boinc_db.execute(
            t.results.insert().values(
                workunitid=row.id, appid=2, server_state=5, outcome=3, validate_state=2, hostid=7, name=f"{name}_{n}",
                exit_status=195, sent_time=0, report_deadline=0, received_time=0,
                stderr_out=b"<message>code 195</message>\n<stderr_txt>\nError: disk full <x>\n</stderr_txt>\n]]>\n",
            )
        )  # fmt: skip
    Spool(config).inbox.mkdir(parents=True)
    (Spool(config).inbox / "workunit-1.failed").write_text(said.format(name=name, id=row.id))
    boinc_db.execute(t.workunits.update().values(assimilate_state=2))
    assert "lost unit" not in "\n".join(boinc_status_lines(boinc_status(system.ledger, system.imager, system.grid)))
    assert system.assimilate().failed_units == 1
    assert not any(Spool(config).inbox.iterdir())
    lines = "\n".join(boinc_status_lines(boinc_status(system.ledger, system.imager, system.grid, now=4600)))
    assert "too many hosts failed; 2 client error (exit 195: Error: disk full ·x·)" in lines
    assert "host 7      ·b·pc7·/b· (Linux): 0 invalid, 2 errors, 0 valid; seen 60 min ago" in lines
    assert "1 in error" in lines
    words = ["--config", str(config.file), "--home", str(config.home), "boinc", "status", "--json"]
    document = json.loads(CliRunner().invoke(main, words).stdout)
    assert (document["work"]["in_error"], document["failing_hosts"][0]["errors"]) == (1, 2)
    assert document["failing_hosts"][0]["seen"] == "1970-01-01T00:16:40Z"
    assert "too many hosts failed" in document["failed_units"][name.removesuffix(".1")]
    retry_command.callback.__wrapped__(config, ())
    system.create_work()
    assert set(workunits(boinc_db)) == {name, name.replace(".1", ".2")}
    assert states(system) == ["sent"]


def test_a_notice_of_an_earlier_attempt_says_nothing_of_the_one_under_way(system, config, imaged, boinc_db):
    """As BOINC's assimilator sends it again after its database was restored."""
    imaged(2)
    system.create_work()
    (name,) = workunits(boinc_db)
    boinc_db.execute(t.workunits.update().values(assimilate_state=2))
    retry_command.callback.__wrapped__(config, ())  # it got lost
    notice = Spool(config).inbox / f"{name.removesuffix('.1')}.failed"
    notice.parent.mkdir(parents=True)
    notice.write_text(f"{name}\ntoo many hosts failed\n")
    system.create_work()
    assert set(workunits(boinc_db)) == {name, name.replace(".1", ".2")}
    assert system.assimilate().failed_units == 0
    assert states(system) == ["sent"]
    assert Spool(config).manifest(name.removesuffix(".1")).exists()
    assert not notice.exists()


def test_a_result_that_got_lost_is_listed_and_retried(system, config, imaged, boinc_db):
    imaged(2)
    system.create_work()
    assert "lost unit" not in "\n".join(boinc_status_lines(boinc_status(system.ledger, system.imager, system.grid)))
    boinc_db.execute(t.workunits.update().values(assimilate_state=2))
    assert "lost unit" in "\n".join(boinc_status_lines(boinc_status(system.ledger, system.imager, system.grid)))
    retry_command.callback.__wrapped__(config, ())
    system.create_work()
    assert len(workunits(boinc_db)) == 2


def test_other_models_travel_as_sticky_files_named_by_their_content(
    config, config_text, project, tmp_path, tiny_weights, imaged, system, calls
):
    shutil.copytree(tiny_weights, config.weights)
    pair = tuple(read_manifest(tiny_weights).default.values())
    assert pair != default_models()
    system.ledger.promotions.add("promote", pair, "", "test")
    system.grid.offer_models(pair)
    staged = {path.name for path in (project.folder / "download").rglob("*.onnx")}
    assert staged == {f"{sha256}.onnx" for sha256 in pair}
    imaged(2)
    system.create_work()
    ((_, files),) = calls()[0]["jobs"]
    assert files[2:] == [f"{sha256}.onnx" for sha256 in pair]
    listed = msgspec.json.decode(project.downloads(files[1]).read_bytes())
    assert [model["sha256"] for model in listed["models"]] == list(pair)
    system.rollback(why="", who="test")
    imaged(2, days=1)
    system.create_work()
    assert len(calls()[1]["jobs"][0][1]) == 1  # every worker carries the package's own


def test_a_second_opinion_travels_as_a_sticky_file(config, project, tiny_second_opinion, imaged, calls):
    sha256 = read_manifest(tiny_second_opinion).default["second_opinion"]
    shutil.copytree(tiny_second_opinion, config.weights / "second-opinion")
    config = msgspec.structs.replace(config, work=msgspec.structs.replace(config.work, second_opinion=sha256))
    imaged(2)
    with System(config) as system:
        system.create_work()
    ((_, files),) = calls()[0]["jobs"]
    assert files[2:] == [f"{sha256}.onnx"]  # every worker carries the package's own
    listed = msgspec.json.decode(project.downloads(files[1]).read_bytes())
    assert [(model["role"], model["sha256"]) for model in listed["models"]] == [("second_opinion", sha256)]
    assert project.downloads(files[2]).read_bytes() == (tiny_second_opinion / "second.onnx").read_bytes()
    template = (project.folder / "templates" / f"{config.boinc.app}_in").read_text()
    assert template.count("<sticky/>") == template.count("<no_delete/>") == 2
    assert f"<open_name>{sha256}.onnx</open_name>" in template


def test_the_commands_of_the_local_grid_say_where_to_go(system):
    with pytest.raises(ConfigError, match="boinc status"):
        system.work()


def test_a_folder_that_is_no_project_is_named(config):
    config = msgspec.structs.replace(config, boinc=msgspec.structs.replace(config.boinc, project="/nowhere"))
    with System(config) as system, pytest.raises(ConfigError, match="/nowhere is not a BOINC project"):
        system.create_work()


def test_the_command_line_shows_it(config, system, imaged):
    imaged(3)
    system.create_work()
    arguments = ["--config", str(config.file), "--home", str(config.home), "boinc"]
    shown = CliRunner().invoke(main, [*arguments, "status"], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert "lag         newest inspection 2012-11-21 14:00; none is scored yet" in shown.output
    retried = CliRunner().invoke(main, [*arguments, "retry"], catch_exceptions=False)
    assert "makes 0 units again" in retried.output
    unknown = CliRunner().invoke(main, [*arguments, "retry", "xg_none"])
    assert (unknown.exit_code, "not failed or lost: xg_none" in unknown.output) == (2, True)


def test_a_result_that_another_step_takes_meanwhile_stops_nothing(config, monkeypatch):
    """create_work and assimilate are tasks of the same minute."""
    inbox = Spool(config).inbox
    inbox.mkdir(parents=True)
    for name in ("xg_1", "xg_2"):
        (inbox / f"{name}.json").touch()
    is_file = Path.is_file

    def taken(path):
        there = is_file(path)
        if path.name == "xg_1.json":
            path.unlink(missing_ok=True)
        return there

    monkeypatch.setattr(Path, "is_file", taken)
    assert [unit for unit, _ in BoincGrid(config).results()] == ["xg_2"]


def test_a_scored_inspection_dated_ahead_hides_no_lag(system, imaged, score):
    """As one imager's clock was in 2100: later plates of the others were said to be scored."""
    score({(1, 1): Outcome.CLEAR})
    score({(2, 1): Outcome.CLEAR}, inspection=4, inspected=datetime(2100, 1, 1))
    imaged(1, days=1)
    lines = boinc_status_lines(boinc_status(system.ledger, system.imager, system.grid))
    assert next(line for line in lines if line.startswith("lag")) == (
        "lag         24 h: newest inspection 2012-11-22 14:00, newest scored 2012-11-21 14:00"
    )


@pytest.mark.parametrize(
    ("said", "host", "port"),
    [("db.lab", "db.lab", None), ("db.lab:3307", "db.lab", 3307), ("::1", "::1", None), ("fd00::5", "fd00::5", None)],
)
def test_where_the_projects_database_is(project, said, host, port):
    config = project.folder / "config.xml"
    config.write_text(config.read_text().replace("<db_host>localhost</db_host>", f"<db_host>{said}</db_host>"))
    url = Project(project.folder).database_url()
    assert (url.host, url.port) == (host, port)


def test_a_path_is_too_long_for_boinc_by_its_bytes(project, tmp_path):
    """stage_file has room for bytes, and a letter of other alphabets takes two or three of them."""
    folder = tmp_path / ("結晶" * 15)
    folder.mkdir()
    assert len(str(folder)) < 120 < len(os.fsencode(folder))
    with pytest.raises(GridError, match="too long for BOINC's stage_file"):
        project.stage(folder)


def test_an_inbox_that_cannot_be_read_does_not_seem_empty(system):
    """As one of another account's: results would wait for ever, and nothing be said."""
    inbox = Spool(system.config).inbox
    inbox.parent.mkdir(parents=True, exist_ok=True)
    grid = BoincGrid(system.config)
    assert list(grid.results()) == []  # nothing has come yet
    inbox.write_bytes(b"in the place of the folder")
    with pytest.raises(GridError, match=r"cannot read .*inbox: Not a directory"):
        list(grid.results())
