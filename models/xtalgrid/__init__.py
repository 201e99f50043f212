"""Score protein-crystallization images from Python.

>>> import xtalgrid
>>> scorer = xtalgrid.Scorer()
>>> score = scorer.score("plate/A01.jpg")  # doctest: +SKIP
>>> score.outcome, score.p_crystal  # doctest: +SKIP
(<Outcome.HARVESTABLE: 'crystals harvestable'>, 0.97)

Only the names below are public; anything else may change with any release.
"""

from importlib import metadata

from xtalgrid_core.errors import ConfigError, FailureReason, ImageError, ModelError, XtalgridError
from xtalgrid_core.options import Options
from xtalgrid_core.outcomes import Group, Outcome

from .scorer import Scorer
from .scores import Chop, Drop, Failure, Score

__version__ = metadata.version("xtalgrid")

__all__ = [
    "Chop",
    "ConfigError",
    "Drop",
    "Failure",
    "FailureReason",
    "Group",
    "ImageError",
    "ModelError",
    "Options",
    "Outcome",
    "Score",
    "Scorer",
    "XtalgridError",
    "__version__",
]


def __dir__() -> list[str]:
    return __all__
