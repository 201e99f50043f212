"""Learning curves of the adaptation: ``xtalgrid-train judge adaptation``.

For each number of scored wells the whole procedure is run, with its own choice of a step, and judged on wells of plates
(or columns) that it did not see: each well once, by nested folds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from xtalgrid_core import markdown
from xtalgrid_core.command_group import say
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import write_atomically
from xtalgrid_synth.evaluation_plates import VALIDATION_PLATES, render_evaluation_plates

from ..judge.truth import Truth, keys_of, rendered_plates
from .choose import INNER_FOLDS, STEPS, fold_numbers, log_loss, offered
from .decider import CRYSTAL, Array, Bools, Decider, Groups, Step, Wells, called
from .lab import COLUMN_IN_NAME, check_folds, each_content_once, fold_names, read_wells
from .run import OUTER_FOLDS, REMEMBERED_PLATES, Bar, in_use, judge_nested
from .seen import Eyes, see_all
from .simulated import LABS, render_lab

if TYPE_CHECKING:
    from .layer import StartingNetwork

SIZES = (50, 150, 500, 2000)


class Point(msgspec.Struct, frozen=True):
    """Results at one number of scored wells."""

    lab: str
    scored: int
    wells: int
    """Judged."""
    right: tuple[int, int]
    """In use, adapted; and so the others."""
    crystals: int
    crystals_found: tuple[int, int]
    false_crystals: tuple[int, int]
    log_loss: tuple[float, float]
    """Mean over the wells judged."""
    steps: dict[str, int]
    """How often each step was chosen."""


def learning_curves(
    out: Path,
    real: Sequence[Path],
    only: Sequence[str],
    wells: int,
    current: Path,
    jobs: int,
    bar: Bar,
    remember_wells: int = 30,
    last_layer: bool = False,
    sizes: Sequence[int] = SIZES,
) -> list[Point]:
    """Measure the curves, and write ``adaptation.md`` and ``adaptation.json`` to `out`.

    Parameters
    ----------
    out
        Images and what was seen of them are kept here, so that a run that was stopped continues.
    real
        Tables or folders of a lab's scored wells.
    only
        Sources of `real` to use; empty: all.
    wells
        Number of wells to render of each simulated lab.
    current
        Folder of the weights to adapt.
    last_layer
        Try the steps of `--last-layer` too.
    sizes
        Numbers of scored wells; all that the other folds have is one more.
    """
    start, eyes, _ = in_use(current, None, out / "seen", jobs)
    folder = out / "remembered"
    render_evaluation_plates(folder, REMEMBERED_PLATES, remember_wells, jobs, VALIDATION_PLATES)
    recalled = rendered_plates(folder)
    network = _network(current, out / "features") if last_layer else None
    points: list[Point] = []

    def measure(name: str, truths: Sequence[Truth], folds: Sequence[str]) -> None:
        own, wells = _see(eyes, truths, folds, name, bar)
        again, remembered = _see(
            eyes, recalled, [truth.plate for truth in recalled], "wells to remember", bar, len(own)
        )
        deeper: Sequence[tuple[str, Step]] = ()
        if network is not None:
            with bar("features", len(own) + len(again)) as advance:
                deeper = network.steps([*own, *again], len(own), advance)
        points.extend(curve(name, start, wells, remembered, deeper, sizes))

    for place in real:
        truths = read_wells(place, only)
        truths, copies = each_content_once(truths, {truth.path: keys_of(truth.path) for truth in truths})
        for path, reason in copies.items():
            say(f"left out  {path}: {reason}", err=True)
        names = ", ".join(sorted({t.source for t in truths}))
        measure(names, truths, fold_names(truths, "auto", COLUMN_IN_NAME))
    for lab in LABS if wells else ():
        truths = read_wells(render_lab(lab, out / "labs", wells))
        measure(lab.name, truths, [truth.plate for truth in truths])
    write_atomically(out / "adaptation.json", msgspec.json.format(msgspec.json.encode(points), indent=1) + b"\n")
    write_atomically(out / "adaptation.md", ("\n".join(table(points)) + "\n").encode())
    return points


def table(points: Sequence[Point]) -> list[str]:
    """Format the points as a Markdown table, in use → adapted."""
    rows = []
    for point in points:
        others = point.wells - point.crystals
        before, after = (100 * part / point.wells for part in point.right)
        rows.append(
            (
                point.lab,
                str(point.scored),
                str(point.wells),
                f"{point.right[0]} → {point.right[1]} ({before:.1f} → {after:.1f} %)",
                f"{point.crystals_found[0]} → {point.crystals_found[1]} of {point.crystals}",
                f"{point.false_crystals[0]} → {point.false_crystals[1]} of {others}",
                f"{point.log_loss[0]:.2f} → {point.log_loss[1]:.2f}",
                ", ".join(f"{name} ({often})" for name, often in point.steps.items()),
            )
        )
    head = (
        "lab",
        "scored wells",
        "judged",
        "right",
        "crystals found",
        "others called crystal",
        "log loss",
        "chosen (folds)",
    )
    return markdown.table(head, rows)


def _network(current: Path, keep: Path) -> StartingNetwork:
    from .layer import StartingNetwork  # needs torch

    return StartingNetwork(current, None, (), keep)


def _see(
    eyes: Eyes, truths: Sequence[Truth], folds: Sequence[str], what: str, bar: Bar, first: int = 0
) -> tuple[list[Truth], Wells]:
    by_path = dict(zip([truth.path for truth in truths], folds, strict=True))
    with bar(what, len(truths)) as advance:
        seen, wells, unread = see_all(eyes, truths, by_path, advance, first)
    for path, reason in unread.items():
        say(f"left out  {path}: {reason}", err=True)
    if not seen:
        raise ConfigError(f"{what}: no image can be read; the first error: {next(iter(unread.values()))}")
    check_folds(wells.folds.tolist(), f" of {what} whose images can be read")
    return seen, wells


def curve(
    lab: str,
    start: Decider,
    wells: Wells,
    remembered: Wells,
    deeper: Sequence[tuple[str, Step]] = (),
    sizes: Sequence[int] = SIZES,
) -> Iterator[Point]:
    """Judge each well once for each of `sizes`, and with all others, by a procedure that saw so many of the others.

    `deeper` are further steps to choose from.
    """
    most = INNER_FOLDS if deeper else OUTER_FOLDS
    least = len(wells) - int(np.bincount(fold_numbers(wells, most)).max())
    sure = wells.weight >= 1
    before = start.probabilities(wells)
    largest = int(np.unique(wells.folds, return_counts=True)[1].max())
    for size in [*(size for size in sizes if size < least), least]:
        if size != least and size <= largest:  # those drawn might be in one fold, by which no step can be chosen
            say(f"{lab}: {size} scored wells would be of one plate or column, and are not measured", err=True)
            continue
        draw = None if size == least else partial(_drawn, size=size)
        nested = judge_nested(start, wells, remembered, offered((*STEPS, *deeper), size), most, draw=draw)
        yield _point(lab, size, wells.groups[sure], (before[sure], nested.p[sure]), nested.steps)


def _drawn(wells: Wells, seed: int, size: int) -> Wells:
    """Draw so many wells, one whole plate (or column) after the other."""
    order = np.random.default_rng(seed).permutation(np.unique(wells.folds))
    rank = {name: place for place, name in enumerate(order)}
    return wells[np.array(sorted(range(len(wells)), key=lambda well: rank[wells.folds[well]])[:size])]


def _point(lab: str, size: int, groups: Groups, p: tuple[Array, Array], steps: Sequence[str]) -> Point:
    crystal = groups == CRYSTAL
    both = [called(each) for each in p]
    before, after = (round(float(log_loss(each, groups).mean()), 3) for each in p)

    def counts(of: Callable[[Groups], Bools]) -> tuple[int, int]:
        first, second = (int(of(one).sum()) for one in both)
        return first, second

    return Point(
        lab=lab,
        scored=size,
        wells=len(groups),
        right=counts(lambda one: one == groups),
        crystals=int(crystal.sum()),
        crystals_found=counts(lambda one: (one == CRYSTAL) & crystal),
        false_crystals=counts(lambda one: (one == CRYSTAL) & ~crystal),
        log_loss=(before, after),
        steps=dict(Counter(steps).most_common()),
    )
