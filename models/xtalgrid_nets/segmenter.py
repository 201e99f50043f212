"""The segmenter: segmentation_models_pytorch's U-Net on the features of SqueezeNet 1.1.

It takes ``(N, 3, H, W)`` float32 as `xtalgrid_core.images.network_input` makes it, H and W multiples of 16, and gives
logits ``(N, 1, H, W)``.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

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
