import hashlib
import shutil

import msgspec
import pytest

from xtalgrid_core.combination import Combination
from xtalgrid_core.errors import BrokenModel, ConfigError, UnknownModel
from xtalgrid_core.options import DEFAULTS, first_opinion
from xtalgrid_core.weights import (
    MANIFEST,
    PACKAGED,
    ModelEntry,
    WeightsManifest,
    default_models,
    find_model,
    read_manifest,
    second_opinion_at,
    with_second_opinion,
)


def test_all_packaged_weights_exist():
    for entry in read_manifest().models:
        model, data = find_model(entry.sha256, entry.role)
        assert model == entry
        assert len(data) > 10_000
        assert (PACKAGED / entry.card).is_file(), "every model has a card"


def test_each_role_has_a_default():
    segmenter, classifier = default_models()
    assert find_model(segmenter, "segmenter")[0].role == "segmenter"
    assert find_model(classifier, "classifier")[0].role == "classifier"


def test_weights_in_other_folders(tiny_weights):
    segmenter, _ = default_models(tiny_weights)
    assert find_model(segmenter, "segmenter", [tiny_weights])[0].architecture == "tiny"
    with pytest.raises(UnknownModel, match="update this worker"):
        find_model(segmenter, "segmenter")


def test_a_variant_is_found_from_either_default(tmp_path):
    def entry(sha256, variant, origin=""):
        return ModelEntry(
            sha256=sha256 * 64,
            role="classifier",
            file="f",
            architecture="x",
            variant=variant,
            card="c",
            origin=origin * 64,
        )

    def default_classifier(default, variant):
        models = (entry("a", "fp32"), entry("b", "int8", "a"), entry("c", "int8", "d"), entry("5", "fp32"))
        segmenter = msgspec.structs.replace(entry("5", variant or "fp32"), role="segmenter")
        manifest = WeightsManifest(
            schema=1, default={"segmenter": "5" * 64, "classifier": default * 64}, models=(*models, segmenter)
        )
        (tmp_path / MANIFEST).write_bytes(msgspec.json.encode(manifest))
        return default_models(tmp_path, variant)[1][0]

    assert [default_classifier("a", v) for v in (None, "fp32", "int8")] == ["a", "a", "b"]
    assert [default_classifier("b", v) for v in (None, "fp32", "int8")] == ["b", "a", "b"]
    with pytest.raises(UnknownModel, match="classifier 555555555555… has no int8 variant"):
        default_classifier("5", "int8")


def test_a_folder_without_a_manifest_is_skipped(tmp_path):
    segmenter, _ = default_models()
    assert find_model(segmenter, "segmenter", [tmp_path])[0].sha256 == segmenter


def test_a_model_is_not_used_in_another_role():
    segmenter, _ = default_models()
    with pytest.raises(UnknownModel, match="unknown model: classifier"):
        find_model(segmenter, "classifier")


@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(p.read_bytes() + b"\0"), lambda p: p.unlink()])
def test_a_changed_byte_is_detected(tiny_weights, tmp_path, damage):
    folder = shutil.copytree(tiny_weights, tmp_path / "weights")
    damage(folder / "segmenter.onnx")
    with pytest.raises(BrokenModel, match=r"segmenter\.onnx"):
        find_model(default_models(folder)[0], "segmenter", [folder])


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"schema":9,"default":{},"models":[]}'])
def test_an_unreadable_manifest_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(BrokenModel, match=MANIFEST):
        read_manifest(tmp_path)


def test_a_second_opinion_lies_in_a_folder_of_its_own(tmp_path):
    data = b"its weights"
    sha256 = hashlib.sha256(data).hexdigest()
    entry = ModelEntry(sha256=sha256, role="second_opinion", file="f", architecture="x", variant="int8", card="c")
    manifest = WeightsManifest(schema=1, default={"second_opinion": sha256}, models=(entry,))
    (tmp_path / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    (tmp_path / "f").write_bytes(data)
    assert read_manifest(tmp_path) == manifest
    assert find_model(sha256, "second_opinion", [tmp_path]) == (entry, data)
    with pytest.raises(UnknownModel, match="unknown model: classifier"):
        find_model(sha256, "classifier", [tmp_path])
    inside = tmp_path / "outer"
    shutil.copytree(tmp_path, inside / "second-opinion")
    assert find_model(sha256, "second_opinion", [inside]) == (entry, data)  # with the folder that it lies in
    assert [second_opinion_at(path) for path in (tmp_path, tmp_path / "f")] == [(entry, tmp_path)] * 2
    with pytest.raises(UnknownModel, match="no second opinion at"):
        second_opinion_at(tmp_path / "g")
    with pytest.raises(UnknownModel, match="no segmenter here"):
        default_models(tmp_path)


def test_a_second_opinion_is_asked_for_with_its_combination():
    fields = {"sha256": "e" * 64, "role": "second_opinion", "architecture": "x", "variant": "int8"}
    combined = Combination(0.5, 0.9, (0.0, 0.1, 0.2, -0.3))
    entry = ModelEntry(file="f", card="c", combination=combined, **fields)
    options = with_second_opinion(DEFAULTS, entry)
    assert (options.rule, options.second_opinion, options.combination) == ("combined", "e" * 64, combined)
    assert first_opinion(options) == first_opinion(DEFAULTS) == DEFAULTS
    with pytest.raises(ConfigError, match="rule pooled, not with group"):
        with_second_opinion(msgspec.structs.replace(DEFAULTS, rule="group"), entry)
    with pytest.raises(BrokenModel, match="has no combination"):
        with_second_opinion(DEFAULTS, msgspec.structs.replace(entry, combination=None))
