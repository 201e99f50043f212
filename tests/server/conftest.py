"""A system of its own for each test, and scores in its ledger without running networks."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from tests.conftest import CHOP_BY_CHOP
from tests.tiny_networks import TOGETHER
from xtalgrid_core import wire
from xtalgrid_core.outcomes import CLASSES, Group, Outcome
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.units import PlannedImage
from xtalgrid_server.steps.system import System

INSPECTED = datetime(2012, 11, 21, 14, 0)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return from_string("", home=tmp_path / "home")


@functools.cache
def empty_ledger() -> bytes:
    """Return a ledger that all migrations ran on: they take longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        config = from_string("", home=Path(folder))
        with System(config):
            pass
        return (config.home / "ledger.db").read_bytes()


@pytest.fixture
def system(config: Config) -> Iterator[System]:
    if not config.ledger.url:
        config.home.mkdir(parents=True, exist_ok=True)
        (config.home / "ledger.db").write_bytes(empty_ledger())
    with System(config) as opened:
        yield opened


def rigaku_name(col: int = 1, row: int = 1, subwell: int = 1, inspection: int = 3, date: str = "121121") -> str:
    return (
        f"RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI022987_{inspection:03d}_{date}"
        f"_{col:02d}_{row:02d}_{subwell:02d}_HF_99_030_001_RDI.jpg"
    )


def draw_well(path: Path, shade: int = 90, size: tuple[int, int] = (320, 240)) -> Path:
    """A tiny picture with a grey disk; other shades are other bytes."""
    picture = Image.new("RGB", size, (200, 200, 190))
    picture.paste((shade, shade, shade), (size[0] // 3, size[1] // 3, size[0] * 2 // 3, size[1] * 2 // 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=90)
    return path


def answer(number: int, outcome: Outcome, probability: float = 0.95, p_crystal: float | None = None) -> wire.Scored:
    """What an honest worker would say of a 320×240 image."""
    if p_crystal is None:
        p_crystal = probability if outcome.group is Group.CRYSTAL else (1 - probability) / 2
    maxima = tuple(probability if other is outcome else 0.01 for other in CLASSES)
    null = outcome is Outcome.NULL_EXPERIMENT
    return wire.Scored(
        number=number,
        outcome=outcome,
        score=outcome.style.score,
        probability=0.5 if outcome is Outcome.UNDECIDED else probability,
        p_crystal=p_crystal,
        probabilities=() if null else maxima,
        height=240,
        width=320,
        pixel_size_um=1.13,
        pixel_size_origin="configured",
        drop=wire.Drop(box=None if null else (80, 106, 80, 107), confidence=0.97),
        boxes=() if null else (wire.BestChop(box=(80, 106, 80, 107), outcome=outcome, probability=probability),),
        seconds=0.1,
    )


SECOND = "e" * 64
COMBINED: dict[str, Any] = {"rule": "combined", "second_opinion": SECOND, "combination": TOGETHER}
"""Options with a second opinion."""

OWN, MARCO, BOTH = (0.41, 0.32, 0.19, 0.08), (0.93, 0.04, 0.02, 0.01), (0.83, 0.11, 0.05, 0.01)


def with_second_opinion(said: wire.Scored) -> wire.Scored:
    """The answer with `OWN` as our opinion, `MARCO` as the second one, and `BOTH` together."""
    second = wire.SecondOpinion(model=SECOND, groups=MARCO)
    return msgspec.structs.replace(said, p_crystal=BOTH[0], groups=BOTH, own_groups=OWN, second_opinion=second)


def result_of(manifest: wire.Manifest, answers: list[wire.Scored | wire.Failed]) -> wire.Result:
    return wire.Result(
        schema=wire.SCHEMA,
        unit=manifest.unit,
        worker="0.1.0",
        segmenter=manifest.options.segmenter,
        classifier=manifest.options.classifier,
        host=wire.Host(platform="test"),
        images=tuple(answers),
    )


Scorer = Callable[..., list[ImageRow]]


@pytest.fixture
def score(system: System) -> Scorer:
    """Enter drops of plate CI022987 into the imager database, and their scores into the ledger.

    ``score({(1, 1): Outcome.CLEAR}, inspection=3, threshold=0.85)``: keys are (column, row). With `combined`, each has
    a second opinion.
    """

    def enter(
        outcomes: dict[tuple[int, int], Outcome],
        *,
        inspection: int = 3,
        inspected: datetime = INSPECTED,
        threshold: float = 0.85,
        probability: float = 0.95,
        p_crystal: float = 0.5,
        image: str = "HF",
        combined: bool = False,
    ) -> list[ImageRow]:
        rows = []
        for col, row in outcomes:
            name = rigaku_name(col, row, inspection=inspection).replace("_HF_", f"_{image}_")
            place = ImageRow(0, "CI022987", inspection, inspected, Well(row, col, 1), name)
            draw_well(system.config.image_root / "CI022987" / str(inspection) / name, shade=col * 10 + row)
            rows += system.imager.register([place])

        def sha(row: ImageRow) -> str:
            folder = system.config.image_root / row.barcode / str(row.inspection)
            return hashlib.sha256((folder / row.image_name).read_bytes()).hexdigest()

        options = wire.Options(
            segmenter="a" * 64, classifier="b" * 64, threshold=threshold, **(COMBINED if combined else CHOP_BY_CHOP)
        )
        entries = tuple(
            wire.ImageEntry(
                number=n, file=f"{n:03d}.jpg", inspect_id=r.inspect_id, sha256=sha(r), height=240, width=320
            )
            for n, r in enumerate(rows)
        )
        name = hashlib.sha256(repr((rows, threshold, image)).encode()).hexdigest()[:20]
        manifest = wire.Manifest(schema=1, unit=f"xg_{name}", min_worker="0.1.0", options=options, images=entries)
        system.ledger.units.add(manifest, [PlannedImage(row, sha(row)) for row in rows])
        unit = system.ledger.units.named(manifest.unit)
        assert unit is not None
        answers = [answer(n, outcome, probability, p_crystal) for n, outcome in enumerate(outcomes.values())]
        if combined:
            answers = [with_second_opinion(said) for said in answers]
        system.ledger.scores.accept_result(unit, "f" * 64, result_of(manifest, answers), manifest)
        return rows

    return enter


@pytest.fixture
def score_table(system: System) -> Callable[[], list[tuple[int, str, datetime, str]]]:
    """The imager's score table as (inspect id, code, date, by), in order of entry."""

    def read() -> list[tuple[int, str, datetime, str]]:
        scores = system.imager.tables.scores
        with system.imager._engine.connect() as connection:
            rows = connection.execute(scores.select().order_by(scores.c.scoreid)).all()
        return [(row.inspectid, row.score, row.scoredate, row.scoredby) for row in rows]

    return read


@pytest.fixture
def person(system: System) -> Callable[[int, str, datetime], None]:
    """``person(inspect_id, code, date)``: jdoe scores an inspection in XtalTrak."""

    def write(inspect_id: int, code: str, date: datetime) -> None:
        with system.imager.writing() as writer:
            writer.insert(inspect_id, code, date, "jdoe", "")

    return write
