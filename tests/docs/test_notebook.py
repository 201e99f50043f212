"""The notebook runs as it stands, and is committed with what its cells show, small."""

import json
import os
import subprocess
import sys

import pytest

from .pages import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "score_a_plate.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    for library in ("ipykernel", "matplotlib", "nbclient", "pandas"):
        pytest.importorskip(library, reason=f"{library} is in the extra dev")
    command = [sys.executable, ROOT / "docs" / "tools" / "run_notebook.py", NOTEBOOK, "--check"]
    environment = os.environ | {"IPYTHONDIR": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr


def test_it_is_committed_with_small_outputs():
    assert NOTEBOOK.stat().st_size <= 150_000
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    shown = {kind for output in outputs for kind in output.get("data", ())}
    assert shown == {"text/plain", "text/html", "image/jpeg"}
    assert "24 images, 0 failures\n" in {"".join(output.get("text", ())) for output in outputs}
