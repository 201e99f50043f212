"""``explain --recompute``: a score made again, by a worker as the grid starts it, and compared with the one in the ledger."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.errors import ImageError, WireError, XtalgridError
from xtalgrid_core.weights import MANIFEST

from ..agreement import TOLERANCE, disagreement
from ..config import Config
from ..ledger.records import ScoreOrigin
from ..ledger.store import Ledger
from ..work.pack import check_image, make_manifest, write_unit

_PATIENCE_SECONDS = 600

Verdict = Literal["same", "agrees", "differs", "impossible"]


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What came of it.

    `verdict`: ``same``: every number is the same; ``agrees``: as two computers' results must (`xtalgrid_server.agreement`);
    ``differs``: it would not pass as the same result; ``impossible``: the image or the models are gone or others. `why` is for
    people. `largest_difference` is that of any probability.
    """

    verdict: Verdict
    why: str
    largest_difference: float | None = None
    answer: wire.Scored | None = None


def recompute(config: Config, ledger: Ledger, origin: ScoreOrigin, sha256: str) -> Recomputed:
    """Score an image again with the models and options of a score.

    Parameters
    ----------
    sha256
        Of the image's file when it was scored.
    """
    before = origin.score.answer
    if isinstance(before, wire.Failed):
        return Recomputed("impossible", f"this score is a failure ({before.reason}); there are no numbers to compare")
    try:
        checked = check_image(config, origin.score.image)
    except ImageError as error:
        return Recomputed("impossible", str(error))
    if checked.sha256 != sha256:
        return Recomputed(
            "impossible",
            f"the file is another than the one that was scored: SHA-256 {checked.sha256[:12]}…, then {sha256[:12]}…",
        )
    unit = ledger.work.unit(origin.unit)
    entries = wire.decode_manifest(unit.manifest).images if unit else ()
    asked = next((entry for entry in entries if entry.number == before.number), None)
    manifest = make_manifest(config, origin.options, [checked])
    if asked is not None:  # at the scale of then, whatever is configured now
        image = msgspec.structs.replace(manifest.images[0], pixel_size_um=asked.pixel_size_um)
        manifest = msgspec.structs.replace(manifest, images=(image,))
    try:
        result = _score(config, manifest, checked.path)
    except XtalgridError as error:
        return Recomputed("impossible", str(error))
    return _compare(result, before, origin.options)


def _score(config: Config, manifest: wire.Manifest, image: Path) -> wire.Result:
    """What a worker says of a unit of one image.

    Raises
    ------
    XtalgridError
        When it says nothing.
    """
    with tempfile.TemporaryDirectory(prefix="xtalgrid-recompute-") as scratch:
        folder = Path(scratch)
        write_unit(folder / "unit.zip", manifest, [image])
        command = [sys.executable, "-m", "xtalgrid_worker.cli", "run", "unit.zip", "result.json", "--keep-priority"]
        if (config.weights / MANIFEST).is_file():
            command += ["--weights", str(config.weights)]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise XtalgridError(f"a worker did not score the image in {_PATIENCE_SECONDS} s") from error
        if not (folder / "result.json").is_file():
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise XtalgridError(f"a worker could not score it: {last.removeprefix('Error: ')}")
        try:
            return wire.decode_result((folder / "result.json").read_bytes())
        except WireError as error:
            raise XtalgridError(f"a worker's answer cannot be read: {error}") from error


def _compare(result: wire.Result, before: wire.Scored, options: wire.Options) -> Recomputed:
    (now,) = result.images
    if isinstance(now, wire.Failed):
        return Recomputed("differs", f"it was scored then, and now: {now.reason}: {now.detail}")
    before = msgspec.structs.replace(before, number=now.number)
    if msgspec.structs.replace(before, seconds=now.seconds) == now:
        return Recomputed("same", "every number is the same", 0.0, now)
    pairs = [(before.p_crystal, now.p_crystal), (before.probability, now.probability)]
    if len(before.probabilities) == len(now.probabilities):
        pairs += zip(before.probabilities, now.probabilities, strict=True)
    largest = max(abs(a - b) for a, b in pairs)
    then = msgspec.structs.replace(result, images=(before,))
    if why := disagreement(then, result, options):
        return Recomputed("differs", f"{why.partition(': ')[2] or why} (then and now)", largest, now)
    outcome = (
        "the outcome is the same" if before.outcome is now.outcome else f"{now.outcome} now, on the edge of the rule"
    )
    why = f"{outcome}; no probability differs by more than {largest:.1g} ({TOLERANCE:g} is allowed)"
    return Recomputed("agrees", why, largest, now)
