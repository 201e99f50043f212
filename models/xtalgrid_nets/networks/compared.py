"""The three networks that *Crystal search* compared with SqueezeNet, from torchvision.

The comparison is in Thielmann et al. 2023, section 2.3 and Table 2.

Table 2's sizes are those of the parameters for 13 classes in MiB, rounded up as ``ls -h`` does: VGG-16 512.4 → 513,
ResNet-50 89.98 → 90, SqueezeNet **1.0** 2.83 → 2.9, and 222.5 → 223 for an AlexNet with the 96-256-384-384-256
filters of 2012 in one column. Torchvision's AlexNet is Krizhevsky's of 2014 (arXiv 1404.5997) with
64-192-384-256-256: 217.7 MiB, 2.4 % less than Table 2's.

The modules are torchvision's own, so weights trained on ImageNet fit them (`OfTorchvision.net`).
"""

from __future__ import annotations

from torch import Tensor, nn

from ..torchvision_guard import import_torchvision

_STD = (58.4, 57.1, 57.4)
"""Standard deviation of ImageNet's red, green and blue; torchvision's networks expect pixels divided by it."""


class OfTorchvision(nn.Module):
    """One of torchvision's classifiers, for our input: ``(N, 3, H, W)`` RGB minus the mean, H and W at least 63."""

    def __init__(self, name: str, classes: int) -> None:
        super().__init__()
        self.net: nn.Module = getattr(import_torchvision().models, name)(weights=None, num_classes=classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to logits ``(N, classes)``."""
        logits: Tensor = self.net(x / x.new_tensor(_STD).view(1, 3, 1, 1))
        return logits


def alexnet(classes: int) -> nn.Module:
    """Build AlexNet: five convolutions, three fully connected layers.

    Krizhevsky et al. 2012, in the one-column form of 2014.
    """
    return OfTorchvision("alexnet", classes)


def vgg16(classes: int) -> nn.Module:
    """Build VGG-16 without batch normalisation (Simonyan & Zisserman 2015, configuration D)."""
    return OfTorchvision("vgg16", classes)


def resnet50(classes: int) -> nn.Module:
    """Build ResNet-50 (He et al. 2015).

    Torchvision has the strides in the 3×3 convolutions, which changes no size.
    """
    return OfTorchvision("resnet50", classes)
