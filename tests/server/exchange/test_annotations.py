"""Boxes and outlines out to annotation tools and, corrected, back in as marks, in each of the four forms."""

from __future__ import annotations

import json
import os
import tracemalloc
import zipfile
from datetime import datetime
from io import BytesIO
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.conftest import INSPECTED, answer, rigaku_name
from tests.server.exchange.conftest import PLATE
from xtalgrid_core import wire
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import CLASSES, Group, Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.exchange.coco import coco_writer
from xtalgrid_server.exchange.export import export, exported_lines
from xtalgrid_server.exchange.foreign import Told
from xtalgrid_server.exchange.import_annotations import import_annotations, open_annotations
from xtalgrid_server.exchange.label_studio import LabelStudioWriter
from xtalgrid_server.exchange.labelme import labelme_file
from xtalgrid_server.exchange.many_files import new_folder
from xtalgrid_server.exchange.regions import RegionsOfImage, regions_of
from xtalgrid_server.exchange.yolo import YoloWriter
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.ledger.shapes import ScoredImage
from xtalgrid_server.reports.entries import DropInspection, Entry, Filter

FORMATS = ("coco", "yolo", "label-studio", "labelme")
each_format = pytest.mark.parametrize("kind", FORMATS)


@pytest.fixture
def exported(system, tmp_path):
    def write(kind: str, name: str = "") -> Path:
        out = tmp_path / (name or (f"{kind}.json" if kind in ("coco", "label-studio") else kind))
        export(system.config, system.ledger, kind, out, Filter())
        return out

    return write


@pytest.fixture
def xtalgrid(system):
    def call(*words):
        return CliRunner().invoke(main, ["--home", str(system.config.home), *map(str, words)])

    return call


@pytest.fixture
def bring(system):
    def read(file: Path, **options):
        told = {key: options.pop(key) for key in ("by", "kind", "barcode", "inspection") if key in options}
        return import_annotations(system.config, system.imager, system.ledger, file, Told(**told), **options)

    return read


@pytest.fixture
def marks(system):
    """The marks of the plate, by well."""

    def read():
        images = {image.image_id: str(image.well) for image in system.ledger.images.of_plate(PLATE)}
        found = system.ledger.marks.of_plates([PLATE])
        return {images[image_id]: given for image_id, given in found.items()}

    return read


def correct(kind: str, file: Path, label: str = "any crystal") -> None:
    """Move the chop of A1a to (10, 20), 30 wide and 40 high, as a person does in each tool; call it by a group."""
    number = len(CLASSES)
    if kind == "coco":
        data = json.loads(file.read_text())
        data["categories"].append({"id": 99, "name": label})
        first = data["annotations"][0]
        del first["score"]
        first |= {"category_id": 99, "bbox": [10, 20, 30, 40], "segmentation": []}
        file.write_text(json.dumps(data))
    elif kind == "yolo":
        (labels,) = file.glob(f"labels/{PLATE}/3/*_01_01_01_HF_*.txt")
        _, *others = labels.read_text().splitlines()
        labels.write_text("\n".join([f"{number + 1} {25 / 320} {40 / 240} {30 / 320} {40 / 240}", *others]))
        with (file / "data.yaml").open("a") as stream:
            stream.write(f"  {number + 1}: {label}\n")
    elif kind == "label-studio":
        tasks = json.loads(file.read_text())
        value = {"x": 1000 / 320, "y": 2000 / 240, "width": 3000 / 320, "height": 4000 / 240, "rotation": 0}
        result = {"id": "q", "type": "rectanglelabels", "value": {**value, "rectanglelabels": [label]}}
        by = {"id": 7, "email": "ann@lab.example"}
        tasks[1]["data"] |= {"well": "by hand"}
        tasks[0]["annotations"] = [
            {"completed_by": by, "updated_at": "2024-01-31T10:00:00.5+01:00", "result": [result]}
        ]
        file.write_text(json.dumps(tasks))
    else:
        (document,) = file.glob(f"{PLATE}/3/*_01_01_01_HF_*.json")
        data = json.loads(document.read_text())
        data["shapes"][0] |= {"label": label, "points": [[40, 20], [10, 60]]}
        data["imageData"] = "iVBORw0KGgo="
        document.write_text(json.dumps(data))


@pytest.mark.usefixtures("plate")
@each_format
def test_corrected_boxes_come_back_as_a_person_s_marks_once(exported, bring, marks, kind):
    out = exported(kind)
    untouched = bring(out, dry_run=True)
    assert (untouched.annotations, untouched.unchanged, untouched.refused) == (8, 8, 0)  # four chops, four drops
    correct(kind, out)
    dry = bring(out, by="ann", dry_run=True)
    done = bring(out, by="ann")
    assert dry == done
    assert done.annotations == done.new + done.unchanged == 8 + (kind == "label-studio")
    assert (done.new, done.images, done.known, done.refused) == (1, 1, 0, 0)
    (mark,) = marks()["A1a"]
    assert (mark.kind, mark.left, mark.top, mark.width, mark.height) == ("box", 10, 20, 30, 40)
    assert (mark.word, mark.meaning, mark.given_by) == ("any crystal", Group.CRYSTAL, "person")
    assert mark.who == ("ann@lab.example" if kind == "label-studio" else "ann")
    assert mark.origin.startswith(out.name)
    if kind == "label-studio":
        assert mark.at == datetime(2024, 1, 31, 9, 0)
    again = bring(out, by="ann")
    assert (again.new, again.known) == (0, 1)
    assert list(marks()) == ["A1a"]


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize("kind", ["coco", "yolo", "labelme"])
def test_what_a_person_confirmed_is_theirs_without_a_change(exported, bring, marks, kind):
    out = exported(kind)
    if kind == "coco":  # the annotation tool kept no score
        data = json.loads(out.read_text())
        out.write_text(json.dumps(data | {"annotations": [{**one, "score": None} for one in data["annotations"]]}))
    done = bring(out, by="ann", confirmed=True)
    assert (done.new, done.unchanged, dict(done.people)) == (8, 0, {"ann": 8})
    assert {mark.word for mark in marks()["A3a"]} == {"crystals harvestable", "drop"}


@pytest.mark.usefixtures("plate")
def test_a_program_s_boxes_are_kept_as_a_program_s(exported, bring, marks):
    out = exported("coco")
    data = json.loads(out.read_text())
    data["annotations"][0]["bbox"] = [1, 2, 3, 4]
    data["annotations"][0]["segmentation"] = []
    out.write_text(json.dumps(data))
    done = bring(out, by="CHiMP")
    assert (dict(done.programs), dict(done.people)) == ({"CHiMP": 1}, {})
    assert marks()["A1a"][0].given_by == "program"


@pytest.mark.usefixtures("plate")
def test_outlines_of_drops_come_in_with_their_corners(exported, bring, marks):
    out = exported("labelme")
    (document,) = out.glob(f"{PLATE}/3/*_02_01_01_HF_*.json")
    data = json.loads(document.read_text())
    corners = [[10, 10], [200.5, 12], [310, 230], [-5, 239]]
    data["shapes"] = [{"label": "Drop", "points": corners, "shape_type": "polygon"}]
    document.write_text(json.dumps(data))
    assert bring(document, by="ann").new == 1  # a file alone, named by its folders
    (mark,) = marks()["A2a"]
    assert (mark.kind, mark.word, mark.meaning) == ("outline", "drop", None)
    assert mark.polygon == ((10, 10), (200.5, 12), (310, 230), (0, 239))


@pytest.mark.usefixtures("plate")
def test_a_scaled_copy_of_an_image_is_scaled_back_and_another_shape_refused(exported, bring, marks):
    out = exported("coco")
    data = json.loads(out.read_text())
    box = {"category_id": 1, "bbox": [5, 6, 7, 8]}
    data["images"] = [
        {"id": 1, "file_name": rigaku_name(1), "width": 160, "height": 120},
        {"id": 2, "file_name": rigaku_name(2), "width": 640, "height": 640},
    ]
    data["annotations"] = [{"image_id": 1, **box}, {"image_id": 2, **box}]
    out.write_text(json.dumps(data))
    done = bring(out, by="ann")
    assert (done.new, done.refused) == (1, 1)
    assert "640×640, ours 320×240: the shapes differ" in done.first_refused[0].reason
    (mark,) = marks()["A1a"]
    assert (mark.left, mark.top, mark.width, mark.height) == (10, 12, 14, 16)


HARVESTABLE = {"id": 1, "name": "crystals harvestable"}


def coco(*annotations: object, images: object = None) -> str:
    image = {"id": 1, "file_name": rigaku_name(1), "width": 320, "height": 240}
    categories = [HARVESTABLE, {"id": 2, "name": "blob"}, {"id": 3, "name": "drop"}]
    return json.dumps({"images": images or [image], "categories": categories, "annotations": annotations})


def box(*bbox: float, **more: object) -> dict[str, object]:
    return {"image_id": 1, "category_id": 1, "bbox": bbox, **more}


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (box(1, 2, -3, 4), "the box is -3 wide and 4 high"),
        (box(1, 2, 0, 4), "the box is 0 wide"),
        (box(1, 2, 3), "is not 4 numbers"),
        (box(1, 2, 3, 1e300), "no place in an image"),
        (box(1, 2, 3, 10**18), "no place in an image"),
        (box(1, 2, 3, float("nan")), "JSON is malformed"),
        (box("1", 2, 3, 4), "is not a number"),
        (box(500, 2, 3, 4), "it lies outside the image"),
        (box(1, 2, 3, 4, attributes={"rotation": "45"}), "'45' is not a number"),
        (box(1, 2, 3, 4, image_id=9), "image 9: there is none"),
        (box(1, 2, 3, 4, category_id="x"), "category x: there is none"),
        (box(1, 2, 3, 4, category_id=2), "unknown word 'blob'; add it to scores.names"),
        (box(1, 2, 3, 4, category_id=3, segmentation=[[n % 300 for n in range(5002)]]), "simplify it to 2000"),
        (box(1, 2, 3, 4, segmentation=[[1, 2, 3]]), "odd number of numbers"),
        (box(1, 2, 3, 4, segmentation=[["x" * 2_000_000]]), "more than 1024 kB"),
        ({"image_id": 1, "category_id": 3, "segmentation": {"counts": [1], "size": [3, 3]}}, "it has no box"),
        ({"image_id": 1}, "missing required field `category_id`"),
        ([[[]]], None),  # no object: passed over
    ],
)
def test_each_annotation_is_refused_by_number_with_the_reason(bring, marks, tmp_path, annotation, reason):
    (tmp_path / "a.json").write_text(coco(box(1, 2, 3, 4), annotation, box(5, 6, 7, 8)))
    done = bring(tmp_path / "a.json", by="ann", refused_file=tmp_path / "refused.csv")
    assert (done.new, len(marks()["A1a"])) == (2, 2)
    assert done.refused == (reason is not None)
    if reason:
        assert done.first_refused[0].line == 2
        assert reason in done.first_refused[0].reason
        assert reason[:9] in (tmp_path / "refused.csv").read_text()


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    ("angle", "upright"),
    [(0.0, (80, 95, 40, 10)), (90.0, (95, 80, 10, 40)), (315.0, (82.32, 82.32, 35.36, 35.36)), (180, (80, 95, 40, 10))],
)
def test_a_box_that_cvat_turned_is_the_upright_box_around_it(bring, marks, tmp_path, angle, upright):
    """CVAT writes the box as it was before, and `rotation` about its centre, here (100, 100), among its attributes."""
    turned = box(80, 95, 40, 10, attributes={"occluded": False, "rotation": angle})
    (tmp_path / "a.json").write_text(coco(turned))
    assert bring(tmp_path / "a.json", by="ann").new == 1
    (mark,) = marks()["A1a"]
    assert (mark.left, mark.top, mark.width, mark.height) == pytest.approx(upright, abs=0.01)


@pytest.mark.usefixtures("plate")
def test_a_broken_file_of_a_folder_costs_only_itself(exported, bring, marks):
    out = exported("labelme")
    correct("labelme", out)
    (out / "a.json").write_text('{"shapes": [')
    (out / "b.json").write_text('{"a": 1}')
    (out / "c.json").write_text('{"shapes": [' + "0," * 100_000 + "0]}")
    done = bring(out, by="ann")
    assert (done.new, done.refused, list(marks())) == (1, 3, ["A1a"])
    assert [refused.file for refused in done.first_refused] == ["a.json", "b.json", "c.json"]


@pytest.mark.usefixtures("plate")
def test_ids_that_occur_twice_are_refused(bring, tmp_path):
    twice = {"id": 1, "file_name": rigaku_name(1)}, {"id": 1, "file_name": rigaku_name(2)}
    (tmp_path / "a.json").write_text(coco(box(1, 2, 3, 4), images=twice))
    assert "image 1: several have this id" in bring(tmp_path / "a.json").first_refused[0].reason
    (tmp_path / "b.json").write_text(coco(box(1, 2, 3, 4, id=5), box(2, 2, 3, 4, id=5), box(3, 2, 3, 4)))
    done = bring(tmp_path / "b.json")
    assert (done.new, [refused.line for refused in done.first_refused]) == (2, [2])
    assert "its id 5 is that of an earlier one" in done.first_refused[0].reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no annotations of COCO, YOLO, Label Studio or labelme"),
        (b"barcode,well\n", "give the folder that has data.yaml or classes.txt"),
        (b"PK\x03\x04", "unpack it and give the folder"),
        (b'{"images": [], "annotations": [], "categories": [', "breaks off"),
        (b'{"images": [], "annotations": [{"id": "', "breaks off"),
        (b"[" * 100_000, "breaks off"),
        (b'{"a": ' * 100_000, "breaks off"),
        (b'[{"data": {"image": "x"}, "annotations": [{}]}, {"data"', "breaks off"),
        (coco().encode("utf-16"), "UTF-16 text; save it as UTF-8"),
        (coco().encode("utf-16-le"), "UTF-16 text; save it as UTF-8"),
        (b'[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]', "no annotations of COCO"),
    ],
)
def test_a_file_that_is_none_or_breaks_off_is_refused_whole(bring, marks, tmp_path, content, reason):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ConfigError, match=reason):
        bring(tmp_path / "a.json")
    assert marks() == {}


@pytest.mark.usefixtures("plate")
def test_no_file_that_a_file_names_is_opened(bring, marks, tmp_path):
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)  # opening it would wait for ever
    images = [{"id": 1, "file_name": str(pipe)}, {"id": 2, "file_name": f"../../../{rigaku_name(1)}"}]
    (tmp_path / "a.json").write_text(coco(box(1, 2, 3, 4), box(1, 2, 3, 4, image_id=2), images=images))
    done = bring(tmp_path / "a.json", by="ann")
    assert "no image named pipe.jpg in the ledger" in done.first_refused[0].reason
    assert list(marks()) == ["A1a"]


@pytest.mark.usefixtures("plate")
def test_a_path_that_names_another_inspection_is_not_taken_for_this_one(bring, tmp_path):
    images = [
        {"id": 1, "file_name": f"set/{PLATE}/4/{rigaku_name(1)}"},
        {"id": 2, "file_name": f"set/batch/4/{rigaku_name(1)}"},
        {"id": 3, "file_name": rf"C:\\set\\{PLATE}\\3\\{rigaku_name(1)}"},
    ]
    drawn = [box(1, 2, 3, 4, image_id=1), box(1, 2, 3, 5, image_id=2), box(1, 2, 3, 6, image_id=3)]
    (tmp_path / "a.json").write_text(coco(*drawn, images=images))
    done = bring(tmp_path / "a.json", by="ann")
    assert (done.new, [refused.line for refused in done.first_refused]) == (2, [1])
    assert done.first_refused[0].reason == f"plate {PLATE} has this image at inspection 3, not 4"


@pytest.mark.usefixtures("plate")
def test_label_studio_s_other_forms(bring, marks, tmp_path):
    def task(image: str, *results: object, **more: object) -> object:
        return {"data": {"image": image}, "annotations": [{"completed_by": 3, "result": list(results), **more}]}

    def boxed(label: str, **more: object) -> object:
        value = {"x": 50, "y": 50, "width": 10, "height": 10, "rectanglelabels": [label], **more}
        size = {"original_width": 320, "original_height": 240}
        return {"type": "rectanglelabels", "value": value, **size}

    name = rigaku_name(1)
    tasks = [
        task(f"/data/upload/12/0123abcd-{name}", boxed("crystal", rotation=90)),
        task(f"/data/local-files/?d=x/{rigaku_name(2)}", boxed("crystal"), was_cancelled=True),
        task("https://lab.example/x.jpg", boxed("crystal")),
        task(name, boxed("drop"), updated_at="0001-01-01T00:00:00+14:00"),
        task(name, {"type": "choices", "value": {"choices": ["a"]}}, boxed("crystal", rectanglelabels=["a", "b"]), 7),
    ]
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    done = bring(tmp_path / "a.json")
    assert (done.annotations, done.new, done.refused) == (6, 2, 4)
    assert dict(done.people) == {"Label Studio user 3": 2}
    reasons = [(refused.line, refused.reason) for refused in done.first_refused]
    assert reasons[0][1].startswith("no image named x.jpg")
    assert reasons[1:] == [
        (4, "choices is neither a box nor an outline with a label"),
        (5, "it has not exactly one label"),
        (6, "it is neither a box nor an outline with a label"),
    ]
    mark, _ = marks()["A1a"]  # 32×24 pixels, turned by 90° about its top left corner at (160, 120)
    assert (mark.left, mark.top, mark.width, mark.height) == pytest.approx((136, 120, 24, 32))


def test_a_date_before_an_image_s_name_is_no_upload_s(tmp_path):
    """`20240108-A1.jpg` was taken for an `A1.jpg` of whatever plate."""
    value = {"x": 50, "y": 50, "width": 10, "height": 10, "rectanglelabels": ["crystal"]}
    result = [{"type": "rectanglelabels", "value": value, "original_width": 320, "original_height": 240}]
    paths = ("/data/local-files/?d=week/20240108-A1.jpg", "/data/upload/3/20240108-A1.jpg", "upload/3/0123abcd-A1.jpg")
    tasks = [{"data": {"image": path}, "annotations": [{"completed_by": 3, "result": result}]} for path in paths]
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    places = [each.mark.place.image for each in open_annotations(tmp_path / "a.json").read()]
    assert places == ["week/20240108-A1.jpg", "data/upload/3/A1.jpg", "upload/3/A1.jpg"]


def test_a_class_without_a_name_does_not_shift_the_others(tmp_path):
    (tmp_path / "classes.txt").write_text("drop\n\nany crystal\n\n")
    (tmp_path / "A1.txt").write_text("2 0.5 0.5 0.1 0.2\n1 0.5 0.5 0.1 0.2\n")
    first, second = open_annotations(tmp_path).read()
    assert first.mark.label == "any crystal"
    assert second.problem.startswith("class 1 has no name")


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    "names",
    [
        ("data.yaml", "names: ['drop', \"any crystal\", clear]  # three\nnc: 3\n"),
        ("data.yaml", "nc: 3\nnames:\n- drop\n- any crystal\n- clear\ntrain: x\n"),
        ("data.yaml", "names:\n  1: any crystal\n  0: drop\n"),
        ("data.yaml", "names: {0: drop, 1: 'any crystal'}\n"),
        ("classes.txt", "drop\r\nany crystal\r\n"),
        ("obj.names", "drop\nany crystal"),
    ],
)
def test_yolo_s_names_and_lines(bring, marks, tmp_path, names):
    folder = tmp_path / "set"
    (folder / "labels" / "train").mkdir(parents=True)
    (folder / names[0]).write_text(names[1])
    stem = rigaku_name(1).removesuffix(".jpg")
    lines = (
        "1 0.5 0.5 0.1 0.2\n\n1 0.5 0.5 0.1 0.2 0.9\n0 0.1 0.1 0.9 0.1 0.5 0.9\n7 0.5 0.5 0.1 0.1\n1 nan 0 1 1\n1 1\n"
    )
    (folder / "labels" / "train" / f"{stem}_jpg.rf.0123abcd.txt").write_text(lines)  # as Roboflow renames it
    done = bring(folder, by="ann")
    assert (done.annotations, done.new, [refused.line for refused in done.first_refused]) == (6, 3, [5, 6, 7])
    assert (dict(done.people), dict(done.programs)) == ({"ann": 2}, {"ann": 1})
    person, _, outline = marks()["A1a"]
    assert (person.left, person.top, person.width, person.height) == pytest.approx((144, 96, 32, 48))
    assert outline.polygon == ((32, 24), (288, 24), (160, 216))


def test_memory_does_not_grow_with_the_annotations(tmp_path):
    file = tmp_path / "a.json"
    with file.open("w") as stream:
        stream.write(coco()[:-2])
        one = json.dumps(box(1, 2, 3, 4, segmentation=[[1, 2, 3, 2, 3, 4]]))
        for number in range(5_000):
            stream.write(("," if number else "") + one)
        stream.write("]}")
    tracemalloc.start()
    read = sum(each.mark is not None for each in open_annotations(file).read())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read == 5_000
    assert peak < 300_000  # the file has 550 kB


@pytest.mark.usefixtures("plate")
def test_by_commands(xtalgrid, system, tmp_path):
    said = xtalgrid("export", "label-studio", tmp_path / "tasks.json", "--inspection", 3).output
    assert "4 images with 4 boxes in 13 categories and 4 drops in" in said
    assert f"the labelling interface for the project's settings is {tmp_path / 'tasks_interface.xml'}" in said
    assert "0 images with" in xtalgrid("export", "yolo", tmp_path / "none.zip", "--inspection", 7).output
    (tmp_path / "a.json").write_text(coco(box(1, 2, 3, 4), box(1, 2, 3, 4, category_id=2), box(1, 2, -3, 4)))
    dry = xtalgrid("import-annotations", tmp_path / "a.json", "--by", "ann", "--dry-run")
    assert dry.output.endswith("nothing was recorded (--dry-run)\n")
    done = xtalgrid("import-annotations", tmp_path / "a.json", "--by", "ann")
    assert done.exit_code == 1
    assert done.output.splitlines()[:4] == [
        "COCO: 3 annotations = 1 new + 0 known + 0 as exported + 2 refused",
        "people    1 new marks in 1 images: ann 1",
        "refused   2: unknown word 'blob'; add it to scores.names",
        "refused   3: the box is -3 wide and 4 high",
    ]
    again = json.loads(xtalgrid("import-annotations", tmp_path / "a.json", "--by", "ann", "--json").stdout)
    assert (again["new"], again["known"], again["refused"]) == (0, 1, 2)
    assert "1 marks in" in xtalgrid("export", "annotations", tmp_path / "marks.csv").output
    header, row = (tmp_path / "marks.csv").read_text().splitlines()
    values = dict(zip(header.split(","), row.split(","), strict=True))
    assert (values["image"], values["label"], values["by"]) == (
        f"{PLATE}/3/{rigaku_name(1)}",
        *("crystals harvestable", "ann"),
    )
    assert [values[name] for name in ("row", "col", "height", "width")] == ["2.0", "1.0", "4.0", "3.0"]
    refused = xtalgrid("import-scores", tmp_path / "a.json").output
    assert "boxes and outlines come in by `xtalgrid import-annotations`" in refused


# ---- round trips ---------------------------------------------------------------------------------------------------


@st.composite
def images(draw) -> RegionsOfImage:
    """An image of any size with boxes that may reach beyond its edges, and an outline of a drop."""
    height, width = draw(st.integers(50, 3000)), draw(st.integers(50, 3000))

    def some_box() -> wire.PixelBox:
        row, col = draw(st.integers(0, height - 10)), draw(st.integers(0, width - 10))
        return row, col, draw(st.integers(10, height)), draw(st.integers(10, width))

    chops = [
        wire.BestChop(box=some_box(), outcome=draw(st.sampled_from(CLASSES)), probability=0.5)
        for _ in range(draw(st.integers(1, 4)))
    ]
    corner = st.tuples(st.integers(0, height), st.integers(0, width))
    outline = tuple(draw(st.lists(corner, min_size=5, max_size=40, unique=True)))
    said = msgspec.structs.replace(
        answer(0, Outcome.HARVESTABLE),
        height=height,
        width=width,
        boxes=tuple(chops),
        drop=wire.Drop(box=some_box(), outline=outline, confidence=0.9),
    )
    barcode = draw(st.text(min_size=1, max_size=20))
    name = draw(st.text(min_size=1, max_size=20)) + ".jpg"
    place = 1, barcode, 2, INSPECTED, Well(1, 1, 1), name, 7
    image = ScoredImage(
        *place,
        9,
        said.outcome,
        0.5,
        0.5,
        INSPECTED,
        "a" * 64,
        "b" * 64,
        *(None,) * 4,
        False,
        "c" * 64,
        "0.1",
        wire.encode(said).decode(),
    )
    entry = Entry(image, Contents(barcode, Well(1, 1, 1)), ())
    made = regions_of(DropInspection([entry]), entry, said.boxes)
    assert made is not None
    return made


def written(kind: str, of_image: RegionsOfImage, folder: Path) -> Path:
    if kind in ("coco", "label-studio"):
        with (folder / "a.json").open("wb") as stream:
            if kind == "coco":
                with coco_writer(stream) as coco_out:
                    coco_out.add(of_image)
            else:
                tasks = LabelStudioWriter(stream)
                tasks.add(of_image)
                tasks.finish()
        return folder / "a.json"
    with new_folder(folder / "out") as add:
        if kind == "labelme":
            labelme_file(add, of_image)
        else:
            yolo_out = YoloWriter(add)
            yolo_out.add(of_image)
            yolo_out.finish()
    return folder / "out"


@each_format
@settings(max_examples=25, deadline=None)
@given(of_image=images())
def test_what_is_written_is_read_again(tmp_path_factory, kind, of_image):
    file = written(kind, of_image, tmp_path_factory.mktemp("round"))
    read = [each.mark for each in open_annotations(file).read()]
    width, height = of_image.answer.width, of_image.answer.height
    assert [mark.label for mark in read] == [region.label for region in of_image.regions]
    for mark, region in zip(read, of_image.regions, strict=True):
        is_outline = region.label == "drop" if kind == "label-studio" else bool(region.outline) and kind != "yolo"
        assert mark.is_outline == is_outline
        x_factor, y_factor = width / mark.size[0], height / mark.size[1]
        corners = [(x * x_factor, y * y_factor) for x, y in mark.corners]
        ours = region.corners if is_outline else (region.corners_of_box[0], region.corners_of_box[2])
        assert corners == [pytest.approx(corner, abs=0.01) for corner in ours]
        assert all(-0.01 <= x <= width + 0.01 and -0.01 <= y <= height + 0.01 for x, y in corners)
        assert mark.kind == ("program" if kind in ("coco", "label-studio") else "person")


@pytest.mark.usefixtures("plate")
def test_names_in_zip_files_lead_nowhere(system, exported, tmp_path):
    for kind, expected in (("yolo", 6), ("labelme", 4), ("label-studio", 2)):
        with zipfile.ZipFile(BytesIO(exported(kind, f"{kind}.zip").read_bytes())) as archive:
            assert len(archive.namelist()) == expected
    with pytest.raises(ConfigError, match="is there already; give a new folder"):
        exported("yolo", "yolo.zip".removesuffix(".zip")) and exported("yolo")


def labels_of_yolo(folder: Path) -> Path:
    """A data set of YOLO with a label of A1a and one of A2a, in folders of their own; returns the folder of both."""
    folder.mkdir()
    (folder / "data.yaml").write_text("names:\n  0: clear\n")
    for col in (1, 2):
        file = folder / "labels" / f"part{col}" / f"{Path(rigaku_name(col)).stem}.txt"
        file.parent.mkdir(parents=True)
        file.write_text("0 0.5 0.5 0.25 0.25\n")
    return folder / "labels"


@pytest.mark.usefixtures("plate")
def test_labels_behind_a_link_are_read(bring, tmp_path):
    """Data sets are often put together by links; nothing was read of them, and nothing said."""
    labels = labels_of_yolo(tmp_path / "set")
    moved = labels.rename(tmp_path / "elsewhere")
    labels.symlink_to(moved)
    (moved / "round").symlink_to(labels)  # and no end of it
    done = bring(tmp_path / "set", by="ann")
    assert (done.annotations, done.new, done.refused) == (2, 2, 0)


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize("kind", ["yolo", "labelme"])
def test_a_folder_that_cannot_be_read_is_named(bring, monkeypatch, exported, kind):
    folder = exported(kind)
    closed = next(path for path in folder.rglob(PLATE) if path.is_dir()) / "closed"
    closed.mkdir()
    listed = Path.iterdir

    def iterdir(path: Path):
        if path == closed:
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    done = bring(folder, by="ann")
    assert (done.annotations, done.unchanged, done.refused) == (9, 8, 1)
    (refused,) = done.first_refused
    assert refused.reason == "the folder cannot be read: Permission denied"
    assert refused.file.endswith("closed")


@pytest.mark.parametrize("kind", ["yolo", "labelme"])
@pytest.mark.parametrize("ending", ["", ".zip"])
def test_of_two_images_with_one_name_for_labels_one_is_left_out_and_said(system, score, tmp_path, kind, ending):
    """A1.jpg and A1.png: the second one's boxes took the place of the first one's."""
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR})
    first, second = (rigaku_name(col) for col in (1, 2))
    png = str(Path(first).with_suffix(".png"))
    with system.ledger._db.writing() as connection:
        connection.exec_driver_sql("update images set image_name = ? where image_name = ?", (png, second))
    out = tmp_path / f"set{ending}"
    done = export(system.config, system.ledger, kind, out, Filter())
    assert (done.images, done.same_name, done.boxes) == (2, 1, 1)
    (said,) = [line for line in exported_lines(done, kind, out) if "left out" in line]
    assert "1 images whose file would have the same name" in said
