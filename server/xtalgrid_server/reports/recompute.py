"""``explain --recompute``: score an image again, with the workers' own library, and compare with the ledger."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.errors import ImageError, XtalgridError
from xtalgrid_scoring.pool import Pool

from ..config import Config
from ..ledger.scores import Origin
from ..ledger.shapes import ScoredImage
from ..ledger.store import Ledger
from ..steps.assimilate.agree import TOLERANCE, image_disagreement
from ..steps.assimilate.doubt import doubted, is_doubted
from ..steps.pack import read_original

_PATIENCE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Recomputed:
    """Comparison of a recomputed score with the one in the ledger.

    Attributes
    ----------
    verdict
        ``same``: all numbers are equal. ``agrees``: they are as close as two computers' results must be
        (`xtalgrid_server.steps.assimilate.agree`). ``differs``: they are not. ``impossible``: there was nothing to
        compare, for example because the image or the models are missing or have changed.
    why
        The reason, for people.
    largest_difference
        Of any probability.
    """

    verdict: Literal["same", "agrees", "differs", "impossible"]
    why: str
    largest_difference: float | None = None
    answer: wire.Scored | None = None


def recompute(config: Config, ledger: Ledger, score: ScoredImage, origin: Origin) -> Recomputed:
    """Score an image again with the models and options of a score."""
    before = score.answer
    if isinstance(before, wire.Failed):
        return Recomputed("impossible", f"this score is a failure ({before.reason}); there are no numbers to compare")
    try:
        data = read_original(config, score)
    except ImageError as error:
        return Recomputed("impossible", str(error))
    sha256_now = hashlib.sha256(data).hexdigest()
    if sha256_now != score.sha256:
        return Recomputed(
            "impossible",
            f"the file has changed since it was scored: SHA-256 {sha256_now[:12]}…, then {score.sha256[:12]}…",
        )
    unit = ledger.units.named(origin.unit)
    entries = wire.decode_manifest(unit.manifest).images if unit else ()
    asked = next((entry for entry in entries if entry.number == before.number), None)
    um = config.imager.pixel_size_um if asked is None else asked.pixel_size_um  # as it was then, not as configured now
    try:
        with Pool(processes=1, seconds=_PATIENCE_SECONDS) as pool:
            now = pool.score(data, origin.options, pixel_size_um=um, number=before.number, folders=[config.weights])
    except XtalgridError as error:
        return Recomputed("impossible", str(error))
    return _compare(now, before, origin.options)


def _compare(now: wire.Answer, before: wire.Scored, options: wire.Options) -> Recomputed:
    if isinstance(now, wire.Failed):
        return Recomputed("differs", f"it could be scored then, but not now: {now.reason}: {now.detail}")
    if is_doubted(before):
        now = doubted(now)
        assert isinstance(now, wire.Scored)
    if before.groups is None:  # from an older worker, which did not send them
        now = msgspec.structs.replace(now, groups=None)
    if msgspec.structs.replace(before, seconds=now.seconds) == now:
        return Recomputed("same", "every number is the same", 0.0, now)
    pairs = [(before.p_crystal, now.p_crystal), (before.probability, now.probability)]
    if len(before.probabilities) == len(now.probabilities):
        pairs += zip(before.probabilities, now.probabilities, strict=True)
    largest = max(abs(a - b) for a, b in pairs)
    if why := image_disagreement(before, now, options):
        return Recomputed("differs", f"{why} (then and now)", largest, now)
    outcome = (
        "the outcome is the same" if before.outcome is now.outcome else f"{now.outcome} now, near the limit of the rule"
    )
    why = f"{outcome}; no probability differs by more than {largest:.1g} ({TOLERANCE:g} is allowed)"
    return Recomputed("agrees", why, largest, now)
