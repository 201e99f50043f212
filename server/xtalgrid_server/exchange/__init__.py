"""Files exchanged with other programs: exports, training data, plate layouts, people's scores and marks."""

from .api import read_annotations, read_scores, write
from .export import FORMATS

__all__ = ["FORMATS", "read_annotations", "read_scores", "write"]
