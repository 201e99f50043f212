"""The hooks as processes of their own, as BOINC's daemons start them, with a result that a worker made."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from xtalgrid_core.weights import read_manifest
from xtalgrid_server.cli import boinc_hooks
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.grids.boinc.spool import Spool

from ...conftest import encoded, well
from ..conftest import INSPECTED


@pytest.fixture
def config_text(config_text, tiny_weights):
    pair = read_manifest(tiny_weights).default
    return config_text + f'segmenter = "{pair["segmenter"]}"\nclassifier = "{pair["classifier"]}"\n'


@pytest.fixture
def config(tmp_path, config_text, tiny_weights):
    file = tmp_path / "xtalgrid.toml"
    file.write_text(config_text)
    config = from_string(config_text, file=file, home=tmp_path / "home")
    shutil.copytree(tiny_weights, config.weights)
    return config


@pytest.fixture
def hook(config, tmp_path):
    """Run a hook in a folder that is nobody's, by the script that `install` would write."""

    def run(*arguments):
        environment = {**os.environ, "XTALGRID_HOME": str(config.home), "XTALGRID_CONFIG": str(config.file)}
        command = [sys.executable, "-m", "xtalgrid_server.cli.boinc_hooks", *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
        return done.returncode, done.stderr

    return run


@pytest.fixture
def unit(system, project, config):
    """A unit of two wells that was sent, and its zip."""
    colours = [(150, 40, 40), (40, 40, 150)]
    rows = []
    for n, colour in enumerate(colours, 1):
        path = config.image_root / "P1" / str(n) / f"{n}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(encoded(well(colour)))
        rows.append(ImageRow(0, "P1", n, INSPECTED, Well(1, n, 1), f"{n}.png"))
    system.imager.register(rows)
    system.create_work()
    (sent,) = system.ledger.units.in_states("sent")
    return sent, project.downloads(f"{sent.name}.1.zip")


@pytest.fixture
def uploaded(unit, project, config):
    """``uploaded(instance=0)``: the result that a worker made, where BOINC's upload handler would put it."""
    sent, zipped = unit
    made = project.folder / "result.json"
    command = [sys.executable, "-m", "xtalgrid_worker.cli", "run", str(zipped), str(made)]
    subprocess.run([*command, "--weights", str(config.weights)], check=True, capture_output=True, timeout=100)
    folder = project.folder / "upload" / "3f"
    folder.mkdir(parents=True)

    def upload(instance=0, change=lambda text: text):
        path = folder / f"{sent.name}.1_{instance}_r18042{instance}_0"
        path.write_text(change(made.read_text()))
        return path

    return upload


def test_the_way_of_a_result_through_validator_and_assimilator_into_the_ledger(system, config, unit, uploaded, hook):
    spool, (sent, _) = Spool(config), unit
    first, second = uploaded(0), uploaded(1, lambda text: re.sub(r'"seconds":[0-9.e-]+', '"seconds":9.9', text))
    assert hook("check", first) == (0, "")
    assert hook("compare", first, second) == (0, "")

    lie = uploaded(2, lambda text: text.replace('"p_crystal":0.', '"p_crystal":0.3', 1))
    code, said = hook("compare", first, lie)
    assert code == 1
    assert re.search(rf"{sent.name}.1_2 differ: image [01]: p_crystal", said)

    broken = uploaded(3, lambda text: text.replace(sent.name, "xg_else"))
    for _ in range(2):  # a validator that was restarted asks again
        code, said = hook("check", broken)
        assert code == 1
        assert "not 'xg_" in said
    assert len(list(spool.quarantine.iterdir())) == len(list(spool.refused.iterdir())) == 1

    for _ in range(2):
        assert hook("assimilate", 17, first) == (0, "")
    done = system.assimilate()
    assert (done.accepted, done.refused, done.scores) == (1, 1, 2)
    assert system.ledger.units.named(sent.name).state == "returned"
    assert not any(spool.inbox.iterdir())
    assert not any(spool.refused.iterdir())
    assert system.assimilate().accepted == 0

    assert hook("check", uploaded(4)) == (0, "")  # a late one: its manifest comes from the ledger
    assert hook("assimilate", 17, first) == (0, "")
    assert system.assimilate().scores == 0


def test_bad_data_never_stop_the_daemons(config, unit, project, hook, tmp_path):
    sent, spool = unit[0], Spool(config)
    folder = project.folder / "upload"
    folder.mkdir()
    stranger = folder / "somebody_else_1_r5_0"
    stranger.write_text("{}")
    gone = folder / f"{sent.name}.1_0_r5_0"
    assert hook("check", stranger)[0] == 1
    assert hook("check", gone)[0] == 1
    assert hook("compare", gone, stranger)[0] == 1
    unknown = folder / "xg_unknown.1_0_r5_0"
    unknown.write_text("{}")
    assert hook("check", unknown)[0] == 1
    assert hook("assimilate", 5, stranger)[0] == 0
    assert hook("assimilate", 5, gone)[0] == 0
    assert spool.failed_id("5").read_text() == "5\nits result was not uploaded\n"


@pytest.mark.parametrize(
    ("arguments", "file"),
    [(["8", "xg_1.1", "17", "0"], "xg_1.failed"), (["8", "17"], "workunit-17.failed")],
    ids=["servers since 1.6", "servers before"],
)
def test_news_of_a_failure_is_taken_from_old_and_new_servers(config, hook, arguments, file):
    for _ in range(2):
        assert hook("assimilate", "--error", *arguments) == (0, "")
    assert (
        Spool(config).inbox / file
    ).read_text() == f"{arguments[-3:][0] if len(arguments) == 4 else 17}\nsent out too often\n"


def test_what_may_be_better_later_is_no_verdict(config, hook, tmp_path):
    """A full disk, played by a file where a folder must be; a broken configuration."""
    spool = Spool(config)
    spool.inbox.parent.mkdir(parents=True)
    spool.inbox.write_text("in the way")
    assert hook("assimilate", "--error", "8", "xg_1.1", "17", "0")[0] == 75
    config.file.write_text("[grid]\nkind = 'boink'")
    assert hook("check", "xg_1.1_0_r5_0")[0] == 3
    assert hook("assimilate", "17", "x")[0] == 75


def test_uploads_on_a_disk_that_is_away_are_nobody_s_fault(config, unit, project, hook):
    result = project.folder / "upload" / "3f" / f"{unit[0].name}.1_0_r5_0"
    for is_mount_point in (False, True):
        if is_mount_point:
            result.parent.parent.mkdir()
        code, said = hook("check", result)
        assert code == 3 and str(result.parent.parent) in said
    assert hook("assimilate", "17", result)[0] == 75
    assert not any(Spool(config).inbox.iterdir())
    (result.parent.parent / "1a").mkdir()
    assert hook("check", result)[0] == 1, "others' uploads are there, and this one is not"


def test_a_bomb_is_refused_unread(config, unit, project, hook):
    path = project.folder / f"{unit[0].name}.1_0_r5_0"
    path.write_text("[" * 3_000_000)
    code, said = hook("check", path)
    assert code == 1
    assert "wire format" in said


@pytest.mark.parametrize(("name", "code"), [("check", 3), ("compare", 3), ("assimilate", 75)])
def test_a_fault_of_ours_is_no_verdict_on_a_hosts_result(monkeypatch, capsys, name, code):
    """Python would end with 1, which says that the result is invalid."""

    def fails(*_):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(boinc_hooks, name, fails)
    assert boinc_hooks.main([name, "file"]) == code
    assert capsys.readouterr().err.strip().endswith("ZeroDivisionError: ours")
