"""Run inside the annotation tools' environment: read our exports with a tool's own code, print what it saw.

    python in_annotation_tools.py supervision|label_studio_sdk|labelme|datumaro FOLDER

FOLDER has coco.json, tasks.json, tasks_interface.xml, and yolo/ with its images, beside which labelme's files lie.
"""

import json
import sys
from pathlib import Path


def supervision(folder):
    import supervision

    images, yolo = folder / "yolo" / "images", folder / "yolo"
    flat = folder / "flat"
    flat.mkdir()
    labels = folder / "flat_labels"
    labels.mkdir()
    for path in images.rglob("*.jpg"):
        (flat / path.name).write_bytes(path.read_bytes())
    for path in (yolo / "labels").rglob("*.txt"):
        (labels / path.name).write_bytes(path.read_bytes())
    read = supervision.DetectionDataset.from_yolo(str(flat), str(labels), str(yolo / "data.yaml"))
    read.as_yolo(
        str(folder / "written" / "images"), str(folder / "written" / "labels"), str(folder / "written" / "data.yaml")
    )
    boxes = sorted(
        [Path(name).name, read.classes[number], *map(float, box)]
        for name, _, found in read
        for number, box in zip(found.class_id, found.xyxy, strict=True)
    )
    from_coco = supervision.DetectionDataset.from_coco(str(images), str(folder / "coco.json"))
    coco = sorted(
        [Path(name).name, from_coco.classes[number], *map(float, box)]
        for name, _, found in from_coco
        for number, box in zip(found.class_id, found.xyxy, strict=True)
    )
    return {"yolo": boxes, "coco": coco}


def label_studio_sdk(folder):
    from label_studio_sdk.label_interface import LabelInterface

    interface = LabelInterface((folder / "tasks_interface.xml").read_text())
    tasks = json.loads((folder / "tasks.json").read_text())
    wrong = json.loads(json.dumps(tasks[0]["predictions"][0]))
    wrong["result"][0]["value"]["rectanglelabels"] = ["no such label"]
    return {
        "accepted": [interface.validate_prediction(one) for task in tasks for one in task["predictions"]],
        "wrong": interface.validate_prediction(wrong),
    }


def labelme(folder):
    from labelme._label_file import LabelFile

    seen = []
    for path in sorted((folder / "yolo" / "images").rglob("*.json")):
        read = LabelFile(str(path))
        name = Path(read.image_path).name
        seen += [[name, shape["label"], shape["shape_type"], shape["points"]] for shape in read.shapes]
    shapes = [dict(shape) for shape in read.shapes]
    shapes[0] |= {"label": "any crystal", "points": [[11.0, 12.0], [41.0, 62.0]]}
    read.save(str(path), shapes, read.image_path, 240, 320, read.image_data, read.other_data, read.flags)
    return {"shapes": seen, "saved": str(path)}


def datumaro(folder):
    import shutil

    from datumaro import Dataset

    (folder / "cvat" / "annotations").mkdir(parents=True)
    shutil.copytree(folder / "yolo" / "images", folder / "cvat" / "images" / "default")
    shutil.copy(folder / "coco.json", folder / "cvat" / "annotations" / "instances_default.json")
    read = Dataset.import_from(str(folder / "cvat"), "coco_instances")
    seen = sum(len(item.annotations) for item in read)
    read.export(str(folder / "from_cvat"), "coco_instances")
    return {"annotations": seen, "images": len(read)}


TOOLS = {each.__name__: each for each in (supervision, label_studio_sdk, labelme, datumaro)}


def main(name, folder):
    try:
        seen = TOOLS[name](Path(folder))
    except ModuleNotFoundError as error:
        seen = f"not here: {error}"
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
