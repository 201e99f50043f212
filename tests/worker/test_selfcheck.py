"""A worker that scores incorrectly is detected."""

import msgspec
import pytest
from click.testing import CliRunner

from xtalgrid_worker import selfcheck
from xtalgrid_worker.cli import main


def test_the_packaged_weights_score_the_well_as_expected():
    """Fails if the expected scores are out of date: run python scripts/dev/make_selfcheck.py."""
    done = CliRunner().invoke(main, ["selfcheck"])
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "selfcheck passed"), done.output
    listed = msgspec.json.decode(CliRunner().invoke(main, ["selfcheck", "--json"]).stdout)
    assert [f"ok      {check['text']}" for check in listed if check["passed"]] == done.stdout.splitlines()[:-1]
    expected = msgspec.json.decode(selfcheck.EXPECTED.read_bytes(), type=selfcheck.Expectation)
    assert [(score.segmenter, score.classifier) for score in expected.scores] == selfcheck.pairs()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"p_crystal": 0.0}, "at most 0.001 is allowed"),
        ({"outcome": "clear"}, "expected clear"),
        ({"classifier": "0" * 64}, "no expected score"),
    ],
)
def test_an_unexpected_score_fails(tmp_path, monkeypatch, change, text):
    content = msgspec.json.decode(selfcheck.EXPECTED.read_bytes())
    content["scores"][0] |= change
    (tmp_path / "expected.json").write_bytes(msgspec.json.encode(content))
    monkeypatch.setattr(selfcheck, "EXPECTED", tmp_path / "expected.json")
    done = CliRunner().invoke(main, ["selfcheck"])
    assert done.exit_code == 1
    assert text in done.stdout
    assert done.stdout.startswith("FAILED")


def test_a_missing_well_is_an_error_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(selfcheck, "WELL", tmp_path / "well.jpg")
    done = CliRunner().invoke(main, ["selfcheck"])
    assert done.exit_code == 2
    assert "reinstall xtalgrid" in done.stderr
