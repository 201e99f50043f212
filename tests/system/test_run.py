"""The main job with real workers: a folder through every stage, with broken files in it, killed and run again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from xtalgrid_core.weights import MANIFEST, PACKAGED

pytestmark = pytest.mark.skipif(not (PACKAGED / MANIFEST).is_file(), reason="the package has no weights")

NAME = "RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI000001_001_250101_{:02d}_01_01_HF_99_030_001_RDI.{}"


@pytest.fixture(scope="module")
def wells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small rendered wells under Rigaku's names."""
    from xtalgrid_core.outcomes import Outcome
    from xtalgrid_synth import render_well

    folder = tmp_path_factory.mktemp("wells")
    for col, outcome in enumerate((Outcome.HARVESTABLE, Outcome.CLEAR, Outcome.NULL_EXPERIMENT), start=1):
        well = render_well(outcome, seed=col, width=900, height=700)
        Image.fromarray(well.image).save(folder / NAME.format(col, "jpg"), quality=90)
    return folder


def command(home: Path, *words: str | Path) -> list[str]:
    config = home.parent / "quick.toml"
    config.write_text("[work]\nstep = 192\n")  # a wide step: fewer chops, the same way
    return [sys.executable, "-m", "xtalgrid_server", "--config", str(config), "--home", str(home), *map(str, words)]


def run(home: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(home, *words), capture_output=True, text=True, timeout=250)


def content(home: Path) -> dict[str, list[tuple[object, ...]]]:
    """What must be the same however often it was killed: no times, no seconds."""
    queries = {
        "imager.db": ["SELECT inspectid, score, scoredate, imagename, scoredby FROM i_scores"],
        "ledger.db": [
            "SELECT i.image_name, s.outcome, s.probability, s.p_crystal, s.answer FROM scores s JOIN images i ON i.id = s.image_id",
            "SELECT name FROM units",
            "SELECT inspect_id, action FROM publications WHERE done_at IS NOT NULL",
        ],
    }
    found = {}
    for file, statements in queries.items():
        with contextlib.closing(sqlite3.connect(home / file)) as connection:
            for statement in statements:
                rows = connection.execute(statement).fetchall()
                found[statement] = sorted(
                    tuple(re.sub(r',"seconds":[^,}]+', "", v) if isinstance(v, str) else v for v in row) for row in rows
                )
    return found


@pytest.fixture(scope="module")
def undisturbed(wells: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    done = run(home, "run", wells)
    assert done.returncode == 0, done.stderr
    return home, done.stdout


def test_every_image_is_accounted_for_and_framed(undisturbed):
    home, output = undisturbed
    assert "3 of 3 images accounted for" in output
    assert len(list((home / "frames").rglob("*_ART.jpg"))) == 3
    with contextlib.closing(sqlite3.connect(home / "imager.db")) as connection:
        rows = connection.execute("SELECT scoredby FROM i_scores").fetchall()
    assert set(rows) <= {("ARTscore",)}
    assert list((home / "spool" / "units").iterdir()) == []


def test_again_is_no_more(undisturbed, wells):
    home, _ = undisturbed
    before = content(home)
    assert run(home, "run", wells).returncode == 0
    assert content(home) == before


def test_killed_at_many_moments_it_ends_the_same(undisturbed, wells, tmp_path):
    """SIGKILL to the command and its workers, at moments spread over the whole run, then once more to the end."""
    for delay in (0.7, 1.1, 1.6, 2.2, 2.9, 3.7):
        process = subprocess.Popen(
            command(tmp_path, "run", wells),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = run(tmp_path / "home", "run", wells)
    assert "3 of 3 images accounted for" in done.stdout, done.stderr
    assert content(tmp_path / "home") == content(undisturbed[0])


def test_a_grid_killed_alone_leaves_no_worker_and_no_double(undisturbed, wells, tmp_path):
    """SIGKILL to the command only: its orphaned workers stop by themselves, and nothing is scored twice."""
    home = tmp_path / "home"
    process = subprocess.Popen(command(home, "run", wells), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    units = home / "spool" / "units"
    deadline = time.monotonic() + 60
    while not list(units.glob("*/result.json.checkpoint")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    done = run(home, "run", wells)
    assert "3 of 3 images accounted for" in done.stdout, done.stderr
    assert content(home) == content(undisturbed[0])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers by /proc")
def test_a_killed_workers_unit_goes_back_and_on(undisturbed, wells, tmp_path):
    home = tmp_path / "home"
    process = subprocess.Popen(command(home, "run", wells), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 60
    killed: set[str] = set()
    while len(killed) < 2 and time.monotonic() < deadline and process.poll() is None:
        workers = children.read_text().split() if list(home.glob("spool/units/*/*.checkpoint")) else []
        for worker in set(workers) - killed:
            os.kill(int(worker), signal.SIGKILL)
        killed.update(workers)
        time.sleep(0.005)  # a well takes a tenth of a second
    output, log = process.communicate(timeout=200)
    assert "3 of 3 images accounted for" in output, log
    assert re.search(r"grid finished=\d failed=0 retried=[2-9]", log)
    assert content(home) == content(undisturbed[0])


def test_broken_files_are_failed_with_a_reason_and_the_rest_scored(wells, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    good = folder / NAME.format(1, "jpg")
    shutil.copy(wells / NAME.format(1, "jpg"), good)
    (folder / NAME.format(2, "jpg")).write_text("this is no image")
    (folder / NAME.format(3, "jpg")).write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    Image.new("RGB", (1, 1)).save(folder / NAME.format(5, "png"))
    Image.new("1", (20_000, 20_000)).save(folder / NAME.format(6, "png"))
    (folder / NAME.format(7, "jpg")).symlink_to(folder / "moved away.jpg")
    shutil.copy(good, folder / "holiday.jpg")
    home = tmp_path / "home"
    (folder / "notes.txt").write_text("plate 7")
    done = run(home, "run", folder)
    assert done.returncode == 1, done.stderr
    assert "7 of 7 images accounted for" in done.stdout
    counted = "8 there = 1 scored + 1 waiting + 5 failed + 1 passed over"
    assert counted in done.stdout
    assert "passed over 1 .txt" in done.stdout
    assert re.search(r"waiting     \S+_03_\S+, since 20\d\d-.* UTC: .*end marker is missing", done.stdout)
    reasons = dict(re.findall(r"failed  (\S+): ([a-z ]+):", done.stdout))
    assert {name.split("_")[10] if name.count("_") > 10 else name: reason for name, reason in reasons.items()} == {
        "02": "not an image",
        "05": "image too small",
        "06": "image too large",
        "07": "missing file",
        "holiday.jpg": "name fits no pattern",
    }
    status = run(home, "status").stdout
    assert counted in status
    assert status.count("no score") == 5
    again = run(home, "run", folder, "--json")
    assert (again.returncode, json.loads(again.stdout)["there"]) == (1, 8)
    old = time.time() - 25 * 3600
    os.utime(folder / NAME.format(3, "jpg"), (old, old))
    assert "1 scored + 0 waiting + 6 failed" in run(home, "run", folder).stdout


def test_an_empty_folder_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    done = run(tmp_path / "home", "run", tmp_path / "empty")
    assert done.returncode == 2
    assert "no image files here" in done.stderr


def test_a_home_that_cannot_be_written_says_so(wells, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = run(tmp_path / "file", "run", wells)
    assert done.returncode == 2
    assert "home:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kilobytes", [100, 350, 500])
def test_a_full_disk_loses_nothing(undisturbed, wells, tmp_path, kilobytes):
    """Full when the ledger is laid out, when a unit is made, when framed images are drawn."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        done = run(disk, "run", wells)
        assert done.returncode == 2, done.stdout
        assert "Traceback" not in done.stderr
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        done = run(disk, "run", wells)
        assert "3 of 3 images accounted for" in done.stdout, done.stderr
        assert content(disk) == content(undisturbed[0])
    finally:
        subprocess.run(["umount", str(disk)], check=True)
