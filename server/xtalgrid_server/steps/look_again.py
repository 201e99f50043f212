"""``look_again``: compare crystals with the drop's first inspection, and look at them in UV light.

What stood there before is dirt, salt or an old crystal; what appeared or grew is new (`xtalgrid_core.growth`). Only
drops that are called crystal are looked at, or would be if `work.undecided` asked for less, some per cent, so the
pictures are read here and not sent to the workers. Neither outcomes nor `p_crystal` change.

Each look is recorded when it is done, and done again only if there is more to see: an earlier inspection or a UV image
that came later, or another file of one of the two. What was compared with an image that is not to be compared any
more, such as one that turned out to be in UV light, is taken back. So a run that was killed goes on where it was. One
at which a picture could not be read is recorded with the reason, and tried again when the picture is back or changed,
or after `_TRY_AGAIN`, behind all others.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason, ImageError
from xtalgrid_core.fluorescence import Glow, fluorescence
from xtalgrid_core.growth import PixelBox, growth
from xtalgrid_core.images import Pixels, read_image, read_uv
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_core.registration import Unaligned
from xtalgrid_core.scale import GUESSED

from ..config import Config
from ..domain.image_names import capture_profile, illumination
from ..domain.images import ImageRow
from ..domain.log import log
from ..domain.novelty import stood
from ..ledger.database import now
from ..ledger.looks import Look
from ..ledger.shapes import DropImage, ScoredImage
from ..ledger.store import Ledger
from ..storage.originals import original_status
from .new_crystals import before_inspection, in_time, scored_drops, taken_at
from .pack import image_path, read_original, read_scored

_AT_ONCE = 100
"""Scores whose boxes are read at once."""

_TRY_AGAIN = timedelta(hours=6)
"""A picture that could not be read is tried again after this time, whatever its file looks like."""

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
        A picture could not be read, in this run or an earlier one; by reason (`FailureReason`).
    waiting
        Left for the next run, as the time was up.
    known, alone
        Looked at before; with neither an earlier inspection nor a UV image.
    """

    new: int = 0
    standing: int = 0
    unsure: int = 0
    unsaid: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    known: int = 0
    alone: int = 0

    @property
    def looked(self) -> int:
        """Number of drops looked at in this run."""
        return self.new + self.standing + self.unsure + self.unsaid

    def count(self, look: Look) -> None:
        """Count a look."""
        if look.unread:
            self.unreadable[look.unread] += 1
        elif look.p_new is None:
            self.unsaid += 1
        elif stood(look.p_new):
            self.standing += 1
        elif look.p_new >= 0.5:
            self.new += 1
        else:
            self.unsure += 1


@dataclass(frozen=True, slots=True)
class _Pair:
    """An image with crystals, what to compare it with, and what an earlier look told."""

    image: DropImage
    earlier: DropImage | None
    uv_image: str
    known: Look | None

    @property
    def is_known(self) -> bool:
        """Whether an earlier look saw all that there is."""
        look, earlier_id = self.known, self.earlier.image_id if self.earlier else None
        return look is not None and not look.unread and (look.earlier_id, look.uv_image) == (earlier_id, self.uv_image)

    @property
    def images(self) -> list[ImageRow]:
        """All pictures that a look reads."""
        uv = [_named(self.image, self.uv_image)] if self.uv_image else []
        return [self.image, *([self.earlier] if self.earlier else []), *uv]


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
        Only these plates; what could not be read there is tried again at once.
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
            look = _look(config, scores, pair)
            ledger.looks.record(look)
            done.count(look)
    return done


def recent(config: Config) -> datetime:
    """Return since when crystals are of interest to `alerts` (imager's local time)."""
    return now() - timedelta(days=config.alerts.days)


def _to_do(
    config: Config, ledger: Ledger, since: datetime | None, barcodes: Collection[str] | None, done: LookedAgain
) -> list[_Pair]:
    """Return the crystals at which there is more to see than was seen; count the others.

    The latest inspection is the first; those with a picture that could not be read are the last.
    """
    plates = ledger.plates.with_crystals(config.work.crystal_from, since)
    if barcodes is not None:
        plates &= set(barcodes)
    pairs = []
    for drops in scored_drops(ledger, plates):
        chosen = [
            (image, _first(drop, image))
            for drop in drops
            for image in drop
            if _shows_crystals(config, image) and (since is None or taken_at(image, drop) >= since)
        ]
        uv = ledger.passed_over.uv_images(list({image.inspect_id for image, _ in chosen}))
        known = ledger.looks.of([image.score_id for image, _ in chosen if image.score_id is not None])
        replaced = _replaced(ledger, chosen, known)
        for image, earlier in chosen:
            look = known.get(image.score_id or 0)
            if look is not None and look.score_id in replaced:
                look = replace(look, earlier_id=None)
            pair = _Pair(image, earlier, uv.get(image.inspect_id, ""), look)
            if look is not None and pair.is_known and pair.uv_image and _is_uv_replaced(config, pair, look):
                pair = replace(pair, known=replace(look, uv_image="", uv=None))
            if earlier is None and not pair.uv_image:
                done.alone += 1
                if look is not None and (holds := _what_holds(config, ledger, image, look)) != look:
                    ledger.looks.record(holds)
            elif look and look.unread and barcodes is None and not _is_due(config, pair, look):
                done.count(look)
            elif pair.is_known:
                done.known += 1
            else:
                pairs.append(pair)
    pairs.sort(key=lambda pair: pair.image.moment, reverse=True)
    return sorted(pairs, key=lambda pair: bool(pair.known and pair.known.unread))


def _what_holds(config: Config, ledger: Ledger, image: DropImage, look: Look) -> Look:
    """Return what is left of a look where there is nothing to compare with any more.

    The comparison with an earlier image stays as long as that is one, if only its file can't be scored now.
    """
    earlier = ledger.images.by_id([look.earlier_id]).get(look.earlier_id) if look.earlier_id is not None else None
    if (
        earlier is None
        or not config.light.is_scored(earlier.image_name)
        or _first(in_time([earlier, image]), image) is None
    ):
        return Look(look.score_id)
    return replace(look, uv_image="", uv=None, why="" if look.p_new is not None else look.why)


def _shows_crystals(config: Config, image: DropImage) -> bool:
    """Tell whether an image is called crystal, or would be if the lab were content with less (`work.undecided`)."""
    if not image.is_scored or image.outcome is None:
        return False
    is_unsure = image.outcome is Outcome.UNDECIDED and image.p_crystal >= config.work.crystal_from
    return image.outcome.group is Group.CRYSTAL or is_unsure


def _replaced(ledger: Ledger, chosen: Sequence[tuple[DropImage, DropImage | None]], known: dict[int, Look]) -> set[int]:
    """Return the ids of the scores that were compared with a file of the earlier image that was replaced since."""
    seen: dict[int, dict[int, datetime]] = {}
    for image, earlier in chosen:
        look = known.get(image.score_id or 0)
        compared = look is not None and earlier is not None and look.earlier_id == earlier.image_id and look.at
        if compared and earlier is not None and earlier.at is not None and earlier.at > compared:
            seen.setdefault(earlier.image_id, {})[image.score_id or 0] = compared
    first = {image_id: min(moments.values()) for image_id, moments in seen.items()}
    others = ledger.scores.of_other_files(first) if first else set[int]()
    return {score_id for image_id in others for score_id in seen[image_id]}


def _is_uv_replaced(config: Config, pair: _Pair, look: Look) -> bool:
    """Tell whether the file of a UV image changed after the look at it; one that can't be asked about did not.

    The ledger knows the files of images that are scored, but not these. A time ahead of now tells nothing.
    """
    try:
        changed = _changed(config, [_named(pair.image, pair.uv_image)])
    except ImageError:
        return False
    return look.at is not None and look.at.replace(tzinfo=UTC).timestamp() < changed <= time.time()


def _changed(config: Config, images: Sequence[ImageRow]) -> float:
    """Return when the newest of some pictures' files changed, in seconds since 1970; raises ImageError."""
    files = [original_status(config, image_path(config, image)) for image in images]
    return max(max(file.st_mtime, file.st_ctime) for file in files)  # a copy may keep its original's st_mtime


def _is_due(config: Config, pair: _Pair, look: Look) -> bool:
    """Tell whether to try again to read pictures: after some time, or if a missing one is back, or one changed."""
    if look.at is None or not timedelta() <= now() - look.at < _TRY_AGAIN:  # the clock may have been set back
        return True
    try:
        changed = _changed(config, pair.images)
    except ImageError:
        return False
    return look.unread == FailureReason.MISSING_FILE or changed >= look.at.replace(tzinfo=UTC).timestamp()


def _first(drop: Sequence[DropImage], image: DropImage) -> DropImage | None:
    """Return the drop's image at its first inspection, before that of `image`; `drop` is in order of time (`in_time`).

    Of several, it is the one that was taken like `image`. What is dark, as in UV light, can't be compared.
    """
    earlier = [one for one in before_inspection(image, drop) if not _is_dark(one)]
    first = [one for one in earlier if one.inspect_id == earlier[0].inspect_id]
    return next((one for one in first if _kind(one) == _kind(image)), first[0] if first else None)


def _is_dark(image: DropImage) -> bool:
    """Tell whether an image is undecided because it looks like UV light: then nothing of its numbers is kept."""
    return image.outcome is Outcome.UNDECIDED and image.probability == 0


def _kind(image: DropImage) -> tuple[str | None, int | None]:
    return illumination(image.image_name), capture_profile(image.image_name)


def _look(config: Config, scores: dict[int, ScoredImage], pair: _Pair) -> Look:
    """Look at a score's crystals; if a picture can't be read, what an earlier look told of it stays."""
    image, earlier = pair.image, pair.earlier
    assert image.score_id is not None
    known = pair.known if pair.known and earlier else Look(image.score_id)
    look = replace(known, uv_image=pair.uv_image, at=now())
    if look.uv_image != known.uv_image:
        look = replace(look, uv=None)
    if earlier is not None and known.p_new is None:
        look = replace(look, earlier_id=earlier.image_id, since=earlier.inspected)
    answer = scores[image.score_id].answer
    assert isinstance(answer, wire.Scored)
    boxes = crystal_boxes(answer)
    try:
        picture = read_scored(config, image)
    except ImageError as error:
        return _unread(look, image, error)
    if earlier is not None and (known.unread or known.earlier_id != earlier.image_id):
        before = scores[earlier.score_id].answer if earlier.score_id in scores else None
        try:
            look = _compared(config, look, picture, answer, boxes, earlier, before)
        except ImageError as error:
            look = _unread(look, image, error)
    if pair.uv_image:
        try:
            uv = read_uv(read_original(config, _named(image, pair.uv_image)))
            glow = fluorescence(picture, uv, boxes, answer.pixel_size_um).glow if boxes else Glow.UNSAID
            look = replace(look, uv=glow)
        except ImageError as error:
            look = _unread(look, image, error)
    return look


def _unread(look: Look, image: DropImage, error: ImageError) -> Look:
    log.warning("%s is not looked at again: %s", image.image_name, error)
    return replace(look, why=str(error.reason))


def _compared(
    config: Config,
    look: Look,
    picture: Pixels,
    answer: wire.Scored,
    boxes: Sequence[PixelBox],
    earlier: DropImage,
    before: wire.Answer | None,
) -> Look:
    look = replace(look, earlier_id=earlier.image_id, since=earlier.inspected, p_new=None)
    if isinstance(before, wire.Scored) and not answer.pixel_size_origin == before.pixel_size_origin == GUESSED:
        widths = answer.width * answer.pixel_size_um, before.width * before.pixel_size_um
        if abs(widths[0] / widths[1] - 1) > _SAME_FIELD:
            return replace(look, why=str(Unaligned.SHAPE))
    grown = growth(picture, read_image(read_original(config, earlier)), boxes, answer.pixel_size_um)
    return replace(look, p_new=grown.p_new, why=grown.why)


def _named(image: ImageRow, name: str) -> ImageRow:
    return ImageRow(image.inspect_id, image.barcode, image.inspection, image.inspected, image.well, name)


def crystal_boxes(answer: wire.Scored) -> list[wire.PixelBox]:
    """Return the boxes of the best chops that show crystals; an undecided well may have some, too."""
    if answer.outcome.group not in (Group.CRYSTAL, Group.UNKNOWN):
        return []
    return [chop.box for chop in answer.boxes if chop.outcome.group is Group.CRYSTAL]
