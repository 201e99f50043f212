"""Int8 variants: smaller, nearly the same, listed beside the fp32 ones, and made on wells that are not held out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from xtalgrid_core.errors import ModelError  # noqa: E402
from xtalgrid_core.images import network_input  # noqa: E402
from xtalgrid_core.outcomes import CLASSES  # noqa: E402
from xtalgrid_core.weights import PACKAGED, ModelEntry, default_models, find_model, read_manifest  # noqa: E402
from xtalgrid_nets.export import export_classifier, install  # noqa: E402
from xtalgrid_nets.int8_files import End  # noqa: E402
from xtalgrid_nets.quantize import calibration_pictures, check_weights, quantize  # noqa: E402
from xtalgrid_nets.sets.format import held_out  # noqa: E402
from xtalgrid_nets.states import SEGMENTER, SQUEEZENET, from_onnx, network, save_trained  # noqa: E402
from xtalgrid_scoring.networks import load_network  # noqa: E402

PLATES = [f"P{number}" for number in range(14)]


@pytest.fixture(scope="module")
def chop_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of one chop and one view of each of 14 plates; pixels are the plate's number."""
    folder = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 200, (len(PLATES), 256, 256, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(len(PLATES))
    rows = np.arange(len(PLATES))
    for name, array in {
        "chops": pixels, "labels": (rows % len(CLASSES)).astype(np.uint8), "wells": rows.astype(np.int64),
        "views": pixels, "masks": pixels[..., 0], "view_wells": rows.astype(np.int64),
    }.items():  # fmt: skip
        np.save(folder / f"{name}.npy", array)
    lines = [f"{row},{plate},test,{row}.png,clear" for row, plate in enumerate(PLATES)]
    (folder / "wells.csv").write_text("\n".join(["well,plate,source,image,outcome", *lines, ""]), encoding="utf-8")
    (folder / "dataset.json").write_text(
        '{"schema": 1, "builder": "test", "arguments": {}, "arrays": {}, "finished": true}'
    )
    return folder


@pytest.mark.parametrize("role", ["segmenter", "classifier"])
def test_held_out_plates_are_not_calibrated_on(chop_set: Path, role: str) -> None:
    assert any(map(held_out, PLATES)), "this would test nothing"
    used = {PLATES[picture[0, 0, 0]] for picture in calibration_pictures(chop_set, role)}
    assert used == {plate for plate in PLATES if not held_out(plate)}


def test_int8_variants_are_made_kept_and_dropped_with_their_origin(chop_set: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    states = {}
    for role, name in (("segmenter", SEGMENTER), ("classifier", SQUEEZENET)):
        states[role] = tmp_path / f"{role}.pt"
        save_trained(states[role], network(name), name, {})
    folder = tmp_path / "weights"
    install(states, folder, int8=chop_set)
    small, large = default_models(folder, "int8")[1], default_models(folder)[1]
    wide = np.pad(np.load(chop_set / "chops.npy")[:2], ((0, 0), (0, 0), (0, 64), (0, 0)))  # any size, as the fp32 one
    maps = []
    for sha256 in (large, small):
        entry, data = find_model(sha256, "classifier", [folder])
        assert entry.dense
        maps.append(load_network(data, "class_map", sha256)(wide))
    assert maps[0].shape == maps[1].shape == (2, len(CLASSES), 15, 19)
    assert np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1] > 0.98
    nodes = optimised(folder / "classifier-int8.onnx", tmp_path / "optimised.onnx")
    # One layout: what is left in fp32 is the last layer, and only the class map is brought to another layout.
    assert (nodes["NhwcMaxPool"], nodes["MaxPool"], nodes["QLinearConv"], nodes["Conv"]) == (3, 0, 25, 0)
    assert (nodes["MatMul"], nodes["Transpose"]) == (1, 1)
    assert nodes["Relu"] == 0
    nodes = optimised(folder / "segmenter-int8.onnx", tmp_path / "optimised.onnx")
    assert (nodes["nchwc MaxPool"], nodes["NhwcMaxPool"], nodes["MaxPool"]) == (1, 2, 0)
    for role in ("segmenter", "classifier"):
        network_fits(folder / f"{role}-int8.onnx")
    assert (folder / "classifier-int8.onnx").stat().st_size < 0.35 * (folder / "classifier.onnx").stat().st_size

    assert default_models(install({}, folder) and folder, "int8")[1] == small, "what it was made from is the same"
    manifest = install({"classifier": states["classifier"]}, folder, crystal_shift=1.0)
    assert [(entry.role, entry.variant) for entry in manifest.models if entry.role == "classifier"] == [
        ("classifier", "fp32")
    ]
    assert not (folder / "classifier-int8.onnx").exists()


@pytest.mark.parametrize(("height", "width"), [(256, 256), (288, 304), (272, 512)])
def test_pixels_in_fours_and_a_product_at_the_end_give_the_same_numbers(
    chop_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, height: int, width: int
) -> None:
    torch.manual_seed(1)
    export_classifier(network(SQUEEZENET), tmp_path / "fp32.onnx")
    pictures = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    maps = []
    for way in ("all", "_take_fours", "_multiply_last"):
        if way != "all":
            monkeypatch.setattr(f"xtalgrid_nets.quantize.{way}", lambda graph: None)
        quantize(tmp_path / "fp32.onnx", tmp_path / f"{way}.onnx", "classifier", chop_set)
        maps.append(load_network((tmp_path / f"{way}.onnx").read_bytes(), "class_map", way)(pictures))
    np.testing.assert_array_equal(maps[0], maps[1])
    session = ort.InferenceSession(tmp_path / "all.onnx", providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_overridable_initializers()] == ["pixels"]
    assert [value.name for value in session.get_inputs()] == ["image"]
    np.testing.assert_array_equal(session.run(None, {"image": network_input(pictures)})[0], maps[0])
    np.testing.assert_allclose(maps[1], maps[2], atol=1e-5 * np.abs(maps[2]).max())
    assert maps[0].std() > 0


def test_weights_are_read_back_from_every_form_of_an_int8_file(
    chop_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    for name, left_out in ((SQUEEZENET, ()), (SQUEEZENET, ("_take_fours", "_multiply_last")), ("squeezenet1.0", ())):
        net = network(name)
        export_classifier(net, tmp_path / "fp32.onnx")
        with monkeypatch.context() as patch:
            for way in left_out:
                patch.setattr(f"xtalgrid_nets.quantize.{way}", lambda graph: None)
            quantize(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", "classifier", chop_set)
        found = from_onnx(tmp_path / "int8.onnx", name).state_dict()
        for key, value in net.state_dict().items():
            if key.endswith(".weight"):
                half_a_step = value.abs().amax(dim=(1, 2, 3), keepdim=True) / 64 / 2
                assert ((found[key] - value).abs() <= 1.001 * half_a_step).all(), key
        assert torch.equal(found["head.weight"], net.head.weight), "the last layer is not rounded"
        if left_out:
            with pytest.raises(ModelError, match="does not end as those of today"):
                End((tmp_path / "int8.onnx").read_bytes())
        else:
            before = load_network(End((tmp_path / "int8.onnx").read_bytes()).before(), "features", name)
            assert before(np.zeros((1, 256, 272, 3), np.uint8)).shape == (1, 64, 15, 16)


def test_squeezenet_1_0_is_quantised_without_fours(chop_set: Path, tmp_path: Path) -> None:
    export_classifier(network("squeezenet1.0"), tmp_path / "fp32.onnx")
    quantize(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", "classifier", chop_set)
    maps = load_network((tmp_path / "int8.onnx").read_bytes(), "class_map", "1.0")
    assert maps(np.zeros((1, 256, 272, 3), np.uint8)).shape == (1, len(CLASSES), 15, 16)


def optimised(path: Path, out: Path) -> Counter[str]:
    """Count the nodes by kind in what the runtime makes of a network on this machine."""
    import onnx

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(out)
    options.log_severity_level = 3
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    kinds = ((node.domain.rpartition(".")[2], node.op_type) for node in onnx.load(out).graph.node)
    return Counter(f"nchwc {kind}" if domain == "nchwc" and kind == "MaxPool" else kind for domain, kind in kinds)


def network_fits(path: Path) -> None:
    """Check that no two products of a network's int8 weights and activations overflow 16 bits, and that 8 bits would.

    The largest and smallest sums are those of an output channel's two largest and smallest weights.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    check_weights(graph, path.name)
    values = {value.name: value for value in graph.initializer}
    weights = [values[n.input[0]] for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in values]
    weights = [weight for weight in weights if weight.data_type == onnx.TensorProto.INT8]
    assert weights
    for weight in weights:
        channels = numpy_helper.to_array(weight)
        ordered = np.sort(channels.reshape(len(channels), -1).astype(int), axis=1)
        assert 255 * ordered[:, -2:].sum(axis=1).max() <= np.iinfo(np.int16).max
        assert 255 * ordered[:, :2].sum(axis=1).min() >= np.iinfo(np.int16).min
    eight_bits = numpy_helper.to_array(weights[0]).astype(int).clip(-63, 63) * 2
    weights[0].CopyFrom(numpy_helper.from_array(eight_bits.astype(np.int8), weights[0].name))
    with pytest.raises(ModelError, match=r"has weights up to 126; .* without VNNI give other scores"):
        check_weights(graph, path.name)


@pytest.mark.parametrize("entry", [entry for entry in read_manifest().models if entry.variant == "int8"])
def test_packaged_int8_weights_score_alike_on_every_processor(entry: ModelEntry) -> None:
    network_fits(PACKAGED / entry.file)


def test_a_set_without_views_cannot_quantise_the_segmenter(chop_set: Path, tmp_path: Path) -> None:
    for path in chop_set.iterdir():
        if path.stem not in ("views", "masks", "view_wells"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ModelError, match="no views to quantise"):
        calibration_pictures(tmp_path, "segmenter")
