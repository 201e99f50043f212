"""`from xtalgrid_server import exchange`: the example of the documentation, and what it reads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.server.exchange.conftest import PLATE
from xtalgrid_core.errors import ConfigError
from xtalgrid_server import exchange

DOCS = Path(__file__).parents[3] / "docs" / "exchange.md"


@pytest.mark.usefixtures("plate")
def test_the_example_of_the_documentation_runs(system, tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(from xtalgrid_server import exchange.*?)```", DOCS.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "november.csv").write_text(f"barcode,inspection,well,score,by\n{PLATE},3,A1a,Crystals,ann\n{PLATE},3\n")
    monkeypatch.setenv("XTALGRID_HOME", str(system.config.home))
    exec(compile(example, str(DOCS), "exec"), {})
    said = capsys.readouterr().out
    assert "Crystals" in said
    data = json.loads((tmp_path / "crystals.json").read_text())
    assert [image["well"] for image in data["images"]] == ["A3a"]
    assert said.count("'crystals harvestable'") == 1


def test_an_unknown_format_is_named(tmp_path):
    with pytest.raises(ConfigError, match="there is no format 'exe'; choose from csv, xlsx"):
        exchange.write("exe", tmp_path / "a", home=tmp_path)
