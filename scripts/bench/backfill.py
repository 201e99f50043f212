"""Back-fill a whole archive, from create_work to published scores, and show how its cost grows with its size.

    pg_virtualenv -t python scripts/bench/backfill.py OUT --wells 10000 100000 1000000

PostgreSQL is that of the environment (pg_virtualenv, of Debian's postgresql-common, starts one and deletes it at the
end), or `--postgresql URL`. For each size a CrystalTrak database and a ledger are made there, and the steps of the
chain run in rounds of `--limit` images, each in a process of its own as cron starts it, until all is published. In
place of the workers, this program answers with what the networks said of the same files, once: all images are links to
24 rendered wells in OUT. At the end each inspection must have the score of its own file, once.

A run that was stopped goes on where it was, if PostgreSQL still has its databases. The report is two Markdown tables:
a row for each size, and what each step took of the largest, also in the first and last tenth of the archive.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import sqlalchemy as sa

from database import create_databases, database_urls, drop_databases, fill_imager, link_files
from memory import peak_mb
from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.imager.crystaltrak.tables import CrystalTrak
from xtalgrid_server.steps.system import System
from xtalgrid_synth import render_plate

SAMPLES = (
    *[Outcome.CLEAR] * 9, *[Outcome.PRECIPITATE] * 6, *[Outcome.PRECIPITATE_BAD] * 3, Outcome.PRECIPITATE_GOOD,
    Outcome.PHASE_SEPARATION, Outcome.SPHERULITES, *[Outcome.NULL_EXPERIMENT] * 2, Outcome.HARVESTABLE,
)  # fmt: skip
"""About what an archive holds. A file can have 65,000 links, so a million images need 16 files."""

FIELD_UM = 2895
"""Width of a picture in micrometres, as of the usual 2560 pixels."""

TABLES_SIZE = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname !~ '^(pg|sql)_'"
"""Bytes of the ledger's tables with their indexes."""

STEPS: dict[str, Callable[[System], int]] = {
    "create_work": lambda system: system.create_work(backfill=True).planned,
    "assimilate": lambda system: system.assimilate().scores,
    "finalizer": lambda system: sum(system.finalize().actions.values()),
    "set_autoscore": lambda system: sum(system.publish().actions.values()),
}
"""The steps in their order, each with the number of wells that it did."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step took in a round; `database_s` is CPU time of PostgreSQL, 0 if it runs elsewhere."""

    step: str
    wells: int
    seconds: float
    cpu_s: float
    database_s: float
    peak_mb: float
    spool_mb: float


def main() -> None:
    """Run all sizes, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a folder for files")
    parser.add_argument("--postgresql", metavar="URL", default="postgresql+psycopg:///postgres")
    parser.add_argument("--wells", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--limit", type=int, default=10_000, help="images that one run of create_work plans")
    parser.add_argument("--width", type=int, default=640, help="of the pictures, in pixels; real ones have 2560")
    parser.add_argument("--keep", action="store_true", help="keep files and databases of sizes that are done")
    arguments = parser.parse_args()
    files, answers = samples(arguments.out / f"samples_{arguments.width}", arguments.width)
    costs: list[Cost] = []
    print("| wells | wells a second | CPU ms a well | of it PostgreSQL | ledger, bytes a well | peak MB | spool, MB |")
    print("|---|---|---|---|---|---|---|")
    for wells in arguments.wells:
        name = f"backfill_{wells}_{arguments.width}"
        config = configuration(arguments, name)
        if not (config.home / "costs.jsonl").exists():
            make_archive(arguments.postgresql, name, config, wells, files)
        costs = back_fill(config, answers)
        check(config, wells, files, answers)
        print(f"| {row(config, wells, costs)} |", flush=True)
        if not arguments.keep:
            drop_databases(arguments.postgresql, name)
            shutil.rmtree(config.home)
    print("\n| step | CPU ms a well | of it PostgreSQL | first tenth | last tenth | peak MB |")
    print("|---|---|---|---|---|---|")
    for step in STEPS:
        print(f"| {step_row(step, [cost for cost in costs if cost.step == step])} |")


def samples(folder: Path, width: int) -> tuple[list[Path], dict[str, wire.Scored]]:
    """Render the wells and have them scored once; return the files, and the answers by SHA-256 of the file."""
    um = FIELD_UM / width
    files = render_plate(
        folder, barcode="BN000001", seed=2026, wells=SAMPLES, width=width, height=width * 3 // 4, pixel_size_um=um,
        keep=True,
    )  # fmt: skip
    config = from_string(f"[imager]\npixel_size_um = {um}\n", home=folder / "home")
    with System(config) as system:
        system.create_work(barcodes=system.import_folder(files[0].parent).barcodes)
        system.work()
        answers: dict[str, wire.Scored] = {}
        for folder in config.spool.glob("units/*"):  # they stay there, so that another run finds them
            unit = system.ledger.units.named(folder.name)
            assert unit is not None
            result = wire.decode_result((folder / "result.json").read_bytes())
            for entry, image in zip(wire.decode_manifest(unit.manifest).images, result.images, strict=True):
                assert isinstance(image, wire.Scored)
                answers[entry.sha256] = image
    return files, answers


def configuration(arguments: argparse.Namespace, name: str) -> Config:
    """Return an archive's configuration: the defaults, but for the rate of the back-fill."""
    urls = database_urls(arguments.postgresql, name)
    return from_string(
        f'[imager]\nurl = "{urls["imager"]}"\npatterns = ["*_HF_99_*"]\npixel_size_um = {FIELD_UM / arguments.width}\n'
        f'[ledger]\nurl = "{urls["ledger"]}"\n'
        f"[work]\nlimit = {arguments.limit}\nbackfill_per_hour = 1000000000\n",
        home=arguments.out / name,
    )


def make_archive(server: str, name: str, config: Config, wells: int, files: Sequence[Path]) -> None:
    """Make the databases and the images' files anew."""
    shutil.rmtree(config.home, ignore_errors=True)
    drop_databases(server, name)
    create_databases(server, name)
    fill_imager(config, wells)
    link_files(config, range(1, wells + 1), files)
    (config.home / "costs.jsonl").touch()


def back_fill(config: Config, answers: Mapping[str, wire.Scored]) -> list[Cost]:
    """Run the steps in rounds until nothing is left; return what each took, also in earlier calls."""
    log = config.home / "costs.jsonl"
    planned = 1
    while planned:
        for step in STEPS:
            cost = measured(config, step)
            with log.open("ab") as stream:
                stream.write(msgspec.json.encode(cost) + b"\n")
            if step == "create_work":
                planned = cost.wells
                answer(config, answers)
    return msgspec.json.Decoder(Cost).decode_lines(log.read_bytes())


def measured(config: Config, step: str) -> Cost:
    """Run a step in a process of its own."""
    with sa.create_engine(config.ledger_url, poolclass=sa.NullPool).connect() as connection:
        server = _parent(connection.scalar(sa.text("SELECT pg_backend_pid()")))
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_run, args=(config, step, sender))
    before, began, database_s = _children_s(), time.perf_counter(), _server_s(server)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{step} ended with {process.exitcode}")
    wells, peak = receiver.recv()
    spool = sum(path.stat().st_size for path in config.spool.rglob("*") if path.is_file())
    return Cost(
        step=step,
        wells=wells,
        seconds=time.perf_counter() - began,
        cpu_s=_children_s() - before,
        database_s=_server_s(server) - database_s,
        peak_mb=peak,
        spool_mb=spool / 1e6,
    )


def _run(config: Config, step: str, sender: Connection) -> None:
    with System(config) as system:
        wells = STEPS[step](system)
    sender.send((wells, peak_mb()))


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _stat(process: int) -> list[str]:
    """Return a process's fields of ``/proc/PID/stat`` from the state on; none if there is no such process here."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(process: int) -> int:
    return int((_stat(process) or ["", "0"])[1])


def _server_s(server: int) -> float:
    """Return the CPU seconds of a PostgreSQL server: its own, those of its processes, and of those that ended."""
    ticks = sum(map(int, _stat(server)[11:15]))
    for entry in Path("/proc").glob("[0-9]*") if server else ():
        if _parent(int(entry.name)) == server:
            ticks += sum(map(int, _stat(int(entry.name))[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def answer(config: Config, answers: Mapping[str, wire.Scored]) -> None:
    """Answer all units in the spool as their workers would."""
    with System(config) as system:
        for folder in config.spool.glob("units/*"):
            unit = system.ledger.units.named(folder.name)
            assert unit is not None
            manifest = wire.decode_manifest(unit.manifest)
            result = wire.Result(
                schema=wire.SCHEMA,
                unit=manifest.unit,
                worker="0.1.0",
                segmenter=manifest.options.segmenter,
                classifier=manifest.options.classifier,
                host=wire.Host(platform="bench"),
                images=tuple(
                    msgspec.structs.replace(answers[entry.sha256], number=entry.number) for entry in manifest.images
                ),
            )
            (folder / "result.json").write_bytes(wire.encode(result))


def check(config: Config, wells: int, files: Sequence[Path], answers: Mapping[str, wire.Scored]) -> None:
    """Compare the score table with the answers.

    Raises
    ------
    SystemExit
        If an inspection has no score, two, or another file's.
    """
    scores = CrystalTrak().scores
    file = scores.c.inspectid % len(files)
    found = sa.select(file, scores.c.score, sa.func.count(), sa.func.count(scores.c.inspectid.distinct()))
    with sa.create_engine(config.imager_url, poolclass=sa.NullPool).connect() as connection:
        rows = [tuple(row) for row in connection.execute(found.group_by(file, scores.c.score).order_by(file))]
    numbers = Counter(number % len(files) for number in range(1, wells + 1))
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    expected = [(i, config.score_code(answers[digests[i]].outcome), n, n) for i, n in sorted(numbers.items())]
    if rows != expected:
        raise SystemExit(f"the score table does not have what the workers answered: {rows} instead of {expected}")


def row(config: Config, wells: int, costs: Sequence[Cost]) -> str:
    """Return a size's row."""
    with sa.create_engine(config.ledger_url, poolclass=sa.NullPool).connect() as connection:
        size = connection.scalar(sa.text(TABLES_SIZE))
    seconds, database_s = (sum(getattr(cost, name) for cost in costs) for name in ("seconds", "database_s"))
    cpu_s = sum(cost.cpu_s for cost in costs) + database_s
    columns = (
        f"{wells:,}", f"{wells / seconds:,.0f}", f"{1000 * cpu_s / wells:.2f}", f"{1000 * database_s / wells:.2f}",
        f"{size / wells:,.0f}", f"{max(cost.peak_mb for cost in costs):.0f}",
        f"{max(cost.spool_mb for cost in costs):.0f}",
    )  # fmt: skip
    return " | ".join(columns)


def step_row(step: str, costs: Sequence[Cost]) -> str:
    """Return a step's row."""
    busy = [cost for cost in costs if cost.wells]
    archive = busy[1:] or busy  # the first round has only the newest inspections
    tenth = -(-len(archive) // 10)
    columns = (
        step, f"{_cpu_ms(busy):.2f}", f"{1000 * sum(c.database_s for c in busy) / sum(c.wells for c in busy):.2f}",
        f"{_cpu_ms(archive[:tenth]):.2f}", f"{_cpu_ms(archive[-tenth:]):.2f}", f"{max(c.peak_mb for c in busy):.0f}",
    )  # fmt: skip
    return " | ".join(columns)


def _cpu_ms(costs: Sequence[Cost]) -> float:
    """Return CPU milliseconds a well, of the step and PostgreSQL together."""
    return 1000 * sum(cost.cpu_s + cost.database_s for cost in costs) / sum(cost.wells for cost in costs)


if __name__ == "__main__":
    main()
