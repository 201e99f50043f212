"""Run inside the annotation tools' environment: read our exports with each tool's own code, print what it saw.

    python in_annotation_tools.py FOLDER

FOLDER has coco.json, tasks.json, tasks_interface.xml, yolo/ and images/ with labelme's files. A tool that is not there
is left out. What labelme saves goes to saved.json, and what supervision writes as YOLO to written/.
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
    try:
        from labelme.label_file import LabelFile
    except ImportError:
        from labelme._label_file import LabelFile

    seen = []
    for path in sorted((folder / "yolo" / "images").rglob("*.json")):
        read = LabelFile(str(path))
        seen += [
            [Path(read.imagePath).name, shape["label"], shape["shape_type"], shape["points"]] for shape in read.shapes
        ]
    shapes = [{**shape, "points": [[float(x), float(y)] for x, y in shape["points"]]} for shape in read.shapes]
    shapes[0] |= {"label": "any crystal", "points": [[11.0, 12.0], [41.0, 62.0]]}
    read.save(
        filename=str(path.with_name(f"{path.stem}.json")),
        shapes=shapes,
        imagePath=read.imagePath,
        imageHeight=240,
        imageWidth=320,
        imageData=read.imageData,
        otherData=read.otherData,
        flags=read.flags,
    )
    return {"shapes": seen, "saved": str(path)}


def datumaro(folder):
    import shutil

    from datumaro import Dataset

    (folder / "cvat" / "annotations").mkdir(parents=True)
    shutil.copy(folder / "coco.json", folder / "cvat" / "annotations" / "instances_default.json")
    read = Dataset.import_from(str(folder / "cvat"), "coco_instances")
    seen = sum(len(item.annotations) for item in read)
    read.export(str(folder / "from_cvat"), "coco_instances")
    return {"annotations": seen, "images": len(read)}


def main(folder):
    seen = {}
    for tool in (supervision, label_studio_sdk, labelme, datumaro):
        try:
            seen[tool.__name__] = tool(Path(folder))
        except ModuleNotFoundError as error:
            seen[tool.__name__] = f"not here: {error}"
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1])
