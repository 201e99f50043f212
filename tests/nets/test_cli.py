"""The commands of xtalgrid-train: their groups, and the names they had before."""

import json
import re

import pytest

pytest.importorskip("torch", reason="training needs the extra [train]")

import click
from click.testing import CliRunner

from xtalgrid_nets.cli import main

OLD = {
    "calibrate": "judge calibrate",
    "chop-rules": "sets chop-rules",
    "dataset": "sets dataset",
    "evaluate": "judge evaluate",
    "evaluate-chops": "judge evaluate-chops",
    "import-mxnet": "import mxnet",
    "marco": "sets marco",
    "masks": "sets masks",
    "recordio": "sets recordio",
    "render": "sets render",
    "render-test": "sets render-test",
    "rule": "judge rule",
    "uniform": "sets uniform",
    "windows": "judge windows",
}


@pytest.mark.parametrize(("old", "new"), OLD.items())
def test_an_old_name_says_the_new_one_and_does_the_same(old: str, new: str) -> None:
    before, now = (CliRunner().invoke(main, [*name.split(), "--help"]) for name in (old, new))
    assert before.stderr == f"`xtalgrid-train {old}` is now called `xtalgrid-train {new}`\n"
    assert before.stdout.replace(f" {old} ", f" {new} ", 1) == now.stdout
    assert (before.exit_code, now.exit_code, now.stderr) == (0, 0, "")


def test_an_old_name_fails_and_runs_as_the_new_one(tmp_path) -> None:
    (tmp_path / "list.csv").write_text("image,outcome\n")
    for words, code in (
        (["marco"], 2),
        (["recordio", "pack", str(tmp_path / "none"), str(tmp_path / "out")], 1),
        (["uniform", str(tmp_path / "list.csv")], 0),
    ):
        outs = ([str(tmp_path / n)] if words[0] == "uniform" else [] for n in ("before", "now"))
        before, now = (
            CliRunner().invoke(main, [*g, *words, *out]) for g, out in zip(([], ["sets"]), outs, strict=True)
        )
        assert (before.exit_code, before.stdout) == (now.exit_code, now.stdout) == (code, "")
        said, _, rest = before.stderr.partition("\n")
        assert said == f"`xtalgrid-train {words[0]}` is now called `xtalgrid-train sets {words[0]}`"
        assert rest == now.stderr.replace("xtalgrid-train sets ", "xtalgrid-train ").replace("main sets ", "main ")


@pytest.mark.parametrize(("old", "new"), [("chop_rules", "sets chop-rules"), ("import_mxnet", "import mxnet")])
def test_an_old_name_can_be_spelled_either_way(old, new) -> None:
    done = CliRunner().invoke(main, [old, "--help"])
    assert done.exit_code == 0
    assert done.stderr == f"`xtalgrid-train {old.replace('_', '-')}` is now called `xtalgrid-train {new}`\n"


def test_help_lists_the_groups_and_no_old_name() -> None:
    listed = re.findall(r"^  ([\w-]+) ", CliRunner().invoke(main, ["--help"]).stdout.partition("Commands:")[2], re.M)
    assert listed == ["adapt", "explain", "export", "fit", "import", "judge", "networks", "sets"]
    assert {name for name in main.commands if isinstance(main.commands[name], click.Group)} == {
        "import",
        "judge",
        "sets",
    }


def test_a_name_that_never_was_is_refused() -> None:
    done = CliRunner().invoke(main, ["datasets"])
    assert (done.exit_code, "No such command 'datasets'" in done.stderr) == (2, True)


def test_networks_as_json() -> None:
    listed = json.loads(CliRunner().invoke(main, ["networks", "--json"]).stdout)
    lines = CliRunner().invoke(main, ["networks"]).stdout.splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [[one["name"], f"{one['parameters']:,}"] for one in listed]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sets", "render", "FOLDER", "--wells", "1"], "already holds a finished training set"),
        (["sets", "render", "FOLDER", "--seed", "-1"], "-1 is not in the range"),
        (["sets", "render", "FOLDER", "--jobs", "0"], "0 is not in the range"),
        (["--threads", "0", "networks"], "0 is not in the range"),
        (["export", "--out", "FOLDER", "--crystal-shift", "nan"], "not a finite number"),
        (["export", "--out", "FOLDER", "--keep", "nan"], "not a finite number"),
        (["sets", "uniform", "FOLDER/dataset.json", "FOLDER/out", "--patches", "0"], "0 is not in the range"),
        (["explain", "--out", "FOLDER", "FOLDER/P1/A1.jpg", "FOLDER/P2/A1.jpg"], "would have pictures of one name"),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(tmp_path, words, said) -> None:
    (tmp_path / "dataset.json").write_text("{}")
    for plate in ("P1", "P2"):
        (tmp_path / plate).mkdir()
        (tmp_path / plate / "A1.jpg").touch()
    done = CliRunner().invoke(main, [word.replace("FOLDER", str(tmp_path)) for word in words])
    assert done.exit_code in (1, 2)
    assert isinstance(done.exception, SystemExit)
    assert said in " ".join(done.output.split())
