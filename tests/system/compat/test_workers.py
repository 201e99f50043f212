"""Server and worker are upgraded apart: volunteers' workers are older or newer than the server, and than each other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.weights import MANIFEST, PACKAGED, find_model
from xtalgrid_core.weights import manifest_of as manifest_of_weights
from xtalgrid_server.cli import boinc_hooks as hooks
from xtalgrid_server.config import load
from xtalgrid_server.grids.boinc.weights import weight_files
from xtalgrid_server.steps.assimilate.agree import disagreement
from xtalgrid_server.steps.assimilate.validate import validate
from xtalgrid_server.steps.system import System

from .conftest import RECORDED, WEIGHTS, Worker

pytestmark = pytest.mark.skipif(not (PACKAGED / MANIFEST).is_file(), reason="the package has no weights")

KINDS = ("pooled-dense", "group-dense", "pooled-exact", "group-exact", "production")
DRAWN = [Outcome.HARVESTABLE, Outcome.PRECIPITATE, Outcome.CLEAR, *[Outcome.NULL_EXPERIMENT] * 2, Outcome.FAILED]
"""What the small networks call the red, green, blue, empty, faint and broken wells, by `tests.tiny_networks`."""


def recorded(kind: str) -> tuple[Path, bytes, wire.Manifest]:
    """A unit of the release's server, its worker's answer, and what was asked for."""
    unit = RECORDED / "units" / f"{kind}.zip"
    return unit, unit.with_suffix(".json").read_bytes(), wire.decode_manifest(manifest_of(unit))


def manifest_of(unit: Path) -> bytes:
    with zipfile.ZipFile(unit) as archive:
        return archive.read("manifest.json")


def outcomes(result: wire.Result) -> list[Outcome]:
    return [answer.outcome if isinstance(answer, wire.Scored) else Outcome.FAILED for answer in result.images]


def timeless(result: Path) -> str:
    """A result but for the time it took."""
    return re.sub(r'"seconds":[^,}]+', "", result.read_text())


def assert_alike(a: wire.Result, b: wire.Result) -> None:
    """Far closer than a quorum asks: the same arithmetic, on another processor."""
    assert outcomes(a) == outcomes(b)
    for one, other in zip(a.images, b.images, strict=True):
        if isinstance(one, wire.Scored) and isinstance(other, wire.Scored):
            assert other.probability == pytest.approx(one.probability, abs=1e-3)
            assert other.probabilities == pytest.approx(one.probabilities, abs=1e-3)
            if one.outcome is not Outcome.NULL_EXPERIMENT:  # the release's went by the rule group, whatever the rule
                assert other.p_crystal == pytest.approx(one.p_crystal, abs=1e-3)


# ---- an old worker and a new server ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_releases_worker_answered_is_taken(kind: str) -> None:
    _, answer, manifest = recorded(kind)
    result = validate(answer, manifest)
    assert len(result.images) == len(manifest.images)
    if kind != "production":
        assert sorted(outcomes(result)) == sorted(DRAWN)


class TodaysUnit:
    """A unit that today's server made, sent and waits for."""

    def __init__(self, place: Path, kind: str) -> None:
        work = ""
        if kind != "production":
            rule, mode = kind.split("-")
            default = json.loads((WEIGHTS / MANIFEST).read_bytes())["default"]
            work = f'rule = "{rule}"\nmode = "{mode}"\nstep = {48 if mode == "dense" else 50}\n'
            work += "".join(f'{role} = "{sha256}"\n' for role, sha256 in default.items())
        file = place / "xtalgrid.toml"
        file.write_text(f"[imager]\npixel_size_um = 1.13\n[import]\nnames = 'any'\n[work]\n{work}")
        self.config = load(file, place / "home")
        shutil.copytree(WEIGHTS, self.config.weights)
        with zipfile.ZipFile(recorded(kind)[0]) as archive:
            archive.extractall(place / "wells", [name for name in archive.namelist() if name != "manifest.json"])
        with System(self.config) as system:
            system.import_folder(place / "wells")
            system.create_work()
        (self.folder,) = (self.config.spool / "units").iterdir()
        self.zip = self.folder / "unit.zip"
        self.wells = len(wire.decode_manifest(manifest_of(self.zip)).images)
        """One fewer than there are, where one is cut off: its file may still be completed."""
        assert self.wells >= len(list((place / "wells").iterdir())) - 1

    def uploaded(self, number: int) -> Path:
        """The result file of one of the hosts, as BOINC names it."""
        return self.folder.parents[2] / f"{self.folder.name}.1_{number}_r1{number}_0"


@pytest.fixture(params=[kind for kind in KINDS if kind != "production"])
def unit(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TodaysUnit:
    made = TodaysUnit(tmp_path, request.param)
    monkeypatch.setenv("XTALGRID_CONFIG", str(made.config.file))
    monkeypatch.setenv("XTALGRID_HOME", str(made.config.home))
    return made


def test_an_old_and_a_new_host_make_a_quorum(unit: TodaysUnit, old_worker: Worker, new_worker: Worker) -> None:
    old, new = unit.uploaded(0), unit.uploaded(1)
    old_worker(unit.zip, old)
    new_worker(unit.zip, new)
    for pair in ((old, new), (new, old)):
        assert [hooks.main(["check", str(result)]) for result in pair] == [hooks.OK] * 2
        assert hooks.main(["compare", *map(str, pair)]) == hooks.OK
    shutil.copy(old, unit.folder / "result.json")
    with System(unit.config) as system:
        done = system.assimilate()
    assert (done.accepted, done.refused, done.scores) == (1, 0, unit.wells)


def test_an_old_worker_takes_the_weights_that_a_new_server_sends_beside_a_unit(
    tmp_path: Path, as_release: dict[str, str]
) -> None:
    unit = TodaysUnit(tmp_path, "pooled-dense")
    options = wire.decode_manifest(manifest_of(unit.zip)).options
    slot = tmp_path / "slot"
    slot.mkdir()
    shutil.copy(unit.zip, slot / wire.UNIT_FILE)
    for file in weight_files(unit.config, (options.segmenter, options.classifier)):
        (slot / file.logical).write_bytes(file.data)
    command = [sys.executable, "-m", "xtalgrid_worker.cli", "boinc"]
    done = subprocess.run(command, cwd=slot, env=as_release, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    shutil.copy(slot / wire.RESULT_FILE, unit.folder / "result.json")
    with System(unit.config) as system:
        assert system.assimilate().scores == unit.wells


def test_an_old_worker_refuses_chops_of_two_sizes(tmp_path: Path, as_release: dict[str, str]) -> None:
    """It would pool those of one size, and give another score the same name; a host that is new takes them."""
    made = TodaysUnit(tmp_path, "production")
    options = wire.decode_manifest(manifest_of(made.zip)).options
    slot = tmp_path / "slot"
    slot.mkdir()
    shutil.copy(made.zip, slot / wire.UNIT_FILE)
    command = [sys.executable, "-m", "xtalgrid_worker.cli", "boinc"]
    done = subprocess.run(command, cwd=slot, env=as_release, capture_output=True, text=True, timeout=200)
    assert done.returncode != 0
    assert "unknown model" in done.stderr, "the default weights are not sent"
    entries = [
        msgspec.structs.replace(entry, file=f"{sha256}.onnx")
        for sha256, role in ((options.segmenter, "segmenter"), (options.classifier, "classifier"))
        for entry, data in (find_model(sha256, role),)
        if (slot / f"{sha256}.onnx").write_bytes(data)
    ]
    default = {entry.role: entry.sha256 for entry in entries}
    (slot / wire.WEIGHTS_FILE).write_bytes(msgspec.json.encode(manifest_of_weights(default, entries)))
    done = subprocess.run(command, cwd=slot, env=as_release, capture_output=True, text=True, timeout=200)
    assert done.returncode != 0
    assert "schema" in done.stderr
    assert not (slot / wire.RESULT_FILE).exists()
    done = subprocess.run(command, cwd=slot, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert (slot / wire.RESULT_FILE).exists()


# ---- a new worker and an old server ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answered(new_worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``answered(kind)``: what today's worker says of a unit of the release."""
    folder = tmp_path_factory.mktemp("answered")

    def answer(kind: str) -> Path:
        result = folder / f"{kind}.json"
        if not result.exists():
            new_worker(recorded(kind)[0], result)
        return result

    return answer


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_worker_says_of_an_old_servers_unit_what_an_old_one_said(
    kind: str, answered: Callable[[str], Path]
) -> None:
    _, before, manifest = recorded(kind)
    old, new = validate(before, manifest), validate(answered(kind).read_bytes(), manifest)
    assert disagreement(old, new, manifest.options) == ""
    assert_alike(old, new)


CHECK = """
import sys
from pathlib import Path
from xtalgrid_core import wire
from xtalgrid_server.validation import validate
for manifest, result in zip(sys.argv[1::2], sys.argv[2::2]):
    validate(Path(result).read_bytes(), wire.decode_manifest(Path(manifest).read_bytes()))
    print("taken")
"""


def test_an_old_server_takes_what_a_new_worker_says(
    as_release: dict[str, str], answered: Callable[[str], Path], tmp_path: Path
) -> None:
    """What it makes of a quorum of both is not promised: workers come from the server, which is upgraded first."""
    files: list[Path] = []
    for kind in KINDS:
        (tmp_path / kind).write_bytes(manifest_of(recorded(kind)[0]))
        files += [tmp_path / kind, answered(kind)]
    command = [sys.executable, "-c", CHECK, *map(str, files)]
    done = subprocess.run(command, env=as_release, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["taken"] * len(KINDS), done.stderr


NOT_SAID = ("mode", "support", "crystal_from", "n_boxes", "rule", "step", "threshold")
"""Options that a manifest need not say. Those of before there were modes say none of the first three."""


def with_options_missing(unit: Path, keys: tuple[str, ...], out: Path) -> Path:
    with zipfile.ZipFile(unit) as source, zipfile.ZipFile(out, "w") as copy:
        manifest = json.loads(source.read("manifest.json"))
        for key in keys:
            del manifest["options"][key]
        copy.writestr("manifest.json", json.dumps(manifest))
        for name in source.namelist()[1:]:
            copy.writestr(name, source.read(name))
    return out


@pytest.mark.parametrize("missing", [NOT_SAID[:3], NOT_SAID])
def test_options_that_a_manifest_does_not_say_mean_what_they_meant(
    missing: tuple[str, ...], answered: Callable[[str], Path], new_worker: Worker, tmp_path: Path
) -> None:
    """Each chop by itself at a step of 50 pixels, the rule ``group``, a support of 0.3: never today's defaults."""
    unit = with_options_missing(recorded("group-exact")[0], missing, tmp_path / "unit.zip")
    new_worker(unit, tmp_path / "result.json")
    assert timeless(tmp_path / "result.json") == timeless(answered("group-exact"))
    assert timeless(tmp_path / "result.json") != timeless(answered("group-dense"))
    asked = wire.decode_manifest(manifest_of(unit))
    assert asked.options == recorded("group-exact")[2].options
    validate((tmp_path / "result.json").read_bytes(), asked)


def test_the_release_took_missing_options_so(old_worker: Worker, tmp_path: Path) -> None:
    whole, said, _ = recorded("group-exact")
    old_worker(with_options_missing(whole, NOT_SAID, tmp_path / "unit.zip"), tmp_path / "result.json")
    assert_alike(wire.decode_result(said), wire.decode_result((tmp_path / "result.json").read_bytes()))
