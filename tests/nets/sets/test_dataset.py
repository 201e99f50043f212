"""From scored wells to chops: the rules of the paper's section 2.2 on wells whose truth is known, and the command around them."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("torch", reason="training needs the extra [train]")

from xtalgrid_core.chops import Box
from xtalgrid_core.outcomes import CLASSES, PRIORITY, Group, Outcome
from xtalgrid_core.scale import REFERENCE_UM, PixelSize, pixel_size
from xtalgrid_nets.cli import sets as commands
from xtalgrid_nets.sets.contours import contour_map, lengths
from xtalgrid_nets.sets.crops import Crop, crop_to_drop, whole_well
from xtalgrid_nets.sets.format import SetError
from xtalgrid_nets.sets.labels import Labels
from xtalgrid_nets.sets.published import EDGE_UM, Rules, _inside, chop_well
from xtalgrid_nets.sets.reading import ChopSet
from xtalgrid_nets.sets.sources import LabelledWell, PassedOver, from_class_folders
from xtalgrid_nets.sets.uv import REACH, glow_map
from xtalgrid_synth import Nature, RenderedWell, render_uv, render_well

UM = 3.4
WIDTH, HEIGHT = 640, 480


def rendered(outcome: Outcome, seed: int) -> RenderedWell:
    return render_well(outcome, seed=seed, width=WIDTH, height=HEIGHT, pixel_size_um=UM)


def cropped(well: RenderedWell) -> Crop:
    crop = crop_to_drop(well.image, well.drop_mask.astype(np.float32), PixelSize(well.pixel_size_um, "rendered"))
    assert crop is not None
    return crop


# ---- the rules ---------------------------------------------------------------------------------------------------


def disc(radius: int = 340, side: int = 800) -> np.ndarray:
    row, col = np.ogrid[:side, :side]
    return (row - side / 2) ** 2 + (col - side / 2) ** 2 < radius**2


def drawn(*boxes: Box, edge: bool = True) -> Crop:
    """A grey drop, 800×800 at the reference scale, with a dark edge and dark rectangles in it: a 4×4 grid of chops, starts 0 181 362 544."""
    drop = disc()
    view = np.where(drop, 200, 215).astype(np.uint8)
    if edge:
        view[drop & ~disc(325)] = 60
    for box in boxes:
        view[box.row : box.row + box.height, box.col : box.col + box.width] = 90
    return Crop(np.repeat(view[:, :, None], 3, axis=2), drop, Box(0, 0, 800, 800))


def labels_of(
    crop: Crop, outcome: Outcome, rules: Rules | None = None, glow: np.ndarray | None = None
) -> list[Outcome]:
    return [CLASSES[rank] for rank in chop_well(crop, outcome, rules or Rules(), glow).labels]


CRYSTAL = Box(378, 378, 44, 44)  # in the four chops of the middle, whole


def test_a_chop_takes_its_well_s_class_only_if_something_is_seen_in_it() -> None:
    made = chop_well(drawn(CRYSTAL), Outcome.HARVESTABLE, Rules())
    assert made.labels.tolist() == [PRIORITY[Outcome.HARVESTABLE]] * 4
    assert made.left_out == {"contours below the threshold": 12, "dark in UV": 0}
    assert all((chop[:, :, 0] == 90).sum() > 1000 for chop in made.chops)
    assert labels_of(drawn(), Outcome.PRECIPITATE) == []


def test_the_drop_s_edge_counts_where_that_is_asked_for_as_published() -> None:
    edges = labels_of(drawn(), Outcome.PRECIPITATE, Rules(edge_counts=True))
    assert len(edges) == 12  # all but the four of the middle


def test_the_edge_of_a_clear_drop_is_rim_and_its_middle_clear() -> None:
    found = labels_of(drawn(), Outcome.CLEAR)
    assert found.count(Outcome.RIM) == 12
    assert found.count(Outcome.CLEAR) == 4
    without = chop_well(drawn(edge=False), Outcome.CLEAR, Rules(rim=5.0))
    assert without.left_out == {"edge of a clear drop without contours": 12}
    assert labels_of(drawn(), Outcome.CLEAR_WITH_FEATURES) == []


def test_a_uv_mate_confirms_the_crystal_or_not() -> None:
    salt, protein = Box(380, 295, 40, 40), Box(380, 470, 40, 40)  # each in one column of chops, two rows
    crop = drawn(salt, protein)
    glow = np.zeros((800, 800), bool)
    glow[370:430, 460:520] = True
    confirmed = chop_well(crop, Outcome.HARVESTABLE, Rules(), glow)
    assert confirmed.left_out["dark in UV"] == 2
    assert len(confirmed.labels) == 2
    assert len(labels_of(crop, Outcome.HARVESTABLE)) == len(confirmed.labels) + 2  # without a mate, on contours alone
    assert labels_of(crop, Outcome.HARVESTABLE, Rules(uv="required")) == []
    assert len(labels_of(crop, Outcome.HARVESTABLE, Rules(uv="required"), glow)) == len(confirmed.labels)
    dark = np.zeros_like(glow)
    assert labels_of(crop, Outcome.HARVESTABLE, Rules(), dark) == []
    assert len(labels_of(crop, Outcome.HARVESTABLE, Rules(uv="ignore"), dark)) == len(confirmed.labels) + 2
    assert labels_of(crop, Outcome.PRECIPITATE, Rules(), dark) != []  # the mate is asked about crystals alone


def test_contours_surround_what_differs_from_its_surroundings() -> None:
    shaded = np.tile(140 + 40 * np.sin(np.arange(800) / 250), (800, 1))  # slowly, as by a lens
    assert not contour_map(in_colour(shaded)).any()
    assert not contour_map(in_colour(shaded - 30 * disc(2))).any(), "a speck"
    ring = contour_map(in_colour(shaded + 18 * disc(16)))
    row, col = np.nonzero(ring)
    assert np.hypot(row - 400, col - 400) == pytest.approx(np.full(len(row), 15), abs=1)
    assert len(row) == pytest.approx(4 * np.sqrt(2) * 15, rel=0.05), "a line whose pixels touch at corners, once around"
    boxes = [Box(0, 0, 800, 800), Box(200, 200, 400, 400), Box(0, 0, 150, 150), Box(-50, 400, 900, 400)]
    whole, middle, corner, right = lengths(ring, boxes)
    assert (whole, middle, corner) == (len(row) / 800, len(row) / 400, 0)
    assert right == (col >= 400).sum() / 900


def in_colour(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey.round().astype(np.uint8)[:, :, None], 3, axis=2)


def test_the_edge_of_a_drop_is_45_um_wide_and_the_picture_s_border_is_none() -> None:
    left = np.flatnonzero(_inside(disc())[400])
    assert left[0] == pytest.approx(400 - 340 + EDGE_UM / REFERENCE_UM, abs=1)
    assert left[-1] == pytest.approx(400 + 340 - EDGE_UM / REFERENCE_UM, abs=1)
    assert _inside(np.ones((300, 300), bool)).all()
    cut_off = disc()[:, :400]
    assert _inside(cut_off)[400, -1]


def test_no_more_chops_of_a_well_than_asked_for() -> None:
    assert len(labels_of(drawn(), Outcome.CLEAR, Rules(most=5))) == 5


@pytest.mark.parametrize("seed", [11, 13, 18])
def test_protein_glows_where_its_crystals_are_and_salt_does_not(seed: int) -> None:
    well = rendered(Outcome.HARVESTABLE, seed)
    crop = cropped(well)
    counts = {}
    for nature in (Nature.PROTEIN, Nature.SALT):
        mate = render_uv(well, seed=seed, nature=nature, width=WIDTH // 2)
        pixels = np.repeat(mate.image[:, :, None], 3, axis=2)
        glow = glow_map(pixels, crop.box, crop.drop.shape, (HEIGHT, WIDTH))
        counts[nature] = len(chop_well(crop, well.outcome, Rules(), glow).labels)
    assert counts[Nature.PROTEIN] > 0
    assert counts[Nature.SALT] == 0


def test_glow_lies_where_it_was_and_reaches_a_little_further() -> None:
    mate = np.full((512, 512, 3), 20, np.uint8)
    mate[200:240, 300:340] = 220
    mate[100, 100] = 255  # a hot pixel
    rows, cols = np.nonzero(glow_map(mate, Box(0, 0, 1024, 1024), (512, 512), (1024, 1024)))
    assert (rows.min() + rows.max(), cols.min() + cols.max()) == (200 + 239, 300 + 339), "its middle is not moved"
    assert rows.max() - rows.min() + 1 == pytest.approx(40 + 2 * REACH, abs=2)


def test_a_real_uv_pair(shared: Path) -> None:
    """A well with lysozyme crystals and its UV-TPEF mate, of its own size."""
    folder = shared / "real" / "wells"
    image = np.asarray(Image.open(folder / "well_1464_brightfield_fullres.png").convert("RGB"))
    mate = np.asarray(Image.open(folder / "well_1464_uvtpef.png").convert("RGB"))
    crop = whole_well(image, pixel_size(image.shape[1], image.shape[0]))
    glow = glow_map(mate, crop.box, crop.drop.shape, image.shape[:2])
    assert glow.shape == crop.view.shape[:2]
    assert 0.0005 < glow.mean() < 0.3


# ---- the command -------------------------------------------------------------------------------------------------


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(commands.dataset, [str(word) for word in words])
    assert not isinstance(result.exception, Exception) or result.exception is None, result.exception
    return result.exit_code, result.output


WELLS = {
    "P1_A1": Outcome.CLEAR,
    "P1_A2": Outcome.PRECIPITATE_BAD,
    "P5_A1": Outcome.HARVESTABLE,
    "P5_A2": Outcome.NULL_EXPERIMENT,
}


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rendered wells with masks of their drops, and a UV mate of the crystal."""
    folder = tmp_path_factory.mktemp("plate")
    (folder / "masks").mkdir()
    for seed, (name, outcome) in enumerate(WELLS.items(), start=40):
        well = rendered(outcome, seed)
        Image.fromarray(well.image).save(folder / f"{name}.jpg", quality=92)
        Image.fromarray(well.drop_mask.astype(np.uint8) * 255).save(folder / "masks" / f"{name}.png")
        if outcome.group is Group.CRYSTAL:
            mate = render_uv(well, seed=seed, nature=Nature.PROTEIN)
            Image.fromarray(mate.image).save(folder / f"{name}_uv.png")
    return folder


def table(path: Path, rows: list[dict[str, object]]) -> Path:
    stream = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(stream.getvalue(), encoding="utf-8")
    return path


def scored(plate: Path) -> list[dict[str, object]]:
    """Rows as export-scored writes them."""
    return [
        {
            "image": plate / f"{name}.jpg",
            "uv_image": plate / f"{name}_uv.png" if outcome.group is Group.CRYSTAL else "",
            "plate": name[:2],
            "score": outcome.code,
            "outcome": outcome,
            "pixel_size_um": UM,
        }
        for name, outcome in WELLS.items()
    ]


def test_a_table_of_scored_wells(plate: Path, tmp_path: Path) -> None:
    broken = tmp_path / "half.jpg"
    broken.write_bytes((plate / "P1_A1.jpg").read_bytes()[:4000])
    rows = scored(plate)
    rows += [{**rows[0], "image": broken}, {**rows[0], "image": tmp_path / "gone.jpg"}]
    rows += [{**rows[0], "outcome": "", "score": "15"}, {**rows[1], "outcome": "", "score": "16", "image": "b.jpg"}]
    copy = tmp_path / "copy.jpg"
    copy.write_bytes((plate / "P1_A2.jpg").read_bytes())
    rows += [{**rows[2], "image": copy}]
    rows += [{**rows[0], "image": "c.jpg", "score": "", "outcome": "", "disagreement": "ann: clear; ben: 23"}]
    source = table(tmp_path / "scored.csv", rows)
    code, said = run(source, tmp_path / "set", "--masks", plate / "masks", "--map", "16=")
    assert code == 1  # two failed, and are named; the rest is there
    assert f"{broken}: truncated image" in said
    assert f"{tmp_path / 'gone.jpg'}: missing file" in said
    for line in (
        "1  images named more than once: the first counts",
        "1  left out by --map",
        "1  people disagree",
        "1  second copies of an image, scored differently",
    ):
        assert line in said, said
    made = ChopSet(tmp_path / "set")
    made.verify()
    assert [row.outcome for row in made.table] == [str(outcome) for outcome in WELLS.values()]
    assert {row.plate for row in made.table} == {"P1", "P5"}
    record = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert record["counts"]["uv pairs"] == 1
    assert len(record["failed"]) == 2
    assert record["counts"]["chops_by_class"]["rim"] > 0
    groups = [made.table[well].outcome for well in made.wells]
    for rank, outcome in zip(made.labels, groups, strict=True):
        assert CLASSES[rank] is Outcome(outcome) or (CLASSES[rank], outcome) == (Outcome.RIM, "clear")
    train, held = made.split()
    assert {made.table[well].plate for well in made.wells[train]} == {"P1"}
    assert {made.table[well].plate for well in made.wells[held]} == {"P5"}


def test_two_processes_make_the_same_set(plate: Path, tmp_path: Path) -> None:
    source = table(tmp_path / "scored.csv", scored(plate))
    for jobs in (1, 2):
        code, said = run(source, tmp_path / f"by{jobs}", "--whole", "--jobs", jobs)
        assert code == 0, said
    one, two = ChopSet(tmp_path / "by1"), ChopSet(tmp_path / "by2")
    assert list(one.hashes().values()) == list(two.hashes().values())


def test_a_table_of_a_lab_s_own(plate: Path, tmp_path: Path) -> None:
    """Semicolons, other columns, words of its own, paths from a folder, the plate in the name, drops found by the segmenter."""
    source = tmp_path / "lab.csv"
    source.write_text("file;what\nP1_A1.jpg;Klar\nP5_A1.jpg;crystals\n", encoding="utf-8-sig")
    options = ("--images", plate, "--image-column", "file", "--label-column", "what", "--pixel-size", UM)
    code, said = run(source, tmp_path / "set", *options, "--plate-from", "^(P.)_", "--map", "Klar=clear")
    assert code == 0, said
    made = ChopSet(tmp_path / "set")
    assert [(row.plate, row.outcome) for row in made.table] == [("P1", "clear"), ("P5", "any crystal")]
    assert "no column file" in run(source, tmp_path / "x", "--image-column", "nothing")[1].replace("nothing", "file")


def test_folders_named_as_classes(plate: Path, tmp_path: Path) -> None:
    for folder, name in (("crystals harvestable", "P5_A1"), ("01", "P1_A1"), ("to do", "P1_A2")):
        (tmp_path / "sorted" / folder).mkdir(parents=True)
        (tmp_path / "sorted" / folder / f"{name}.jpg").write_bytes((plate / f"{name}.jpg").read_bytes())
    code, said = run(tmp_path / "sorted", tmp_path / "set", "--whole")
    assert code == 0, said
    assert "the folder's name is not an outcome; give its meaning with --map 'to do=OUTCOME'" in said
    made = ChopSet(tmp_path / "set")
    assert [CLASSES[rank] for rank in made.labels] == [Outcome.CLEAR, Outcome.HARVESTABLE]
    assert "2 wells without a plate, split by image" in said


def test_an_interrupted_build_goes_on(plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xtalgrid_nets.sets import build

    source, whole = table(tmp_path / "scored.csv", scored(plate)), build.make_well
    words = (source, tmp_path / "set", "--masks", plate / "masks")

    def stopped(well, settings):
        if "P5_A1" in well.image:
            raise KeyboardInterrupt
        return whole(well, settings)

    monkeypatch.setattr(build, "make_well", stopped)
    assert run(*words)[0] == 1
    seen: list[str] = []
    monkeypatch.setattr(build, "make_well", lambda well, settings: seen.append(well.image) or whole(well, settings))
    assert run(*words)[0] == 0
    assert [Path(image).stem for image in seen] == ["P5_A1", "P5_A2"]
    assert len(ChopSet(tmp_path / "set").table) == 4


def test_labels_as_people_write_them() -> None:
    labels = Labels(["45=crystals harvestable", "junk="])
    assert labels.read("Crystals_Harvestable").outcome is Outcome.HARVESTABLE
    assert labels.read(" 1 ").outcome is Outcome.CLEAR
    assert labels.read("45") == labels.read("23")
    assert labels.read("junk") is None
    assert (labels.read("Precipitate").exact, Labels(groups=True).read("Precipitate").exact) == (True, False)
    with pytest.raises(SetError, match="--map '99=OUTCOME'"):
        labels.read("99")
    with pytest.raises(SetError, match="TEXT=OUTCOME"):
        Labels(["45=crystal harvest"])


def test_the_rules_are_judged_on_wells_whose_chops_are_known() -> None:
    result = CliRunner().invoke(commands.chop_rules, ["--wells", "1"])
    assert result.exit_code == 0, result.output
    rows = [line.split("|")[1:-1] for line in result.output.splitlines() if line.startswith("| ")]
    crystals = {row[0].strip(): [int(number) for number in row[2:5]] for row in rows if row[1].strip() == "crystal"}
    published, inside, mate = (crystals[name] for name in crystals)
    assert published[0] >= inside[0] >= mate[0] > 0  # each asks for more than the one before
    assert published[1] >= inside[1] >= mate[1]


def test_class_folders_have_odd_names_thumbnails_and_second_formats(tmp_path: Path) -> None:
    for name in ("A1.jpg", "A1.TIF", "@eaDir/A1.jpg", "#recycle/A2.jpg", ".A3.jpg", "deep/A1.jpg"):
        (tmp_path / "clear" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clear" / name).write_bytes(b"")
    (tmp_path / ".Trash").mkdir()
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/clear/K\xfcvette.jpg"))).write_bytes(
        b""
    )  # as old Windows shares have it
    entries = list(from_class_folders(tmp_path, Labels()))
    assert sorted(entry.image for entry in entries if isinstance(entry, LabelledWell)) == [
        "clear/A1.jpg", "clear/Küvette.jpg", "clear/deep/A1.jpg",
    ]  # fmt: skip
    assert [(entry.image, entry.reason) for entry in entries if isinstance(entry, PassedOver)] == [
        ("clear/A1.TIF", "another format of an image")
    ]


def test_frozen_wells_do_not_train(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_bytes(f"no picture {name}".encode())
    (tmp_path / "frozen").mkdir()
    (tmp_path / "frozen" / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "frozen" / "wells.csv").write_text("plate,image,label\nP,copy.png,\n")
    (tmp_path / "wells.csv").write_text("plate,image,label\nP,a.png,clear\nP,b.png,clear\n")
    words = ["dataset", str(tmp_path / "wells.csv"), str(tmp_path / "set")]
    done = CliRunner().invoke(commands.sets, [*words, "--frozen", str(tmp_path / "frozen" / "wells.csv")])
    assert "left out        1  frozen: no model is fitted to it" in done.output
    assert "failed  b.png" in done.output
    assert "a.png" not in done.output


def test_a_mask_is_of_one_image(tmp_path: Path) -> None:
    for plate in ("P1", "P2"):
        (tmp_path / plate).mkdir()
        Image.fromarray(np.zeros((80, 80, 3), np.uint8)).save(tmp_path / plate / "A1.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.zeros((80, 80), np.uint8)).save(tmp_path / "masks" / "A1.png")
    (tmp_path / "wells.csv").write_text("plate,image,label\nP1,P1/A1.png,clear\nP2,P2/A1.png,clear\n")
    words = ["dataset", str(tmp_path / "wells.csv"), str(tmp_path / "set"), "--masks", str(tmp_path / "masks")]
    done = CliRunner().invoke(commands.sets, words)
    assert done.exit_code == 1
    assert "A1.png: is it the mask of P1/A1.png or of P2/A1.png?" in done.output
