"""Examples in the pages are right: commands and options exist, configurations load, Python runs, and whole pages of commands are run."""

import json
import re
import shutil
import subprocess
import sys
import tomllib

import click
import msgspec
import pytest
from click.testing import CliRunner
from PIL import Image

import xtalgrid
from tests.conftest import well
from tests.server.conftest import rigaku_name
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.weights import default_models
from xtalgrid_nets.cli import main as train
from xtalgrid_server import config
from xtalgrid_server.cli import main as server
from xtalgrid_server.config import sections
from xtalgrid_synth import render_well
from xtalgrid_worker.cli import main as worker

from .pages import PAGES, ROOT, Block, blocks, commands, prose

PROGRAMS = {"xtalgrid": server.main, "xtalgrid-worker": worker, "xtalgrid-train": train}
WRITTEN = [page for page in PAGES if page.parent.name != "reference"]
CALLS = [(block, words) for page in PAGES for block in blocks(page) for words in commands(block)]


def check(words: list[str]) -> None:
    """Parse a call as click does, without running it or asking for its files.

    Raises
    ------
    click.UsageError
        When a command, an option or a value does not exist, or something that is needed is missing.
    """
    command, context, rest = PROGRAMS[words[0]], None, words[1:]
    while True:
        context = click.Context(command, parent=context, info_name=command.name)
        given, rest, _ = command.make_parser(context).parse_args(list(rest))
        if "help" in given or "version" in given:
            return
        for parameter in command.params:
            value = given.get(parameter.name)
            missing = value is None or value == () or repr(value) == "Sentinel.UNSET"
            if missing and parameter.required:
                raise click.MissingParameter(param=parameter, ctx=context)
            if not missing and not isinstance(parameter.type, click.Path) and not _stands_for_something(value):
                parameter.type_cast_value(context, value)
        if not isinstance(command, click.Group):
            if rest:
                raise click.UsageError(f"{rest} is too much", context)
            return
        if not rest:
            raise click.UsageError("no command", context)
        if command.get_command(context, rest[0]) is None:  # also what is taken under its old name only
            raise click.UsageError(f"no command {rest[0]}", context)
        _, command, rest = command.resolve_command(context, rest)


def _stands_for_something(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Z_]{2,}…?", value) is not None


@pytest.mark.parametrize(("block", "words"), CALLS, ids=lambda part: str(part) if isinstance(part, Block) else part[0])
def test_commands_and_options_exist(block, words):
    try:
        check(words)
    except click.UsageError as error:
        pytest.fail(f"{block}: {' '.join(words)}: {error.format_message()}")


@pytest.mark.parametrize(
    "words",
    [
        "xtalgrid graid",
        "xtalgrid history",
        "xtalgrid run x --fast",
        "xtalgrid export pdf x",
        "xtalgrid",
        "xtalgrid-train marco s o",
    ],
)
def test_a_wrong_example_would_be_found(words):
    with pytest.raises(click.UsageError):
        check(words.split())


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_named_in_sentences_exist(page):
    """`xtalgrid status`, and each of its options: what stands between backticks may leave out what is needed."""
    wrong = []
    for said in re.findall(r"`((?:xtalgrid|xtalgrid-worker|xtalgrid-train) [^`\n]+)`", prose(page)):
        program, *words = said.split()
        command, context = PROGRAMS[program], click.Context(PROGRAMS[program])
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            command = command.get_command(context, words.pop(0))
            known |= {option for parameter in getattr(command, "params", ()) for option in parameter.opts}
        wrong += [said] if command is None else [f"{said}: {w}" for w in words if w.startswith("--") and w not in known]
    assert not wrong


CODE = [block for page in PAGES for block in blocks(page) if block.language in ("toml", "json")]


@pytest.mark.parametrize("block", CODE, ids=str)
def test_configurations_load(block, tmp_path):
    if block.language == "json":
        json.loads(block.text)
    elif set(tomllib.loads(block.text)) <= {*sections.SECTIONS, "home"}:
        config.from_string(block.text, home=tmp_path)
    else:
        recipe = pytest.importorskip("xtalgrid_nets.fit.recipe")
        msgspec.convert(tomllib.loads(block.text), recipe.Recipe)


ASKS_A_VIEWER = ROOT / "docs" / "api.md"  # tests/server/web/test_api_examples.py runs it
PYTHON = {p: [block.text for block in blocks(p) if block.language == "python"] for p in PAGES if p != ASKS_A_VIEWER}
SAYS = {
    "docs/guides/python.md": """
assert (str(score.outcome), score.pixel_size_origin) == ("crystals harvestable", "configured")
assert table["image"].tolist() == list(map(str, images)) and table["failure"].notna().tolist() == [False, False, True]
assert likeliest["image"].tolist() == ["plate/A01.jpg", "plate/A02.jpg"]
""",
}


@pytest.mark.parametrize(
    "page", [p for p, code in PYTHON.items() if code], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_python_runs(page, tiny_weights, tmp_path):
    """A page's examples, one after the other, beside a plate with a crystal, a clear drop and a broken file, a lab's weights and a table of scores."""
    if "matplotlib" in "".join(PYTHON[page]):
        pytest.importorskip("matplotlib")
        pytest.importorskip("pandas")
    (tmp_path / "plate").mkdir()
    for name, outcome in {"A01": Outcome.HARVESTABLE, "A02": Outcome.CLEAR, "A03": Outcome.CLEAR}.items():
        rendered = render_well(outcome, seed=5, width=1226, height=1028, pixel_size_um=1.13)
        Image.fromarray(rendered.image).save(tmp_path / "plate" / f"{name}.jpg")
    (tmp_path / "plate" / "A03.jpg").write_bytes((tmp_path / "plate" / "A03.jpg").read_bytes()[:3000])
    shutil.copytree(tiny_weights, tmp_path / "weights" / "lab")
    (tmp_path / "november.csv").write_text("barcode,well,score,by\nDEMO000001,A1a,clear,ann\n")
    script = "\n".join(PYTHON[page]) + SAYS.get(page.relative_to(ROOT).as_posix(), "")
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, f"{page}: {done.stderr}"


def test_the_page_from_python_names_all_that_is_public():
    page = (ROOT / "docs" / "guides" / "python.md").read_text(encoding="utf-8")
    table = page.partition("## All public names")[2]
    public = [getattr(xtalgrid, name) for name in ("Scorer", "Score", "Failure", "Chop", "Drop")]
    names = {name for kind in public for name in dir(kind) if not name.startswith("_")} | set(xtalgrid.__all__)
    assert not [name for name in sorted(names) if not re.search(rf"`[^`]*\b{name}\b[^`]*`", table)]


@pytest.fixture
def lab(tmp_path, tiny_weights, monkeypatch):
    """A folder to run examples in: a configuration, tiny networks, and wells A1, B1, C1 of plates DEMO000001 and CI022987 in two folders."""
    home = tmp_path / "home"
    shutil.copytree(tiny_weights, home / "weights")
    segmenter, classifier = default_models(tiny_weights)
    (tmp_path / "xtalgrid.toml").write_text(
        f'[work]\nsegmenter = "{segmenter}"\nclassifier = "{classifier}"\n[grid]\nworkers = 1\n'
    )
    for folder in ("DEMO000001", "CI022987"):
        (tmp_path / folder).mkdir()
        for row, colour in enumerate([(150, 40, 40), (40, 150, 40), (40, 40, 150)], start=1):
            name = rigaku_name(row=row).replace("CI_0000CI022987", f"{folder[:2]}_{folder:0>12}")
            Image.fromarray(well(colour)).save(tmp_path / folder / name, quality=92)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XTALGRID_HOME", str(home))
    monkeypatch.delenv("XTALGRID_CONFIG", raising=False)
    return tmp_path


def say(words: list[str], exit_code: int = 0) -> str:
    """Run a call, and what it printed."""
    done = CliRunner().invoke(PROGRAMS[words[0]], words[1:])
    assert done.exit_code == exit_code, f"{' '.join(words)}\n{done.output}\n{done.exception!r}"
    return done.output


def test_the_way_of_an_image_and_the_examples_of_reports_md(lab):
    """The stages of README.md's table one by one, then every example of docs/reports.md as it stands there."""
    stages = re.findall(
        r"^\| [\w ]+ \| `(xtalgrid \w+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [stage.split()[1] for stage in stages] == ["create_work", "grid", "assimilate", "finalizer", "set_autoscore"]
    assert "3 images of 1 plates imported" in say(["xtalgrid", "import-folder", "DEMO000001"])
    said = [say(stage.split()) for stage in stages]
    assert "3 images planned in 1 units, 0 failed" in said[0]
    assert "3 insert" in said[-1]

    page = ROOT / "docs" / "reports.md"
    (lab / "screen.csv").write_text(next(block.text for block in blocks(page) if block.text.startswith("well,sample")))
    outputs = {" ".join(words): say(words) for block in blocks(page) for words in commands(block)}
    assert "every number is the same" in outputs["xtalgrid explain DEMO000001 A1a --recompute"]
    assert "crystals harvestable" in outputs["xtalgrid history DEMO000001 A1a"]
    assert "PEG 3350" in outputs["xtalgrid search --outcome crystal --group-by condition"]
    assert (lab / "scores.csv").read_text(encoding="utf-8").count("DEMO000001") >= 3
    assert len(outputs) >= 8


def test_the_guides_of_the_facility_manager_and_the_crystallographer(lab):
    """Their examples in the order of the pages, from the first plate to the run that is taken back."""
    outputs = {}
    for guide in ("facility-manager", "crystallographer"):
        for block in blocks(ROOT / "docs" / "guides" / f"{guide}.md"):
            for words in commands(block):
                if words[1] in ("serve", "init", "model", "simulate") or "service" in words:
                    continue  # servers, networks, minutes, root; init has a test below
                done = sorted((lab / "home" / "outbox" / "done").glob("*.csv"))
                here = {"/data/plates/CI022987/3": "CI022987", "20261121T211342Z": done[0].stem if done else ""}
                outputs[" ".join(words)] = say([here.get(word, word) for word in words])
    assert "3 of 3 images accounted for" in outputs["xtalgrid run /data/plates/CI022987/3"]
    assert "PROBLEM" not in outputs["xtalgrid check-imager"]
    assert "0 images would be planned" in outputs["xtalgrid create_work --dry-run"]
    assert "3 rows removed" in outputs["xtalgrid set_autoscore --undo 20261121T211342Z"]
    assert "crystals harvestable" in outputs["xtalgrid explain CI022987 A1a"]


def test_the_first_example_of_the_workers_readme(lab):
    """`xtalgrid-worker score plate_17/ A01.jpg --out scores --frames`."""
    words = next(words for block in blocks(ROOT / "worker" / "README.md") for words in commands(block))
    (lab / "plate_17").mkdir()
    shutil.copy(next((lab / "DEMO000001").iterdir()), lab / "plate_17" / "B01.jpg")
    shutil.copy(next((lab / "DEMO000001").iterdir()), lab / "A01.jpg")
    assert "2 images: " in say([*words, "--weights", str(lab / "home" / "weights")])
    assert {"scores.csv", "result.json", "A01_ART.jpg", "B01_ART.jpg"} <= {
        file.name for file in (lab / "scores").iterdir()
    }


def test_init_as_the_pages_say_it(lab):
    (lab / "xtalgrid.toml").unlink()
    assert "written" in say(["xtalgrid", "init"])
    assert config.load(lab / "xtalgrid.toml", lab / "home") == config.from_string(
        "", file=lab / "xtalgrid.toml", home=lab / "home"
    )
