"""Measure how reports and exports keep up with a large archive.

    python scripts/bench/reports.py OUT

It generates a ledger of a million scores: 288 drops to a plate, ten inspections of each plate, answers of a few hundred
bytes as wells have them, and people's scores for one inspection in fifty. Each task runs in a process of its own, whose
peak memory is shown. The report is a Markdown table.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import sqlalchemy as sa

from memory import peak_mb
from xtalgrid_core import wire
from xtalgrid_core.outcomes import CLASSES, Outcome
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.exchange.export import export
from xtalgrid_server.ledger import tables as t
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.ledger.database import now
from xtalgrid_server.reports.agreement import agreement_with_people, disagreements
from xtalgrid_server.reports.entries import Filter
from xtalgrid_server.reports.search import search
from xtalgrid_server.steps.new_crystals import new_crystals
from xtalgrid_server.steps.system import System

DROPS, INSPECTIONS, JUDGED = 288, 10, 50
LIKELY = (Outcome.CLEAR, Outcome.PRECIPITATE, Outcome.CLEAR_WITH_FEATURES, Outcome.PHASE_SEPARATION)
BLOCK = 20_000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a new folder for the databases and files")
    parser.add_argument("--scores", type=int, default=1_000_000)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    config = from_string("", home=arguments.out / "home")
    with System(config) as system:
        _fill(system, arguments.scores)
    print(f"| of {arguments.scores:,} scores | seconds | of them CPU | peak MB | result |\n|---|---|---|---|---|")
    for name, task in _TASKS.items():
        _measured(name, task, config, arguments.out)


def _measured(name: str, task: Callable[[System, Path], object], config: Config, out: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(name, config, out))
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{name} failed; see the error above")


def _run(name: str, config: Config, out: Path) -> None:
    with System(config) as system:
        start, worked = time.perf_counter(), time.process_time()
        result = _TASKS[name](system, out)
        seconds, worked = time.perf_counter() - start, time.process_time() - worked
    print(f"| {name} | {seconds:.1f} | {worked:.1f} | {peak_mb():.0f} | {result} |", flush=True)


def _sync(system: System, _out: Path) -> str:
    done = system.sync()
    return f"{done.recorded} recorded"


def _again(system: System, _out: Path) -> str:
    return f"{system.sync().rows} rows read"


def _new(system: System, _out: Path) -> str:
    since = now() - timedelta(days=14)
    return f"{len(new_crystals(system.ledger, 0.2, inspected_since=since))} new crystals"


def _search(system: System, _out: Path) -> str:
    return f"{len(search(system.ledger, Filter(outcome='crystal'), ('condition', 'sample')))} groups"


def _one_condition(system: System, _out: Path) -> str:
    groups = search(system.ledger, Filter(outcome="crystal", condition="condition 7 of screen"), ("condition",))
    return f"{len(groups)} groups"


def _agreement(system: System, _out: Path) -> str:
    return f"{agreement_with_people(system.config, system.ledger, Filter()).agree.number} compared"


def _disagreements(system: System, _out: Path) -> str:
    return f"{len(disagreements(system.config, system.ledger, Filter()))} of them"


def _exporter(kind: str) -> Callable[[System, Path], str]:
    def run(system: System, out: Path) -> str:
        file = out / f"export.{kind}"
        done = export(system.config, system.ledger, kind, file, Filter())  # type: ignore[arg-type]
        return f"{done.images} images, {file.stat().st_size / 1e6:.0f} MB"

    return run


_TASKS: dict[str, Callable[[System, Path], object]] = {
    "sync, the first time": _sync,
    "sync, nothing new": _again,
    "new crystals of two weeks": _new,
    "search by condition and sample": _search,
    "search of one condition": _one_condition,
    "agreement": _agreement,
    "disagreements": _disagreements,
    "export csv": _exporter("csv"),
    "export jsonl": _exporter("jsonl"),
    "export coco": _exporter("coco"),
}


def _fill(system: System, scores: int) -> None:
    """Fill the ledger's images and scores, the drops' contents, and the imager's I_INSPECTIONS and I_SCORES."""
    with system.ledger._db.writing() as connection:
        options = wire.Options(segmenter="a" * 64, classifier="b" * 64)
        image = wire.ImageEntry(number=0, file="000.jpg", inspect_id=1, sha256="d" * 64)
        manifest = wire.Manifest(
            schema=wire.SCHEMA, unit="xg_bench", min_worker="0.1.0", options=options, images=(image,)
        )
        unit = {
            "id": 1,
            "name": "xg_bench",
            "manifest": msgspec.json.encode(manifest),
            "options_hash": "0" * 64,
            "state": "returned",
        }
        connection.execute(t.units.insert().values(attempts=0, made_at=now(), **unit))
        result = {"id": 1, "unit_id": 1, "sha256": "0" * 64, "host": "bench", "accepted": 1, "reason": ""}
        connection.execute(t.results.insert().values(received_at=now(), **result))
    plates = -(-scores // (DROPS * INSPECTIONS))
    system.ledger.contents.record(
        Contents(
            f"CI{plate:06d}",
            Well(1 + drop // 36, 1 + drop // 3 % 12, 0),
            f"project {plate % 20}",
            f"sample {plate % 200}",
            f"condition {drop // 3} of screen {plate % 10}",
            "bench",
        )
        for plate in range(plates)
        for drop in range(0, DROPS, 3)
    )
    block: list[tuple[dict[str, object], dict[str, object]]] = []
    for row in _rows(plates, scores):
        block.append(row)
        if len(block) == BLOCK:
            _enter(system, block)
            block = []
    if block:
        _enter(system, block)


def _rows(plates: int, scores: int) -> Iterator[tuple[dict[str, object], dict[str, object]]]:
    """Yield (image, score), a plate's inspections one after another, the newest ones from yesterday."""
    number = 0
    for plate in range(plates):
        for inspection in range(INSPECTIONS):
            days = 1 + (plates - plate) / 2 + 7 * (INSPECTIONS - 1 - inspection)
            inspected = datetime.now() - timedelta(days=days)  # noqa: DTZ005
            for drop in range(DROPS):
                number += 1
                if number > scores:
                    return
                turn = (plate * 7919 + drop * 104729) % 1000
                crystal = turn < 50 and inspection >= turn % INSPECTIONS
                outcome = CLASSES[turn % 3] if crystal else LIKELY[turn % 4]
                p_crystal = 0.3 + turn / 100 if crystal else turn / 10_000
                image = {
                    "id": number, "source": "crystaltrak", "inspect_id": number, "image_name": f"{number}_HF_99.jpg",
                    "barcode": f"CI{plate:06d}", "inspection": inspection + 1, "inspected": inspected,
                    "row": 1 + drop // 36, "col": 1 + drop // 3 % 12, "subwell": 1 + drop % 3, "seen_at": now(),
                }  # fmt: skip
                score = {
                    "id": number, "image_id": number, "sha256": f"{number:064x}", "segmenter": "a" * 64,
                    "classifier": "b" * 64, "options_hash": "c" * 64, "result_id": 1, "outcome": str(outcome),
                    "probability": 0.9, "p_crystal": p_crystal, "answer": _answer(number, outcome, p_crystal),
                    "worker": "0.1.0", "at": now(),
                }  # fmt: skip
                yield image, score


def _answer(number: int, outcome: Outcome, p_crystal: float) -> str:
    answer = wire.Scored(
        number=number % 1000, outcome=outcome, score=outcome.style.score, probability=0.9, p_crystal=p_crystal,
        probabilities=tuple(0.9 if other is outcome else 0.0123 for other in CLASSES), height=1920, width=2560,
        pixel_size_um=1.131, pixel_size_origin="known imager", seconds=0.1,
        drop=wire.Drop(box=(300, 500, 900, 1100), confidence=0.98),
        boxes=tuple(
            wire.BestChop(box=(300 + 50 * n, 500, 256, 256), outcome=outcome, probability=0.9) for n in range(5)
        ),
    )  # fmt: skip
    return wire.encode(answer).decode()


def _enter(system: System, block: list[tuple[dict[str, object], dict[str, object]]]) -> None:
    with system.ledger._db.writing() as connection:
        connection.execute(t.images.insert(), [image for image, _ in block])
        connection.execute(t.scores.insert(), [score for _, score in block])
    tables = system.imager.tables
    with system.imager._engine.begin() as connection:
        inspections = [
            {
                "inspectid": image["inspect_id"], "barcodeid": image["barcode"], "inspectnumber": image["inspection"],
                "inspectdate": image["inspected"],
                "i_row": image["row"], "col": image["col"], "subwell": image["subwell"],
            }
            for image, _ in block
        ]  # fmt: skip
        connection.execute(sa.insert(tables.inspections), inspections)
        rows = [_score(image, "ARTscore", str(score["outcome"])) for image, score in block]
        rows += [_score(image, "jdoe", LIKELY[0]) for image, _ in block if int(str(image["id"])) % JUDGED == 0]
        connection.execute(sa.insert(tables.scores), rows)


def _score(image: dict[str, object], by: str, outcome: str) -> dict[str, object]:
    code = Outcome(outcome).code
    return {
        "inspectid": image["inspect_id"],
        "score": code,
        "scoredate": image["inspected"],
        "scoredby": by,
        "imagename": None,
    }


if __name__ == "__main__":
    main()
