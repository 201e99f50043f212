"""Get the wheel, check it, and write a folder of weights from it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import msgspec

from xtalgrid_core.combination import Combination
from xtalgrid_core.errors import ModelError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.weights import MANIFEST, ModelEntry, Role, Variant, WeightsManifest, manifest_of, read_manifest

from . import convert

PACKAGE, VERSION = "dls-marco-score-ispyb", "1.0.1"
WHEEL = "dls_marco_score_ispyb-1.0.1-py3-none-any.whl"
WHEEL_SHA256 = "4484e1ed251793d0fb1ef229630151d11baf1a90eaa72fd6dc1cc9e09097a5e8"
IDS: Mapping[Variant, str] = {
    "fp32": "e6412941630cb989c53830a9ec81478e4e8956bd60c6c6ac856af7e8de8430ca",
    "int8": "176e405a6954829b03474411a3b674dff64a3aa787df71249970f4bb006a1506",
}
"""SHA-256 of the files made, by which scores name the network."""

COMBINATIONS: Mapping[Variant, Combination] = {
    "fp32": Combination(0.709, 0.472, (0.006, -0.046, 0.067, -0.027)),
    "int8": Combination(0.711, 0.476, (0.0, -0.039, 0.063, -0.024)),
}
"""How they are combined with the packaged classifier, by ``xtalgrid-train judge second-opinion`` (docs/models.md)."""

ROLE: Role = "second_opinion"
_MODEL = "dls_marco_score_ispyb/savedmodel"
_LICENCE = "dls_marco_score_ispyb-1.0.1.dist-info/LICENSE"
_CARD = "marco.md"
_FILES: Mapping[Variant, str] = {"fp32": "marco.onnx", "int8": "marco-int8.onnx"}


def install(folder: Path, wheel: Path | None = None) -> WeightsManifest:
    """Write the network, its card, licence and notice, and their manifest into a folder of their own.

    Parameters
    ----------
    folder
        Created if missing.
    wheel
        The file `WHEEL`; if None, pip downloads it.

    Raises
    ------
    ModelError
        If the wheel can't be downloaded or is a different one, the conversion gives unexpected bytes, or the folder
        has other weights.
    OSError
        If a file can't be read or written. The manifest is written last.
    """
    if (folder / MANIFEST).is_file() and any(entry.role != ROLE for entry in read_manifest(folder).models):
        raise ModelError(f"{folder}: contains other weights; give a separate folder")
    with tempfile.TemporaryDirectory() as scratch:
        parts = _contents(wheel or download(Path(scratch)))
    networks = _convert(parts)
    folder.mkdir(parents=True, exist_ok=True)
    for variant, data in networks.items():
        write_atomically(folder / _FILES[variant], data)
    write_atomically(folder / "LICENSE", parts[_LICENCE])
    for name in (_CARD, "NOTICE"):
        write_atomically(folder / name, (Path(__file__).parent / name).read_bytes())
    manifest = manifest_of({ROLE: IDS["fp32"]}, map(_entry, networks))
    write_atomically(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    return manifest


def _entry(variant: Variant) -> ModelEntry:
    return ModelEntry(
        sha256=IDS[variant],
        role=ROLE,
        file=_FILES[variant],
        architecture="inception-marco",
        variant=variant,
        card=_CARD,
        combination=COMBINATIONS[variant],
        origin="" if variant == "fp32" else IDS["fp32"],
    )


def download(folder: Path) -> Path:
    """Download the wheel into a folder with pip; return its path.

    Raises
    ------
    ModelError
        If pip fails; the message quotes its last line.
    """
    options = [
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        "--retries=1",
        "--timeout=20",
        "--quiet",
    ]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), f"{PACKAGE}=={VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True)
    wheel = folder / WHEEL
    if done.returncode or not wheel.is_file():
        reason = (done.stderr.strip() or "no wheel was downloaded").splitlines()[-1]
        raise ModelError(
            f"pip could not download {PACKAGE} {VERSION} ({reason}); "
            f"check the network, the proxy and the free space in {folder.parent}, "
            f"or download {WHEEL} from pypi.org on another machine and give it with --wheel"
        )
    return wheel


def _contents(wheel: Path) -> dict[str, bytes]:
    """Check the wheel's hash, and return its files by name."""
    with wheel.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        if sha256 != WHEEL_SHA256:
            raise ModelError(
                f"{wheel}: SHA-256 is {sha256[:12]}…, not {WHEEL_SHA256[:12]}…; give {WHEEL} from pypi.org"
            )
        with zipfile.ZipFile(stream) as archive:
            return {name: archive.read(name) for name in archive.namelist()}


def _convert(parts: Mapping[str, bytes]) -> dict[Variant, bytes]:
    variables = f"{_MODEL}/variables/variables"
    net = convert.read(
        parts[f"{_MODEL}/saved_model.pb"], parts[f"{variables}.index"], parts[f"{variables}.data-00000-of-00001"]
    )
    networks: dict[Variant, bytes] = {"fp32": convert.fp32(net), "int8": convert.int8(net)}
    for variant, data in networks.items():
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 != IDS[variant]:
            versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "onnx", "protobuf"))
            raise ModelError(
                f"the {variant} network has SHA-256 {sha256[:12]}…, not {IDS[variant][:12]}…; nothing was written. "
                f"It was made with {versions}; install the versions that xtalgrid was tested with"
            )
    return networks
