"""``model promote`` and ``model rollback``: use a better pair of networks for new work, and go back to the one before.

A single commit in the ledger makes the switch, after the files have been checked and copied. If the command is killed,
either the old pair or the new one is in use, and running it again comes to the same result. Work units that were
already sent keep the models they name.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.comparison import COMPARISON, Comparison, read_comparison
from xtalgrid_core.errors import BrokenModel, ConfigError, ModelError
from xtalgrid_core.outcomes import CLASSES
from xtalgrid_core.weights import MANIFEST, SECOND_OPINION, ModelEntry, default_models, read_manifest
from xtalgrid_scoring.pool import Pool

from ..config import Config
from ..ledger.promotions import in_use as promoted
from ..ledger.store import Ledger
from ..storage import weights
from ..storage.weights import ROLES, Pair

STEP = "model"

CHECK_WELL = Path(__file__).parent / "check_well.jpg"
"""A rendered well with crystals in its drop, to try every new pair on."""

_PATIENCE_SECONDS = 300
_MEMORY_MB = 1000
"""Twice what a worker may take."""


def models_in_use(config: Config, ledger: Ledger) -> Pair:
    """Return the SHA-256 of the segmenter and classifier for new work: configured, else promoted, else the package's.

    Raises
    ------
    ConfigError
        If promoted models are missing from ``home/weights``, or none were promoted and the package has none.
    """
    named = (config.work.segmenter, config.work.classifier)
    chosen = named if all(named) else _promoted_or_packaged(ledger)
    for role, name, sha256 in zip(ROLES, named, chosen, strict=True):
        if not name and weights.entry(config, sha256, role) is None:
            raise ConfigError(
                f"{config.weights}: the {role} in use, {sha256[:12]}…, is missing; restore the folder from a backup, "
                "or return to the previous models with `xtalgrid model rollback`"
            )
    return named[0] or chosen[0], named[1] or chosen[1]


def model_entries(config: Config, ledger: Ledger) -> tuple[ModelEntry, ModelEntry]:
    """Return the manifest entries of the segmenter and classifier for new work.

    Raises
    ------
    ConfigError
        If the configuration names weights that are neither in ``home/weights`` nor in the package: every unit would
        fail at the workers. As `models_in_use` otherwise.
    """
    chosen = []
    for role, sha256 in zip(ROLES, models_in_use(config, ledger), strict=True):
        entry = weights.entry(config, sha256, role)
        if entry is None:
            raise ConfigError(
                f"{config.file or 'configuration'}: work.{role} is {sha256[:12]}…, but neither {config.weights} "
                f"nor the package has this {role}; remove that line, and add the weights with `xtalgrid model promote`"
            )
        chosen.append(entry)
    return chosen[0], chosen[1]


def second_opinion_entry(config: Config) -> ModelEntry:
    """Return the manifest entry of the second opinion that the configuration names.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    sha256 = config.work.second_opinion
    entry = weights.entry(config, sha256, "second_opinion")
    if entry is None:
        folder = config.weights / SECOND_OPINION
        raise ConfigError(
            f"{config.file or 'configuration'}: work.second_opinion names {sha256[:12]}…, which is not in {folder}; "
            f"install MARCO's network with `xtalgrid-train import marco --out {folder}`, or remove that line"
        )
    return entry


def _promoted_or_packaged(ledger: Ledger) -> Pair:
    if pairs := promoted(ledger.promotions.history()):
        return pairs[-1]
    try:
        return default_models()
    except BrokenModel as error:
        raise ConfigError(
            f"work.segmenter, work.classifier: not set, but the package's own are missing: {error}"
        ) from error


def promote(config: Config, ledger: Ledger, candidate: Path, *, force: str | None, who: str) -> Pair:
    """Use the default pair of a candidate's folder for new work.

    Parameters
    ----------
    candidate
        Folder of weights, with the comparison that ``xtalgrid-train adapt`` makes.
    force
        The reason for using a candidate that is not shown to be better, which is recorded. None: it must be shown.
    who
        Name of the person who decides, which is recorded.

    Raises
    ------
    ModelError
        If the weights don't match their SHA-256, or a worker cannot score with them.
    ConfigError
        If the configuration itself names other models, or the candidate is not shown to be better than those in use.
    """
    pair = _default_pair(candidate)
    _check_configuration(config, pair)
    segmenter, classifier = model_entries(config, ledger)
    current = segmenter.sha256, classifier.sha256
    if pair == current:
        if set(pair) <= {entry.sha256 for entry in weights.entries(config)}:
            weights.add(config, candidate, pair)  # files of theirs may be lost
        weights.mark(config, pair)  # a promotion that was killed at its end
        return pair
    comparison = read_comparison(candidate)
    if force is None:
        _check_comparison(config, candidate, comparison, pair, current)
    _try_out(candidate, pair)
    weights.add(config, candidate, pair)
    why = force or "; ".join(comparison.reasons if comparison else ())
    as_json = msgspec.json.encode(comparison).decode() if comparison else ""
    ledger.promotions.add("promote", pair, f"forced: {why}" if force else why, who, as_json)
    weights.mark(config, pair)
    return pair


def rollback(config: Config, ledger: Ledger, *, why: str, who: str) -> Pair:
    """Undo the newest promotion that is still in effect.

    Raises
    ------
    ConfigError
        If the package's own models are in use: there is no promotion to undo.
    """
    pairs = promoted(ledger.promotions.history())
    if not pairs:
        raise ConfigError("the package's own models are in use; there is no promotion to undo")
    ledger.promotions.add("rollback", pairs[-2] if len(pairs) > 1 else None, why, who)
    pair = models_in_use(config, ledger)
    weights.mark(config, pair)
    return pair


def _try_out(candidate: Path, pair: Pair) -> None:
    """Score a well with a folder's default pair, in a process of its own with limits of time and memory.

    Raises
    ------
    ModelError
        If it cannot: the files don't match their SHA-256, the networks don't load, exceed a limit, or have other inputs
        or outputs, or they find no drop in a well that has one.
    """
    segmenter, classifier = pair
    options = wire.Options(segmenter=segmenter, classifier=classifier)
    with Pool(processes=1, seconds=_PATIENCE_SECONDS, memory_mb=_MEMORY_MB) as pool:
        try:
            answer = pool.score(CHECK_WELL, options, folders=[candidate])
        except ModelError as error:
            raise BrokenModel(f"a worker cannot score with these weights: {error}") from error
    if isinstance(answer, wire.Failed):
        raise BrokenModel(f"a worker cannot score a well with these weights: {answer.reason}: {answer.detail}")
    if len(answer.probabilities) != len(CLASSES):
        raise BrokenModel(f"segmenter {segmenter[:12]}… finds no drop in a well that has one ({CHECK_WELL.name})")


def _default_pair(candidate: Path) -> Pair:
    if not (candidate / MANIFEST).is_file():
        raise ConfigError(
            f"{candidate}: no {MANIFEST}, so this is not a folder of weights; make one with `xtalgrid-train adapt`"
        )
    named = read_manifest(candidate).default
    missing = [role for role in ROLES if role not in named]
    if missing:
        raise BrokenModel(
            f"{candidate / MANIFEST}: there is no default {' and no default '.join(missing)}; export both together"
        )
    return named["segmenter"], named["classifier"]


def _check_configuration(config: Config, pair: Pair) -> None:
    for key, named, sha256 in zip(ROLES, (config.work.segmenter, config.work.classifier), pair, strict=True):
        if named and named != sha256:
            raise ConfigError(
                f"{config.file or 'configuration'}: work.{key} is {named[:12]}…, which overrides every promotion; "
                "remove that line, then promote"
            )


def _check_comparison(
    config: Config, candidate: Path, comparison: Comparison | None, pair: Pair, current: Pair
) -> None:
    """Check that a candidate was compared with the pair now in use, as new work is scored, and is better."""
    force = "or promote it with --force REASON"
    if comparison is None:
        raise ConfigError(
            f"{candidate}: no {COMPARISON}, so nothing shows that it is better; "
            f"make it with `xtalgrid-train adapt`, {force}"
        )
    if comparison.candidate != pair:
        raise ConfigError(
            f"{candidate / COMPARISON} is about other weights than those in this folder; compare again, {force}"
        )
    if comparison.current != current:
        raise ConfigError(
            f"{candidate / COMPARISON} is a comparison with {_short(comparison.current)}, but {_short(current)} "
            f"are in use now; compare again, {force}"
        )
    if how := _compared_otherwise(config, comparison):
        raise ConfigError(f"{candidate / COMPARISON} {how}; make it again with `xtalgrid model adapt`, {force}")
    if comparison.verdict != "better":
        raise ConfigError(
            "\n  ".join(
                [f"{candidate} is not better than the models in use:", *comparison.reasons, f"improve it, {force}"]
            )
        )


def _compared_otherwise(config: Config, comparison: Comparison) -> str:
    """Say how the two were compared that differs from how new work is scored; empty: in no way that counts."""
    work = config.work
    if work.rule != "pooled":
        return f'is by the rule "pooled", but work.rule is "{work.rule}"'
    if comparison.second_opinion != work.second_opinion:
        compared, now = (_second(sha256) for sha256 in (comparison.second_opinion, work.second_opinion))
        return f"was made with {compared}, but new work is scored with {now} (work.second_opinion)"
    if comparison.crystal_from != work.crystal_from:
        compared = f"calls wells crystals from {comparison.crystal_from:g} on"
        return f"{compared}, but work.crystal_from is {work.crystal_from:g}"
    return ""


def compared_otherwise(config: Config, ledger: Ledger) -> str:
    """Say how the comparison that put the models in use into use differs from how new work is scored since.

    Empty: in no way that counts, or none was made.
    """
    history = ledger.promotions.history()
    pairs = promoted(history)
    if not pairs or config.work.classifier or config.work.segmenter:
        return ""
    text = next(one.comparison for one in reversed(history) if one.action == "promote" and one.pair == pairs[-1])
    if '"crystal_from"' not in text:  # forced without one, or of a version that did not say
        return ""
    how = _compared_otherwise(config, msgspec.json.decode(text, type=Comparison))
    return how and f"the comparison of classifier {pairs[-1][1][:12]}… {how}; adapt again"


def _second(sha256: str) -> str:
    return f"the second opinion {sha256[:12]}…" if sha256 else "no second opinion"


def _short(pair: Pair) -> str:
    return f"segmenter {pair[0][:12]}… and classifier {pair[1][:12]}…"
