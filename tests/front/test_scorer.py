"""The front door: what a scientist types works, says what is wrong, and loses no image."""

import doctest
import importlib
import inspect
import io
import json
import pickle
import re
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xtalgrid
from tests.conftest import BLUE, CHOP_BY_CHOP, RED, encoded, scoring_processes, well
from xtalgrid.images import Source

COLUMNS = [
    "image",
    "outcome",
    "group",
    "score",
    "probability",
    "p_crystal",
    "crystal",
    "precipitate",
    "other",
    "clear",
    "drop_confidence",
    "drop_row",
    "drop_col",
    "drop_height",
    "drop_width",
    "height",
    "width",
    "pixel_size_um",
    "pixel_size_origin",
    "seconds",
    "failure",
]


@pytest.fixture(scope="module")
def scorer(tiny_weights: Path) -> xtalgrid.Scorer:
    return xtalgrid.Scorer(tiny_weights)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(encoded(well(RED)))
    (tmp_path / "b.png").write_bytes(encoded(well(BLUE)))
    (tmp_path / "broken.jpg").write_bytes(encoded(well(RED), "JPEG")[:3000])
    (tmp_path / "none.png").write_bytes(encoded(well(None)))
    return tmp_path


def test_a_red_drop_is_a_crystal_and_a_blue_one_is_clear(scorer, folder):
    crystal, clear = (scorer.score(folder / name, pixel_size_um=1.13) for name in ("a.png", "b.png"))
    assert (crystal.outcome, crystal.group, crystal.number) == ("crystals harvestable", "crystal", 23)
    assert (clear.outcome, clear.number) == ("clear", 1)
    assert crystal.p_crystal > 0.9 > 0.1 > clear.p_crystal
    for score in (crystal, clear):
        assert list(score.probabilities) == ["crystal", "precipitate", "other", "clear"]
        assert sum(score.probabilities.values()) == pytest.approx(1)
        assert score.probabilities["crystal"] == score.p_crystal
    row, col, height, width = crystal.drop.box  # a circle of radius 160 in the middle of 640×480, by a mask of 256×256
    assert (row, col, row + height, col + width) == pytest.approx((80, 160, 400, 480), abs=6)
    assert crystal.boxes[0].outcome == "crystals harvestable"
    assert crystal.shape == (480, 640)
    assert (crystal.pixel_size_um, crystal.image) == (1.13, str(folder / "a.png"))


def test_the_same_pixels_score_the_same_however_they_are_given(scorer, folder):
    path = folder / "a.png"
    pixels = np.asarray(Image.open(path))
    given = [
        path,
        str(path),
        path.read_bytes(),
        bytearray(path.read_bytes()),
        Image.open(path),
        pixels,
        pixels[:, :, ::1],
    ]
    rows = [scorer.score(image, 1.13).to_dict() | {"image": "", "seconds": 0} for image in given]
    assert all(row == rows[0] for row in rows)


def test_grey_arrays_of_8_and_16_bits_are_the_same_well(scorer):
    grey = np.asarray(Image.fromarray(well(RED)).convert("L"))
    eight, sixteen = (scorer.score(array, 1.13) for array in (grey, grey.astype(np.uint16) * 257))
    assert eight.p_crystal == pytest.approx(sixteen.p_crystal, abs=1e-3)
    assert eight.drop.box == sixteen.drop.box


def test_the_frame_is_the_image_with_the_outcomes_colour_around_it(scorer, folder):
    framed = scorer.score(folder / "a.png").frame()
    assert framed.size == (640, 480)
    assert framed.getpixel((320, 1)) == (0xE0, 0x20, 0x1B)  # the paper's red
    with Image.open(io.BytesIO(scorer.score(folder / "a.png")._repr_png_())) as shown:
        assert (shown.format, max(shown.size)) == ("PNG", 480)


def test_the_class_map_lies_over_the_image(scorer, folder):
    score = scorer.score(folder / "a.png", 1.13)
    crystal, clear = score.class_map("crystal"), score.class_map(xtalgrid.Group.CLEAR)
    assert crystal.shape == clear.shape == score.shape
    assert 0 <= crystal.min() <= crystal.max() <= 1
    assert crystal[240, 320] > 0.5 > clear[240, 320]
    assert crystal[5, 5] == 0  # outside the drop
    with pytest.raises(
        xtalgrid.ConfigError, match="no class map of 'salt'; choose from: crystal, precipitate, other, clear"
    ):
        score.class_map("salt")


def test_many_images_come_in_their_order_and_none_is_lost(scorer, folder):
    given = [folder / "a.png", folder / "broken.jpg", "nowhere.png", folder / "b.png", 17, folder / "none.png"]
    answers = list(scorer.score_many(given, workers=2, progress=False, pixel_size_um=1.13))
    assert [type(answer).__name__ for answer in answers] == ["Score", "Failure", "Failure", "Score", "Failure", "Score"]
    assert [str(a.outcome) for a in answers] == [
        *("crystals harvestable", "failed", "failed", "clear", "failed", "null experiment"),
    ]
    assert [str(a.reason) for a in answers if isinstance(a, xtalgrid.Failure)] == [
        *("truncated image", "missing file", "not an image"),
    ]
    rows = [answer.to_dict() for answer in answers]
    assert all(list(row) == COLUMNS for row in rows), "one table takes all of them"
    assert json.loads(json.dumps(rows)) == rows
    alone = scorer.score(folder / "a.png", 1.13).to_dict()
    assert rows[0] | {"seconds": 0} == alone | {"seconds": 0}


def test_images_are_read_only_as_they_are_needed_and_the_caller_may_stop(scorer, folder):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield folder / "b.png"

    answers = scorer.score_many(endless(), workers=1, progress=False)
    assert [next(answers).outcome for _ in range(3)] == ["clear"] * 3
    answers.close()
    assert len(taken) < 8


def test_an_image_that_takes_too_long_is_a_failure_and_the_next_is_scored(scorer, folder):
    large = encoded(np.tile(well(RED), (6, 6, 1)))
    late, soon = scorer.score_many([large, folder / "b.png"], workers=1, progress=False, time_limit=1e-3), None
    first = next(late)
    assert isinstance(first, xtalgrid.Failure)
    assert first.reason == xtalgrid.FailureReason.TIMED_OUT
    late.close()
    (soon,) = scorer.score_many([folder / "b.png"], workers=1, progress=False)
    assert soon.outcome == "clear"


def test_a_file_that_changed_since_is_not_framed_as_if_it_were_the_same(scorer, folder):
    score = scorer.score(folder / "a.png")
    (folder / "a.png").write_bytes(encoded(well(BLUE)))
    with pytest.raises(xtalgrid.ImageError, match=r"a\.png: the file has changed since it was scored; score it again"):
        score.frame()
    with pytest.raises(xtalgrid.ImageError, match="changed since"):
        score.class_map()
    assert score._repr_png_() is None, "a notebook shows its text"


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ("nowhere.jpg", xtalgrid.ImageError, r"missing file: nowhere\.jpg: there is no such file"),
        (b"", xtalgrid.ImageError, "the file is empty"),
        (b"II*\0", xtalgrid.ImageError, "not an image"),
        (None, xtalgrid.ConfigError, "NoneType is not an image; give a path, a file's bytes, a PIL image, or an array"),
        (
            np.zeros((480, 640, 3)),
            xtalgrid.ConfigError,
            r"cannot score an array \(480, 640, 3\) of float64; give .* \* 255",
        ),
        (np.zeros((480, 640, 2), np.uint8), xtalgrid.ConfigError, r"give \(M, N\) or \(M, N, 3\) of uint8"),
        (np.zeros((0, 640), np.uint8), xtalgrid.ConfigError, "cannot score an array"),
        (np.zeros((20, 20), np.uint8), xtalgrid.ImageError, "20×20 pixels; a well image has at least 64 on each side"),
    ],
)
def test_what_cannot_be_scored_says_what_was_expected(scorer, image, error, message):
    with pytest.raises(error, match=message):
        scorer.score(image)


@pytest.mark.parametrize("size", [0, -1, 51, float("nan"), float("inf")])
def test_a_pixel_size_out_of_range_is_refused(scorer, size):
    with pytest.raises(xtalgrid.ConfigError, match=r"give 0\.05 to 50"):
        scorer.score(well(RED), pixel_size_um=size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads is 0; give at least 1"),
        ({"rule": "best"}, "Invalid enum value 'best'"),
        ({"crystal_from": 2}, "crystal_from"),
        ({"step": 50}, "multiples of 16"),
    ],
)
def test_options_are_checked_at_once(tiny_weights, options, message):
    with pytest.raises(xtalgrid.ConfigError, match=message):
        xtalgrid.Scorer(tiny_weights, **options)


def test_options_and_weights_are_those_asked_for(tiny_weights):
    scorer = xtalgrid.Scorer(tiny_weights, **CHOP_BY_CHOP, n_boxes=1)
    assert (scorer.options.rule, scorer.options.mode, scorer.options.step) == ("group", "exact", 50)
    assert len(scorer.score(well(RED), 1.13).boxes) == 1
    with pytest.raises(xtalgrid.ModelError, match="cannot read the list of weights"):
        xtalgrid.Scorer(tiny_weights / "elsewhere")


def test_help_names_every_option_and_its_default():
    explained = inspect.signature(xtalgrid.Scorer).parameters
    production = xtalgrid.Scorer().options
    by_weights = {"segmenter", "classifier", "second_opinion", "combination", "possible"}
    options = [name for name in xtalgrid.Options.__struct_fields__ if name not in by_weights]
    assert {name: explained[name].default for name in options} == {name: getattr(production, name) for name in options}
    assert all(f"\n{name} : " in inspect.getdoc(xtalgrid.Scorer) for name in explained)


@pytest.mark.parametrize("one", ["plate", Path("A01.jpg"), b"II*\0", well(RED), Image.fromarray(well(RED)), None])
def test_one_image_is_not_taken_apart_into_many(scorer, one):
    with pytest.raises(
        xtalgrid.ConfigError,
        match=r'images is a \w+, not a list of images; for a folder, give sorted\(Path\("plate"\)\.glob',
    ):
        scorer.score_many(one)


@pytest.mark.parametrize(
    "limits", [{"workers": 0}, {"time_limit": 0}, {"time_limit": float("nan")}, {"pixel_size_um": 99}]
)
def test_limits_are_checked_before_the_first_image(scorer, limits):
    with pytest.raises(xtalgrid.ConfigError):
        scorer.score_many([well(RED)], **limits)


def test_a_scorer_and_its_scores_can_be_pickled(scorer, folder):
    score = scorer.score(folder / "a.png", 1.13)
    other, again = pickle.loads(pickle.dumps((scorer, score)))
    assert other.options == scorer.options
    assert other.score(folder / "a.png", 1.13).to_dict() | {"seconds": 0} == score.to_dict() | {"seconds": 0}
    assert np.array_equal(again.class_map(), score.class_map())


def test_two_broken_ones_of_two_hundred_are_two_failures(scorer, folder):
    (folder / "small.png").write_bytes(encoded(well(None, 96, 128)))  # no drop: quick
    given = [folder / "small.png"] * 200
    given[70], given[131] = folder / "broken.jpg", folder / "none there.png"
    answers = list(scorer.score_many(given, workers=2, progress=False))
    assert [(number, str(a.reason)) for number, a in enumerate(answers) if isinstance(a, xtalgrid.Failure)] == [
        (70, "truncated image"),
        (131, "missing file"),
    ]
    assert [a.image for a in answers] == list(map(str, given))


def test_in_a_list_an_image_goes_by_its_name(scorer, folder):
    crystal, broken = scorer.score_many([folder / "a.png", folder / "broken.jpg"], workers=1, progress=False)
    assert re.fullmatch(r"<Score of a\.png: crystals harvestable \d\.\d\d, p_crystal \d\.\d\d>", repr(crystal))
    assert repr(broken).startswith("<Failure of broken.jpg: truncated image: the file ends")


SCRIPT = """
import signal
import sys
import xtalgrid

signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background, it is ignored
scorer = xtalgrid.Scorer(sys.argv[1])
for score in scorer.score_many([sys.argv[2]] * int(sys.argv[3]), workers=2, progress=False):
    print(score.outcome, flush=True)
"""


def script(tmp_path: Path, *words: object) -> subprocess.Popen[str]:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", *map(str, words)]
    return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_script_needs_no_main_guard(tiny_weights, folder):
    said, complaints = script(folder, tiny_weights, folder / "b.png", 5).communicate(timeout=120)
    assert (said.split(), complaints) == (["clear"] * 5, "")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_ctrl_c_stops_a_script_and_its_processes(tiny_weights, folder):
    with script(folder, tiny_weights, folder / "b.png", 10**6) as running:
        try:
            assert running.stdout.readline() == "clear\n"
            processes = scoring_processes(running.pid)
            assert processes
            running.send_signal(signal.SIGINT)
            _, complaints = running.communicate(timeout=60)
        finally:
            running.kill()
    assert running.returncode == -signal.SIGINT
    assert complaints.endswith("KeyboardInterrupt\n")
    assert not any(Path(f"/proc/{process}/exe").exists() for process in processes)


def test_only_what_is_named_is_public():
    assert len(xtalgrid.__all__) <= 14
    assert dir(xtalgrid) == sorted(xtalgrid.__all__), "what the Tab key offers"
    assert all(getattr(xtalgrid, name).__doc__ for name in xtalgrid.__all__)


@pytest.mark.parametrize("name", ["xtalgrid", "xtalgrid.scorer", "xtalgrid.scores", "xtalgrid.images"])
def test_the_examples_in_the_docstrings_run(name):
    module = importlib.import_module(name)
    failures, _ = doctest.testmod(module)
    assert failures == 0
    assert module.__doc__


def test_a_second_opinion_stands_beside_ours(tiny_weights, tiny_second_opinion, folder):
    scorer = xtalgrid.Scorer(tiny_weights, second_opinion=tiny_second_opinion)
    assert scorer.options.rule == "combined"
    score = scorer.score(folder / "a.png")
    assert score.own_probabilities == xtalgrid.Scorer(tiny_weights).score(folder / "a.png").probabilities
    assert list(score.second_opinion) == ["crystal", "precipitate", "other", "clear"]
    assert sum(score.second_opinion.values()) == pytest.approx(1)
    assert score.probabilities != score.own_probabilities
    answers = list(pickle.loads(pickle.dumps(scorer)).score_many(sorted(folder.iterdir()), workers=1, progress=False))
    further = [f"{whose}_{group}" for whose in ("own", "second") for group in score.second_opinion]
    assert all(list(answer.to_dict()) == [*COLUMNS, *further] for answer in answers)
    row = answers[0].to_dict()
    assert [row[name] for name in further[4:]] == list(score.second_opinion.values())


def test_a_second_opinion_is_there_and_goes_with_the_rule_pooled(tiny_weights, tiny_second_opinion):
    with pytest.raises(xtalgrid.ConfigError, match="rule pooled, not with group"):
        xtalgrid.Scorer(tiny_weights, second_opinion=tiny_second_opinion, rule="group")
    with pytest.raises(xtalgrid.ModelError, match="no second opinion at"):
        xtalgrid.Scorer(second_opinion=tiny_weights)


def test_a_name_that_begins_with_a_tilde_is_a_name(scorer, tmp_path, monkeypatch):
    """It ended a whole plate, because no home of such a user is known."""
    monkeypatch.chdir(tmp_path)
    Path("~A1.png").write_bytes(encoded(well(RED)))
    assert scorer.score("~A1.png").outcome == "crystals harvestable"
    (failure,) = scorer.score_many(["~nobody/A1.png"], workers=1, progress=False)
    assert failure.reason == "missing file"
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("A2.png").write_bytes(encoded(well(RED)))
    assert scorer.score("~/A2.png").outcome == "crystals harvestable"


def test_pixels_of_either_byte_order_are_scored(scorer):
    grey = well(RED)[:, :, 0].astype("<u2") * 16
    assert scorer.score(grey.astype(">u2")).to_dict() | {"seconds": 0} == scorer.score(grey).to_dict() | {"seconds": 0}


def test_a_pil_image_is_not_compressed_once_more():
    rough = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(rough).save(file, "TIFF", compression="jpeg", quality=30)
    decoded = Image.open(io.BytesIO(file.getvalue()))
    assert np.array_equal(Image.open(io.BytesIO(Source.of(decoded).read())), decoded)


def test_a_pil_image_of_16_bits_that_pillow_misreads_is_refused(scorer):
    """Pillow keeps the high byte of 16 bits of colour: a camera of 12 bits would be 16 times too dark."""
    png = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", 80, 80, 16, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(b"".join(b"\0" + bytes(80 * 6) for _ in range(80)))),
            (b"IEND", b""),
        )
    )
    with pytest.raises(xtalgrid.ConfigError, match="give the file's path or its bytes instead"):
        scorer.score(Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + png)))
    white_is_zero = io.BytesIO()
    Image.fromarray(np.zeros((80, 80), np.uint16)).save(white_is_zero, "TIFF")
    data = white_is_zero.getvalue().replace(struct.pack("<HHII", 262, 3, 1, 1), struct.pack("<HHII", 262, 3, 1, 0))
    with pytest.raises(xtalgrid.ConfigError, match="give the file's path or its bytes instead"):
        scorer.score(Image.open(io.BytesIO(data)))


def test_an_unknown_variant_is_refused_by_name(tiny_weights):
    with pytest.raises(xtalgrid.ConfigError, match="variant is 'int16'; choose from: fp32, int8"):
        xtalgrid.Scorer(tiny_weights, variant="int16")


def test_a_pil_image_that_was_closed_too_early_costs_itself_alone(scorer, folder):
    with Image.open(folder / "a.png") as closed:
        pass
    failure, score = scorer.score_many([closed, folder / "b.png"], workers=1, progress=False)
    assert failure.detail == "a PIL image of mode RGB was closed before it was read; give the file's path"
    assert score.outcome == "clear"
