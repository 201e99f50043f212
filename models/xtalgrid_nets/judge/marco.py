"""Ask the published MARCO network about wells, to judge it beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from xtalgrid_core.dense import Float, softmax
from xtalgrid_core.errors import ImageError, UnknownModel
from xtalgrid_core.images import Pixels, WellPixels, read_image
from xtalgrid_core.outcomes import SCORED_GROUPS, Group, Outcome
from xtalgrid_core.weights import MANIFEST, find_model
from xtalgrid_scoring.networks import load_outputs
from xtalgrid_scoring.second_opinion import network_input

from ..marco.install import IDS, ROLE
from .metrics import Share, share_of
from .truth import Truth, apart

HOW_TO_GET = "not imported; `xtalgrid-train import marco --out MARCO` gets it, `--marco MARCO` judges it too"
"""What a table says in its place."""


class Opinion(NamedTuple):
    """What the network makes of an image: the groups' probabilities, ``(4,)``, and its features, ``(1056,)``."""

    probabilities: Float
    features: Float

    @property
    def group(self) -> Group:
        """The most probable group."""
        return SCORED_GROUPS[int(self.probabilities.argmax())]


class Marco:
    """The network, ready to run on one core."""

    def __init__(self, folder: Path) -> None:
        """Load the fp32 network from the folder into which it was imported.

        Raises
        ------
        ModelError
            If it isn't there, or its file is damaged.
        """
        if not (folder / MANIFEST).is_file():
            raise UnknownModel(
                f"{folder}: no MARCO network here; import it with `xtalgrid-train import marco --out {folder}`"
            )
        _, data = find_model(IDS["fp32"], ROLE, [folder])
        self._run = load_outputs(data, ("logits", "features"), "MARCO's network")

    def see(self, image: Pixels) -> Opinion:
        """Return its opinion of an image, ``(H, W, 3)``."""
        logits, features = self._run(network_input(WellPixels(image)))
        return Opinion(softmax(logits)[0], features[0])

    def read(self, path: Path) -> Opinion:
        """Return its opinion of an image file.

        Raises
        ------
        ImageError
            If the file is not a usable image; it names the file.
        """
        try:
            return self.see(read_image(path.read_bytes()))
        except ImageError as error:
            raise ImageError(error.reason, f"{path}: {error.detail}") from error

    def call(self, path: Path) -> Group:
        """Return the group that it calls an image file; unknown if that is no image."""
        try:
            return self.read(path).group
        except ImageError:
            return Group.UNKNOWN


class Beside(msgspec.Struct, frozen=True):
    """Ours and MARCO's answers for the wells of one source, or of several.

    Only wells with a sure judgement count. MARCO has no class for an empty well, so empty wells count for neither in
    `right`.
    """

    source: str
    apart: str
    """Why the source stays out of totals; empty if it doesn't."""
    right: Share
    marco_right: Share
    crystals: Share
    marco_crystals: Share
    false: Share
    """Wells without crystals that were called crystal."""
    marco_false: Share


Well = tuple[Truth, Outcome, Group]
"""The truth, and what we and MARCO called the well."""


def compare(wells: Sequence[Well]) -> list[Beside]:
    """Compare both networks for each source, real ones first, and over all sources that trained neither."""
    sources: dict[str, list[Well]] = {}
    for well in wells:
        sources.setdefault(well[0].source, []).append(well)
    total = [well for well in wells if not apart(well[0])]
    rows = [_beside(source, here, apart(here[0][0])) for source, here in sources.items()]
    return [*rows, _beside("total", total, "")]


def _beside(source: str, wells: Sequence[Well], why_apart: str) -> Beside:
    sure = [(truth, ours.group, marco) for truth, ours, marco in wells if truth.sure and truth.group is not None]
    drops = [(truth.group, *calls) for truth, *calls in sure if truth.outcome is not Outcome.NULL_EXPERIMENT]
    crystal = [calls for true, *calls in drops if true is Group.CRYSTAL]
    others = [calls for truth, *calls in sure if truth.group is not Group.CRYSTAL]
    return Beside(
        source,
        why_apart,
        *(share_of([call[n] is call[0] for call in drops]) for n in (1, 2)),
        *(share_of([calls[n] is Group.CRYSTAL for calls in crystal]) for n in (0, 1)),
        *(share_of([calls[n] is Group.CRYSTAL for calls in others]) for n in (0, 1)),
    )
