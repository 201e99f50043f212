"""Weights sent with a unit: files named by their content, staged once, and kept by the server and the volunteers.

The package's default pair needs no file: every worker contains it. Any other pair takes a file for each network, named
by its SHA-256, and so does a second opinion, which no worker contains. A list of what is sent goes with them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.errors import UnknownModel
from xtalgrid_core.weights import (
    SECOND_OPINION,
    ModelEntry,
    Role,
    default_models,
    find_model,
    manifest_of,
)

from ...config import Config
from ...storage.weights import ROLES, Pair


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file to send: `logical` is its name in the worker's folder, `physical` its name in BOINC."""

    logical: str
    physical: str
    data: bytes


def weight_files(config: Config, pair: Pair, second_opinion: str | None = None) -> tuple[WeightFile, ...]:
    """Return the files to send for a (segmenter, classifier) pair and a second opinion, the list first.

    There are none for the package's default pair alone.

    Raises
    ------
    ModelError
        If this machine does not have the models, or their bytes do not match their SHA-256.
    """
    named: dict[Role, str] = {} if pair == default_models() else dict(zip(ROLES, pair, strict=True))
    if second_opinion is not None:
        named["second_opinion"] = second_opinion
    if not named:
        return ()
    files, entries = [], list[ModelEntry]()
    for role, sha256 in named.items():
        try:
            entry, data = find_model(sha256, role, [config.weights])
        except UnknownModel as error:
            raise UnknownModel(_not_here(config, role, sha256)) from error
        name = f"{sha256}.onnx"
        entries.append(msgspec.structs.replace(entry, file=name, card=""))
        files.append(WeightFile(name, name, data))
    listed = msgspec.json.encode(manifest_of(named, entries))
    digest = hashlib.sha256(listed).hexdigest()
    return (WeightFile(wire.WEIGHTS_FILE, f"xtalgrid_weights_{digest[:32]}.json", listed), *files)


def _not_here(config: Config, role: Role, sha256: str) -> str:
    if role == "second_opinion":
        folder = config.weights / SECOND_OPINION
        return (
            f"second opinion {sha256[:12]}… is not in {folder}, so it cannot be sent to volunteers; "
            f"install it with `xtalgrid-train import marco --out {folder}`"
        )
    return (
        f"{role} {sha256[:12]}… is neither in the package nor in {config.weights}, so it cannot be sent to "
        "volunteers; add it with `xtalgrid model promote`"
    )
