"""Figures in pages: renewed from the evaluation, and a stale or unknown one is found."""

import shutil
import tomllib

import pytest

from reference import figures

KNOWN = {"test.found": "315 of 341", "table.small": "\n\n| a |\n| --- |\n| 1 |\n\n"}


def test_figures_are_put_between_their_comments():
    text = "It finds <!--=test.found-->3 of 4<!--/--> crystals.\n\n<!--=table.small-->\n<!--/-->\n"
    made = figures.renewed(text, KNOWN)
    assert made == (
        "It finds <!--=test.found-->315 of 341<!--/--> crystals.\n\n"
        "<!--=table.small-->\n\n| a |\n| --- |\n| 1 |\n\n<!--/-->\n"
    )
    assert figures.renewed(made, KNOWN) == made


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("It finds <!--=test.lost-->3<!--/-->.", "no figure is named test.lost"),
        ("<!--=test.found-->3<!--/--> crystals are found.", "must not begin a line"),
        ("* <!--=test.found-->3<!--/--> crystals are found.", "must not begin a line"),
    ],
)
def test_a_figure_that_cannot_be_renewed_is_refused(text, problem):
    with pytest.raises(ValueError, match=problem):
        figures.renewed(text, KNOWN)


def test_counts_are_those_of_the_report():
    """The shares add up as the confusion matrix of the same report does."""
    made = figures.figures()
    right = sum(int(made[f"test.{group}_called_{group}"]) for group in figures.GROUPS)
    assert made["test.right"] == f"{right:,} of 2,400"
    assert made["test.right.percent"] == f"{right / 24:.1f} %"
    assert made["test.crystals_called"].startswith(made["test.crystal_called_crystal"])


def test_no_page_keeps_a_figure_of_the_evaluation_by_hand():
    """The counts that are in several pages stand between comments everywhere."""
    made = figures.figures()
    counts = [made[name] for name in ("test.crystals_found", "plate.right", "wells.crystals_called")]
    for page in figures.pages():
        without = figures.FIGURE.sub("", page.read_text(encoding="utf-8"))
        assert not [count for count in counts if count in without], page


def test_a_benchmark_replaces_its_own_figures_alone(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(figures.ROOT / "scripts" / "bench")
    import measured

    file = tmp_path / "measured.toml"
    shutil.copy(measured.FILE, file)
    before = tomllib.loads(file.read_text(encoding="utf-8"))
    monkeypatch.setattr("sys.argv", ["scripts/bench/worker.py", "my wells", "--record", "stages"])
    measured.record("stages", ["way", "a well"], [['"dense"', "0.1"]], file)
    measured.record_value("well_s", "0.10", file)
    after = tomllib.loads(file.read_text(encoding="utf-8"))
    assert [name for name in after if after[name] != before[name]] == ["well_s", "stages"]
    assert after["stages"]["rows"] == [['"dense"', "0.1"]]
    assert after["stages"]["command"] == "python scripts/bench/worker.py 'my wells' --record stages"
    assert (after["well_s"]["value"], after["well_s"]["what"]) == ("0.10", before["well_s"]["what"])
    with pytest.raises(KeyError, match=r"no \[nothing\]"):
        measured.record("nothing", [], [], file)


def test_networks_are_in_the_tables_once_they_are_judged():
    share = {"hits": 3, "of": 4, "rate": 0.75, "low": 0.3, "high": 0.95}
    part = {"accuracy": share, "top5": share, "loss": 0.612}
    success = {
        "groups": dict.fromkeys(figures.GROUPS, share) | {"other": {"of": 0, "rate": None}},
        "weighted_mean": share,
    }
    judged = {
        "name": "A",
        "start": "random",
        "trained": {"seconds": 2400.4, "epochs": 1.26, "seconds_an_epoch": 1905.0},
        "size_mb": 2.83,
        "chops": {"training": part, "held out": part},
        "success": {"c = 0.85": success, "c = 0.80": success, "pooled": success},
    }
    sets = {"rendered": {"chops": 9012, "sha256": "ab" * 32}}
    made = figures.of_networks({"sets": sets, "rows": [judged, {"name": "B", "start": "random", "trained": None}]})
    assert made["networks.open"] == "B"
    lines = made["table.networks_chops"].strip().splitlines()
    assert lines[2:] == [
        "| A | random | 2.8 | 40 | 1.26 | 31.8 | 75.0 | 75.0 | 0.61 | 75.0 | 75.0 | 0.61 |",
    ]
    assert made["table.networks_published"].strip().splitlines()[2:] == [
        "| A | 75.0 | 75.0 | – | 75.0 | 75.0 | 75.0 |",
    ]
