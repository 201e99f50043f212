"""A lab's own models: promoted when they were shown to be better, used by real workers, and rolled back."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from PIL import Image
from sqlalchemy import event

from tests.conftest import well
from tests.tiny_networks import TOGETHER, hostile_segmenter, with_segmenter
from xtalgrid_core import wire
from xtalgrid_core.comparison import Comparison, Figures, Source, write_comparison
from xtalgrid_core.errors import BrokenModel, ConfigError
from xtalgrid_core.outcomes import Group
from xtalgrid_core.weights import MANIFEST, PACKAGED, default_models, find_model, read_manifest
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.ledger.store import Ledger
from xtalgrid_server.reports.models import list_models, model_lines
from xtalgrid_server.reports.status import status, status_lines
from xtalgrid_server.steps.create_work import work_options
from xtalgrid_server.steps.promote import compared_otherwise, models_in_use, promote
from xtalgrid_server.steps.system import System

from .conftest import rigaku_name

resource = pytest.importorskip("resource", reason="not on Windows") if sys.platform != "win32" else None
onnx = pytest.importorskip("onnx", reason="another model is made with onnx (extra dev)")

Pair = tuple[str, str]
OWN: Pair = default_models()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return from_string("[grid]\nworkers = 1\n[imager]\npixel_size_um = 1.13\n", home=tmp_path / "home")


def changed(folder: Path, out: Path, **comparison: object) -> Path:
    """A candidate: the weights of a folder, with another constant in the classifier and so another name."""
    shutil.copytree(folder, out)
    manifest = read_manifest(out)
    models = []
    for entry in manifest.models:
        if entry.role == "classifier":
            model = onnx.load(out / entry.file)
            model.doc_string = f"made for {out.name}"
            (out / entry.file).write_bytes(model.SerializeToString())
            entry = msgspec.structs.replace(entry, sha256=hashlib.sha256((out / entry.file).read_bytes()).hexdigest())
        models.append(entry)
    default = {entry.role: entry.sha256 for entry in models}
    manifest = msgspec.structs.replace(manifest, default=default, models=tuple(models))
    (out / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    if comparison:
        write_comparison(out, compared(default_models(out), **comparison))
    return out


def compared(candidate: Pair, *, current: Pair = OWN, verdict: str = "better", **how: object) -> Comparison:
    figures = Figures(right={Group.CRYSTAL: 9}, false_crystals=0, undecided=0)
    source = Source(name="rendered", kind="frozen", wells={Group.CRYSTAL: 10}, current=figures, candidate=figures)
    reasons = ("the lab's held-out wells: 54 of 60 right, 45 before",)
    return Comparison(
        candidate=candidate,
        current=current,
        sources=(source,),
        verdict=verdict,
        reasons=reasons,
        made_at="2026-01-01T00:00:00Z",
        **how,
    )  # type: ignore[arg-type]


def enter_well(system: System, tmp_path: Path, col: int) -> None:
    """A small well without a drop, for the worker to be quick."""
    folder = tmp_path / f"new{col}"
    folder.mkdir()
    Image.fromarray(well(None, 240, 320)).save(folder / rigaku_name(col))
    system.import_folder(folder)


def test_new_work_is_scored_with_the_promoted_models_and_old_work_with_its_own(config: Config, tmp_path: Path) -> None:
    candidate = changed(PACKAGED, tmp_path / "candidate", verdict="better")
    new = default_models(candidate)
    with System(config) as system:
        enter_well(system, tmp_path, 1)
        system.create_work()
        assert system.promote(candidate, force=None, who="jdoe") == new
        shutil.rmtree(candidate)  # the lab's copy is what counts
        enter_well(system, tmp_path, 2)
        system.create_work(barcodes=["CI022987"])
        system.rollback(why="too many false crystals", who="asmith")
        assert system.models_in_use() == OWN
        system.work()
        assert system.assimilate().failed_units == 0
        images, scores = system.ledger.images.by_id([1, 2]).values(), system.ledger.scores
        asked = [(image.well.col, o.options) for image in images for o in scores.origins(image.image_id).values()]
        used = [(col, (options.segmenter, options.classifier)) for col, options in asked]
        assert sorted(used) == sorted([(1, OWN), (1, new), (2, new)])
        promoted, back = system.ledger.promotions.history()
    assert (promoted.who, promoted.why) == ("jdoe", "the lab's held-out wells: 54 of 60 right, 45 before")
    assert msgspec.json.decode(promoted.comparison, type=Comparison).candidate == new
    assert (back.action, back.who, back.why) == ("rollback", "asmith", "too many false crystals")


@pytest.mark.parametrize(
    ("comparison", "message"),
    [
        ({}, r"no comparison\.json, so nothing shows that it is better"),
        ({"verdict": "not better"}, "is not better than the models in use:\n  the lab's held-out wells"),
        ({"current": ("c" * 64, OWN[1])}, "is a comparison with segmenter cccccccccccc…"),
    ],
)
def test_what_was_not_shown_to_be_better_is_refused_unless_forced(config, tmp_path, comparison, message) -> None:
    candidate = changed(PACKAGED, tmp_path / "candidate", **comparison)
    with System(config) as system:
        with pytest.raises(ConfigError, match=message):
            system.promote(candidate, force=None, who="jdoe")
        assert system.models_in_use() == OWN
        assert system.ledger.promotions.history() == []
        system.promote(candidate, force="a trial on one plate", who="jdoe")
        assert system.models_in_use() == default_models(candidate)
        assert system.ledger.promotions.history()[0].why == "forced: a trial on one plate"


def test_a_comparison_of_other_weights_is_refused(config: Config, tmp_path: Path) -> None:
    candidate = changed(PACKAGED, tmp_path / "candidate")
    write_comparison(candidate, compared((OWN[0], "e" * 64)))
    with System(config) as system, pytest.raises(ConfigError, match="about other weights"):
        system.promote(candidate, force=None, who="jdoe")


@pytest.mark.parametrize(
    ("work", "comparison", "message"),
    [
        ("", {"second_opinion": "e" * 64}, "with the second opinion eeeeeeeeeeee…, but .* with no second opinion"),
        (f'second_opinion = "{"e" * 64}"', {}, "with no second opinion, but .* with the second opinion eeeeeeeeeeee…"),
        ("crystal_from = 0.3", {}, r"crystals from 0\.\d+ on, but work\.crystal_from is 0\.3"),
        ('rule = "group"', {}, 'is by the rule "pooled", but work.rule is "group"'),
    ],
)
def test_a_comparison_by_other_rules_than_those_of_new_work_is_refused(
    tmp_path: Path, work: str, comparison: dict[str, object], message: str
) -> None:
    config = from_string(f"[work]\n{work}\n", home=tmp_path / "home")
    candidate = changed(PACKAGED, tmp_path / "candidate", verdict="better", **comparison)
    with System(config) as system, pytest.raises(ConfigError, match=message):
        system.promote(candidate, force=None, who="jdoe")


def test_status_says_that_the_models_in_use_were_compared_by_other_rules(config: Config, tmp_path: Path) -> None:
    candidate = changed(PACKAGED, tmp_path / "candidate", verdict="better")
    with System(config) as system:
        system.promote(candidate, force=None, who="jdoe")
        assert compared_otherwise(config, system.ledger) == ""
        now = from_string(f'[work]\nsecond_opinion = "{"e" * 64}"\n', home=config.home)
        lines = [*status_lines(status(now, system.ledger, system.imager))]
        told = f"models      the comparison of classifier {default_models(candidate)[1][:12]}… was made with no second"
        assert [line for line in lines if line.startswith(told)]
        system.rollback(why="", who="jdoe")
        assert compared_otherwise(now, system.ledger) == ""


def test_promoting_again_brings_back_files_that_were_lost(config: Config, tiny_weights: Path, tmp_path: Path) -> None:
    candidate = changed(tiny_weights, tmp_path / "candidate")
    pair = default_models(candidate)
    with System(config) as system:
        system.promote(candidate, force="x", who="jdoe")
        (config.weights / f"{pair[1]}.onnx").unlink()
        assert system.promote(candidate, force="x", who="jdoe") == pair
        assert find_model(pair[1], "classifier", [config.weights])
        system.rollback(why="", who="jdoe")
        (config.weights / f"{pair[1]}.onnx").unlink()
        system.promote(candidate, force="x", who="jdoe")
        assert find_model(pair[1], "classifier", [config.weights])


def test_models_that_the_configuration_names_go_before_a_promotion(config: Config, tmp_path: Path) -> None:
    config = from_string(f'[work]\nclassifier = "{"b" * 64}"\n', home=config.home)
    candidate = changed(PACKAGED, tmp_path / "candidate", verdict="better")
    with System(config) as system, pytest.raises(ConfigError, match=r"work\.classifier is bbbbbbbbbbbb…"):
        system.promote(candidate, force=None, who="jdoe")


def test_models_that_are_nowhere_are_said_before_any_work_is_made(config: Config, tmp_path: Path) -> None:
    for col, (role, sha256) in enumerate((("segmenter", "a" * 64), ("classifier", "b" * 64), ("classifier", OWN[0]))):
        with System(from_string(f'[work]\n{role} = "{sha256}"\n', home=config.home)) as system:
            enter_well(system, tmp_path, col + 1)
            with pytest.raises(ConfigError, match=rf"work\.{role} is {sha256[:12]}…, but neither .* has this"):
                system.create_work()
            assert not system.grid.waiting()


def test_models_that_are_nowhere_are_listed_and_hinder_no_rollback(
    config: Config, tmp_path: Path, tiny_weights: Path
) -> None:
    from click.testing import CliRunner

    from xtalgrid_server.cli.main import main

    with System(config) as system:
        system.promote(changed(tiny_weights, tmp_path / "candidate"), force="x", who="jdoe")
    file = tmp_path / "xtalgrid.toml"
    file.write_text(f'[work]\nclassifier = "{"b" * 64}"\n')
    for words in (("list",), ("rollback",), ("list",)):
        result = CliRunner().invoke(main, ["--config", str(file), "--home", str(config.home), "model", *words])
        assert result.exit_code == 0, result.output
    assert f"* classifier ----  {'b' * 64}  named in the configuration but not found" in result.output
    assert "rollback  the package's own" in result.output


def test_what_no_worker_can_score_with_changes_nothing(config: Config, tmp_path: Path) -> None:
    swapped = changed(PACKAGED, tmp_path / "swapped")
    manifest = read_manifest(swapped)
    classifier = next(e for e in manifest.models if e.role == "classifier")
    models = (msgspec.structs.replace(classifier, role="segmenter"), classifier)
    default = dict.fromkeys(("segmenter", "classifier"), classifier.sha256)
    (swapped / MANIFEST).write_bytes(
        msgspec.json.encode(msgspec.structs.replace(manifest, default=default, models=models))
    )
    damaged = changed(PACKAGED, tmp_path / "damaged")
    with (damaged / "classifier-int8.onnx").open("ab") as stream:
        stream.write(b"more")
    with System(config) as system:
        for candidate, message in (
            (swapped, "a worker cannot score with these weights"),
            (damaged, "content does not match"),
        ):
            with pytest.raises(BrokenModel, match=message):
                system.promote(candidate, force="x", who="jdoe")
            assert system.models_in_use() == OWN
            assert system.ledger.promotions.history() == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited on Linux")
@pytest.mark.parametrize(
    ("kind", "said"),
    [("memory", "allocate memory"), ("growing", "out of memory|allocate memory"), ("endless", "timed out")],
)
def test_models_that_take_all_memory_or_never_end_are_stopped(
    config: Config, tiny_weights: Path, tmp_path: Path, monkeypatch, capfd, kind: str, said: str
) -> None:
    """One line, no process left behind, and no more memory than the limit of the process that tries it."""
    monkeypatch.setattr("xtalgrid_server.steps.promote._PATIENCE_SECONDS", 5)
    candidate = with_segmenter(shutil.copytree(tiny_weights, tmp_path / "candidate"), hostile_segmenter(kind))
    before = set(children())  # a database of other tests
    with System(config) as system:
        with pytest.raises(BrokenModel, match=f"a worker cannot score a well with these weights: .*({said})") as error:
            system.promote(candidate, force="x", who="jdoe")
        assert system.models_in_use() == OWN
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err.count("\n") <= 1, "the step's own line"
    assert set(children()) <= before
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 3_500_000, "kB"


def children() -> Iterator[str]:
    """The processes that this one started and that still run."""
    for tasks in Path("/proc/self/task").glob("*/children"):
        for number in tasks.read_text().split():
            yield Path(f"/proc/{number}/cmdline").read_text()


@pytest.mark.parametrize("name", ["../classifier.onnx", "/etc/passwd", ".."])
def test_a_manifest_names_no_file_outside_its_folder(config: Config, tmp_path: Path, name: str) -> None:
    candidate = changed(PACKAGED, tmp_path / "candidate")
    text = (candidate / MANIFEST).read_text()
    (candidate / MANIFEST).write_text(text.replace('"classifier.onnx"', f'"{name}"'))
    shutil.copy(candidate / "classifier.onnx", tmp_path)
    with System(config) as system, pytest.raises(BrokenModel, match=r"manifest\.json: .*matching regex"):
        system.promote(candidate, force="x", who="jdoe")


def test_steps_back_undo_one_promotion_each(config: Config, tiny_weights: Path, tmp_path: Path) -> None:
    first, second = (changed(tiny_weights, tmp_path / name) for name in ("first", "second"))
    with System(config) as system:
        for candidate in (first, second):
            system.promote(candidate, force="x", who="jdoe")
        listed = [entry.sha256 for entry in read_manifest(config.weights).models]
        assert listed == [*default_models(first), default_models(second)[1]]
        assert system.rollback(why="", who="jdoe") == default_models(first)
        assert default_models(config.weights) == default_models(first)
        assert system.rollback(why="", who="jdoe") == OWN
        with pytest.raises(ConfigError, match="no promotion to undo"):
            system.rollback(why="", who="jdoe")
        system.promote(second, force="again", who="jdoe")
        shutil.rmtree(config.weights)
        with pytest.raises(ConfigError, match="is missing; restore the folder"):
            system.create_work()
        assert system.rollback(why="", who="jdoe") == OWN


def test_the_same_weights_with_another_calibration_are_refused(
    config: Config, tiny_weights: Path, tmp_path: Path
) -> None:
    candidate = changed(tiny_weights, tmp_path / "candidate")
    with System(config) as system:
        system.promote(candidate, force="x", who="jdoe")
        system.rollback(why="", who="jdoe")
        text = (candidate / MANIFEST).read_text()
        (candidate / MANIFEST).write_text(text.replace('"slope":1.0', '"slope":0.5'))
        with pytest.raises(BrokenModel, match="another calibration"):
            system.promote(candidate, force="x", who="jdoe")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_anywhere_the_old_or_the_new_models_are_in_use(
    config: Config, tiny_weights: Path, tmp_path: Path
) -> None:
    """SIGKILL before each flush, rename and commit of a promotion; a second run always ends it."""
    candidate = changed(tiny_weights, tmp_path / "candidate")
    new = default_models(candidate)

    def promoted(config: Config) -> Pair:
        ledger = Ledger(config)
        try:
            return promote(config, ledger, candidate, force="x", who="jdoe")
        finally:
            ledger.close()

    config.home.mkdir()
    Ledger(config).close()  # the database is laid out
    seen = set()
    for number in range(1, 100):
        home = Path(shutil.copytree(config.home, tmp_path / f"killed{number}"))
        here = msgspec.structs.replace(config, home=home)
        if not killed_before_effect(number, lambda here=here: promoted(here)):
            break
        ledger = Ledger(here)
        pair = models_in_use(here, ledger)
        seen.add(pair)
        for sha256, role in zip(pair, ("segmenter", "classifier"), strict=True):
            assert find_model(sha256, role, [here.weights] if here.weights.exists() else [])
        assert promote(here, ledger, candidate, force="x", who="jdoe") == models_in_use(here, ledger) == new
        assert len(ledger.promotions.history()) == 1
        assert default_models(here.weights) == new
        ledger.close()
    assert seen == {OWN, new}, "killed before the switch and after it"


def killed_before_effect(number: int, run: Callable[[], None]) -> bool:
    """Run in a child that kills itself before its n-th effect; False when it has not so many."""
    child = os.fork()
    if child == 0:
        left = number

        def effect(*_: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        def before(function: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object, **kwargs: object) -> object:
                effect()
                return function(*args, **kwargs)

            return call

        try:
            event.listen(sa.Engine, "commit", effect)
            os.fsync = before(os.fsync)  # type: ignore[assignment]
            Path.replace = before(Path.replace)  # type: ignore[method-assign,assignment]
            run()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_the_commands_say_what_is_in_use(config: Config, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from xtalgrid_server.cli.main import main

    def xtalgrid(*words: str) -> str:
        return CliRunner().invoke(main, ["--home", str(config.home), "model", *words]).output

    candidate = changed(PACKAGED, tmp_path / "candidate", verdict="better")
    new = default_models(candidate)[1]
    assert f"classifier {new[:12]}; `xtalgrid model rollback`" in xtalgrid("promote", str(candidate), "--as", "jdoe")
    listed = xtalgrid("list")
    assert f"* classifier int8  {new}" in listed
    assert f"  classifier int8  {OWN[1]}" in listed
    assert "by jdoe: the lab's held-out wells" in listed
    assert OWN[1][:12] in xtalgrid("rollback")
    assert "not a folder of weights" in xtalgrid("promote", str(tmp_path))


def test_models_the_rule_cannot_decide_by_are_said_before_any_work_is_made(tmp_path: Path, tiny_weights: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(tiny_weights, home / "weights")
    manifest = read_manifest(home / "weights")
    bare = tuple(msgspec.structs.replace(entry, pooling=None) for entry in manifest.models)
    (home / "weights" / MANIFEST).write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, models=bare)))
    segmenter, classifier = default_models(tiny_weights)
    named = f'[work]\nsegmenter = "{segmenter}"\nclassifier = "{classifier}"\n'
    with System(from_string(named, home=home)) as system:
        enter_well(system, tmp_path, 1)
        with pytest.raises(
            ConfigError,
            match="no pooling, which the rule `pooled` needs: fit one with `xtalgrid-train judge calibrate`",
        ):
            system.create_work()
        assert not system.grid.waiting()
    with System(from_string(named + 'rule = "group"\n', home=home)) as system:
        assert system.create_work().units == 1


# ---- a second opinion ------------------------------------------------------------------------------------------------


def with_second(tmp_path: Path, sha256: str, more: str = "") -> Config:
    text = f'[grid]\nworkers = 1\n[imager]\npixel_size_um = 1.13\n[work]\nsecond_opinion = "{sha256}"\n{more}'
    return from_string(text, home=tmp_path / "home")


def test_scores_come_from_both_where_the_configuration_names_a_second_opinion(
    tmp_path: Path, tiny_second_opinion: Path
) -> None:
    sha256 = read_manifest(tiny_second_opinion).default["second_opinion"]
    config = with_second(tmp_path, sha256)
    shutil.copytree(tiny_second_opinion, config.weights / "second-opinion")
    with System(config) as system:
        enter_well(system, tmp_path, 1)
        system.create_work()
        assert system.models_in_use() == OWN
        system.work()
        system.assimilate()
        (score,) = system.ledger.scores.by_id([1])
        (origin,) = system.ledger.scores.origins(score.image_id).values()
    assert (origin.options.rule, origin.options.second_opinion) == ("combined", sha256)
    assert origin.options.combination == TOGETHER
    assert isinstance(score.answer, wire.Scored) and score.answer.second_opinion is not None
    assert score.answer.second_opinion.model == sha256


def test_what_is_installed_but_not_configured_is_not_used(
    config: Config, tmp_path: Path, tiny_second_opinion: Path
) -> None:
    shutil.copytree(tiny_second_opinion, config.weights / "second-opinion")
    with System(config) as system:
        assert work_options(config, system.ledger).second_opinion is None


def test_a_second_opinion_that_is_not_installed_is_said_with_the_command_that_installs_it(tmp_path: Path) -> None:
    config = with_second(tmp_path, "e" * 64)
    folder = config.weights / "second-opinion"
    with System(config) as system:
        enter_well(system, tmp_path, 1)
        command = f"`xtalgrid-train import marco --out {folder}`"
        with pytest.raises(ConfigError, match=f"work.second_opinion names eeeeeeeeeeee….*{command}"):
            system.create_work()
        assert system.ledger.units.attempts("planned", "sent") == {}


def test_a_second_opinion_goes_with_the_rule_pooled_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'work\.second_opinion: .* work\.rule is "group"'):
        with_second(tmp_path, "e" * 64, 'rule = "group"')


def test_the_list_has_second_opinions_and_marks_the_one_in_use(
    config: Config, system: System, tiny_second_opinion: Path
) -> None:
    folder = config.weights / "second-opinion"
    assert list_models(config, system.ledger).folders == ("package", str(config.weights))
    shutil.copytree(tiny_second_opinion, folder)
    sha256 = hashlib.sha256((folder / "second.onnx").read_bytes()).hexdigest()
    listed = f"second_opinion fp32  {sha256}  tiny  second.onnx"
    assert [*model_lines(list_models(config, system.ledger))][-2:] == [f"{folder}:", f"  {listed}"]
    named = from_string(f'[work]\nsecond_opinion = "{sha256}"\n', home=config.home)
    assert [*model_lines(list_models(named, system.ledger))][-1] == f"* {listed}"
    shutil.rmtree(folder)
    assert [*model_lines(list_models(named, system.ledger))][-1] == (
        f"* second_opinion ----  {sha256}  named in the configuration but not found: no work is made"
    )
