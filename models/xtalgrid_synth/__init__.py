"""Well images with known outcomes, rendered for the demo, for tests and for training."""

from .plate import render_plate
from .scene import UNSURE, WellObject
from .well import RenderedWell, render_well

__all__ = ["UNSURE", "RenderedWell", "WellObject", "render_plate", "render_well"]
