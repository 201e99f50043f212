"""Make torchvision, and `segmentation_models_pytorch` on it, importable if torch and torchvision have different builds.

A CPU torch beside a CUDA torchvision lacks ``torchvision::nms``, and torchvision then fails at import although
nothing here uses that operator. Declaring the missing operators first is enough. If the builds match, this does
nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept: list[torch.library.Library] = []


def import_smp() -> Any:
    """Import segmentation_models_pytorch, declaring the operators if the import fails without them."""
    return _imported("segmentation_models_pytorch")


def import_torchvision() -> Any:
    """Import torchvision, declaring the operators if the import fails without them."""
    return _imported("torchvision")


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in _OPERATORS:
            library.define(operator)
        _kept.append(library)  # the declarations last as long as the library object
        return importlib.import_module(name)
