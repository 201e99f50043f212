"""``look_again``: compare crystals with the drop's first inspection, and look at them in UV light.

What stood there before is dirt, salt or an old crystal; what appeared or grew is new (`xtalgrid_core.growth`). Only
drops that are called crystal are looked at, some per cent, so the pictures are read here and not sent to the workers.
Neither outcomes nor `p_crystal` change.

Each look is recorded when it is done, and done again only if there is more to see: an earlier inspection or a UV image
that came later. So a run that was killed goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason, ImageError
from xtalgrid_core.fluorescence import Glow, fluorescence
from xtalgrid_core.growth import PixelBox, growth
from xtalgrid_core.images import Pixels, read_image
from xtalgrid_core.outcomes import Group
from xtalgrid_core.registration import Unaligned

from ..config import Config
from ..domain.images import ImageRow
from ..domain.log import log
from ..domain.novelty import stood
from ..ledger.database import now
from ..ledger.looks import Look
from ..ledger.shapes import DropImage, ScoredImage
from ..ledger.store import Ledger
from .new_crystals import scored_drops
from .pack import read_file, read_original

_AT_ONCE = 100
"""Scores whose boxes are read at once."""

_SAME_FIELD = 0.05
"""Pictures show the same field if their widths in micrometres differ by less than this part."""


@dataclass(slots=True)
class LookedAgain:
    """Counts of drops at inspections that are called crystal.

    Attributes
    ----------
    new, standing, unsure
        Looked at in this run: the crystals are likely new, or stood there before, or neither is likely.
    unsaid
        Looked at, and it can't be said, or there is only a UV image.
    unreadable
        A picture could not be read; the next run tries again.
    waiting
        Left for the next run, as the time was up.
    known, alone
        Looked at before; with neither an earlier inspection nor a UV image.
    """

    new: int = 0
    standing: int = 0
    unsure: int = 0
    unsaid: int = 0
    unreadable: int = 0
    waiting: int = 0
    known: int = 0
    alone: int = 0

    @property
    def looked(self) -> int:
        """Number of drops looked at in this run."""
        return self.new + self.standing + self.unsure + self.unsaid

    def count(self, look: Look) -> None:
        """Count a look."""
        if look.p_new is None:
            self.unsaid += 1
        elif stood(look.p_new):
            self.standing += 1
        elif look.p_new >= 0.5:
            self.new += 1
        else:
            self.unsure += 1


@dataclass(frozen=True, slots=True)
class _Pair:
    """An image with crystals, and what to compare it with."""

    image: DropImage
    earlier: DropImage | None
    uv_image: str


def look_again(
    config: Config,
    ledger: Ledger,
    *,
    inspected_since: datetime | None = None,
    barcodes: Collection[str] | None = None,
    minutes: float | None = None,
) -> LookedAgain:
    """Look at all crystals at which there is something to see that was not looked at yet, the newest first.

    Parameters
    ----------
    inspected_since
        Only crystals of inspections since then (imager's local time).
    barcodes
        Only these plates.
    minutes
        Stop after this time; the next run goes on.
    """
    ends = None if minutes is None else time.monotonic() + 60 * minutes
    done = LookedAgain()
    pairs = _to_do(config, ledger, inspected_since, barcodes, done)
    for start in range(0, len(pairs), _AT_ONCE):
        part = pairs[start : start + _AT_ONCE]
        ids = {image.score_id for pair in part for image in (pair.image, pair.earlier) if image and image.score_id}
        scores = {score.score_id: score for score in ledger.scores.by_id(sorted(ids))}
        for number, pair in enumerate(part):
            if ends is not None and time.monotonic() > ends:
                done.waiting = len(pairs) - start - number
                return done
            try:
                look = _look(config, scores, pair)
            except ImageError as error:
                log.warning("%s is not looked at again: %s", pair.image.image_name, error)
                done.unreadable += 1
                continue
            ledger.looks.record(look)
            done.count(look)
    return done


def recent(config: Config) -> datetime:
    """Return since when crystals are of interest to `alerts` (imager's local time)."""
    return now() - timedelta(days=config.alerts.days)


def _to_do(
    config: Config, ledger: Ledger, since: datetime | None, barcodes: Collection[str] | None, done: LookedAgain
) -> list[_Pair]:
    """Return the crystals at which there is more to see than was seen, latest inspection first; count the others."""
    plates = ledger.plates.with_crystals(config.work.crystal_from, since)
    if barcodes is not None:
        plates &= set(barcodes)
    pairs = []
    for drops in scored_drops(ledger, plates):
        chosen = [
            (image, _first(drop, image))
            for drop in drops
            for image in drop
            if image.is_scored
            and image.outcome is not None
            and image.outcome.group is Group.CRYSTAL
            and (since is None or image.inspected >= since)
        ]
        uv = ledger.passed_over.uv_images(list({image.inspect_id for image, _ in chosen}))
        known = ledger.looks.of([image.score_id for image, _ in chosen if image.score_id is not None])
        for image, earlier in chosen:
            pair = _Pair(image, earlier, uv.get(image.inspect_id, ""))
            look = known.get(image.score_id or 0)
            if earlier is None and not pair.uv_image:
                done.alone += 1
            elif look and (look.earlier_id, look.uv_image) == (earlier and earlier.image_id, pair.uv_image):
                done.known += 1
            else:
                pairs.append(pair)
    return sorted(pairs, key=lambda pair: pair.image.moment, reverse=True)


def _first(drop: Sequence[DropImage], image: DropImage) -> DropImage | None:
    """Return the drop's image at its first inspection, before that of `image`; `drop` is in order of time."""
    first = drop[0]
    return first if (first.inspected, first.inspection) < (image.inspected, image.inspection) else None


def _look(config: Config, scores: dict[int, ScoredImage], pair: _Pair) -> Look:
    """Look at a score's crystals; raise `ImageError` if one of the pictures can't be read."""
    image, earlier = pair.image, pair.earlier
    assert image.score_id is not None
    look = Look(image.score_id, uv_image=pair.uv_image)
    if earlier is not None:
        look = replace(look, earlier_id=earlier.image_id, since=earlier.inspected)
    answer = scores[image.score_id].answer
    assert isinstance(answer, wire.Scored)
    boxes = [chop.box for chop in answer.boxes if chop.outcome.group is Group.CRYSTAL]
    picture = _scored_file(config, image)
    if earlier is not None:
        before = scores[earlier.score_id].answer if earlier.score_id in scores else None
        look = _compared(config, look, picture, answer, boxes, earlier, before)
    if pair.uv_image:
        uv = read_image(read_original(config, _named(image, pair.uv_image)))
        glow = fluorescence(picture, uv, boxes, answer.pixel_size_um).glow if boxes else Glow.UNSAID
        look = replace(look, uv=glow)
    return look


def _compared(
    config: Config,
    look: Look,
    picture: Pixels,
    answer: wire.Scored,
    boxes: Sequence[PixelBox],
    earlier: DropImage,
    before: wire.Answer | None,
) -> Look:
    if isinstance(before, wire.Scored):
        widths = answer.width * answer.pixel_size_um, before.width * before.pixel_size_um
        if abs(widths[0] / widths[1] - 1) > _SAME_FIELD:
            return replace(look, why=str(Unaligned.SHAPE))
    grown = growth(picture, read_image(read_original(config, earlier)), boxes, answer.pixel_size_um)
    return replace(look, p_new=grown.p_new, why=grown.why)


def _named(image: ImageRow, name: str) -> ImageRow:
    return ImageRow(image.inspect_id, image.barcode, image.inspection, image.inspected, image.well, name)


def _scored_file(config: Config, image: DropImage) -> Pixels:
    """Read the image that was scored; its file may have been replaced since."""
    data, file = read_file(config, image)
    if file.sha256 != image.sha256:
        raise ImageError(FailureReason.HASH_DIFFERS, "its file changed after it was scored; it will be scored again")
    return read_image(data)
