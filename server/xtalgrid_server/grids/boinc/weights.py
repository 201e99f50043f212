"""Weights that travel beside a unit: files named by their content, staged once, kept by server and volunteers.

The package's own default pair needs no file: every worker carries it. For any other pair there are three: the two networks
under their SHA-256, and a list of just these two, which has their calibration.
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
    """A file that travels: `logical` is its name in the worker's folder, `physical` BOINC's."""

    logical: str
    physical: str
    data: bytes


def weight_files(config: Config, pair: Pair) -> tuple[WeightFile, ...]:
    """What must travel for a (segmenter, classifier), the list first; nothing for the package's own.

    Raises
    ------
    ModelError
        When this machine does not have them, or their bytes are not those of their name.
    """
    if pair == default_models():
        return ()
    files, entries = [], list[ModelEntry]()
    for sha256, role in zip(pair, ROLES, strict=True):
        try:
            entry, data = find_model(sha256, role, [config.weights])
        except UnknownModel as error:
            raise UnknownModel(
                f"{role} {sha256[:12]}… is neither in the package nor in {config.weights}, so it cannot travel to "
                "volunteers; bring it there with `xtalgrid model promote`"
            ) from error
        name = f"{sha256}.onnx"
        entries.append(msgspec.structs.replace(entry, file=name, card=""))
        files.append(WeightFile(name, name, data))
    named = dict(zip(ROLES, pair, strict=True))
    listed = msgspec.json.encode(WeightsManifest(schema=1, default=named, models=tuple(entries)))
    digest = hashlib.sha256(listed).hexdigest()
    return (WeightFile(wire.WEIGHTS_FILE, f"xtalgrid_weights_{digest[:32]}.json", listed), *files)
