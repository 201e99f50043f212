"""`Score` and `Failure`: the result for an image."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from xtalgrid_core import wire
from xtalgrid_core.decision import called_group
from xtalgrid_core.errors import ConfigError, FailureReason, ImageError
from xtalgrid_core.frames import frame, thumbnail
from xtalgrid_core.images import read_image
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group, Outcome
from xtalgrid_scoring.classmap import overlay_maps
from xtalgrid_scoring.table import row

from .images import Source, naming

if TYPE_CHECKING:
    from .scorer import Scorer

_SHOWN = 480
"""Longer side, in pixels, of the picture that a notebook shows for a score."""

BoxInImage = tuple[int, int, int, int]
"""``(row, col, height, width)`` in pixels of the original image."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The drop that was found in an image.

    Attributes
    ----------
    box : tuple of int, or None
        ``(row, col, height, width)`` in pixels of the original image; None if no drop was found.
    outline : tuple of (row, col)
        Points along its edge, clockwise; empty if no drop was found.
    confidence : float
        Confidence in this result, drop or no drop; 0..1.
    """

    box: BoxInImage | None
    outline: tuple[tuple[int, int], ...]
    confidence: float


@dataclass(frozen=True, slots=True)
class Chop:
    """A chop, a square part of the drop, that explains the well's outcome.

    Attributes
    ----------
    box : tuple of int
        ``(row, col, height, width)`` in pixels of the original image.
    outcome : Outcome
        Outcome of this chop.
    probability : float
        Probability of that outcome, 0..1.
    """

    box: BoxInImage
    outcome: Outcome
    probability: float


class Score:
    """The score of one image. `Scorer.score` makes it.

    Examples
    --------
    >>> import xtalgrid
    >>> from xtalgrid_synth import render_well
    >>> well = render_well(xtalgrid.Outcome.HARVESTABLE, seed=1, width=640, height=480, pixel_size_um=4.5)
    >>> score = xtalgrid.Scorer().score(well.image, pixel_size_um=4.5)
    >>> score.group, score.number
    (<Group.CRYSTAL: 'crystal'>, 23)
    >>> list(score.probabilities), round(sum(score.probabilities.values()), 6)
    (['crystal', 'precipitate', 'other', 'clear'], 1.0)
    >>> score.class_map("crystal").shape == score.shape == (480, 640)
    True
    """

    def __init__(self, source: Source, answer: wire.Scored, scorer: Scorer) -> None:
        self._source, self._answer, self._scorer = source, answer, scorer

    def __repr__(self) -> str:
        """Show the image, its outcome, and the probability of a crystal."""
        name, doubt = Path(self.image).name, ", looks like UV" if self.looks_like_uv else ""
        return f"<Score of {name}: {self.outcome} {self.probability:.2f}, p_crystal {self.p_crystal:.2f}{doubt}>"

    @property
    def image(self) -> str:
        """The image's path, or a description of the object."""
        return self._source.name

    @property
    def outcome(self) -> Outcome:
        """The well's outcome: one of the 13 in Table 1 of Thielmann et al. (2023), or undecided."""
        return self._answer.outcome

    @property
    def group(self) -> Group:
        """The outcome's group: crystal, precipitate, other or clear."""
        return self._answer.outcome.group

    @property
    def number(self) -> int | None:
        """The outcome's score in the imager's score table (Table 1); None for undecided."""
        return self._answer.score

    @property
    def looks_like_uv(self) -> bool:
        """Whether the image is dark, as in UV light. Don't trust its score then."""
        return self._answer.looks_like_uv

    @property
    def probability(self) -> float:
        """Probability of the outcome, 0..1."""
        return self._answer.probability

    @property
    def p_crystal(self) -> float:
        """Calibrated probability of a crystal in the well, 0..1; rank wells by it."""
        return self._answer.p_crystal

    @property
    def probabilities(self) -> dict[str, float]:
        """Probabilities of the four groups, by name; they sum to 1, and that of ``"crystal"`` is `p_crystal`."""
        assert self._answer.groups is not None  # missing only from answers of old workers
        return _by_group(self._answer.groups)

    @property
    def possible_groups(self) -> tuple[Group, ...] | None:
        """The groups that the well may be of: of rendered wells of each group, 98 % have their own among them.

        On other wells that part may be smaller (docs/models.md). None if it is not known for these weights.
        """
        options, groups = self._scorer.options, self._answer.groups
        if options.possible is None or groups is None:
            return None
        called = called_group(self.outcome, groups, options, has_chops=bool(self._answer.probabilities))
        return options.possible(groups, called)

    @property
    def own_probabilities(self) -> dict[str, float]:
        """Probabilities of the four groups by our networks alone: `probabilities`, if there is no second opinion."""
        groups = self._answer.own_groups
        return self.probabilities if groups is None else _by_group(groups)

    @property
    def second_opinion(self) -> dict[str, float] | None:
        """Probabilities of the four groups by the second opinion alone, as it gives them; None if there is none."""
        second = self._answer.second_opinion
        return None if second is None else _by_group(second.groups)

    @property
    def class_maxima(self) -> dict[str, float]:
        """The largest probability of each of the 13 outcomes in any chop, 0..1; empty if there is no drop."""
        return {str(o): p for o, p in zip(CLASSES, self._answer.probabilities, strict=False)}

    @property
    def boxes(self) -> tuple[Chop, ...]:
        """The best chops, best first; empty if there is no drop."""
        return tuple(Chop(chop.box, chop.outcome, chop.probability) for chop in self._answer.boxes)

    @property
    def drop(self) -> Drop:
        """The drop that was found in the image."""
        drop = self._answer.drop
        return Drop(drop.box, drop.outline, drop.confidence)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self._answer.height, self._answer.width

    @property
    def pixel_size_um(self) -> float:
        """Micrometres per pixel that the image was scored with."""
        return self._answer.pixel_size_um

    @property
    def pixel_size_origin(self) -> str:
        """Origin of `pixel_size_um`: ``"configured"`` (by you), an imager's name, or ``"guessed"``."""
        return self._answer.pixel_size_origin

    def frame(self) -> Image.Image:
        """Draw the score into the image: the coloured ARTscore frame, the drop's outline and the best chops.

        Raises
        ------
        ImageError
            If the image's file is missing or has changed.
        """
        with naming(self._source):
            return frame(read_image(self._source.read()), self._answer)

    def class_map(self, group: Group | str = Group.CRYSTAL) -> npt.NDArray[np.float32]:
        """Return a map of where a group was seen, ``(M, N)`` like the image, 0..1; 0 outside the drop.

        The map is sharper than the chops, and zero where no chop agrees. It shows where to look, but the score is made
        from the chops.

        Parameters
        ----------
        group : {"crystal", "precipitate", "other", "clear"}, optional
            The group.

        Raises
        ------
        ConfigError
            If there is no such group, or the classifier has no class map.
        ImageError
            If the image's file is missing or has changed.
        """
        if group not in SCORED_GROUPS:
            names = ", ".join(map(str, SCORED_GROUPS))
            raise ConfigError(f"no class map of {group!r}; choose from: {names}")
        values = self._maps[Group(group)]
        picture = Image.fromarray(values).resize((self._answer.width, self._answer.height), Image.Resampling.BILINEAR)
        return np.asarray(picture, np.float32)

    def to_dict(self) -> dict[str, object]:
        """Return the score as a flat dict, one row of a table: ``pandas.DataFrame(s.to_dict() for s in scores)``.

        Failures have the same keys, so that one table can hold all images.
        """
        return row(self.image, self._answer, self._answer.second_opinion is not None)

    @cached_property
    def _maps(self) -> Mapping[Group, npt.NDArray[np.float32]]:
        with naming(self._source):
            return overlay_maps(self._source.read(), self._scorer._networks, self._answer.pixel_size_um)

    def _repr_png_(self) -> bytes | None:
        """Draw a small framed image for a notebook; None if its file is missing (the notebook then shows the text)."""
        stream = io.BytesIO()
        try:
            thumbnail(self.frame(), _SHOWN).save(stream, "PNG")
        except ImageError:
            return None
        return stream.getvalue()


class Failure:
    """An image that could not be scored, and the reason. `Scorer.score_many` yields it in place of a score."""

    def __init__(self, image: str, answer: wire.Failed, has_second_opinion: bool = False) -> None:
        self._image, self._answer, self._has_second_opinion = image, answer, has_second_opinion

    def __repr__(self) -> str:
        """Show the image and what is wrong with it."""
        return f"<Failure of {Path(self.image).name}: {self.reason}: {self.detail}>"

    @property
    def image(self) -> str:
        """The image's path, or a description of the object."""
        return self._image

    @property
    def outcome(self) -> Outcome:
        """`Outcome.FAILED`."""
        return Outcome.FAILED

    @property
    def reason(self) -> FailureReason:
        """The reason, from a fixed list."""
        return self._answer.reason

    @property
    def detail(self) -> str:
        """The details, for people."""
        return self._answer.detail

    def to_dict(self) -> dict[str, object]:
        """Return a row with the same keys as `Score.to_dict`, and None for every number."""
        return row(self.image, self._answer, self._has_second_opinion)


def _by_group(groups: wire.GroupProbabilities) -> dict[str, float]:
    return {str(group): p for group, p in zip(SCORED_GROUPS, groups, strict=True)}
