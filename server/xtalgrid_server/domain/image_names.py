"""What an imager writes into an image's name of how it was taken: slice or composite, light, capture profile."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

# Rigaku's 14th field is the illumination, the 15th the slice, 99 the best-focus composite. RockImager's names end in
# the kind of image: ef is the extended-focus composite. See imager/folder/conventions.py.
_DATE_AND_DROP = r"_\d{6}(?:_\d\d){3}"
_RIGAKU = re.compile(rf"(?P<stack>.+{_DATE_AND_DROP}_[^_]+)_(?P<kind>[^_]+)_[^_]+_[^_]+_[^_]+")
_ILLUMINATION = re.compile(rf"{_DATE_AND_DROP}_(?P<code>[^_]+)_")
_ROCKIMAGER = re.compile(r"(?P<stack>.*profileID_?\d+_d\d+_r\d+)_(?P<kind>\w+)\.\w+", re.IGNORECASE)
_PROFILE = re.compile(r"profileID_?(?P<number>\d+)", re.IGNORECASE)
_COMPOSITES = ("99", "ef")


class Named(Protocol):
    """Anything with an image name."""

    @property
    def image_name(self) -> str:
        """The image's name."""


N = TypeVar("N", bound=Named)


@dataclass(frozen=True, slots=True)
class HowTaken:
    """How an image was taken.

    Attributes
    ----------
    stack
        The same for all slices of one drop, profile and inspection, and for their composite.
    kind
        The slice, or the kind of image, as named.
    """

    stack: str
    kind: str

    @property
    def is_composite(self) -> bool:
        """Whether the image is made of the slices."""
        return self.kind.lower() in _COMPOSITES


def how_taken(name: str) -> HowTaken | None:
    """Return what a name says; None if it is neither Rigaku's nor RockImager's."""
    match = _RIGAKU.fullmatch(name) or _ROCKIMAGER.fullmatch(name)
    return HowTaken(match["stack"], match["kind"]) if match else None


def illumination(name: str) -> str | None:
    """Return the code of the illumination in a Rigaku name; None in others."""
    match = _ILLUMINATION.search(name)
    return match["code"] if match else None


def capture_profile(name: str) -> int | None:
    """Return the number of RockImager's capture profile in a name, or a pattern; None without one."""
    match = _PROFILE.search(name)
    return int(match["number"]) if match else None


def first_whole(names: Iterable[str]) -> str:
    """Return the first of some names, by the alphabet, that is no slice of a composite among them; empty if none."""
    return min((one.image_name for one in without_slices(map(_Name, names))), default="")


@dataclass(frozen=True, slots=True)
class _Name:
    image_name: str


def without_slices(images: Iterable[N]) -> list[N]:
    """Return a drop's images of one inspection, without the focus slices of which it has the composite."""
    named = [(image, how_taken(image.image_name)) for image in images]
    whole = {taken.stack for _, taken in named if taken is not None and taken.is_composite}
    return [image for image, taken in named if taken is None or taken.is_composite or taken.stack not in whole]
