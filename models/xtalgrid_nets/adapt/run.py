"""Run ``xtalgrid-train adapt``: from a lab's scored wells to a candidate compared with the models in use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from xtalgrid_core import markdown
from xtalgrid_core.comparison import Comparison
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.outcomes import CLASSES, Group, Outcome
from xtalgrid_core.spreadsheets import csv_line
from xtalgrid_core.weights import PACKAGED, Variant, default_models, find_model
from xtalgrid_synth.evaluation_plates import VALIDATION_PLATES, render_evaluation_plates

from ..data import outcome_of, sample_well
from ..judge.truth import Truth, rendered_plates
from ..sets.crops import Segmenter
from ..sets.reading import ChopSet
from ..states import from_onnx, load_trained
from . import candidate
from .fit import LabWell, Remembered, Settings, fit
from .lab import COLUMN_IN_NAME, extract_wells, fold_names, out_of_fold, read_wells
from .windows import FeatureExtractor, Head

REMEMBER_SEED = 40_000_000
"""First seed of the wells rendered to be remembered; no test plate and no default training set uses it."""

PATCHES_PER_WELL = 4
FROZEN_PLATES = range(4)
"""Indices into `VALIDATION_PLATES`: one plate each with rings, discs, bevels and 1536 wells."""


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
    start: Path | None = None
    remember: tuple[Path, ...] = ()
    remember_wells: int = 60
    folds: str = "auto"
    column_from: str = COLUMN_IN_NAME
    versions: int = 1
    jobs: int = 1
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True, slots=True)
class Adapted:
    """The results of an adaptation.

    `folds` has (fold, wells, right before, right after) for the certain judgements; `failed` maps an image to the
    reason.
    """

    comparison: Comparison
    folds: list[tuple[str, int, int, int]]
    failed: dict[Path, str]


def adapt(plan: Plan, bar: Bar) -> Adapted:
    """Fit, judge fold by fold, export, and compare with the models in use.

    The lab's figures are out of fold: each well is judged by a fit that saw no well of its plate (or column). The
    exported layer is fitted to all of them. The frozen sources are scored by the real worker with both sets of
    weights.

    Raises
    ------
    XtalgridError
        If wells, weights or folds can't be used; the message says what to do.
    """
    truths = read_wells(plan.wells, plan.only)
    fold_names(truths, plan.folds, plan.column_from)  # reports wells that can't be divided before the work begins
    frozen = _frozen(plan, truths)
    net, name = starting_point(plan.start, plan.current)
    extractor = FeatureExtractor(net, Segmenter(plan.current), plan.versions, plan.out / "work" / "seen")
    with bar("reading wells", len(truths)) as advance:
        truths, wells, failed = extract_wells(truths, extractor, advance)
    if not wells:
        raise ConfigError(f"{plan.wells}: no image can be read; the first error: {next(iter(failed.values()))}")
    folds = fold_names(truths, plan.folds, plan.column_from)
    with bar("wells to remember", plan.remember_wells) as advance:
        remembered = remember(extractor, plan, advance)
    start = Head.of(net, candidate.pooling_of(plan.current))
    with bar("folds", len(set(folds))) as advance:
        heads = out_of_fold(start, wells, folds, remembered, plan.settings, advance)
    before = _in_use(plan, truths, wells, start)
    after = [head.outcome(well.windows) for head, well in zip(heads, wells, strict=True)]
    sources = [
        candidate.source(f"{source} (out of fold)", "lab", *_of(source, truths, before, after))
        for source in sorted({truth.source for truth in truths})
    ]
    record = {"adapted_to": str(plan.wells), "wells": len(wells), "start": str(plan.start or plan.current)}
    head = fit(start, wells, remembered, plan.settings)
    candidate.write_candidate(plan.out, net, name, head, plan.current, {**record, **asdict(plan.settings)})
    frozen += _rendered(plan)
    sources += candidate.frozen_sources(frozen, plan.current, plan.out, plan.out / "work" / "scores", plan.jobs)
    adapted = Adapted(
        candidate.compare(plan.out, plan.current, sources), _by_fold(truths, folds, before, after), failed
    )
    _write(
        plan,
        adapted,
        wells,
        remembered,
        name,
        out_of=[(t, b, a) for t, b, a in zip(truths, before, after, strict=True)],
    )
    return adapted


def starting_point(start: Path | None, current: Path) -> tuple[nn.Module, str]:
    """Return the network to start from, and its name.

    It is a trained state, an ONNX file, or the classifier of the weights in use.
    """
    variant: Variant | None = None if start else "fp32"  # int8 weights are made from fp32 ones and have no gradients
    entry, _ = find_model(default_models(current, variant)[1], "classifier", [current])
    if start is None:
        folder = current if (current / entry.file).is_file() else PACKAGED
        return from_onnx(folder / entry.file, entry.architecture), entry.architecture
    if not start.is_file():
        raise ConfigError(f"{start}: no such file; give --start a trained state (.pt) or a classifier (.onnx)")
    if start.suffix == ".onnx":
        return from_onnx(start, entry.architecture), entry.architecture
    net, record = load_trained(start)
    return net, str(record["network"])


def remember(extractor: FeatureExtractor, plan: Plan, advance: Callable[[], object]) -> Remembered:
    """Collect labelled windows of `plan.remember_wells` wells, from training sets with patches or rendered now."""
    features, labels = [], []
    if plan.remember:
        sets = ChopSet(plan.remember)
        train, _ = sets.split(sets.patch_wells)
        if not len(train):
            raise ConfigError(
                f"{plan.remember[0]}: this set has no patches; give --remember one that has, or leave it out"
            )
        rng = np.random.default_rng(plan.settings.seed)
        for _ in range(plan.remember_wells):
            chosen = np.sort(rng.choice(train, min(PATCHES_PER_WELL, len(train)), replace=False))
            seen, known = extractor.patches(sets.take_patches(chosen), sets.patch_labels[chosen])
            features.append(seen)
            labels.append(known)
            advance()
    else:
        for seed in range(REMEMBER_SEED, REMEMBER_SEED + plan.remember_wells):
            patches = sample_well(outcome_of(seed), seed, n_chops=0, n_patches=PATCHES_PER_WELL).patches
            assert patches is not None
            seen, known = extractor.patches(*patches)
            features.append(seen)
            labels.append(known)
            advance()
    if not features:
        return Remembered(np.zeros((0, 1), np.float16), np.zeros(0, np.int64))
    return Remembered(np.concatenate(features), np.concatenate(labels))


def _in_use(plan: Plan, truths: Sequence[Truth], wells: Sequence[LabWell], start: Head) -> list[Outcome]:
    """Return the outcomes that the models in use give the lab's wells.

    They are computed with their last layer, or by the real worker if another state is adapted.
    """
    if plan.start is None:
        return [start.outcome(well.windows) for well in wells]
    return candidate.outcomes(truths, plan.current, plan.out / "work" / "scores", plan.jobs)


def _frozen(plan: Plan, lab: Sequence[Truth]) -> list[Truth]:
    """Read real wells that are never fitted to, without the lab's own."""
    own = {truth.path.resolve() for truth in lab}
    return [t for place in plan.frozen for t in read_wells(place) if t.path.resolve() not in own]


def _rendered(plan: Plan) -> list[Truth]:
    """Return rendered plates with crystals: those in a folder, or some of the validation plates, rendered now."""
    if plan.rendered is not None:
        return rendered_plates(plan.rendered)
    folder = plan.out / "work" / "rendered"
    render_evaluation_plates(folder, FROZEN_PLATES, plan.rendered_wells, plan.jobs, VALIDATION_PLATES)
    return rendered_plates(folder)


def _of(
    source: str, truths: Sequence[Truth], before: Sequence[Outcome], after: Sequence[Outcome]
) -> tuple[list[Truth], list[Outcome], list[Outcome]]:
    places = [i for i, truth in enumerate(truths) if truth.source == source]
    return [truths[i] for i in places], [before[i] for i in places], [after[i] for i in places]


def _by_fold(
    truths: Sequence[Truth], folds: Sequence[str], before: Sequence[Outcome], after: Sequence[Outcome]
) -> list[tuple[str, int, int, int]]:
    rows = []
    for name in sorted(set(folds)):
        members = [i for i, fold in enumerate(folds) if fold == name and truths[i].sure]
        right = [sum(called[i].group is truths[i].group for i in members) for called in (before, after)]
        rows.append((name, len(members), right[0], right[1]))
    return rows


def _write(
    plan: Plan,
    adapted: Adapted,
    wells: Sequence[LabWell],
    remembered: Remembered,
    name: str,
    out_of: Sequence[tuple[Truth, Outcome, Outcome]],
) -> None:
    """Write ``report.md``, the model card, and every out-of-fold answer as ``wells.csv``."""
    groups = Counter(str(well.group) for well in wells)
    counts = ", ".join(f"{number} {group}" for group, number in groups.most_common())
    kinds = Counter(CLASSES[label].group for label in remembered.labels)
    windows = ", ".join(f"{kinds[group]} {group}" for group in Group if kinds[group])
    comparison = adapted.comparison
    report = [
        f"# {name}, adapted: {comparison.verdict}",
        "",
        *(f"* {reason}" for reason in comparison.reasons),
        "",
        f"The last layer was fitted to {len(wells)} scored wells ({counts}) and {len(remembered.labels)} remembered "
        f"windows ({windows or 'none'}). The lab's wells are scored out of fold, and only those with a certain "
        "judgement count; frozen sources are scored by the real worker. Each cell: in use → candidate.",
        "",
        *candidate.table(comparison.sources),
        "",
        *markdown.table(
            ("fold", "certain wells", "right, in use", "right, candidate"),
            [tuple(map(str, row)) for row in adapted.folds],
        ),
        "",
        *(f"* not read: {path}: {reason}" for path, reason in adapted.failed.items()),
    ]
    write_atomically(plan.out / "report.md", ("\n".join(report).rstrip() + "\n").encode())
    sha256 = comparison.candidate[1]
    card = [
        f"# Classifier `{sha256[:12]}…`",
        "",
        f"{name}, with its last layer adapted to a lab's own wells, starting from `{comparison.current[1][:12]}…`; "
        "everything else is described in the card of that classifier. The calibration of p_crystal was taken from it "
        "too; to renew it, run `xtalgrid-train judge calibrate`.",
        "",
        *report[2:],
    ]
    write_atomically(plan.out / "classifier.md", ("\n".join(card).rstrip() + "\n").encode())
    lines = [csv_line(("image", "plate", "group", "sure", "in_use", "candidate"))]
    lines += [
        csv_line((t.path.name, t.plate, t.group, "yes" if t.sure else "no", before, after))
        for t, before, after in out_of
    ]
    write_atomically(plan.out / "wells.csv", b"".join(lines))
