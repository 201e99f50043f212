"""Each architecture against its paper: one inherited class holds the tests, a subclass what is expected of its network."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from click.testing import CliRunner  # noqa: E402

from xtalgrid_core.errors import ModelError  # noqa: E402
from xtalgrid_core.images import network_input  # noqa: E402
from xtalgrid_nets.cli.networks import networks  # noqa: E402
from xtalgrid_nets.networks import NETWORKS, build  # noqa: E402
from xtalgrid_nets.networks.measure import Size, size_of  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def chops(n: int, height: int = 256, width: int = 256) -> torch.Tensor:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (n, height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    return torch.from_numpy(network_input(coarse.repeat(16, 1).repeat(16, 2)[:, :height, :width]))


class Architecture:
    """The tests. A subclass names its network and gives the paper's figures."""

    name: ClassVar[str]
    classes: ClassVar[int] = 13
    parameters: ClassVar[float]
    """From the paper, or counted by hand from its layers; within 5 %."""
    mebibytes: ClassVar[float | None] = None
    """Table 2 of Thielmann et al. 2023."""
    input_side: ClassVar[int] = 256
    dense: ClassVar[bool] = False
    heavy: ClassVar[bool] = False
    """Torchvision's, and too large to be run in a test: its shapes are still checked."""

    def size(self) -> Size:
        return size_of(NETWORKS[self.name], self.classes)

    def test_is_as_large_as_published(self) -> None:
        assert self.size().parameters == pytest.approx(self.parameters, rel=0.05)
        if self.mebibytes is not None:
            assert self.size().mebibytes == pytest.approx(self.mebibytes, rel=0.05)

    def test_is_listed_with_its_source(self) -> None:
        network = NETWORKS[self.name]
        assert (network.name, network.input_side, network.dense) == (self.name, self.input_side, self.dense)
        assert "20" in network.source  # a year

    def test_every_parameter_learns_from_a_chop(self) -> None:
        with torch.device("meta"):
            net, x = build(self.name, self.classes).train(), torch.zeros(2, 3, 256, 256)
        logits = net(x)
        assert logits.shape == (2, self.classes)
        logits.sum().backward()
        assert [name for name, p in net.named_parameters() if p.grad is None] == []

    def test_a_chop_does_not_depend_on_its_batch(self) -> None:
        if self.heavy:
            pytest.skip("hundreds of megabytes of weights")
        net = build(self.name, self.classes).eval()
        x = chops(2)
        with torch.inference_mode():
            both, alone = net(x), net(x[1:])
        assert both.isfinite().all()
        assert not torch.allclose(both[0], both[1], atol=1e-7)  # it sees the picture at all
        assert torch.allclose(both[1], alone[0], atol=1e-5 * max(1, both.abs().max().item()))

    def test_onnx_gives_what_torch_gives(self, tmp_path: Path) -> None:
        if self.heavy:
            pytest.skip("hundreds of megabytes of weights")
        ort = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
        net, x = build(self.name, self.classes).eval(), chops(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.onnx.export(
                net, (x,), str(tmp_path / "net.onnx"), input_names=["image"], opset_version=17, dynamo=False
            )
        session = ort.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
        (made,) = session.run(None, {"image": x.numpy()})
        with torch.inference_mode():
            expected = net(x).numpy()
        assert np.allclose(made, expected, atol=1e-4 * max(1, np.abs(expected).max()))


class DenseArchitecture(Architecture):
    """One that scores a whole drop in one go."""

    dense = True

    def test_a_class_map_is_what_the_logits_are_the_mean_of(self) -> None:
        net = build(self.name, self.classes).eval()
        x = chops(1, 256 + 3 * 16, 256)
        with torch.inference_mode():
            cells = net.class_map(x)
            assert cells.shape == (1, self.classes, 18, 15)
            assert torch.allclose(cells.mean(dim=(2, 3)), net(x), atol=1e-6)


class TestSqueezeNet10(DenseArchitecture):
    name, parameters, mebibytes = "squeezenet1.0", 1_248_424 - 987 * 513, 2.9


class TestSqueezeNet11(DenseArchitecture):
    name, parameters = "squeezenet1.1", 1_235_496 - 987 * 513


class TestSqueezeNetOfMxnet(TestSqueezeNet11):
    """Its probabilities are compared with MXNet's in tests/nets/mxnet."""

    name = "squeezenet1.1-mxnet-mean"


class TestSqueezeNetOfThePaper(Architecture):
    name, input_side = "squeezenet1.0-elu-mxnet", 227
    parameters, mebibytes = TestSqueezeNet10.parameters, 2.9

    def test_sees_the_middle_of_a_chop(self) -> None:
        net, x = build(self.name).eval(), chops(1)
        edged = x.clone()
        edged[:, :, :14], edged[:, :, 241:], edged[:, :, :, :14], edged[:, :, :, 241:] = 0, 0, 0, 0
        with torch.inference_mode():
            assert torch.equal(net(x), net(edged))


class TestAlexNet(Architecture):
    name, parameters, mebibytes, heavy = "alexnet", 61_100_840 - 987 * 4097, 223, True


class TestVgg16(Architecture):
    name, parameters, mebibytes, heavy = "vgg16", 138_357_544 - 987 * 4097, 513, True


class TestResNet50(Architecture):
    name, parameters, mebibytes, heavy = "resnet50", 25_557_032 - 987 * 2049, 90, True


class TestInceptionMarco(Architecture):
    name, classes, input_side = "inception-marco", 4, 599
    parameters = 9.43e6  # Table III's caps applied to TF-slim's inception_v3 by hand

    def test_without_marcos_changes_it_is_inception_v3(self) -> None:
        from xtalgrid_nets.networks.inception_marco import InceptionMarco
        from xtalgrid_nets.torchvision_guard import import_torchvision

        with torch.device("meta"):
            own = InceptionMarco(1000, caps={}, first=0).eval()
            other = import_torchvision().models.inception_v3(
                weights=None, num_classes=1000, aux_logits=False, init_weights=False
            )
        assert sorted(p.shape for p in own.parameters()) == sorted(p.shape for p in other.parameters())
        with torch.device("meta"):
            features = own.features(torch.zeros(1, 3, 299, 299))
        assert features.shape == (1, 2048, 8, 8)

    def test_no_layer_is_deeper_than_table_3_allows(self) -> None:
        from xtalgrid_nets.networks.inception_marco import CAPS, InceptionMarco

        with torch.device("meta"):
            net = InceptionMarco()
            first = net.features[0](torch.zeros(1, 3, 599, 599))
        assert first.shape == (1, 16, 299, 299)
        deepest = {
            name: max(m.out_channels for m in layer.modules() if isinstance(m, torch.nn.Conv2d))
            for name, layer in net.features.named_children()
            if name in CAPS
        }
        assert deepest == dict(CAPS)


class TestCrystalNet(Architecture):
    name, classes, input_side = "crystalnet", 10, 128
    parameters = 1600 + 102_400 + 204_800 + 147_456 + 9_437_184 + 4_194_304 + 20_480  # Table 1, without biases

    def test_layer_10_is_6_by_6(self) -> None:
        net = build(self.name, self.classes)
        assert net.features(torch.zeros(1, 1, 112, 112)).shape == (1, 128, 6, 6)

    def test_illumination_cancels_out(self) -> None:
        from xtalgrid_nets.networks.crystalnet import contrast_normalised

        x = torch.rand(1, 1, 40, 40) * 200
        assert torch.allclose(contrast_normalised(x), contrast_normalised(x * 1.3 + 20), atol=1e-2)
        assert contrast_normalised(torch.full((1, 1, 40, 40), 90.0)).abs().max() < 1e-3


class TestLeanCrystalNet(Architecture):
    name, classes, input_side = "lean-crystalnet", 10, 128
    parameters = TestCrystalNet.parameters / 2  # "roughly in half"

    def test_five_convolutions_and_four_fully_connected_layers(self) -> None:
        layers = [type(module).__name__ for module in build(self.name).modules()]
        assert (layers.count("Conv2d"), layers.count("MaxPool2d"), layers.count("Linear")) == (5, 5, 4)


class TestResNet32(Architecture):
    name, classes, input_side, parameters = "resnet32-merck", 10, 128, 0.46e6  # He et al. 2015, Table 6

    depth = 32

    def test_is_as_deep_as_its_name_says(self) -> None:
        layers = [type(module).__name__ for module in build(self.name).modules()]
        assert layers.count("Conv2d") + layers.count("Linear") == self.depth


class TestResNet56(TestResNet32):
    name, parameters, depth = "resnet56-merck", 0.85e6, 56


def test_the_table_names_every_network() -> None:
    result = CliRunner().invoke(networks)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(NETWORKS)
    assert "729,165" in lines[2]


def test_an_unknown_network_is_refused_with_the_list_of_those_there_are() -> None:
    with pytest.raises(ModelError, match=r"no network 'squeezenet'; choose from: squeezenet1\.0, "):
        build("squeezenet")
