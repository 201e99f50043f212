"""What tables say of wells, and what is said where they say nonsense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_nets.judge.truth import (
    Truth,
    by_source,
    known_images,
    lab_wells,
    real_wells,
    rendered_plates,
    training_images,
    without_copies,
)


def table(folder: Path, text: str) -> Path:
    path = folder / "wells.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_label_is_a_group_a_class_or_a_score(tmp_path: Path) -> None:
    lines = ("crystals", "precipitate", "spherulites", "13", "1", "Null Experiment", "")
    rows = "".join(f"A,{number}.jpg,{label}\n" for number, label in enumerate(lines))
    found = lab_wells(table(tmp_path, f"plate,image,label\n{rows}"))
    assert [(truth.group, truth.outcome) for truth in found] == [
        (Group.CRYSTAL, None),
        (Group.PRECIPITATE, None),
        (Group.OTHER, Outcome.SPHERULITES),
        (Group.PRECIPITATE, Outcome.PRECIPITATE),
        (Group.CLEAR, Outcome.CLEAR),
        (Group.OTHER, Outcome.NULL_EXPERIMENT),
        (None, None),
    ]
    assert found[0].path == tmp_path / "0.jpg"


def test_an_outcome_is_a_class(tmp_path: Path) -> None:
    (found,) = lab_wells(table(tmp_path, "plate,image,outcome,source,confidence\nA,a.jpg,precipitate,Imager 2,low\n"))
    assert (found.outcome, found.source, found.sure) == (Outcome.PRECIPITATE, "Imager 2", False)


def test_where_people_disagree_only_what_they_agree_on_counts(tmp_path: Path) -> None:
    """Rows as export-scored writes them."""
    rows = (
        "1.jpg,P1,23,crystals harvestable,\n"
        "2.jpg,P1,,any crystal,ann: crystals harvestable; ben: crystals bad form\n"
        "3.jpg,P1,,,ann: crystals harvestable; ben: clear\n"
    )
    found = lab_wells(table(tmp_path, f"image,plate,score,outcome,disagreement\n{rows}"))
    assert [(truth.group, truth.outcome) for truth in found] == [
        (Group.CRYSTAL, Outcome.HARVESTABLE),
        (Group.CRYSTAL, None),
        (None, None),
    ]


def test_a_label_counts_where_the_outcome_is_empty_and_blanks_make_no_other_plate(tmp_path: Path) -> None:
    text = "plate,well,image,outcome,label\nA,A1a,a.jpg,clear,crystal\nA ,A2a,b.jpg,,precipitate\nA,,c.jpg,,\n"
    found = lab_wells(table(tmp_path, text))
    assert [(truth.plate, truth.well, truth.group) for truth in found] == [
        ("A", "A1a", Group.CLEAR),
        ("A", "A2a", Group.PRECIPITATE),
        ("A", "", None),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plate,image,label\nA,a.jpg,clear\nA,b.jpg,xtal\n", "line 3: 'xtal' is not a group"),
        ("plate,image,label\nA,a.jpg,99\n", "line 2: '99' is not a group"),
        ("plate,image,outcome\nA,a.jpg,crystal\n", "line 2: 'crystal' is no"),
        ("plate,image,label\nA,a.jpg,clear\nA,b.jpg,clear, but dusty\n", "line 3: 4 cells, but the header has 3"),
        ("image,label\na.jpg,clear\n", "no column plate"),
        ("plate,image\nA,a.jpg\n", "no column label"),
    ],
)
def test_a_table_that_says_nonsense_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        lab_wells(table(tmp_path, text))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_table_as_a_spreadsheet_saves_it(tmp_path: Path, encoding: str) -> None:
    text = table(tmp_path, "image,label,plate\na.jpg,clear,Plätte\n")
    expected = lab_wells(text)
    for separator in ",;\t":
        rows = "image,label,plate\na.jpg,clear,Plätte\n".replace(",", separator)
        text.write_bytes(rows.encode(encoding))
        assert lab_wells(text) == expected


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"labels\.csv: No such file"):
        real_wells(tmp_path)
    with pytest.raises(ConfigError, match="no rendered plates"):
        rendered_plates(tmp_path)


def test_sources_are_kept_apart_and_real_ones_come_first(tmp_path: Path) -> None:
    truths = [
        Truth(tmp_path / name, source, kind, "P", None)  # type: ignore[arg-type]
        for name, source, kind in [("a", "rendered plates", "rendered"), ("b", "Z", "real"), ("c", "Y", "real")]
    ]
    assert list(by_source(truths)) == ["Y", "Z", "rendered plates"]


def test_the_real_wells_are_read_by_set_and_source(shared: Path) -> None:
    sources = by_source(real_wells(shared / "real"))
    assert "marco_tiles" not in sources
    plate = sources["plate_CI022987"]
    assert len(plate) == 144
    assert sum(truth.mask is not None for truth in plate) == 135
    assert all(truth.path.is_file() for truth in plate)
    assert {truth.outcome for truth in sources["plate_empty"]} == {Outcome.NULL_EXPERIMENT}
    assert {truth.plate for truth in sources["wells: MARCO/GSK"]} == {"wells: MARCO/GSK"}


def test_uv_images_are_no_wells_to_judge(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "labels.csv").write_text(
        "set,image,judgement,confidence,drop_mask_quality\n"
        "wells,well_1464_brightfield_fullres.png,crystal,high,\n"
        "wells,well_1464_uvtpef.png,crystal,high,\n"
    )
    (tmp_path / "more" / "labels_more.csv").write_text(
        "set,image,judgement,confidence,kind\nmore,A__1.png,clear,high,well\nmore,A__2.png,crystal,high,UV mate\n"
        "more,A__3.png,crystal,high,uv\n"
    )
    assert [truth.path.name for truth in real_wells(tmp_path)] == ["well_1464_brightfield_fullres.png", "A__1.png"]


def test_only_images_that_train_are_left_out(tmp_path: Path) -> None:
    first, second = "0a" * 32, "0b" * 32
    listed = table(tmp_path, f"image,sha256,use\na.png,{first.upper()}, Train\nb.png,{second},judge\n")
    assert training_images(listed) == {first}
    for text, said in (
        (f"sha256\n{first}\n", "no column use"),
        (f"sha256,use\n{first[:63]},train\n", "line 2: .* is no SHA-256 of 64 digits"),
        (f"sha256,use\n{first},judge\n{second},trained\n", "line 3: use is 'trained'; write train or judge"),
    ):
        with pytest.raises(ConfigError, match=said):
            training_images(table(tmp_path, text))


def test_whether_a_judgement_is_sure_is_never_guessed(tmp_path: Path) -> None:
    head = "plate,image,label,confidence\n"
    cells = ("High", " low ", "")
    rows = "".join(f"P,{number}.jpg,clear,{cell}\n" for number, cell in enumerate(cells))
    assert [truth.sure for truth in lab_wells(table(tmp_path, head + rows))] == [True, False, True]
    with pytest.raises(ConfigError, match="line 2: confidence is 'sure'; write high, medium or low"):
        lab_wells(table(tmp_path, f"{head}P,a.jpg,clear,sure\n"))


def test_empty_lines_of_a_spreadsheet_are_no_wells_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    found = lab_wells(table(tmp_path, "plate,image,label\nP,a.jpg,clear\n\n,,\n"))
    assert [truth.path.name for truth in found] == ["a.jpg"]
    with pytest.raises(ConfigError, match="line 5: 'xtal' is not a group"):
        lab_wells(table(tmp_path, "plate,image,label\nP,a.jpg,clear\n\n,,\nP,b.jpg,xtal\n"))


def test_a_well_that_is_listed_twice_counts_once(tmp_path: Path) -> None:
    head = "plate,image,label\nP,a.jpg,clear\n"
    assert len(lab_wells(table(tmp_path, f"{head}P,./a.jpg,clear\n"))) == 1
    with pytest.raises(ConfigError, match=r"a\.jpg: listed twice, with different judgements"):
        lab_wells(table(tmp_path, f"{head}P,a.jpg,crystal\n"))


def test_an_unknown_judgement_of_a_real_well_is_named_with_its_line(tmp_path: Path) -> None:
    lines = "set,image,judgement,confidence,drop_mask_quality\nwells,a.png,clear,high,\nwells,b.png,xtal,high,\n"
    (tmp_path / "labels.csv").write_text(lines)
    with pytest.raises(ConfigError, match=r"labels\.csv, line 3: 'xtal' is not a group"):
        real_wells(tmp_path)


def test_rendered_plates_are_whole_and_of_one_renderer(tmp_path: Path) -> None:
    for name, renderer in (("TE1", "2026-11-29"), ("TE2", "2026-11-30")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.json").write_text(json.dumps({"renderer": renderer}))
    (tmp_path / "TE1" / "truth.csv").write_text("image,inspection,drop,outcome\na.jpg,1,A1a,clear\n")
    with pytest.raises(ConfigError, match="TE2: this plate was not rendered to the end"):
        rendered_plates(tmp_path)
    (tmp_path / "TE2" / "truth.csv").write_text("image,inspection,drop,outcome\na.jpg,1,A1a,xtal\n")
    with pytest.raises(ConfigError, match=r"different renderers, 2026-11-29 \(TE1\) and 2026-11-30 \(TE2\)"):
        rendered_plates(tmp_path)
    (tmp_path / "TE2" / "settings.json").write_text(json.dumps({"renderer": "2026-11-29"}))
    with pytest.raises(ConfigError, match=r"TE2/truth\.csv, line 2: 'xtal' is no class"):
        rendered_plates(tmp_path)


def test_a_lab_s_table_may_say_how_large_a_pixel_is(tmp_path: Path) -> None:
    head = "plate,image,label,pixel_size_um\n"
    found = lab_wells(table(tmp_path, f"{head}P1,a.jpg,clear,2.6\nP1,b.jpg,clear,\n"))
    assert [truth.pixel_size_um for truth in found] == [2.6, None]
    for wrong in ("small", "0", "nan", "1130"):
        with pytest.raises(ConfigError, match="line 2: pixel_size_um is no number from"):
            lab_wells(table(tmp_path, f"{head}P1,a.jpg,clear,{wrong}\n"))


def test_capitals_and_blanks_hide_no_column_and_make_no_second_plate(tmp_path: Path) -> None:
    rows = "P1,a.jpg ,clear,low,2.6\nP1 , b.jpg,Crystal,high,\n"
    found = lab_wells(table(tmp_path, f" Plate,IMAGE,Label,Confidence,Pixel_size_um\n{rows}"))
    assert [(truth.plate, truth.path.name, truth.sure, truth.pixel_size_um) for truth in found] == [
        ("P1", "a.jpg", False, 2.6),
        ("P1", "b.jpg", True, None),
    ]
    with pytest.raises(ConfigError, match="two columns are called label; rename or remove one"):
        lab_wells(table(tmp_path, "plate,image,label,Label\nP1,a.jpg,clear,crystal\n"))
    with pytest.raises(ConfigError, match="no column plate; it has image, label"):
        lab_wells(table(tmp_path, "image,label\na.jpg,clear\n"))


def test_a_label_counts_where_there_is_no_outcome(tmp_path: Path) -> None:
    rows = "P1,a.jpg,precipitate,\nP1,b.jpg,,precipitate\nP1,c.jpg,,\n"
    found = lab_wells(table(tmp_path, f"plate,image,outcome,label\n{rows}"))
    assert [(truth.group, truth.outcome) for truth in found] == [
        (Group.PRECIPITATE, Outcome.PRECIPITATE),
        (Group.PRECIPITATE, None),
        (None, None),
    ]


def test_names_are_read_as_our_exports_write_them(tmp_path: Path) -> None:
    (found,) = lab_wells(table(tmp_path, "plate,image,label\n'=P1,'=a.jpg,clear\n"))
    assert (found.plate, found.path.name) == ("=P1", "=a.jpg")
    with pytest.raises(ConfigError, match="line 2: no image"):
        lab_wells(table(tmp_path, "plate,image,label\nP1,,clear\n"))


def test_one_picture_counts_once_whatever_its_files_are_called(tmp_path: Path) -> None:
    for name, content in (("a", b"one"), ("copy", b"one"), ("b", b"two")):
        (tmp_path / f"{name}.jpg").write_bytes(content)
    head = "plate,image,label,source\nP,a.jpg,clear,X\nP,copy.jpg,{},{}\nP,b.jpg,clear,X\n"

    def kept(label: str, source: str) -> list[str]:
        return [truth.path.stem for truth in without_copies(lab_wells(table(tmp_path, head.format(label, source))))]

    assert kept("clear", "X") == ["a", "b"]
    assert kept("clear", "Y") == ["a", "copy", "b"]  # no figure mixes sources
    with pytest.raises(ConfigError, match=r"copy\.jpg: the same picture as a\.jpg, with another judgement"):
        kept("crystal", "X")


def test_images_that_are_set_aside_must_be_there(tmp_path: Path) -> None:
    """Else a copy of theirs would train."""
    listed = table(tmp_path, "plate,image,label\nP,moved/a.jpg,clear\n")
    with pytest.raises(ConfigError, match=r"a\.jpg: no such file; 1 of 1 images that are set aside are missing"):
        known_images([listed])
