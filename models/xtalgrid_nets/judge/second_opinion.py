"""Fit how a second opinion is combined with ours, and judge the two, and both together, source by source.

Rendered wells alone can't say how far MARCO's network can be trusted, because it saw only real ones; and there are few
real wells that may train. So the fit starts from a prior, the logarithmic opinion pool with equal weights, and each
source counts as at most `MOST` wells, however many it has. Real wells that someone picked say nothing of how frequent
crystals are, so they have shifts of their own, which are dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from xtalgrid_core import wire
from xtalgrid_core.combination import Combination, logs
from xtalgrid_core.decision import pooled_group
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.markdown import table
from xtalgrid_core.options import DEFAULTS
from xtalgrid_core.outcomes import SCORED_GROUPS, Group
from xtalgrid_core.weights import MANIFEST, ModelEntry, WeightsManifest, read_manifest

from ..sets.arrays import sha256_of
from ..sets.tables import read_lines
from .metrics import auc, reliability
from .possible import fit_possible
from .scoring import Settings, score_wells
from .truth import Truth, is_sure, meaning

Array = npt.NDArray[np.float64]

PRIOR = Combination(0.5, 0.5, (0.0,) * len(SCORED_GROUPS))
"""Both are trusted alike."""

MOST = 20
"""Number of wells that a source counts as, if it has more."""

TRAINED = 0.5
"""A well counts as this many if it trained one of the networks, which then is surer of it than of others."""

_POWERS, _SHIFTS, _PICKED = 0.25, 0.5, 3.0
"""Standard deviations of the prior: of the powers, of the shifts, and of the shifts that only picked wells have."""

_COLUMNS = ("image", "source", "label", "confidence", "trained", "split")


@dataclass(frozen=True, slots=True)
class Well:
    """A well with its judgement.

    `is_training`: it may be fitted to. `trained`: whom it trained already, such as MARCO; empty: nobody.
    """

    truth: Truth
    is_training: bool
    trained: str = ""


@dataclass(frozen=True, slots=True)
class Opinions:
    """What both say of N wells that have a drop: probabilities of the four groups, ``(N, 4)`` each."""

    own: Array
    second: Array


def listed_wells(path: Path, images: Path) -> list[Well]:
    """Read a table of real wells such as ``docs/records/real_wells.csv``; its images lie in a folder.

    Raises
    ------
    ConfigError
        If it cannot be read, or lacks a column or a known label.
    """
    wells = []
    for number, row in read_lines(path, _COLUMNS):
        where = f"{path}, line {number}"
        try:
            group, outcome = meaning(row["label"])
        except KeyError as error:
            raise ConfigError(f"{where}: {error.args[0]!r} is no group or class") from None
        if row["split"] not in ("train", "judge"):
            raise ConfigError(f"{where}: split is {row['split']!r}; write train or judge")
        sure = is_sure(row["confidence"], where, default=False)
        truth = Truth(images / row["image"], row["source"], "real", row["source"], group, outcome, sure)
        wells.append(Well(truth, row["split"] == "train", row["trained"]))
    return wells


def check_split(wells: Sequence[Well]) -> None:
    """Check that no picture is listed twice, nor is one to fit to the same as one that judges, whatever their names.

    Raises
    ------
    ConfigError
        If so; the message names the files.
    """
    seen: dict[Path, Well] = {}
    fitted: dict[str, Path] = {}
    for well in wells:
        path = well.truth.path
        if seen.setdefault(path.resolve(), well) is not well:
            raise ConfigError(f"{path}: listed twice; leave one of the lines")
        if well.is_training and path.is_file():
            fitted[sha256_of(path)] = path
    for well in wells:
        path = well.truth.path
        if not well.is_training and path.is_file() and (other := fitted.get(sha256_of(path))):
            raise ConfigError(f"{path}: judges, but is the same picture as {other}, which trains; leave one of them")


def opinions(truths: Sequence[Truth], settings: Settings, keep: Path, jobs: int) -> tuple[Opinions, list[bool]]:
    """Score wells; return both opinions on those with a drop, and for each well whether it has one.

    Raises
    ------
    ConfigError
        If a well can't be scored.
    """
    answers = score_wells(truths, settings, keep, jobs)
    own, second, has_drop = [], [], []
    for path, answer in answers.items():
        if not isinstance(answer, wire.Scored) or answer.own_groups is None or answer.second_opinion is None:
            raise ConfigError(f"{path}: can't be scored; take it from the list")
        has_drop.append(bool(answer.probabilities))
        if has_drop[-1]:
            own.append(answer.own_groups)
            second.append(answer.second_opinion.groups)
    return Opinions(np.array(own).reshape(-1, 4), np.array(second).reshape(-1, 4)), has_drop


def weights_of(wells: Sequence[Well]) -> Array:
    """Return how much each well counts in a fit, ``(N,)``; see `MOST` and `TRAINED`."""
    count = Counter(well.truth.source for well in wells)
    each = [min(count[well.truth.source], MOST) / count[well.truth.source] for well in wells]
    return np.array([part * (TRAINED if well.trained else 1) for part, well in zip(each, wells, strict=True)])


def fit(
    both: Opinions, groups: npt.NDArray[np.int64], weight: Array, picked: npt.NDArray[np.bool_] | None = None
) -> Combination:
    """Fit a combination to N wells by maximum a posteriori.

    Parameters
    ----------
    both
        What both networks say.
    groups
        Indices of the wells' groups in `SCORED_GROUPS`.
    weight
        How much each well counts.
    picked
        Which wells were picked, so that their groups are not as frequent as on plates (default: none).
    """
    chosen = np.zeros(len(groups), np.bool_) if picked is None else picked
    count = len(SCORED_GROUPS)
    ours, second = logs(both.own), logs(both.second)
    truth = np.eye(len(SCORED_GROUPS))[groups]
    mean = np.array([PRIOR.ours, PRIOR.second, *PRIOR.shifts, *PRIOR.shifts])
    precision = np.array([_POWERS**-2] * 2 + [_SHIFTS**-2] * count + [_PICKED**-2] * count)

    def loss(x: Array) -> tuple[float, Array]:
        logits = x[0] * ours + x[1] * second + x[2 : 2 + count] + chosen[:, None] * x[2 + count :]
        top = logits.max(axis=1, keepdims=True)
        log_p = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
        error = (np.exp(log_p) - truth) * weight[:, None]
        slope = np.array([(error * ours).sum(), (error * second).sum(), *error.sum(axis=0), *error[chosen].sum(axis=0)])
        away = x - mean
        return float(
            -(weight[:, None] * truth * log_p).sum() + (precision * away**2).sum() / 2
        ), slope + precision * away

    bounds = [(0, None)] * 2 + [(None, None)] * 2 * count
    found = [round(float(value), 3) for value in minimize(loss, mean, jac=True, method="L-BFGS-B", bounds=bounds).x]
    return Combination(found[0], found[1], tuple(found[2 : 2 + count]))


def fit_folder(folder: Path, wells: Sequence[Well], weights: Path | None, keep: Path, jobs: int) -> list[ModelEntry]:
    """Fit a combination for each network of a folder of second opinions, and write them into its manifest.

    Only training wells with a sure judgement and a drop count; for the possible groups, only rendered ones. Returns the
    networks' new entries.

    Raises
    ------
    ConfigError
        If there is no such well, so that nothing but the prior would be written.
    """
    manifest = read_manifest(folder)
    training = [well for well in wells if well.is_training and well.truth.sure and well.truth.group is not None]
    entries = []
    for entry in manifest.models:
        settings = Settings(weights=weights, second_opinion=folder / entry.file, combination=PRIOR)
        both, has_drop = opinions([well.truth for well in training], settings, keep, jobs)
        seen = [well for well, has in zip(training, has_drop, strict=True) if has]
        if not seen:
            raise ConfigError(
                "there is no surely judged well with a drop to fit to: give --plates, or --wells with lines whose "
                "split is train; or judge only, with --no-fit"
            )
        picked = np.array([well.truth.kind == "real" for well in seen], np.bool_)
        combination = fit(both, _groups(seen), weights_of(seen), picked)
        possible = None
        if not picked.all():
            together = combination(both.own[~picked], both.second[~picked])
            possible = fit_possible(together, _groups(seen)[~picked])
        entries.append(msgspec.structs.replace(entry, combination=combination, possible=possible))
    changed: WeightsManifest = msgspec.structs.replace(manifest, models=tuple(entries))
    write_atomically(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(changed), indent=2) + b"\n")
    return entries


def judge(entry: ModelEntry, folder: Path, wells: Sequence[Well], weights: Path | None, keep: Path, jobs: int) -> str:
    """Compare our networks, the second opinion, and both together on wells that trained none of them; as Markdown.

    Wells without a drop are called by our segmenter alone, and are no crystals for all three. Sources that trained one
    of them are marked, and left out of the total.
    """
    judged = [well for well in wells if not well.is_training and well.truth.sure and well.truth.group is not None]
    settings = Settings(weights=weights, second_opinion=folder / entry.file, combination=PRIOR)
    both, has_drop = opinions([well.truth for well in judged], settings, keep, jobs)
    assert entry.combination is not None
    drop = np.array(has_drop)
    empty = np.tile([0.0, 0.0, 1.0, 0.0], (len(judged), 1))
    said = []
    for probabilities in (both.own, both.second, entry.combination(both.own, both.second)):
        all_wells = empty.copy()
        all_wells[drop] = probabilities
        said.append(all_wells)
    truth = _groups(judged)
    called = [
        pooled_group(said[0], DEFAULTS.crystal_from),
        said[1].argmax(axis=1),
        pooled_group(said[2], DEFAULTS.crystal_from),
    ]
    names = np.array([well.truth.source + (f" (trained {well.trained})" if well.trained else "") for well in judged])
    fresh = np.array([not well.trained for well in judged])
    rows = [_row(str(name), names == name, said, called, truth) for name in sorted(set(names))]
    rows.append(_row("all that trained neither", fresh, said, called, truth))
    head = ("source", "wells", "right", "crystals found", "false crystals", "AUC of crystal", "ECE of crystal")
    return "\n".join(["Ours, second opinion, both:", "", *table(head, rows)])


def _row(
    name: str,
    here: npt.NDArray[np.bool_],
    said: list[Array],
    called: list[npt.NDArray[np.intp]],
    truth: npt.NDArray[np.int64],
) -> tuple[str, ...]:
    crystal = truth[here] == SCORED_GROUPS.index(Group.CRYSTAL)
    hits, others = int(crystal.sum()), int((~crystal).sum())
    is_called = [call[here] == SCORED_GROUPS.index(Group.CRYSTAL) for call in called]
    p = [probabilities[here, 0] for probabilities in said]
    calibration = [reliability(one, crystal) for one in p]
    return (
        name,
        str(int(here.sum())),
        _three([int((call[here] == truth[here]).sum()) for call in called]),
        f"{_three([int((one & crystal).sum()) for one in is_called])} of {hits}" if hits else "–",
        f"{_three([int((one & ~crystal).sum()) for one in is_called])} of {others}" if others else "–",
        _three([f"{auc(one, crystal):.3f}" for one in p]) if hits and others else "–",
        _three([f"{one.ece:.3f}" for one in calibration if one]),
    )


def _three(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _groups(wells: Sequence[Well]) -> npt.NDArray[np.int64]:
    groups = [well.truth.group for well in wells]
    return np.array([SCORED_GROUPS.index(group) for group in groups if group is not None], np.int64)
