"""Weights sent with a unit: files named by their content, staged once, and kept by the server and the volunteers.

The package's default pair needs no file: every worker contains it. Any other pair takes three files: the two networks,
named by their SHA-256, and a list of these two with their calibration.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.errors import UnknownModel
from xtalgrid_core.weights import ModelEntry, WeightsManifest, default_models, find_model

from ...config import Config
from ...storage.weights import ROLES, Pair


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file to send: `logical` is its name in the worker's folder, `physical` its name in BOINC."""

    logical: str
    physical: str
    data: bytes


def weight_files(config: Config, pair: Pair) -> tuple[WeightFile, ...]:
    """Return the files to send for a (segmenter, classifier) pair, the list first; none for the package's default pair.

    Raises
    ------
    ModelError
        If this machine does not have the models, or their bytes do not match their SHA-256.
    """
    if pair == default_models():
        return ()
    files, entries = [], list[ModelEntry]()
    for sha256, role in zip(pair, ROLES, strict=True):
        try:
            entry, data = find_model(sha256, role, [config.weights])
        except UnknownModel as error:
            raise UnknownModel(
                f"{role} {sha256[:12]}… is neither in the package nor in {config.weights}, so it cannot be sent to "
                "volunteers; add it with `xtalgrid model promote`"
            ) from error
        name = f"{sha256}.onnx"
        entries.append(msgspec.structs.replace(entry, file=name, card=""))
        files.append(WeightFile(name, name, data))
    named = dict(zip(ROLES, pair, strict=True))
    listed = msgspec.json.encode(WeightsManifest(schema=1, default=named, models=tuple(entries)))
    digest = hashlib.sha256(listed).hexdigest()
    return (WeightFile(wire.WEIGHTS_FILE, f"xtalgrid_weights_{digest[:32]}.json", listed), *files)
