"""Run inside Polo's environment: read a run with Polo's own reader, write it with its own writer, print what it saw.

    python in_polo.py SRC FILE.xtal OUT.xtal

TensorFlow is replaced, since Polo loads its model on import; the reader and writer do not use it.
"""

import json
import os
import sys
from unittest.mock import MagicMock


def main(source: str, file: str, out: str) -> None:
    for name in ("tensorflow", "tensorflow.compat", "tensorflow.compat.v1"):
        sys.modules[name] = MagicMock()
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    os.chdir(source)
    sys.path.insert(0, source)
    from PyQt5.QtWidgets import QApplication, QMessageBox

    QMessageBox.exec_ = lambda *_: None  # it would wait for a click
    application = QApplication([])
    from polo.utils.io_utils import RunDeserializer, XtalWriter

    run = RunDeserializer(file).xtal_to_run()
    seen = [
        {
            "well": image.well_number,
            "human": image.human_class,
            "machine": image.machine_class,
            "probabilities": image.prediction_dict,
            "picture": len(image.bites or b""),
            "cocktail": str(image.cocktail),
            "date": str(image.date),
        }
        for image in run.images
    ]
    run.images[0].human_class = "Clear"  # a person says so
    XtalWriter(run, None).write_xtal_file(out)
    print(json.dumps({"class": type(run).__name__, "wells": run.num_wells, "images": seen}))
    sys.stdout.flush()
    application.quit()
    os._exit(0)  # Qt's threads would not end


if __name__ == "__main__":
    main(*sys.argv[1:])
