import hashlib
import shutil

import msgspec
import pytest

from xtalgrid_core.errors import BrokenModel, UnknownModel
from xtalgrid_core.weights import (
    MANIFEST,
    PACKAGED,
    ModelEntry,
    WeightsManifest,
    default_models,
    find_model,
    read_manifest,
)


def test_the_packages_weights_are_all_there():
    for entry in read_manifest().models:
        found, data = find_model(entry.sha256, entry.role)
        assert found == entry
        assert len(data) > 10_000
        assert (PACKAGED / entry.card).is_file(), "every model has a card"


def test_there_is_a_default_of_each_role():
    segmenter, classifier = default_models()
    assert find_model(segmenter, "segmenter")[0].role == "segmenter"
    assert find_model(classifier, "classifier")[0].role == "classifier"


def test_weights_are_found_in_other_folders(tiny_weights):
    segmenter, _ = default_models(tiny_weights)
    assert find_model(segmenter, "segmenter", [tiny_weights])[0].architecture == "tiny"
    with pytest.raises(UnknownModel, match="update it"):
        find_model(segmenter, "segmenter")


def test_a_variant_of_the_default_is_found_from_either(tmp_path):
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

    def found(default, variant):
        models = (entry("a", "fp32"), entry("b", "int8", "a"), entry("c", "int8", "d"), entry("5", "fp32"))
        segmenter = msgspec.structs.replace(entry("5", variant or "fp32"), role="segmenter")
        manifest = WeightsManifest(
            schema=1, default={"segmenter": "5" * 64, "classifier": default * 64}, models=(*models, segmenter)
        )
        (tmp_path / MANIFEST).write_bytes(msgspec.json.encode(manifest))
        return default_models(tmp_path, variant)[1][0]

    assert [found("a", v) for v in (None, "fp32", "int8")] == ["a", "a", "b"]
    assert [found("b", v) for v in (None, "fp32", "int8")] == ["b", "a", "b"]
    with pytest.raises(UnknownModel, match="no int8 variant of the classifier 555555555555"):
        found("5", "int8")


def test_a_folder_without_a_manifest_is_passed_over(tmp_path):
    segmenter, _ = default_models()
    assert find_model(segmenter, "segmenter", [tmp_path])[0].sha256 == segmenter


def test_a_model_is_not_taken_for_another_role():
    segmenter, _ = default_models()
    with pytest.raises(UnknownModel, match="no classifier named"):
        find_model(segmenter, "classifier")


@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(p.read_bytes() + b"\0"), lambda p: p.unlink()])
def test_a_byte_that_differs_is_noticed(tiny_weights, tmp_path, damage):
    folder = shutil.copytree(tiny_weights, tmp_path / "weights")
    damage(folder / "segmenter.onnx")
    with pytest.raises(BrokenModel, match=r"segmenter\.onnx"):
        find_model(default_models(folder)[0], "segmenter", [folder])


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"schema":9,"default":{},"models":[]}'])
def test_a_manifest_that_cannot_be_read_is_an_error_that_names_it(tmp_path, content):
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
    with pytest.raises(UnknownModel, match="no classifier named"):
        find_model(sha256, "classifier", [tmp_path])
    with pytest.raises(UnknownModel, match="no segmenter here"):
        default_models(tmp_path)
