"""Run a notebook, and write it with what its cells say and show, small enough to be committed.

    python docs/tools/run_notebook.py docs/notebooks/score_a_plate.ipynb [--check]

With ``--check`` nothing is written; the exit code is 1 if a cell fails, or gives other kinds of output than those committed.
"""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

QUALITY = 75
"""Of the pictures, as JPEG: wells take a fifth of the PNG that Jupyter makes."""


def run(path: Path) -> nbformat.NotebookNode:
    """The notebook as it is after all its cells were run in their order, in a fresh kernel."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, kernel_name="python3", timeout=300, record_timing=False).execute()
    for cell in notebook.cells:
        cell.metadata.clear()
        for output in cell.get("outputs", ()):
            if picture := output.get("data", {}).pop("image/png", None):
                output.data["image/jpeg"] = _jpeg(picture)
                output.metadata.clear()
                output.data.pop("text/plain", None)  # "<Figure size …>"
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


def kinds(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """What each code cell gives: streams by their names, and the types of what it shows."""
    return [
        [output.get("name") or "+".join(sorted(output.get("data", ()))) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def _jpeg(png: str) -> str:
    stream = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        picture.convert("RGB").save(stream, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(stream.getvalue()).decode("ascii") + "\n"


def main(path: Path, check: bool) -> int:
    try:
        made = run(path)
    except CellExecutionError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    if not check:
        nbformat.write(made, path)
    elif kinds(made) != (there := kinds(nbformat.read(path, as_version=4))):
        print(f"{path} gives {kinds(made)}, but was committed with {there}: run it again", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--check"]):
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), check=len(sys.argv) == 3))
