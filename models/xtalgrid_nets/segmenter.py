"""The segmenters, both on the features of SqueezeNet 1.1: segmentation_models_pytorch's U-Net, and a slim decoder.

They take ``(N, 3, H, W)`` float32 as `xtalgrid_core.images.network_input` makes it, H and W multiples of 16, and give
logits ``(N, 1, H, W)``.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from .networks.squeezenet import features
from .torchvision_guard import import_smp

smp = import_smp()
from segmentation_models_pytorch.encoders import encoders  # noqa: E402
from segmentation_models_pytorch.encoders._base import EncoderMixin  # noqa: E402

NAME = "xtalgrid-squeezenet1_1"


class SqueezeEncoder(nn.Module, EncoderMixin):  # type: ignore[misc]  # untyped
    """SqueezeNet 1.1 as an encoder for segmentation_models_pytorch: strides 1, 2, 4, 8, 16.

    It is padded where SqueezeNet isn't, so that each stage is half the size of the previous one; the weights are the
    same.
    """

    _stages = ((0, 2), (2, 5), (5, 8), (8, 13))

    def __init__(self, depth: int = 4, **_: Any) -> None:
        super().__init__()
        self.features = features()
        first = self.features[0]
        assert isinstance(first, nn.Conv2d)
        first.padding = (1, 1)
        for index in (2, 5, 8):
            self.features[index] = nn.MaxPool2d(3, stride=2, padding=1)
        self._out_channels = [3, 64, 128, 256, 512]
        self._in_channels = 3
        self._depth = depth
        self._output_stride = 16

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the input and the feature maps of each stage, largest first."""
        maps = [x]
        for start, stop in self._stages[: self._depth]:
            x = self.features[start:stop](x)
            maps.append(x)
        return maps


encoders[NAME] = {"encoder": SqueezeEncoder, "pretrained_settings": {}, "params": {"depth": 4}}


def segmenter() -> nn.Module:
    """Build the untrained U-Net, with logits as output."""
    net: nn.Module = smp.Unet(
        NAME,
        encoder_depth=4,
        encoder_weights=None,
        decoder_channels=(64, 32, 16, 8),
        in_channels=3,
        classes=1,
    )
    return net


WIDTHS = (16, 32, 64, 64)
"""Channels of the slim decoder at strides 2, 4, 8 and 16."""


class SlimSegmenter(nn.Module):
    """A feature pyramid (Lin et al. 2017): each stage, reduced to few channels, is added to the coarser one, enlarged.

    The coarsest stage first sees far by dilated convolutions (Yu & Koltun 2016), since what is drop and what is well
    shows only from a distance. The logits of half the resolution are enlarged to the whole. Where the U-Net's decoder
    takes 1.1·10⁹ multiply-adds for 256×256 pixels, this takes 0.16·10⁹.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = SqueezeEncoder()
        inputs = self.encoder._out_channels[1:]
        self.laterals = nn.ModuleList(nn.Conv2d(i, width, 1) for i, width in zip(inputs, WIDTHS, strict=True))
        self.context = nn.Sequential(*(_convolution(WIDTHS[-1], WIDTHS[-1], dilation) for dilation in (2, 4)))
        self.merges = nn.ModuleList(_convolution(i, o) for i, o in zip(WIDTHS, WIDTHS[:1] + WIDTHS[:-1], strict=True))
        self.head = nn.Conv2d(WIDTHS[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to logits ``(N, 1, H, W)``."""
        stages = [lateral(one) for lateral, one in zip(self.laterals, self.encoder(x)[1:], strict=True)]
        y = self.merges[-1](stages[-1] + self.context(stages[-1]))
        for stage, merge in zip(stages[-2::-1], list(self.merges)[-2::-1], strict=True):
            y = merge(stage + F.interpolate(y, scale_factor=2.0))
        logits: Tensor = F.interpolate(self.head(y), scale_factor=2.0, mode="bilinear")
        return logits


def _convolution(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
