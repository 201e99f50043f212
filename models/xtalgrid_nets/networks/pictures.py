"""Preprocessing that some papers describe, done inside their networks so that all can train on the same chops."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

_LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601: weights of red, green and blue in grey."""


def grey(x: Tensor) -> Tensor:
    """Convert ``(N, 3, H, W)`` RGB minus the mean to grey, ``(N, 1, H, W)``."""
    return (x * x.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def to_side(x: Tensor, side: int) -> Tensor:
    """Resize ``(N, C, H, W)`` to ``(N, C, side, side)``, bilinear; 256 to 128 averages each four pixels."""
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
