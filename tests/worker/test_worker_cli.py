"""The commands of the worker."""

import csv
import hashlib
import json
import os
import platform
import shutil
import struct
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import xtalgrid
from tests.conftest import BLUE, CHOP_BY_CHOP, RED, encoded, well
from xtalgrid_core import wire
from xtalgrid_core.outcomes import SCORED_GROUPS, Outcome
from xtalgrid_core.weights import MANIFEST, default_models, read_manifest
from xtalgrid_worker import run as worker_run
from xtalgrid_worker.cli import main
from xtalgrid_worker.run import version


@pytest.fixture
def xtalgrid_worker(tiny_weights):
    """``xtalgrid_worker("score", …)`` with the small networks."""

    def invoke(command: str, *arguments: object) -> Result:
        words = [command, *map(str, arguments), *(["--keep-priority"] if command == "run" else [])]
        result = CliRunner().invoke(main, words if "--weights" in words else [*words, "--weights", str(tiny_weights)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result

    return invoke


@pytest.fixture
def wells(tmp_path):
    """A folder with a crystal, a clear drop, and several broken images."""
    folder = tmp_path / "wells"
    folder.mkdir()
    (folder / "crystal.png").write_bytes(encoded(well(RED)))
    (folder / "clear.jpg").write_bytes(encoded(well(BLUE), "JPEG", quality=95))
    (folder / "half.jpg").write_bytes(encoded(well(BLUE), "JPEG")[:4000])
    (folder / "text.jpg").write_text("no image was taken\n")
    (folder / "dot.png").write_bytes(encoded(well()[:1, :1]))
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    huge = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (folder / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + huge + b"\0\0\0\0IEND\xaeB`\x82")
    return folder


def test_every_image_of_a_folder_is_accounted_for(xtalgrid_worker, wells, tmp_path):
    out = tmp_path / "out"
    run = xtalgrid_worker("score", wells, wells / "nowhere.jpg", "--out", out, "--pixel-size", 1.13, "--frames")
    assert run.exit_code == 0
    lines = {line.split()[0]: line for line in run.stdout.splitlines()}
    assert "crystals harvestable" in lines["crystal.png"]
    assert "failed: missing file" in lines["nowhere.jpg"]
    assert run.stdout.splitlines()[-1] == "7 images: 1 crystals harvestable, 1 clear, 5 failed"

    with (out / "scores.csv").open(newline="") as file:
        rows = {Path(row["image"]).name: row for row in csv.DictReader(file)}
    assert (rows["crystal.png"]["score"], rows["clear.jpg"]["score"]) == ("23", "01")
    assert {name: row["failure"].partition(":")[0] for name, row in rows.items() if row["failure"]} == {
        "half.jpg": "truncated image",
        "text.jpg": "not an image",
        "dot.png": "image too small",
        "huge.png": "image too large",
        "nowhere.jpg": "missing file",
    }
    result = wire.decode_result((out / "result.json").read_bytes())
    assert (result.unit, len(result.images)) == ("score", 7)
    assert sorted(path.name for path in out.iterdir()) == [
        "clear_ART.jpg",
        "crystal_ART.jpg",
        "result.json",
        "scores.csv",
    ]
    border = np.asarray(Image.open(out / "crystal_ART.jpg"))[-4, 320]
    red = [int(Outcome.HARVESTABLE.style.colour[i : i + 2], 16) for i in (1, 3, 5)]
    assert np.abs(border.astype(int) - red).max() < 25


def test_json_is_a_line_for_each_image_with_the_numbers_that_python_gives(
    xtalgrid_worker, wells, tiny_weights, tmp_path
):
    run = xtalgrid_worker("score", wells, "--out", tmp_path / "out", "--pixel-size", 1.13, "--json")
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    answers = xtalgrid.Scorer(tiny_weights).score_many(
        sorted(wells.iterdir()), workers=1, progress=False, pixel_size_um=1.13
    )
    assert [line | {"seconds": 0} if line["seconds"] else line for line in lines] == [
        answer.to_dict() | {"seconds": 0} if isinstance(answer, xtalgrid.Score) else answer.to_dict()
        for answer in answers
    ]
    assert {line["outcome"] for line in lines} == {"crystals harvestable", "clear", "failed"}
    assert run.stderr.splitlines()[-1] == "6 images: 1 crystals harvestable, 1 clear, 4 failed"


def test_no_file_name_is_a_formula(xtalgrid_worker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("=1+1;@SUM(A1).jpg").write_bytes(b"no image")
    xtalgrid_worker("score", "--out", "out", "=1+1;@SUM(A1).jpg")
    with Path("out", "scores.csv").open(newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["'=1+1;'@SUM(A1).jpg"]


def test_frames_of_images_with_the_same_name_get_different_names(xtalgrid_worker, tmp_path):
    names = ["a/A01.png", "b/A01.png", "b/a01.jpg", "b/A01_2.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded(well()))
    run = xtalgrid_worker("score", *(tmp_path / n for n in names), "--out", tmp_path / "out", "--frames")
    assert run.exit_code == 0
    frames = sorted(path.name.lower() for path in (tmp_path / "out").glob("*_ART.jpg"))
    assert frames == ["a01_2_2_art.jpg", "a01_2_art.jpg", "a01_3_art.jpg", "a01_art.jpg"]


def test_an_image_with_the_longest_name_has_a_frame_too(xtalgrid_worker, tmp_path):
    for name in ("ä" * 125 + "a.png", "ä" * 125 + "b.png"):  # 255 bytes, the most that a file system takes
        (tmp_path / name).write_bytes(encoded(well()))
    run = xtalgrid_worker("score", tmp_path, "--out", tmp_path / "out", "--frames")
    assert run.exit_code == 0
    frames = sorted(len(os.fsencode(path.name)) for path in (tmp_path / "out").glob("ää*_ART.jpg"))
    assert len(frames) == 2
    assert all(240 < length <= 255 for length in frames)


def test_an_image_that_is_removed_before_its_frame_is_drawn_costs_no_other(xtalgrid_worker, tmp_path, monkeypatch):
    for name in ("A01.png", "A02.png"):
        (tmp_path / name).write_bytes(encoded(well()))
    score = worker_run.score_image

    def then_removed(data, entry, *rest):
        answer = score(data, entry, *rest)
        (tmp_path / "A01.png").unlink(missing_ok=True)
        return answer

    monkeypatch.setattr(worker_run, "score_image", then_removed)
    run = xtalgrid_worker("score", tmp_path, "--out", tmp_path / "out", "--frames")
    assert run.exit_code == 0
    assert run.stdout.splitlines()[-1] == "2 images: 2 crystals harvestable"
    assert [path.name for path in (tmp_path / "out").glob("*_ART.jpg")] == ["A02_ART.jpg"]


def test_frames_beside_images_are_never_scored_and_replace_no_image(xtalgrid_worker, tmp_path):
    (tmp_path / "A01.png").write_bytes(encoded(well()))
    for _ in range(2):
        run = xtalgrid_worker("score", tmp_path, "--out", tmp_path, "--frames")
        assert run.stdout.splitlines()[-1] == "1 images: 1 crystals harvestable"
    (tmp_path / "A01_ART.jpg").write_bytes(picture := encoded(well(BLUE), "JPEG"))
    xtalgrid_worker("score", tmp_path / "A01.png", tmp_path / "A01_ART.jpg", "--out", tmp_path, "--frames")
    assert (tmp_path / "A01_ART.jpg").read_bytes() == picture


def test_options_reach_the_decision(xtalgrid_worker, wells, tmp_path):
    def answer(*options):
        out = tmp_path / "out"
        assert xtalgrid_worker("score", wells / "crystal.png", "--out", out, *options).exit_code == 0
        return json.loads((out / "result.json").read_bytes())["images"][0]

    assert len(answer("--boxes", 0)["boxes"]) == 0
    assert answer("--pixel-size", 2.0)["pixel_size_um"] == 2.0
    assert answer()["pixel_size_origin"] == "guessed"
    assert answer("--exact")["outcome"] == answer("--step", 16)["outcome"] == "crystals harvestable"


def test_a_missing_variant_is_an_error_with_a_remedy(xtalgrid_worker, wells, tmp_path):
    run = xtalgrid_worker("score", wells, "--out", tmp_path / "out", "--variant", "int8")
    assert run.exit_code == 2
    assert "has no int8 variant" in run.stderr


def test_when_nothing_can_be_scored_the_exit_status_is_1(xtalgrid_worker, tmp_path):
    run = xtalgrid_worker("score", tmp_path / "none.jpg", "--out", tmp_path / "out")
    assert run.exit_code == 1
    assert (tmp_path / "out" / "result.json").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--threshold", "0"],
        ["--threshold", "nan"],
        ["--pixel-size", "nan"],
        ["--step", "0"],
        ["--step", "50"],
        ["--rule", "best"],
    ],
)
def test_invalid_options_are_named(xtalgrid_worker, wells, tmp_path, options):
    run = xtalgrid_worker("score", wells, "--out", tmp_path / "out", *options)
    assert run.exit_code == 2
    assert options[0] in run.stderr
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_an_error(xtalgrid_worker, tmp_path):
    (tmp_path / "empty").mkdir()
    run = xtalgrid_worker("score", tmp_path / "empty", "--out", tmp_path / "out")
    assert run.exit_code == 2
    assert "no images found" in run.stderr
    assert "passed over" not in run.stderr
    (tmp_path / "empty" / "A01.webp").touch()
    run = xtalgrid_worker("score", tmp_path / "empty", "--out", tmp_path / "out")
    assert (run.exit_code, run.stderr.rpartition("; ")[2]) == (2, "passed over: 1 .webp\n")


def test_what_else_a_folder_holds_is_said(xtalgrid_worker, tmp_path):
    """Run twice, since what the first run wrote is not counted."""
    (tmp_path / "A01.png").write_bytes(encoded(well()))
    for name in ("A02.webp", "A03.WEBP", "notes.txt"):
        (tmp_path / name).touch()
    for _ in range(2):
        run = xtalgrid_worker("score", tmp_path, "--out", tmp_path, "--frames")
        assert run.stderr.splitlines()[0] == "passed over: 2 .webp, 1 .txt"
        assert run.stdout.splitlines()[-1] == "1 images: 1 crystals harvestable"


def test_a_folder_that_cannot_be_written_is_named(xtalgrid_worker, wells, tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        run = xtalgrid_worker("score", wells, "--out", out)
        assert run.exit_code == 2
        assert run.stderr.startswith(f"Error: {out}")
        assert run.stderr.count("\n") == 1


def test_file_names_in_another_encoding_can_be_printed(xtalgrid_worker, tmp_path):
    path = tmp_path / os.fsdecode(b"A01_\xff.png")
    try:
        path.write_bytes(encoded(well()))
    except OSError:
        pytest.skip("this file system takes text only")
    run = xtalgrid_worker("score", path, "--out", tmp_path / "out", "--frames")
    assert run.exit_code == 0
    assert "A01_" in (tmp_path / "out" / "scores.csv").read_text()


def test_a_work_unit_is_run(xtalgrid_worker, make_unit, crystal, tmp_path):
    path = make_unit([crystal, b"broken"])
    run = xtalgrid_worker("run", path, tmp_path / "result.json")
    assert run.exit_code == 0
    assert "001.png: not an image" in run.stderr
    assert run.stdout == ""
    assert [type(i) for i in wire.decode_result((tmp_path / "result.json").read_bytes()).images] == [
        wire.Scored,
        wire.Failed,
    ]


def test_a_unit_is_scored_by_the_variant_that_it_names(xtalgrid_worker, make_unit, crystal, tiny_weights, tmp_path):
    """Whatever is the worker's default; here the int8 classifier, which takes a crystal for a clear drop."""
    onnx = pytest.importorskip("onnx")
    folder = tmp_path / "both"
    shutil.copytree(tiny_weights, folder)
    manifest = read_manifest(folder)
    fp32 = next(entry for entry in manifest.models if entry.role == "classifier")
    network = onnx.load(folder / fp32.file)
    colours = network.graph.initializer[0]
    mistaken = np.roll(onnx.numpy_helper.to_array(colours), 10, axis=0)
    colours.CopyFrom(onnx.numpy_helper.from_array(mistaken, colours.name))
    data = network.SerializeToString()
    sha256 = hashlib.sha256(data).hexdigest()
    int8 = msgspec.structs.replace(fp32, variant="int8", file="int8.onnx", sha256=sha256, origin=fp32.sha256)
    (folder / int8.file).write_bytes(data)
    manifest = msgspec.structs.replace(
        manifest, models=(*manifest.models, int8), default={**manifest.default, "classifier": sha256}
    )
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    for entry, outcome in ((fp32, Outcome.HARVESTABLE), (int8, Outcome.CLEAR)):
        options = wire.Options(segmenter=manifest.default["segmenter"], classifier=entry.sha256, **CHOP_BY_CHOP)
        path = tmp_path / f"{entry.variant}.json"
        run = xtalgrid_worker(
            "run", make_unit([crystal], name=entry.variant, options=options), path, "--weights", folder
        )
        assert run.exit_code == 0, run.stderr
        result = wire.decode_result(path.read_bytes())
        assert (result.classifier, result.images[0].outcome) == (entry.sha256, outcome)


def test_a_unit_that_cannot_be_run_is_a_one_line_error(xtalgrid_worker, make_unit, crystal, tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    unknown = wire.Options(segmenter="0" * 64, classifier="1" * 64)
    for path, code, message in [
        (tmp_path / "none.zip", 74, "No such file"),
        (tmp_path / "text.zip", 2, "not a work unit"),
        (make_unit([crystal], name="new", min_worker="99.0"), 2, "update it"),
        (make_unit([crystal], name="models", options=unknown), 78, "unknown model"),
    ]:
        run = xtalgrid_worker("run", path, tmp_path / "result.json")
        assert (run.exit_code, message in run.stderr) == (code, True), run.stderr
        assert run.stderr.count("\n") == 1
        assert not (tmp_path / "result.json").exists()


def test_a_result_that_cannot_be_written_exits_with_74(xtalgrid_worker, make_unit, crystal, tmp_path):
    run = xtalgrid_worker("run", make_unit([crystal]), tmp_path / "nowhere" / "result.json")
    assert run.exit_code == 74
    assert str(tmp_path / "nowhere") in run.stderr


def test_models_are_listed(xtalgrid_worker, tiny_weights):
    run = xtalgrid_worker("models")
    for sha256 in (*default_models(tiny_weights), *default_models()):
        assert f"{sha256[:12]}" in run.stdout
    assert run.stdout.count("*") == 4
    listed = json.loads(xtalgrid_worker("models", "--json").stdout)
    assert [one["sha256"] for one in listed if one["is_default"]] == [*default_models(tiny_weights), *default_models()]


def test_version_names_the_weights_too():
    lines = CliRunner().invoke(main, ["--version"]).stdout.splitlines()
    segmenter, classifier = default_models()
    assert lines[0] == f"xtalgrid-worker {version()} (segmenter {segmenter[:12]}, classifier {classifier[:12]})"
    assert lines[1].startswith(f"python {platform.python_version()}, onnxruntime ")
    assert {line.split()[-1] for line in lines[2:]} >= {segmenter, classifier}


def test_a_second_opinion_adds_columns_at_the_end(xtalgrid_worker, wells, tmp_path, tiny_second_opinion):
    words = ["score", wells, "--out", tmp_path / "out", "--pixel-size", 1.13, "--json"]
    alone = xtalgrid_worker(*words).stdout.splitlines()
    header = (tmp_path / "out" / "scores.csv").read_text().splitlines()[0]
    both = xtalgrid_worker(*words, "--second-opinion", tiny_second_opinion).stdout.splitlines()
    further = [f"{whose}_{group}" for whose in ("own", "second") for group in SCORED_GROUPS]
    for one, other in zip(map(json.loads, alone), map(json.loads, both), strict=True):
        assert list(other) == [*one, *further]
        assert [other[name] for name in further[:4]] == [one[group] for group in SCORED_GROUPS]
    assert (tmp_path / "out" / "scores.csv").read_text().splitlines()[0] == ",".join([header, *further])
    refused = xtalgrid_worker(*words, "--second-opinion", tiny_second_opinion, "--rule", "group")
    assert refused.exit_code == 2
    assert "rule pooled, not with group" in refused.stderr


def test_the_readme_names_every_command():
    readme = (Path(__file__).parents[2] / "worker/README.md").read_text(encoding="utf-8")
    assert not [name for name in main.commands if f"xtalgrid-worker {name}" not in readme]


@pytest.mark.parametrize("command", [[], ["score"], ["run"], ["models"], ["selfcheck"]])
def test_every_command_has_help(command):
    run = CliRunner().invoke(main, [*command, "--help"])
    assert run.exit_code == 0
    assert run.stdout.startswith("Usage:")
