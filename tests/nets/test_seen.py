"""What was seen of a well is looked at again where another version of the library would see something else."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="the small test networks are made with onnx (extra dev)")

from tests.conftest import encoded, well

from xtalgrid_core.weights import default_options
from xtalgrid_nets.adapt import seen
from xtalgrid_scoring.networks import Networks


def test_another_version_of_the_library_looks_again(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(encoded(well()))
    options = default_options(tiny_weights)
    eyes = seen.Eyes(options, Networks.load(options, [tiny_weights]), tmp_path / "seen")
    counts = []
    for version in ("one", "one", "other"):
        monkeypatch.setattr(seen, "library", lambda version=version: version)
        eyes.see(tmp_path / "a.png")
        counts.append(len([*(tmp_path / "seen").iterdir()]))
    assert counts == [1, 1, 2]
