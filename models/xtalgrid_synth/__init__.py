"""Rendered well images with known outcomes, for the demo, for tests and for training."""

from .plate import render_plate
from .scene import UNSURE, WellObject
from .uv import Nature, UVMate, render_uv
from .well import RenderedWell, render_well

__all__ = ["UNSURE", "Nature", "RenderedWell", "UVMate", "WellObject", "render_plate", "render_uv", "render_well"]
