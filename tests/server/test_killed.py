"""SIGKILL before each single commit, rename and flush of every step: run again, it ends as an undisturbed run does."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.steps.system import System

from .conftest import answer, draw_well, result_of, rigaku_name

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

TOML = """
[work]
wells_per_unit = 2
rule = "group"
"""
OUTCOMES = [Outcome.HARVESTABLE, Outcome.CLEAR, Outcome.UNDECIDED, Outcome.PRECIPITATE, Outcome.BAD_FORM]


def import_folder(system: System) -> None:
    system.import_folder(system.config.home.parent / "new")


def answer_units(system: System) -> None:
    """What the workers do, without networks."""
    for name in system.grid.waiting():
        unit = system.ledger.units.named(name)
        assert unit is not None
        manifest = wire.decode_manifest(unit.manifest)
        said = [answer(entry.number, OUTCOMES[entry.inspect_id - 1]) for entry in manifest.images]
        said = [
            a if a.outcome is not Outcome.UNDECIDED else wire.decode_answer(wire.encode(a).replace(b"0.95", b"0.55"))
            for a in said
        ]
        path = system.config.spool / "units" / name / "result.json"
        path.write_bytes(wire.encode(result_of(manifest, said)))


STEPS: dict[str, Callable[[System], Any]] = {
    "import-folder": import_folder,
    "create_work": lambda system: system.create_work(),
    "workers": answer_units,
    "assimilate": lambda system: system.assimilate(),
    "finalizer": lambda system: system.finalize(frames="none"),
    "set_autoscore": lambda system: system.publish(),
}


def config_of(folder: Path) -> Config:
    return from_string(TOML, home=folder / "home")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each step a folder in which all steps before it have run; under ``after`` all have."""
    root = tmp_path_factory.mktemp("steps")
    folder = root / "0"
    for col in range(1, 6):
        draw_well(folder / "new" / rigaku_name(col), shade=col * 20)
    folders = {}
    for number, (name, run) in enumerate(STEPS.items(), start=1):
        folders[name] = folder
        folder = Path(shutil.copytree(folder, root / str(number), symlinks=True))
        with System(config_of(folder)) as system:
            run(system)
    return folders | {"after": folder}


def content(config: Config) -> dict[str, Any]:
    """Everything that must be the same, without times (of files too), ids, and the names of runs."""
    tables: dict[str, Any] = {}
    for label, url in (("imager", config.imager_url), ("ledger", config.ledger_url)):
        engine = sa.create_engine(url)
        inspector = sa.inspect(engine)
        with engine.connect() as connection:
            for table in inspector.get_table_names():
                names = [
                    column["name"]
                    for column in inspector.get_columns(table)
                    if not column["name"].endswith(("_at", "id"))
                    and column["name"] not in ("at", "run", "csv_row", "modified")
                ]
                columns = ", ".join(f'"{name}"' for name in names)
                rows = connection.exec_driver_sql(f'SELECT {columns} FROM "{table}"').all()
                tables[f"{label}.{table}"] = sorted(map(repr, rows))
        engine.dispose()
    units = config.spool / "units"
    tables["spool"] = sorted(p.relative_to(units).as_posix() for p in units.rglob("*")) if units.exists() else []
    tables["outbox"] = sorted(p.read_text().count("\n") for p in config.outbox.rglob("*.csv"))
    return tables


def killed_before_effect(number: int, run: Callable[[System], Any], config: Config) -> bool:
    """Run a step in a child that kills itself before its n-th effect; False when it has not so many."""
    child = os.fork()
    if child == 0:
        try:
            _count_down(number)
            with System(config) as system:
                run(system)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _count_down(number: int) -> None:
    left = number

    def effect(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            effect()
            return function(*args, **kwargs)

        return call

    event.listen(sa.Engine, "commit", effect)
    os.fsync = before(os.fsync)
    Path.replace = before(Path.replace)  # type: ignore[method-assign]
    Path.unlink = before(Path.unlink)  # type: ignore[method-assign]
    shutil.rmtree = before(shutil.rmtree)


@pytest.mark.parametrize("name", [name for name in STEPS if name != "workers"])
def test_killed_anywhere_and_run_again_it_ends_the_same(name, before, tmp_path):
    run = STEPS[name]
    names = [*STEPS, "after"]
    expected = content(config_of(before[names[names.index(name) + 1]]))
    number = 1
    while True:
        folder = Path(shutil.copytree(before[name], tmp_path / str(number), symlinks=True))
        if not killed_before_effect(number, run, config_of(folder)):
            break
        with System(config_of(folder)) as system:
            run(system)
        assert content(config_of(folder)) == expected, f"{name}, killed before its effect {number}"
        number += 1
    assert number > 5, "the step has effects, and each was killed before"


def test_the_steps_do_what_the_comparison_would_miss(before):
    end = content(config_of(before["after"]))
    assert len(end["imager.i_scores"]) == 4
    assert len(end["ledger.scores"]) == 5
    assert end["spool"] == []
