"""What some papers do to a picture before their network sees it, so that all networks can train on the same chops."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

_LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601: the grey of red, green and blue."""


def grey(x: Tensor) -> Tensor:
    """``(N, 3, H, W)`` RGB minus the mean → ``(N, 1, H, W)``, the grey of it."""
    return (x * x.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def to_side(x: Tensor, side: int) -> Tensor:
    """``(N, C, H, W)`` → ``(N, C, side, side)``, bilinear: from 256 to 128, the mean of each four pixels."""
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
