"""Measure how create_work and set_autoscore keep up with a large archive.

    python scripts/bench/database.py OUT [--postgresql URL]

It generates a CrystalTrak database of a million images, and a ledger in which most of them are scored. Then create_work
finds the next 500, and set_autoscore writes 5,000 scores. The databases are SQLite, unless URL names an empty
PostgreSQL server and a user who may create databases: ``postgresql+psycopg://user@127.0.0.1:5432/postgres``. The report
is a Markdown table.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from PIL import Image

from xtalgrid_core import wire
from xtalgrid_core.outcomes import CLASSES, Outcome
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.domain.images import Moment
from xtalgrid_server.imager.crystaltrak.tables import CrystalTrak
from xtalgrid_server.ledger import tables as t
from xtalgrid_server.ledger.units import options_hash
from xtalgrid_server.steps.create_work import work_options
from xtalgrid_server.steps.system import System

START = datetime(2015, 1, 1)  # noqa: DTZ001  the imager's dates are naive local time
EVERY = timedelta(seconds=120)
"""The time between images: a million in four years."""
NEW, PUBLISHED, UNIT, BLOCK = 500, 5_000, 1_000, 20_000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a new folder for databases and files")
    parser.add_argument("--postgresql", metavar="URL", help="a server to create the databases on")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--scored", type=int, nargs="+", default=[10_000, 100_000, 1_000_000 - NEW])
    arguments = parser.parse_args()
    print(
        "| database | images | scored | create_work finds 500 | … and plans them | nothing new "
        "| set_autoscore, scores per second |"
    )
    print("|---|---|---|---|---|---|---|")
    for scored in arguments.scored:
        home = arguments.out / f"scored-{scored}"
        home.mkdir(parents=True)
        config = _configuration(home, arguments.postgresql, f"bench{scored}")
        fill_imager(config, arguments.images)
        with System(config) as system:
            _score(system, arguments.images, scored)
            find, plan, idle = _create_work(system, arguments.images, scored)
            rate = _set_autoscore(system)
            name = system.imager._engine.dialect.name
        print(
            f"| {name} | {arguments.images:,} | {scored:,} "
            f"| {find:.2f} s | {plan:.2f} s | {idle:.2f} s | {rate:,.0f} |",
            flush=True,
        )


def _configuration(home: Path, server: str | None, name: str) -> Config:
    urls = {part: f"sqlite:///{home / part}.db" for part in ("imager", "ledger")}
    if server:
        drop_databases(server, name)
        urls = create_databases(server, name)
    return from_string(
        f'[imager]\nurl = "{urls["imager"]}"\npatterns = ["*_HF_99_*"]\n[ledger]\nurl = "{urls["ledger"]}"\n', home=home
    )


def database_urls(server: str, name: str) -> dict[str, str]:
    """Return the URLs of an imager database and a ledger on a server."""
    urls = {part: sa.make_url(server).set(database=f"{name}_{part}") for part in ("imager", "ledger")}
    return {part: url.render_as_string(hide_password=False) for part, url in urls.items()}


def create_databases(server: str, name: str) -> dict[str, str]:
    """Create them, empty, and return their URLs."""
    _execute(server, *(f"CREATE DATABASE {name}_{part}" for part in ("imager", "ledger")))
    return database_urls(server, name)


def drop_databases(server: str, name: str) -> None:
    """Delete them, if they exist."""
    _execute(server, *(f"DROP DATABASE IF EXISTS {name}_{part}" for part in ("imager", "ledger")))


def _execute(server: str, *statements: str) -> None:
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    admin.dispose()


def well(number: int) -> dict[str, object]:
    """Return plate, inspection and well for an inspection id, counted from 1: 96 drops, 10 inspections a plate."""
    drop, shot = number % 96, number // 96
    return {
        "barcode": f"BN{shot // 10:06d}",
        "inspection": shot % 10 + 1,
        "inspected": START + number * EVERY,
        "row": drop // 12 + 1,
        "col": drop % 12 + 1,
        "subwell": 1,
    }


def image_name(number: int) -> str:
    """Return the name of the image that is to be scored."""
    return f"RMM3_01_222_ROBO_Test1_Clon1_CI_{number:012d}_001_150101_01_01_01_HF_99_030_001_RDI.jpg"


def _blocks(first: int, last: int) -> Iterator[range]:
    for start in range(first, last, BLOCK):
        yield range(start, min(start + BLOCK, last))


def fill_imager(config: Config, images: int) -> None:
    """Fill the imager's tables: for each inspection a best-focus composite, and a slice that no pattern matches."""
    engine = sa.create_engine(config.imager_url)
    tables = CrystalTrak()
    with engine.begin() as connection:
        tables.metadata.create_all(connection)
        for block in _blocks(1, images + 1):
            wells = [(number, well(number)) for number in block]
            connection.execute(
                tables.inspections.insert(),
                [
                    {
                        "inspectid": number,
                        "barcodeid": place["barcode"],
                        "inspectnumber": place["inspection"],
                        "inspectdate": place["inspected"],
                        "col": place["col"],
                        "i_row": place["row"],
                        "subwell": 1,
                    }
                    for number, place in wells
                ],
            )
            rows = [{"inspectid": number, "imagename": image_name(number)} for number in block]
            rows += [{"inspectid": number, "imagename": image_name(number).replace("_99_", "_00_")} for number in block]
            connection.execute(tables.images.insert(), rows)
    settle(engine)


def link_files(config: Config, numbers: range, files: Sequence[Path]) -> None:
    """Put these files, in turn, where the images of the inspections with these ids are expected."""
    for number in numbers:
        place = well(number)
        path = config.image_root / str(place["barcode"]) / str(place["inspection"]) / image_name(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(files[number % len(files)])


def settle(engine: sa.Engine) -> None:
    """Gather statistics, as a database that has been in use for years did long ago."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE" if engine.dialect.name == "postgresql" else "ANALYZE")
    engine.dispose()


def _score(system: System, images: int, scored: int) -> None:
    """Fill a ledger in which the `scored` images before the newest 500 are published, in units of 1,000."""
    options = work_options(system.config, system.ledger)
    key, when = options_hash(options, system.config.imager.pixel_size_um), START + images * EVERY
    manifest = wire.encode(
        wire.Manifest(schema=wire.SCHEMA, unit="bench", min_worker="0.1.0", options=options, images=())
    )
    first = images - NEW - scored + 1
    outcomes = [outcome for outcome in CLASSES if outcome.code]
    with system.ledger._db.writing() as connection:
        for unit, start in enumerate(range(first, images - NEW + 1, UNIT), start=1):
            numbers = range(start, min(start + UNIT, images - NEW + 1))
            connection.execute(
                t.units.insert(),
                {
                    "id": unit, "name": f"u{unit}", "manifest": manifest, "options_hash": key,
                    "state": "returned", "attempts": 0, "made_at": when,
                },
            )  # fmt: skip
            for state in ("planned", "sent", "returned"):
                connection.execute(t.unit_states.insert(), {"unit_id": unit, "state": state, "detail": "", "at": when})
            connection.execute(
                t.results.insert(),
                {
                    "id": unit,
                    "unit_id": unit,
                    "sha256": "f" * 64,
                    "host": "",
                    "accepted": 1,
                    "reason": "",
                    "received_at": when,
                },
            )
            connection.execute(
                t.images.insert(),
                [
                    {
                        "id": n,
                        "source": "crystaltrak",
                        "inspect_id": n,
                        "image_name": image_name(n),
                        "seen_at": when,
                        **well(n),
                    }
                    for n in numbers
                ],
            )
            connection.execute(
                t.unit_images.insert(),
                [{"unit_id": unit, "number": i, "image_id": n, "sha256": "a" * 64} for i, n in enumerate(numbers)],
            )
            connection.execute(
                t.scores.insert(),
                [_score_row(n, outcomes[n % len(outcomes)], options, key, unit, when) for n in numbers],
            )
            decided = [n for n in numbers if n <= images - NEW - PUBLISHED]  # the rest waits for the finalizer
            if decided:
                connection.execute(
                    t.finalizations.insert(),
                    [
                        {
                            "run": f"r{unit}",
                            "score_id": n,
                            "inspect_id": n,
                            "action": "publish",
                            "csv_row": "{}",
                            "at": when,
                        }
                        for n in decided
                    ],
                )
                connection.execute(
                    t.publications.insert(),
                    [
                        {
                            "run": f"r{unit}", "score_id": n, "inspect_id": n, "code": "01", "action": "insert",
                            "previous": "", "why": "", "intended_at": when, "done_at": when,
                        }
                        for n in decided
                    ],
                )  # fmt: skip
    if system.ledger._db._engine.dialect.name == "postgresql":  # ids were given, so the sequences lag
        with system.ledger._db.writing() as connection:
            for table in (t.units, t.results, t.images, t.scores):
                connection.exec_driver_sql(f"SELECT setval('{table.name}_id_seq', {images})")
    settle(system.ledger._db._engine)


def _score_row(
    number: int, outcome: Outcome, options: wire.Options, key: str, unit: int, when: datetime
) -> dict[str, object]:
    answer = wire.Scored(
        number=number % UNIT, outcome=outcome, score=outcome.style.score, probability=0.9, p_crystal=0.5,
        probabilities=(0.05,) * len(CLASSES), height=1920, width=2560,
        pixel_size_um=1.131, pixel_size_origin="configured",
        drop=wire.Drop(box=(100, 100, 900, 900), confidence=0.99),
        boxes=(wire.BestChop(box=(200, 200, 256, 256), outcome=outcome, probability=0.9),), seconds=0.3,
    )  # fmt: skip
    return {
        "id": number, "image_id": number, "sha256": "a" * 64,
        "segmenter": options.segmenter, "classifier": options.classifier,
        "options_hash": key, "result_id": unit, "outcome": str(outcome), "probability": 0.9, "p_crystal": 0.5,
        "answer": wire.encode(answer).decode(), "worker": "0.1.0", "at": when,
    }  # fmt: skip


def _create_work(system: System, images: int, scored: int) -> tuple[float, float, float]:
    """Return seconds to find the newest 500, to plan them, and to find nothing new but read the look-back."""
    from xtalgrid_server.steps.progress import Archive, Progress, progress_key, save_progress

    newest = images - NEW
    progress = Progress(Moment(START + newest * EVERY, newest), archive=Archive(None, 0))
    save_progress(system.ledger, progress_key(system.config), progress)
    picture = system.config.home / "well.jpg"
    Image.effect_noise((1280, 960), 20).convert("RGB").save(picture, quality=80)
    link_files(system.config, range(newest + 1, images + 1), [picture])
    find = _seconds(lambda: system.create_work(limit=NEW, dry_run=True), NEW)
    plan = _seconds(lambda: system.create_work(limit=NEW), NEW)
    idle = _seconds(lambda: system.create_work(limit=NEW), 0)
    shutil.rmtree(system.config.spool)
    return find, plan, idle


def _seconds(run: Callable[[], object], planned: int) -> float:
    start = time.perf_counter()
    done = run()
    seconds = time.perf_counter() - start
    assert getattr(done, "planned", planned) == planned, done
    return seconds


def _set_autoscore(system: System) -> float:
    system.finalize(frames="none")
    start = time.perf_counter()
    done = system.publish()
    seconds = time.perf_counter() - start
    assert done.actions == {"insert": PUBLISHED}, done
    return PUBLISHED / seconds


if __name__ == "__main__":
    main()
