"""``home/weights``: the lab's own weights, in files named by their SHA-256 and never changed, and their manifest.

The folder has the layout described in `xtalgrid_core.weights`, so it can be passed to workers with ``--weights``. The
ledger decides which weights new work uses. A second opinion lies in the folder ``second-opinion`` inside, as
``xtalgrid-train import marco`` wrote it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from xtalgrid_core.errors import BrokenModel
from xtalgrid_core.files import write_atomically
from xtalgrid_core.options import Options
from xtalgrid_core.weights import (
    MANIFEST,
    PACKAGED,
    SECOND_OPINION,
    ModelEntry,
    Role,
    find_model,
    manifest_of,
    read_manifest,
)

from ..config import Config

Pair = tuple[str, str]
"""SHA-256 of a segmenter and a classifier, chosen together because the classifier sees the segmenter's crops."""

ROLES: tuple[Role, Role] = ("segmenter", "classifier")


def entries(config: Config) -> tuple[ModelEntry, ...]:
    """Return the lab's own segmenters and classifiers, oldest first."""
    return read_manifest(config.weights).models if (config.weights / MANIFEST).is_file() else ()


def second_opinions(config: Config) -> tuple[ModelEntry, ...]:
    """Return the second opinions that are installed."""
    folder = config.weights / SECOND_OPINION
    return read_manifest(folder).models if (folder / MANIFEST).is_file() else ()


def entry(config: Config, sha256: str, role: Role) -> ModelEntry | None:
    """Return the manifest entry of weights, the lab's or the package's; None if neither has them."""
    known = (*entries(config), *second_opinions(config), *read_manifest(PACKAGED).models)
    return next((e for e in known if e.sha256 == sha256 and e.role == role), None)


def missing(config: Config, options: Options) -> str | None:
    """Say what a worker on this machine lacks for these options, as while a share is off; None if nothing.

    Contents are not read, so a file may still be a wrong one.
    """
    wanted: list[tuple[str, Role]] = [(options.segmenter, "segmenter"), (options.classifier, "classifier")]
    if options.second_opinion is not None:
        wanted.append((options.second_opinion, "second_opinion"))
    there: set[tuple[str, Role]] = set()
    try:
        for folder in (config.weights, config.weights / SECOND_OPINION, PACKAGED):
            models = read_manifest(folder).models if (folder / MANIFEST).is_file() else ()
            there |= {(one.sha256, one.role) for one in models if (folder / one.file).is_file()}
    except BrokenModel as error:
        return str(error)
    except OSError as error:
        return f"{config.weights}: {error.strerror}"
    lacking = [f"{role.replace('_', ' ')} {sha256[:12]}…" for sha256, role in wanted if (sha256, role) not in there]
    return f"{config.weights} does not have the {' and the '.join(lacking)}" if lacking else None


def add(config: Config, candidate: Path, pair: Pair) -> None:
    """Copy a pair of weights from a candidate's folder, except those that the lab already has.

    The files are written before the manifest that lists them, each atomically, so that the folder is valid even if the
    process is killed.

    Parameters
    ----------
    config
        Says where the lab's weights are.
    candidate
        Folder of weights, with a manifest.
    pair
        SHA-256 of the segmenter and the classifier.

    Raises
    ------
    BrokenModel
        If a file does not match its SHA-256, or if the lab already has a network with another calibration or pooling:
        the same name would then stand for different scores.
    """
    known = {e.sha256: e for e in entries(config)}
    added = []
    for sha256, role in zip(pair, ROLES, strict=True):
        model, data = find_model(sha256, role, [candidate])
        if sha256 in known:
            if _decides_by(known[sha256]) != _decides_by(model):
                raise BrokenModel(
                    f"{role} {sha256[:12]}… already exists here with another calibration or pooling, "
                    "and work units that name it were sent; export it again, so that it gets a new name"
                )
            if not _is_whole(config, known[sha256]):  # listed, but deleted or damaged since
                _keep(config.weights / known[sha256].file, data)
            continue
        config.weights.mkdir(parents=True, exist_ok=True)
        card = _card(candidate, model)
        _keep(config.weights / f"{sha256}.onnx", data)
        _keep(config.weights / f"{sha256}.md", card)
        added.append(msgspec.structs.replace(model, file=f"{sha256}.onnx", card=f"{sha256}.md"))
    if added:
        _write_manifest(config, (*known.values(), *added), pair)


def mark(config: Config, pair: Pair) -> None:
    """Make the pair in use the manifest's default, for ``xtalgrid-worker score --weights`` on the folder.

    If the lab's own weights do not include both, the manifest stays as it is.
    """
    known = entries(config)
    if {(e.sha256, e.role) for e in known} >= set(zip(pair, ROLES, strict=True)):
        _write_manifest(config, known, pair)


def _is_whole(config: Config, model: ModelEntry) -> bool:
    path = config.weights / model.file
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == model.sha256
    except OSError:
        return False


def _decides_by(model: ModelEntry) -> tuple[object, ...]:
    return model.calibration, model.pooling, model.combination, model.combined_with


def _card(candidate: Path, model: ModelEntry) -> bytes:
    """Return the model card from the candidate's folder or the package, or a minimal one if there is none."""
    for folder in (candidate, PACKAGED):
        path = folder / Path(model.card).name
        if path.is_file():
            return path.read_bytes()
    return (
        f"# {model.role} `{model.sha256[:12]}…`\n\n{model.architecture}, {model.variant}. It has no model card.\n"
    ).encode()


def _keep(path: Path, data: bytes) -> None:
    write_atomically(path, data)
    path.chmod(0o400)


def _write_manifest(config: Config, models: Iterable[ModelEntry], pair: Pair) -> None:
    manifest = manifest_of(dict(zip(ROLES, pair, strict=True)), models)
    write_atomically(config.weights / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
