"""``model list``: the weights that are here, those in use, and what was promoted when, by whom and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from xtalgrid_core.weights import SECOND_OPINION, ModelEntry, Role, read_manifest

from ..config import Config
from ..ledger.store import Ledger
from ..steps.promote import models_in_use
from ..storage import weights


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of weights and whether new work uses it; `file` None: the configuration names it and it is not here."""

    role: str
    sha256: str
    in_use: bool
    variant: str | None = None
    architecture: str | None = None
    file: str | None = None
    folder: str | None = None
    """``package``, or the folder of the lab's own weights or of its second opinions."""


@dataclass(frozen=True, slots=True)
class Change:
    """A promotion or a rollback, and the weights in use from then on; None: the package's own."""

    at: datetime
    action: Literal["promote", "rollback"]
    segmenter: str | None
    classifier: str | None
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Models:
    """All weights by folder, and all changes, oldest first."""

    folders: tuple[str, ...]
    weights: tuple[Weights, ...]
    history: tuple[Change, ...]


def list_models(config: Config, ledger: Ledger) -> Models:
    """List the weights of the package and of the lab, and the second opinions if there are any.

    Raises
    ------
    ConfigError
        As `xtalgrid_server.steps.promote.models_in_use`.
    """
    used: dict[Role, str] = dict(zip(weights.ROLES, models_in_use(config, ledger), strict=True))
    if config.work.second_opinion:
        used["second_opinion"] = config.work.second_opinion
    places = {"package": read_manifest().models, str(config.weights): weights.entries(config)}
    if installed := weights.second_opinions(config):
        places[str(config.weights / SECOND_OPINION)] = installed
    missing = [
        Weights(role, sha256, in_use=True)
        for role, sha256 in used.items()
        if weights.entry(config, sha256, role) is None
    ]
    return Models(
        folders=tuple(places),
        weights=(*(_weights(entry, used.values(), place) for place in places for entry in places[place]), *missing),
        history=tuple(
            Change(
                at=one.at,
                action=one.action,
                segmenter=one.pair[0] if one.pair else None,
                classifier=one.pair[1] if one.pair else None,
                who=one.who,
                why=one.why,
            )
            for one in ledger.promotions.history()
        ),
    )


def _weights(entry: ModelEntry, used: Collection[str], folder: str) -> Weights:
    return Weights(
        role=entry.role,
        sha256=entry.sha256,
        in_use=entry.sha256 in used,
        variant=entry.variant,
        architecture=entry.architecture,
        file=entry.file,
        folder=folder,
    )


def model_lines(listed: Models) -> Iterator[str]:
    """Format the weights and changes as text, the weights in use marked ``*``."""
    for folder in listed.folders:
        inside = [one for one in listed.weights if one.folder == folder]
        yield f"{folder}:" + ("" if inside else " none")
        for one in inside:
            mark = "*" if one.in_use else " "
            yield f"{mark} {one.role:10} {one.variant}  {one.sha256}  {one.architecture}  {one.file}"
    for one in listed.weights:
        if one.folder is None:
            yield f"* {one.role:10} ----  {one.sha256}  named in the configuration but not found: no work is made"
    for change in listed.history:
        pair = pair_text(change.segmenter, change.classifier)
        yield f"{change.at:%Y-%m-%d %H:%M} UTC  {change.action:8}  {pair}  by {change.who}: {change.why}"


def pair_text(segmenter: str | None, classifier: str | None) -> str:
    """Name a pair of weights; None stands for the package's."""
    if segmenter is None or classifier is None:
        return "the package's own"
    return f"segmenter {segmenter[:12]}, classifier {classifier[:12]}"
