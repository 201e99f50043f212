"""A long training in legs: a leg goes on as if there had been no break, learns from hints, and draws what is hard."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from tests.nets.test_fit import SMALL, X, bright_crystals, curves, stop_at_step  # noqa: E402, F401
from tests.tiny_networks import write_tiny_weights  # noqa: E402

from xtalgrid_core.errors import ConfigError, ModelError  # noqa: E402
from xtalgrid_core.weights import MANIFEST, PACKAGED, ModelEntry, WeightsManifest, default_models  # noqa: E402
from xtalgrid_nets.export import export_segmenter, install  # noqa: E402
from xtalgrid_nets.fit import train  # noqa: E402
from xtalgrid_nets.fit.balance import emphasised  # noqa: E402
from xtalgrid_nets.fit.batches import ChopBatches  # noqa: E402
from xtalgrid_nets.fit.int8 import as_int8, steps_of  # noqa: E402
from xtalgrid_nets.fit.recipe import read_recipe  # noqa: E402
from xtalgrid_nets.networks.squeezenet import SqueezeNet  # noqa: E402
from xtalgrid_nets.sets.arrays import sha256_of  # noqa: E402
from xtalgrid_nets.sets.reading import ChopSet  # noqa: E402
from xtalgrid_nets.sets.teach import mirrored, teach  # noqa: E402
from xtalgrid_nets.states import (  # noqa: E402
    SEGMENTER,
    SLIM_SEGMENTER,
    SQUEEZENET,
    from_onnx,
    load_trained,
    network,
    save_trained,
)

LEGS = msgspec.structs.replace(
    SMALL, steps=6, schedule="steady", warmup=0.3, cooldown=0.4, hint=0.5, hard=0.5, real=0.3, validate_every=100
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second opinion whose features are the means of red, green and blue."""
    from onnx import TensorProto, helper

    folder = tmp_path_factory.mktemp("marco")
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["features"]),
        ],
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 599, 599])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "colours.onnx").write_bytes(model.SerializeToString())
    sha256 = sha256_of(folder / "colours.onnx")
    entry = ModelEntry(
        sha256=sha256,
        role="second_opinion",
        file="colours.onnx",
        architecture="tiny",
        variant="fp32",
        card="colours.md",
    )
    manifest = WeightsManifest(schema=1, default={"second_opinion": sha256}, models=(entry,))
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return folder


@pytest.fixture(scope="module")
def taught(bright_crystals: Path, colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    folder = tmp_path_factory.mktemp("taught") / "set"
    shutil.copytree(bright_crystals, folder)
    teach(folder, colours, write_tiny_weights(tmp_path_factory.mktemp("weights")))
    return folder


def test_patches_are_taught_what_the_teacher_sees_and_where_the_weights_fail(taught: Path) -> None:
    sets = ChopSet(taught)
    assert sets.is_taught
    means = sets.take_patches(range(len(sets.patch_wells))).mean(axis=(1, 2))
    assert np.abs(sets.take_hints(range(len(means))) - means).max() < 1
    crystals = (sets.patch_labels == X).any(axis=(1, 2))
    assert sets.patch_losses.shape == (16,)
    # The tiny classifier's logit of clear is blue minus 104: 39.5 - 104 in dark patches, below the 0 of ten other
    # classes, two of which are clear too. The group's loss is ln 5, the class's counts 0.4 of it.
    assert sets.patch_losses[~crystals] == pytest.approx(np.log(5) + 0.4 * (104 - 39.5 + np.log(10)), abs=0.1)
    record = json.loads((taught / "dataset.json").read_text())
    assert record["arrays"]["patch_hints.npy"]["sha256"] == sha256_of(taught / "patch_hints.npy")
    sets.verify()


def test_a_set_stays_taught_by_whom_it_was_until_that_is_taken_out(taught: Path, colours: Path, tmp_path: Path) -> None:
    again = shutil.copytree(taught, tmp_path / "set")
    tiny = write_tiny_weights(tmp_path)
    assert teach(again, colours, tiny)
    assert not teach(again, colours, PACKAGED), "and the command says so"
    (again / "patch_hints.npy").unlink()
    assert not ChopSet(again).is_taught
    assert teach(again, colours, tiny)
    assert ChopSet(again).is_taught


def test_a_mirrored_picture_continues_at_its_edges() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    made = mirrored(picture)
    assert made.shape == (16, 16, 3)
    assert np.array_equal(made[4:12, 4:12], picture)
    assert np.array_equal(made[4:12, 3], picture[:, 0])
    assert np.array_equal(made[4:12, 0], picture[:, 3])


def test_legs_end_as_one_run(taught: Path, tmp_path: Path) -> None:
    assert train.fit(LEGS, [taught], tmp_path / "whole", loaders=0)
    stop_at_step(3, LEGS, taught, tmp_path / "one")
    assert train.fit(LEGS, [taught], tmp_path / "two", after=tmp_path / "one", loaders=0)
    whole = load_trained(tmp_path / "whole" / "state.pt")[0].state_dict()
    for name, value in load_trained(tmp_path / "two" / "state.pt")[0].state_dict().items():
        assert torch.equal(value, whole[name]), name
    record = json.loads((tmp_path / "two" / "record.json").read_text())
    assert (record["first_step"], record["step"]) == (3, 6)
    assert record["after"].endswith("one")
    assert curves(tmp_path / "two")[-1]["rate"] == curves(tmp_path / "whole")[-1]["rate"]


def test_time_ends_a_steady_run_without_changing_its_rate(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(0, 10_000, 2))
    monkeypatch.setattr(train.time, "monotonic", lambda: float(next(seconds)))
    recipe = msgspec.structs.replace(LEGS, steps=100_000, warmup=0.0, batch=1, hint=0.0)
    assert train.fit(recipe, [taught], tmp_path / "run", minutes=0.5, loaders=0)
    last = curves(tmp_path / "run")[-1]
    assert 4 < int(last["step"]) < 10
    assert float(last["rate"]) == recipe.rate


def test_a_leg_refuses_what_it_cannot_go_on_from(taught: Path, bright_crystals: Path, tmp_path: Path) -> None:  # noqa: F811
    stop_at_step(1, LEGS, taught, tmp_path / "one")

    def go_on(recipe: object, **options: object) -> None:
        train.fit(recipe, [taught], tmp_path / "two", loaders=0, **options)  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match=r"can't go on from it \(hint: 0\.5, not 0\.0\)"):
        go_on(msgspec.structs.replace(LEGS, hint=0.0), after=tmp_path / "one")
    with pytest.raises(ConfigError, match="no run to follow"):
        go_on(LEGS, after=tmp_path)
    with pytest.raises(ConfigError, match="from one of them alone"):
        go_on(LEGS, after=tmp_path / "one", start=tmp_path / "one" / "state.pt")
    with pytest.raises(ConfigError, match="sets teach"):
        train.fit(LEGS, [bright_crystals], tmp_path / "two", loaders=0)
    assert not (tmp_path / "two").exists()


def test_emphasis_gives_a_share_of_the_draws() -> None:
    draw = np.full(10, 0.1)
    weight = np.zeros(10)
    weight[:2] = 1, 3
    found = emphasised(draw, weight, 0.4)
    assert found == pytest.approx([0.06 + 0.1, 0.06 + 0.3, *[0.06] * 8])
    assert emphasised(draw, np.zeros(10), 0.4) == pytest.approx(draw)


def test_hard_patches_without_a_crystal_are_drawn_more(taught: Path) -> None:
    recipe = msgspec.structs.replace(LEGS, hard=0.9, real=0.0)
    draw = ChopBatches(recipe, ChopSet(taught))._patch_draw
    usual = ChopBatches(msgspec.structs.replace(recipe, hard=0.0), ChopSet(taught))._patch_draw
    sets = ChopSet(taught)
    rows = sets.split(sets.patch_wells)[0]
    crystals = (sets.patch_labels[rows] == X).any(axis=(1, 2))
    assert draw[crystals] == pytest.approx(0.1 * usual[crystals])
    assert draw[~crystals].sum() == pytest.approx(0.9 + 0.1 * usual[~crystals].sum())


def test_a_slim_segmenter_starts_from_the_encoder_of_a_unet(tmp_path: Path) -> None:
    net, whole = network(SLIM_SEGMENTER), network(SEGMENTER).eval()
    export_segmenter(whole, tmp_path / "unet.onnx")
    train.load_start(net, read_recipe("slim-segmenter"), tmp_path / "unet.onnx")
    for mine, theirs in zip(net.encoder.parameters(), whole.encoder.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    x = torch.randn(1, 3, 256, 256) * 50
    net(x)  # batch normalisation takes statistics
    export_segmenter(net.eval(), tmp_path / "slim.onnx")
    again = from_onnx(tmp_path / "slim.onnx", SLIM_SEGMENTER)
    assert net(x).shape == (1, 1, 256, 256)
    assert torch.equal(again(x), net(x))


def test_training_in_int8_rounds_as_the_quantised_network_does() -> None:
    torch.manual_seed(0)
    net, plain = SqueezeNet().eval(), SqueezeNet().eval()
    plain.load_state_dict(net.state_dict())
    layers = as_int8(net)
    assert net.state_dict().keys() == plain.state_dict().keys()
    x = torch.randint(0, 256, (2, 3, 256, 256)).float() - 117
    net(x)  # the first batch gives the first steps
    assert len(layers) == 24
    assert len(steps_of(layers)) == 16, "the two expanding convolutions of a block have one input"
    squeeze, step = layers[0], float(layers[0].log_step.detach().exp())
    given = torch.linspace(0, 300 * step, 999).expand(1, 64, 1, 999)  # beyond the largest level
    unit = squeeze.weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True) / 64
    expected = torch.nn.functional.conv2d(
        (given / step).round().clamp(max=255) * step, (squeeze.weight / unit).round() * unit, squeeze.bias
    )
    assert torch.allclose(squeeze(given), expected, rtol=1e-3, atol=1e-3 * float(expected.detach().abs().max()))
    net(x).square().sum().backward()
    for learned in (squeeze.weight, squeeze.log_step):
        assert learned.grad is not None
        assert learned.grad.abs().sum() > 0


def test_a_leg_in_int8_follows_one_that_was_not(taught: Path, tmp_path: Path) -> None:
    stop_at_step(1, LEGS, taught, tmp_path / "one")
    recipe = msgspec.structs.replace(LEGS, steps=2, int8=True)
    assert train.fit(recipe, [taught], tmp_path / "two", after=tmp_path / "one", loaders=0)
    steps = load_trained(tmp_path / "two" / "state.pt")[1]["activation_steps"]
    assert len(steps) == 24
    assert min(steps) > 0
    with pytest.raises(ConfigError, match="by --start"):
        train.fit(msgspec.structs.replace(recipe, loss="start"), [taught], tmp_path / "three", loaders=0)
    with pytest.raises(ConfigError, match="int8 needs"):
        read_recipe("crystalnet", ["int8=true"])


def test_int8_weights_that_learned_to_agree_have_the_steps_that_they_learned(taught: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    torch.manual_seed(0)
    for name, net in ((SEGMENTER, network(SEGMENTER)), (SQUEEZENET, SqueezeNet())):
        save_trained(tmp_path / f"{name}.pt", net, name, {})
    weights = tmp_path / "weights"
    install({"segmenter": tmp_path / f"{SEGMENTER}.pt", "classifier": tmp_path / f"{SQUEEZENET}.pt"}, weights)
    recipe = msgspec.structs.replace(LEGS, steps=3, int8=True, loss="start", hint=0.0, hard=0.0, schedule="cosine")
    run = tmp_path / "int8"
    assert train.fit(recipe, [taught], run, start=weights / "classifier.onnx", loaders=0)
    losses = [float(row["loss"]) for row in curves(run)]
    assert 0 < losses[-1] < 0.1, "from the start, nearly the same answers"

    manifest = install({}, weights, int8=taught, int8_classifier=run / "state.pt")
    segmenter, fp32, int8 = manifest.models
    assert int8.origin == fp32.sha256
    assert manifest.default == {"segmenter": segmenter.sha256, "classifier": int8.sha256}
    assert install({}, weights).default == manifest.default, "the choice stays"
    assert default_models(weights, "int8") == default_models(weights) == (segmenter.sha256, int8.sha256)
    assert default_models(weights, "fp32") == (segmenter.sha256, fp32.sha256)
    graph = onnx.load(weights / int8.file).graph
    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    inner = [node for node in graph.node if node.op_type == "Conv"][1:]  # the last layer is a matrix product
    scales = [float(constants[makers[node.input[0]].input[1]]) for node in inner]
    assert scales == pytest.approx(load_trained(run / "state.pt")[1]["activation_steps"], rel=1e-5)
    with pytest.raises(ModelError, match="was not trained in int8"):
        install({}, weights, int8=taught, int8_classifier=tmp_path / f"{SQUEEZENET}.pt")
