"""How images are scored: one set of options, whose defaults are production's.

The decision rule, the pipeline, the wire format and the configuration all take it whole, so that whoever scores the same image with the
same options gets the same answer.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .chops import STRIDE, dense_step_error

Rule = Literal["published", "group", "pooled"]
"""What decides a well; see `decision.decide`."""

Mode = Literal["dense", "exact"]
"""How chops are classified: all from one class map of the drop, or one by one as published."""

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Cutoff = Annotated[float, msgspec.Meta(gt=0, le=1)]
Step = Annotated[int, msgspec.Meta(ge=1, le=256)]
Boxes = Annotated[int, msgspec.Meta(ge=0, le=100)]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How images are scored. Part of a score's identity: other options make another score.

    Raises
    ------
    ValueError
        For a step that the mode cannot take.
    """

    segmenter: Sha256
    classifier: Sha256
    rule: Rule = "pooled"
    """What decides a well (`decision.decide`): docs/decisions/0012-what-all-chops-mean-together.md."""
    threshold: Cutoff = 0.85
    """Rules published and group: probability from which a chop counts; the paper's c (section 3.1; its second run took 0.80)."""
    mode: Mode = "dense"
    """How chops are classified: all from one class map of the drop, or one by one as published."""
    step: Step = 48
    """Pixels at the reference scale from chop to chop. Dense: a multiple of 16, of which 48 is nearest to the paper's 50."""
    n_boxes: Boxes = 5
    """How many of the best chops a score names, at most."""
    support: Probability = 0.3
    """Rule group: part of the chops seeing a point that must agree: docs/decisions/0006-a-crystal-in-several-chops.md."""
    crystal_from: Cutoff = 0.2
    """Rule pooled: `p_crystal` from which a well is called a crystal; below one half, as a missed one costs more than an opened well."""
    second_opinion: Sha256 | None = None
    """A network of another kind whose answer is taken too. Reserved: no worker of today has one."""

    def __post_init__(self) -> None:
        if self.mode == "dense" and self.step % STRIDE:
            raise ValueError(dense_step_error(self.step))


DEFAULTS = Options(segmenter="0" * 64, classifier="0" * 64)
"""Production's defaults, to read them from: the weights are placeholders."""
