"""The light that an image was taken in, as its name tells. Only visible images are scored, and only they vote.

The networks learned bright-field images. In ultraviolet light crystals glow on black, and between crossed polarisers
too; there a network for visible light is sure of what it has never seen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache

from .image_names import capture_profile, illumination, without_slices
from .images import ImageRow


class Light(StrEnum):
    """What an image was taken in; other: crossed polarisers, dark field, SHG, fluorescence of dyes."""

    VISIBLE = "visible"
    UV = "uv"
    OTHER = "other"


# Words of a name or a folder, not parts of words: "UV" in A1_UV.jpg, 5xUV, DefaultUV, -uvt, but not in UvrD. Polo's
# folders end in -jpg, -uvt, -shg; Rock Maker's exports carry the name of the capture profile without its blanks.
_WORDS = {
    Light.UV: r"uv(?:[0-9]{1,2}|2[5-9][0-9]|3[0-9]{2}|[tf]|fluor?[a-z]*)?|(?:sonicc)?(?:uv)?tpef?|ultraviolet",
    Light.OTHER: r"shg|sonicc(?:shg)?|mfi|fluor(?:escen(?:t|ce))?|dark[-_ ]?field|[0-9]+x ?pol"
    r"|(?:cross(?:ed)?|x|c)[-_ ]?pol[a-z]*|polari[sz](?:ed|er|ers|ation|ing)[0-9]*",
    Light.VISIBLE: r"bf|bright[-_ ]?field|vis|visible|white[-_ ]?light|imager[-_ ]?defaults?",
}
_SEEN = {
    light: re.compile(rf"(?<![^\W_])(?:[0-9]+x)?(?:{words})(?![^\W_])", re.IGNORECASE)
    for light, words in _WORDS.items()
}
_INSIDE_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where a word begins without a separator: Default|UV, UV|Imaging."""

_ILLUMINATIONS = {"HF": Light.VISIBLE, "E0": Light.VISIBLE, "00": Light.VISIBLE, "UV": Light.UV}
"""Rigaku's codes."""

SLICE = "slice"
"""Why a focus slice is passed over: its composite is scored."""


@dataclass(frozen=True, slots=True)
class LightRules:
    """Tells the light by an image's name.

    Attributes
    ----------
    named
        Names with ``*`` and ``?`` by light, from the configuration; they come first, visible ones before others.
    patterns
        Names of the images to score (``imager.patterns``): a capture profile named there is visible.
    """

    named: Mapping[Light, tuple[str, ...]] = field(default_factory=dict)
    patterns: tuple[str, ...] = ()

    def of(self, name: str) -> Light | None:
        """Return an image's light; None if nothing tells it. Case does not matter."""
        for light in Light:
            if self.is_named(name, light):
                return light
        # Numbers of profiles are a lab's own, except that the first is the imager's default, visible.
        if (profile := capture_profile(name)) is not None:
            chosen = any(capture_profile(one) is not None and fits(name, one) for one in self.patterns)
            return Light.VISIBLE if chosen or profile == 1 else Light.OTHER
        if (code := illumination(name)) is not None:
            return _ILLUMINATIONS.get(code.upper()) or light_in(code)
        return light_in(name)

    def is_named(self, name: str, light: Light) -> bool:
        """Return whether the configuration names an image as of this light."""
        return any(fits(name, pattern) for pattern in self.named.get(light, ()))

    def is_scored(self, name: str) -> bool:
        """Return whether the visible networks may score an image: it is visible, or nothing tells otherwise."""
        return self.of(name) in (None, Light.VISIBLE)

    def passed_over(self, name: str) -> str | None:
        """Return why an image is not scored, ``uv``, ``other`` or ``profile N``; None if it is."""
        light = self.of(name)
        if light is None or light is Light.VISIBLE:
            return None
        if self.is_named(name, Light.UV) or self.is_named(name, Light.OTHER):
            return str(light)
        profile = capture_profile(name)
        return str(light) if profile is None else f"profile {profile}"

    def is_untold(self, images: Iterable[ImageRow]) -> bool:
        """Return whether the images of one inspection that are scored may differ in light, and nothing tells.

        Focus slices have one light, if a Rigaku name gives it a code.
        """
        lights = {image.image_name: self.of(image.image_name) for image in images}
        scored = {name: light for name, light in lights.items() if light in (None, Light.VISIBLE)}
        kinds = {light or illumination(name) or name for name, light in scored.items()}
        return len(kinds) > 1 and None in lights.values()


@dataclass(frozen=True, slots=True)
class Mate:
    """An image of an inspection that is not scored for its light, to be shown beside the one that is."""

    name: str
    light: Light


def light_in(words: str) -> Light | None:
    """Return the light that a name's words tell; None without such a word."""
    words = _INSIDE_WORDS.sub(" ", words)
    return next((light for light, pattern in _SEEN.items() if pattern.search(words)), None)


def fits(name: str, wildcards: str) -> bool:
    """Return whether a name fits a pattern with the wildcards ``*`` and ``?``, whatever its case."""
    return _compiled(wildcards).fullmatch(name) is not None


@cache
def _compiled(wildcards: str) -> re.Pattern[str]:
    pattern = re.escape(wildcards).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


@dataclass(slots=True)
class LightsSeen:
    """What the names of images told of their light, for a person to read.

    Attributes
    ----------
    passed_over
        Numbers of images that are not scored, by `LightRules.passed_over`.
    untold
        Drops at inspections with several images whose light nothing tells: names of two of them, by number of drops.
    """

    passed_over: Counter[str] = field(default_factory=Counter)
    untold: int = 0
    example: tuple[str, ...] = ()

    def add(self, rules: LightRules, inspection: Iterable[ImageRow]) -> list[ImageRow]:
        """Take note of one inspection of one drop; return its images that are scored."""
        images = list(inspection)
        reasons = not_scored(rules, images)
        self.passed_over.update(reasons.values())
        scored = [image for image in images if (image.inspect_id, image.image_name) not in reasons]
        self.add_scored(rules, scored)
        return scored

    def add_scored(self, rules: LightRules, scored: Sequence[ImageRow]) -> None:
        """Take note of the images of one inspection of one drop that are scored."""
        if rules.is_untold(scored):
            self.untold += 1
            names = sorted((image.image_name for image in scored), key=lambda name: rules.of(name) is not None)
            self.example = self.example or tuple(names[:2])

    def add_all(self, rules: LightRules, images: Iterable[ImageRow]) -> None:
        """Take note of images, all of their inspections."""
        for inspection in by_inspection(images):
            self.add(rules, inspection)

    def lines(self) -> list[str]:
        """Return sentences about what was passed over and what nothing told, with what to do; none without either."""
        lines = [passed_over_line(reason, number) for reason, number in sorted(self.passed_over.items())]
        return [*lines, self.untold_line] if self.untold else lines

    @property
    def untold_line(self) -> str:
        """A sentence about drops whose images' light nothing tells."""
        drops = "1 drop has" if self.untold == 1 else f"{self.untold} drops have"
        return (
            f"{drops} several images of one inspection, such as {' and '.join(self.example)}, and nothing tells their "
            "light; all are scored, and the outcome of highest priority counts: "
            "name those in UV and other light in imager.light, or the images to score in imager.patterns"
        )


def not_scored(rules: LightRules, images: Iterable[ImageRow]) -> dict[tuple[int, str], str]:
    """Return why images are not scored, by (inspect id, image name): their light, or their composite is scored.

    Parameters
    ----------
    rules
        Tell the light.
    images
        All images of their inspections.
    """
    reasons: dict[tuple[int, str], str] = {}
    for inspection in by_inspection(images):
        rest = []
        for image in inspection:
            if (reason := rules.passed_over(image.image_name)) is not None:
                reasons[image.inspect_id, image.image_name] = reason
            else:
                rest.append(image)
        scored = {image.image_name for image in without_slices(rest)}
        reasons |= {(one.inspect_id, one.image_name): SLICE for one in rest if one.image_name not in scored}
    return reasons


def by_inspection(images: Iterable[ImageRow]) -> Iterable[list[ImageRow]]:
    """Return images in groups of one inspection."""
    inspections: dict[int, list[ImageRow]] = {}
    for image in images:
        inspections.setdefault(image.inspect_id, []).append(image)
    return inspections.values()


def dark_line(number: int) -> str:
    """Return a sentence about images that have no outcome because they look like UV light."""
    images = "1 image is" if number == 1 else f"{number} images are"
    return (
        f"{images} dark, as in UV light, and so undecided: name their kind in imager.light.uv or, if it is visible, "
        "in imager.light.visible; score these in the viewer"
    )


def kind_of(reason: str) -> str:
    """Return what images are that are not scored, for after their number: 3 in UV light."""
    if reason.startswith("profile"):
        return f"of RockImager's {reason}"
    if reason == SLICE:
        return "focus slices"
    return "in UV light" if reason == Light.UV else "in other light"


def passed_over_line(reason: str, number: int) -> str:
    """Return a sentence about images that are not scored."""
    images = "1 image" if number == 1 else f"{number} images"
    if reason == SLICE:
        return f"passed over: {images} that are focus slices beside their composite"
    if reason == Light.UV:
        return f"passed over: {images} in UV light by name or folder (imager.light)"
    if reason == Light.OTHER:
        return f"passed over: {images} in other light by name or folder, such as SHG (imager.light)"
    return (
        f"passed over: {images} of RockImager's capture {reason}, which may be UV; if it is visible, add "
        f'"*profileID_{reason.split()[1]}_*" to imager.light.visible'
    )
