"""MARCO's network beside ours in a report, and as the renderer's critic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("torch", reason="training needs the extra [train]")

from tests.nets.marco.test_import import folder, wheel  # noqa: F401  (fixtures)

from xtalgrid_core.outcomes import Outcome
from xtalgrid_nets.cli import main
from xtalgrid_synth import render_plate

WELLS = (Outcome.HARVESTABLE, Outcome.PRECIPITATE, Outcome.NULL_EXPERIMENT, Outcome.CLEAR)


def judge(*arguments: object) -> str:
    done = CliRunner().invoke(main, ["judge", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("made") / "plates"
    render_plate(made, barcode="TT000001", seed=1, wells=WELLS, width=420, height=350, pixel_size_um=6.9)
    return made


def test_a_report_has_marco_beside_ours(folder: Path, plates: Path, tiny_weights: Path, tmp_path: Path) -> None:  # noqa: F811
    judge("evaluate", tmp_path, "--plates", plates, "--weights", tiny_weights, "--jobs", 1, "--marco", folder)
    made = json.loads((tmp_path / "report.json").read_bytes())
    assert "MARCO" in made["sources"][0]["table3"]
    rendered, total = made["marco"]
    assert (rendered["source"], rendered["right"]["of"], rendered["marco_right"]["of"]) == ("rendered: plates", 3, 3)
    assert total["right"]["of"] == 0  # rendered wells trained ours
    assert "| rendered: plates (rendered, as the wells that trained ours) |" in (tmp_path / "report.md").read_text()


def test_a_report_without_it_says_how_to_get_it(plates: Path, tiny_weights: Path, tmp_path: Path) -> None:
    judge("evaluate", tmp_path, "--plates", plates, "--weights", tiny_weights, "--jobs", 1)
    assert "MARCO: not imported; `xtalgrid-train import marco --out MARCO` gets it" in (
        tmp_path / "report.md"
    ).read_text(encoding="utf-8")


def test_a_folder_without_it_is_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["judge", "critic", "--marco", str(tmp_path)])
    assert done.exit_code == 1
    assert done.output == (
        f"Error: {tmp_path}: no MARCO network here; import it with `xtalgrid-train import marco --out {tmp_path}`\n"
    )


def test_the_critic_says_what_it_sees(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    real = tmp_path / "real"
    (real / "lab").mkdir(parents=True)
    lines = ["set,image,judgement,confidence,drop_mask_quality"]
    for number in range(8):
        Image.new("RGB", (80, 64), (0, 20 * number, 0)).save(real / "lab" / f"{number}.png")
        lines.append(f"lab,{number}.png,clear,high,")
    (real / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    record = tmp_path / "critic.json"
    text = judge("critic", "--marco", folder, "--real", real, "--wells", 2, "--json", record)
    made = json.loads(record.read_bytes())
    assert [sum(row["calls"]) for row in made["calls"]] == [2] * 12
    assert all(sum(shares) == pytest.approx(1) for shares in made["groups"].values())
    (distance,) = made["distances"]
    assert (distance["source"], distance["wells"]) == ("lab", 8)
    assert distance["distance"] > 1
    sizes = {row["outcome"]: row["sizes"] for row in made["looks"]}
    assert sizes["crystals harvestable"][-1] >= 2.8  # % of the picture: the largest must be recognised
    assert sizes["clear"] == []
    assert "| crystals harvestable |" in text
