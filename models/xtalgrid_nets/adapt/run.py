"""Run ``xtalgrid-train adapt``: from a lab's scored wells to a candidate compared with the models in use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from xtalgrid_core import markdown
from xtalgrid_core.comparison import Comparison
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.options import DEFAULTS
from xtalgrid_core.outcomes import SCORED_GROUPS
from xtalgrid_core.possible import PossibleGroups
from xtalgrid_core.spreadsheets import csv_line
from xtalgrid_core.weights import (
    PACKAGED,
    default_models,
    default_options,
    find_model,
    no_pooling,
    second_opinion_at,
    with_second_opinion,
)
from xtalgrid_scoring.networks import Networks
from xtalgrid_synth.evaluation_plates import RENDERER, VALIDATION_PLATES, render_evaluation_plates

from ..judge.possible import fit_possible
from ..judge.scoring import Settings as Scoring
from ..judge.truth import Truth, keys_of, rendered_plates
from . import candidate
from .choose import INNER_FOLDS, NONE, STEPS, Chosen, choose, halves, in_parts, source
from .decider import Array, Decider, Decides, Groups, Step, Wells, called
from .lab import COLUMN_IN_NAME, check_folds, each_content_once, fold_names, read_wells
from .seen import Eyes, see_all

FROZEN_PLATES = range(4)
"""Indices into `VALIDATION_PLATES` for the comparison: one plate each with rings, discs, bevels and 1536 wells."""

REMEMBERED_PLATES = range(4, 8)
"""Those whose wells are remembered: the others."""

OUTER_FOLDS = 10
"""That judge; with steps that fit the network `INNER_FOLDS`, because folds within folds then share their fits."""

LEAST_FOLDS = 3
"""One judges, and the step is chosen by leaving out one of the others."""

Writer = Callable[[Decides, PossibleGroups, str], None]

Bar = Callable[[str, int], AbstractContextManager[Callable[[], object]]]
"""Progress bar: ``bar("wells", 144)`` is a context manager that gives a function to call after each item."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to adapt, and what to adapt it to; see the options of ``xtalgrid-train adapt``."""

    wells: Path
    out: Path
    only: tuple[str, ...] = ()
    frozen: tuple[Path, ...] = ()
    rendered: Path | None = None
    rendered_wells: int = 16
    current: Path = PACKAGED
    second_opinion: Path | None = None
    remember_wells: int = 30
    folds: str = "auto"
    column_from: str = COLUMN_IN_NAME
    last_layer: bool = False
    start: Path | None = None
    remember: tuple[Path, ...] = ()
    crystal_from: float = DEFAULTS.crystal_from
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class Adapted:
    """The results of an adaptation.

    `step` is how far it went (`choose.STEPS`); `folds` has (fold, wells, right before, right after, step) for the
    certain judgements; `left_out` maps an image that is not fitted to, or a frozen one that can't judge, to the reason;
    `notes` say what else weakens the figures.
    """

    comparison: Comparison
    step: str
    folds: list[tuple[str, int, int, int, str]]
    left_out: dict[Path, str]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nested:
    """Each well's probabilities, ``(N, 4)``, by what was chosen and fitted without its fold; and each fold's choice."""

    p: Array
    folds: Groups
    steps: tuple[str, ...]


def adapt(plan: Plan, bar: Bar) -> Adapted:
    """Choose and fit what decides, judge it by nested folds, and compare it with the models in use.

    The lab's figures are out of fold: each well is judged by a step that was chosen and fitted without any well of its
    plate (or column). What is written is chosen and fitted by all of them. The frozen sources are scored by the real
    worker with both sets of weights.

    Raises
    ------
    XtalgridError
        If wells, weights or folds can't be used; the message says what to do.
    """
    if plan.out.resolve() in (plan.current.resolve(), PACKAGED.resolve()):
        raise ConfigError(f"{plan.out}: holds the weights in use; write the candidate into another folder")
    truths, frozen, left_out = _divided(plan)
    names = dict(zip([t.path for t in truths], fold_names(truths, plan.folds, plan.column_from), strict=True))
    start, eyes, second = in_use(plan.current, plan.second_opinion, plan.out / "work" / "seen", plan.jobs)
    with bar("reading wells", len(truths)) as advance:
        truths, wells, unread = see_all(eyes, truths, names, advance)
    left_out |= unread
    if not truths:
        raise ConfigError(f"{plan.wells}: no image can be read; the first error: {next(iter(unread.values()))}")
    check_folds(wells.folds.tolist(), f" ({len(unread)} others can't be read)" if unread else "")
    recalled, remembered = _remembered(plan, eyes, len(truths), bar)
    steps, network = _steps(plan, [*truths, *recalled], len(truths), bar)
    outer = INNER_FOLDS if plan.last_layer else OUTER_FOLDS
    with bar("folds", min(outer, len(set(wells.folds))) + 1) as advance:
        nested = judge_nested(start, wells, remembered, steps, outer, advance, crystal_from=plan.crystal_from)
        chosen = choose(start, wells, remembered, steps, plan.crystal_from)
        advance()
    before = called(start.probabilities(wells), plan.crystal_from)
    after = before if chosen.name == NONE else called(nested.p, plan.crystal_from)
    sure = wells.weight >= 1
    sources = []
    for name in sorted({truth.source for truth in truths}):
        here = sure & np.array([truth.source == name for truth in truths])
        sources.append(source(f"{name} (out of fold)", "lab", wells.groups[here], before[here], after[here]))
    guard = halves(remembered)[1]
    p = np.concatenate([nested.p[sure], chosen.decider.probabilities(guard)])
    possible = fit_possible(p, np.concatenate([wells.groups[sure], guard.groups]))
    if isinstance(chosen.decider, Decider):
        candidate.write_candidate(plan.out, plan.current, chosen.decider, possible, second)
    else:
        network(chosen.decider, possible, second)
    made = default_models(plan.out)
    notes = _notes(truths, frozen, wells, is_adapted(plan.current))
    frozen += _compared(plan)
    keep = plan.out / "work" / "scores"
    settings = Scoring(second_opinion=plan.second_opinion, crystal_from=plan.crystal_from)
    judged, unread = candidate.frozen_sources(frozen, plan.current, plan.out, keep, plan.jobs, settings)
    adapted = Adapted(
        candidate.compare(plan.out, plan.current, made, [*sources, *judged], second, plan.crystal_from),
        chosen.name,
        _by_fold(wells, nested, before, after),
        left_out | unread,
        notes,
    )
    _write(plan, adapted, chosen, wells, remembered)
    _write_wells(plan.out, truths, before, after)
    return adapted


def judge_nested(
    start: Decider,
    wells: Wells,
    remembered: Wells,
    steps: Sequence[tuple[str, Step]],
    most: int,
    advance: Callable[[], object] = lambda: None,
    draw: Callable[[Wells, int], Wells] | None = None,
    crystal_from: float = DEFAULTS.crystal_from,
) -> Nested:
    """Judge each well by a step that was chosen and fitted without its fold, of which there are at most `most`.

    With `draw`, by some of the other wells, which it is given with the number of the fold that is left out.
    `crystal_from` is as for `choose`.
    """
    parts = in_parts(wells, most)
    folds = parts.folds.astype(np.int64)
    p = np.empty((len(wells), len(SCORED_GROUPS)))
    taken = []
    for fold in np.unique(folds):
        here = folds == fold
        others = draw(wells[~here], fold) if draw else parts[~here]
        chosen = choose(start, others, remembered, steps, crystal_from)
        p[here] = chosen.decider.probabilities(wells[here])
        taken.append(chosen.name)
        advance()
    return Nested(p, folds, tuple(taken))


def in_use(current: Path, second_opinion: Path | None, keep: Path, jobs: int) -> tuple[Decider, Eyes, str]:
    """Return what decides now, the networks in use, and the SHA-256 of the second opinion (empty: there is none).

    Parameters
    ----------
    current
        Folder of the weights in use.
    second_opinion
        Folder of a second opinion.
    keep
        Folder for what is seen.
    jobs
        Cores to use.

    Raises
    ------
    ConfigError
        If the classifier has no pooling.
    """
    options, folders, second = default_options(current), [current], ""
    if second_opinion is not None:
        opinion, folder = second_opinion_at(second_opinion)
        options, second = with_second_opinion(options, opinion, folders), opinion.sha256
        folders.append(folder)
    entry, _ = find_model(options.classifier, "classifier", folders)
    if entry.pooling is None:
        raise ConfigError(no_pooling(entry))
    return (
        Decider(entry.pooling, options.combination),
        Eyes(options, Networks.load(options, folders, jobs), keep),
        second,
    )


def _divided(plan: Plan) -> tuple[list[Truth], list[Truth], dict[Path, str]]:
    """Return the lab's wells, the real ones that are never fitted to, and why others of the lab's are left out.

    A well that is in both, perhaps by a copy of its image, is frozen, except if both are read from the same place. So
    is its drop at other inspections, whose images are nearly the same.
    """
    truths = read_wells(plan.wells, plan.only)
    frozen = []
    for place in plan.frozen:
        given = read_wells(place)
        if place.resolve() == plan.wells.resolve():
            own = {truth.path.resolve() for truth in truths}
            given = [truth for truth in given if truth.path.resolve() not in own]
        frozen += given
    never = {key for truth in frozen for key in keys_of(truth.path)}
    keys = {truth.path: keys_of(truth.path) for truth in truths}
    drops = {(truth.plate, truth.well) for truth in truths if not never.isdisjoint(keys[truth.path])}
    drops |= {(truth.plate, truth.well) for truth in frozen}
    left_out, others = {}, []
    for truth in truths:
        if not never.isdisjoint(keys[truth.path]):
            continue
        if truth.well and (truth.plate, truth.well) in drops:
            left_out[truth.path] = "frozen, since another image of this drop is"
        else:
            others.append(truth)
    if not others:
        raise ConfigError(f"{plan.wells}: all wells are frozen; none are left to adapt to")
    kept, twice = each_content_once(others, keys)
    if not kept:
        raise ConfigError(f"{plan.wells}: no well is left; the first that is left out: {next(iter(twice.items()))}")
    return kept, frozen, left_out | twice


def is_adapted(weights: Path) -> bool:
    """Tell whether a folder's classifier was adapted before."""
    _, data = find_model(default_models(weights)[1], "classifier", [weights])
    return candidate.ADAPTED.encode() in data


def _notes(truths: Sequence[Truth], frozen: Sequence[Truth], wells: Wells, again: bool = False) -> tuple[str, ...]:
    """Say what weakens the figures, for people; `again` says that the models in use were adapted before."""
    notes = []
    if again:
        notes.append(
            "the models in use were adapted before: on wells that they were adapted to, their figures and the "
            "candidate's are too good; what the candidate gains is still judged without these wells"
        )
    if shared := sorted({truth.plate for truth in truths} & {truth.plate for truth in frozen}):
        names = ", ".join(shared[:3]) + (f" and {len(shared) - 3} more" if len(shared) > 3 else "")
        notes.append(
            f"wells of {names} are fitted to, where frozen wells are too: these say less of lost crystals than frozen "
            "wells of other plates would"
        )
    if len(set(wells.folds)) < LEAST_FOLDS:
        notes.append(
            f"all wells are in {len(set(wells.folds))} folds: without one of them no step can be chosen, so nothing "
            f"can be shown to be better; score wells of {LEAST_FOLDS} plates, or of {LEAST_FOLDS} columns of one"
        )
    return tuple(notes)


def _remembered(plan: Plan, eyes: Eyes, first: int, bar: Bar) -> tuple[list[Truth], Wells]:
    truths = rendered_plates(_render(plan, "remembered", REMEMBERED_PLATES, plan.remember_wells))
    with bar("wells to remember", len(truths)) as advance:
        return see_all(eyes, truths, {truth.path: truth.plate for truth in truths}, advance, first)[:2]


def _compared(plan: Plan) -> list[Truth]:
    """Return the rendered wells of the comparison, without those of the plates that are fitted to."""
    if plan.rendered is None:
        return rendered_plates(_render(plan, "rendered", FROZEN_PLATES, plan.rendered_wells))
    fitted = {VALIDATION_PLATES[index].barcode for index in REMEMBERED_PLATES}
    truths = [truth for truth in rendered_plates(plan.rendered) if truth.plate not in fitted]
    if not truths:
        raise ConfigError(f"{plan.rendered}: has only plates that are fitted to; give others with --rendered")
    return truths


def _steps(plan: Plan, truths: Sequence[Truth], own: int, bar: Bar) -> tuple[Sequence[tuple[str, Step]], Writer]:
    """Return the steps to choose from, and what writes a candidate of the last one, if that is the last layer."""
    if not plan.last_layer:
        return STEPS, _nothing_to_write
    from . import layer  # needs torch

    network = layer.StartingNetwork(plan.current, plan.start, plan.remember, plan.out / "work" / "features")
    with bar("features", len(truths)) as advance:
        return (*STEPS, *network.steps(truths, own, advance)), partial(network.write, plan.out)


def _nothing_to_write(decider: Decides, possible: PossibleGroups, second: str) -> None:
    raise AssertionError("only the last layer makes another network")


def _render(plan: Plan, name: str, plates: range, wells: int) -> Path:
    folder = plan.out / "work" / f"renderer-{RENDERER}" / name  # one of another version would refuse them
    render_evaluation_plates(folder, plates, wells, plan.jobs, VALIDATION_PLATES)
    return folder


def _by_fold(wells: Wells, nested: Nested, before: Groups, after: Groups) -> list[tuple[str, int, int, int, str]]:
    rows = []
    for fold, step in enumerate(nested.steps):
        here = (nested.folds == fold) & (wells.weight >= 1)
        right = [int((calls == wells.groups)[here].sum()) for calls in (before, after)]
        names = sorted(set(wells.folds[nested.folds == fold].tolist()))
        shown = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        rows.append((shown, int(here.sum()), right[0], right[1], step))
    return rows


def _write(plan: Plan, adapted: Adapted, chosen: Chosen, wells: Wells, remembered: Wells) -> None:
    """Write ``report.md`` and the model card."""
    comparison = adapted.comparison
    counts = ", ".join(f"{int((wells.groups == index).sum())} {group}" for index, group in enumerate(SCORED_GROUPS))
    what = "nothing changes" if chosen.name == NONE else f"chosen: {chosen.name}"
    report = [
        f"# What decides, adapted: {comparison.verdict}",
        "",
        *(f"* {reason}" for reason in comparison.reasons),
        *(f"* note: {note}" for note in adapted.notes),
        "",
        f"{len(wells)} scored wells ({counts}), {len(remembered)} rendered wells to remember; {what}. The lab's wells "
        "are judged by a step chosen and fitted without their fold, and only those with a certain judgement count; "
        "frozen sources are scored by the real worker. Each cell: in use → candidate.",
        "",
        *candidate.table(comparison.sources),
        "",
        "The steps, by folds within all wells; the simplest is taken that is not beaten by a standard error:",
        "",
        *markdown.table(
            ("step", "right", "log loss", "why it is out"),
            [(trial.name, str(trial.right), f"{trial.loss:.3f}", trial.against) for trial in chosen.trials],
        ),
        "",
        *markdown.table(
            ("fold", "certain wells", "right, in use", "right, candidate", "step"),
            [tuple(map(str, row)) for row in adapted.folds],
        ),
        "",
        *(f"* left out: {path}: {reason}" for path, reason in adapted.left_out.items()),
    ]
    write_atomically(plan.out / "report.md", ("\n".join(report).rstrip() + "\n").encode())
    current = default_models(plan.current)[1]
    card = [
        f"# Classifier `{comparison.candidate[1][:12]}…`",
        "",
        f"The network of `{current[:12]}…`, whose card describes it; what decides a well was adapted to a lab's own "
        "wells, and is written into the file too (`xtalgrid.decision`), so that it has a name of its own.",
        "",
        *report[2:],
    ]
    write_atomically(plan.out / "classifier.md", ("\n".join(card).rstrip() + "\n").encode())


def _write_wells(out: Path, truths: Sequence[Truth], before: Groups, after: Groups) -> None:
    """Write every out-of-fold answer as ``wells.csv``."""
    lines = [csv_line(("image", "plate", "group", "sure", "in_use", "candidate"))]
    lines += [
        csv_line((t.path.name, t.plate, t.group, "yes" if t.sure else "no", SCORED_GROUPS[b], SCORED_GROUPS[a]))
        for t, b, a in zip(truths, before, after, strict=True)
    ]
    write_atomically(out / "wells.csv", b"".join(lines))
